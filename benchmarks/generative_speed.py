"""How long restoration takes on one core, and how soon it stops.

    python benchmarks/generative_speed.py [--size 512] [--write]

Weights are those of the shipped prior; data are simulated filaments.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from _page import write

from napari_physgen.backend import run
from napari_physgen.backend.job import Progress, Stop
from napari_physgen.generative import RestoreSettings, load, restore
from napari_physgen.physics.noise import Camera
from napari_physgen.sim.simulate import filaments

PRIOR = Path(__file__).parents[1] / "src/napari_physgen/generative/models/filaments.safetensors"
CAMERA = Camera(100.0, 2.0, 1.5)


def noisy(size: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    light = 200 * filaments((size, size), 3)
    return 100 + 2 * rng.poisson(light) + 1.5 * rng.standard_normal(light.shape)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    image, model = noisy(chosen.size), load(PRIOR)
    fit = {"brightness": "fit", "device": "cpu"}

    run(restore(image[:64, :64], model, RestoreSettings(**fit), noise=CAMERA))  # warm up
    began = time.perf_counter()
    run(restore(image, model, RestoreSettings(**fit), noise=CAMERA))
    direct = time.perf_counter() - began

    seen: list[float] = []
    settings = RestoreSettings(task="deconvolve", samples=1, steps=18, **fit)
    began = time.perf_counter()

    def note(progress: Progress) -> None:
        if progress.preview is not None and (not seen or progress.step > seen[-1][1]):
            seen.append((time.perf_counter() - began, progress.step))

    run(restore(image, model, settings, noise=CAMERA), note)
    sampled = time.perf_counter() - began
    steps = np.diff([0.0, *(when for when, _ in seen)])

    asked: list[float] = []

    def stop(progress: Progress) -> Stop | None:
        if time.perf_counter() - began > 8 and not asked:
            asked.append(time.perf_counter())
            return Stop()
        return None

    began = time.perf_counter()
    try:
        run(restore(image, model, settings, noise=CAMERA), stop)
    except Exception as error:
        print(error)
    latency = time.perf_counter() - asked[0]
    parameters = sum(p.numel() for p in model.net.parameters())
    lines = [
        f"{chosen.size} x {chosen.size} px, one thread, a prior of {parameters / 1e6:.2f} million "
        "weights:",
        "",
        "| what | seconds |",
        "|---|---|",
        f"| mean and standard deviation in one evaluation | {direct:.2f} |",
        f"| one sample by moment matching, blurred image, 18 levels | {sampled:.0f} |",
        f"| from one picture to the next, median and longest | {np.median(steps):.1f}, "
        f"{steps.max():.1f} |",
        f"| from Stop to the end | {latency:.2f} |",
    ]
    print("\n".join(lines))
    if chosen.write:
        write("generative-speed", "Speed of restoration", "\n".join(lines))


if __name__ == "__main__":
    main()
