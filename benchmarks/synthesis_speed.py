"""How fast microstructures come: samples per minute, cost per cell, updates of the live preview."""

from __future__ import annotations

import argparse
import time

import _page
import torch

from napari_physgen.backend import resolve_device, run
from napari_physgen.backend.memory import keep_freed_memory
from napari_physgen.synthesis import presets
from napari_physgen.synthesis.phase_field.materials import MATERIALS
from napari_physgen.synthesis.phase_field.spectral import Periodic
from napari_physgen.synthesis.phase_field.stepper import Evolution
from napari_physgen.synthesis.simulate import simulate, simulate_batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--write", action="store_true", help="fill in docs/benchmarks.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    text = "\n\n".join([throughput(options), cells(options.device), previews(options.device)])
    print(text)
    if options.write:
        _page.write("phase-field-speed", "Phase-field speed", text)


def throughput(options: argparse.Namespace) -> str:
    """Return samples of 256 x 256 per minute for every preset."""
    lines = [
        f"| 256 x 256, {options.batch} at a time, {options.threads} threads | time steps "
        "| s per sample | samples per minute |",
        "|---|---|---|---|",
    ]
    for name, preset in presets.items():
        batch = [
            preset.model_copy(update={"seed": seed, "device": options.device})
            for seed in range(options.batch)
        ]
        began = time.perf_counter()
        results = run(simulate_batch(batch))
        seconds = (time.perf_counter() - began) / len(batch)
        steps = results[0].metrics["time_steps"]
        lines.append(f"| {name} | {steps:.0f} | {seconds:.1f} | {60 / seconds:.1f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def cells(device: str) -> str:
    """Return the time of one step per cell, from small grids to large ones."""
    lines = ["| gamma prime, cells | ms per step | ns per cell and step |", "|---|---|---|"]
    material = MATERIALS["precipitates"]
    keep_freed_memory()  # as the job does
    for size in (128, 256, 512, 1024, 2048):
        settings = presets["gamma_prime"].model_copy(update={"size": size, "nuclei": 5.0})
        box = Periodic((size, size), device=resolve_device(device))
        fields = material.start(box, [settings])
        evolution = Evolution(material.model(box, [settings], False), fields)
        steps = max(2, 2**23 // size**2)
        evolution.advance(2, 1e9)
        began = time.perf_counter()
        evolution.advance(steps, 1e9)
        float(evolution.time)
        seconds = (time.perf_counter() - began) / steps
        lines.append(f"| {size} x {size} | {1e3 * seconds:.1f} | {1e9 * seconds / size**2:.0f} |")
    return "\n".join(lines)


def previews(device: str) -> str:
    """Return how many pictures per second a preview of 128 x 128 gives."""
    lines = ["| 128 x 128 | pictures per second |", "|---|---|"]
    for name, preset in presets.items():
        settings = preset.model_copy(update={"size": 128, "device": device})
        job = simulate(settings)
        next(job)
        began, pictures = time.perf_counter(), 0
        for progress in job:
            if progress.preview is not None:
                progress.preview()
                pictures += 1
            if time.perf_counter() - began > 3:
                break
        lines.append(f"| {name} | {pictures / (time.perf_counter() - began):.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
