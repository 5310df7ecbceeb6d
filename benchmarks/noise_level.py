"""A wrong noise level: what it costs a diffusion prior, and a Poisson flow with few dimensions.

python benchmarks/noise_level.py                      all rows
python benchmarks/noise_level.py --rows 24            only D = 24
python benchmarks/noise_level.py --minutes 5          core-minutes of training per network
python benchmarks/noise_level.py --write              put the table into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import _page
import numpy as np
import torch
from _restoration_sets import Image, simulated_micrographs

from napari_physgen.backend import Command, Progress, Stop, run
from napari_physgen.generative import GenerativeSettings
from napari_physgen.generative.model import GenerativeModel
from napari_physgen.generative.train import train
from napari_physgen.metrics.image import psnr

CACHE = Path(tempfile.gettempdir()) / "physgen_noise_level.npz"
LEARNED, TESTED = 12, 6
SIDE = 256
LEVELS = 0.1, 0.2
TOLD = 0.5, 1.0, 2.0
ROWS = {"EDM (D = inf)": math.inf, "D = 24": 24.0, "D = 6": 6.0}
SHAPE = {"features": 16, "levels": 3, "crop": 32, "batch": 16, "device": "cpu"}
TIMED = 4  # steps, after a first one

COLUMNS = (
    "network",
    "steps",
    *(f"noise {level:g}, told x{told:g}" for level in LEVELS for told in TOLD),
    "lost at x0.5 / x2",
)
NOTE = """\
{tested} new simulated micrographs (six kinds, 256 x 256 px, grey levels 0 to 1) with Gaussian
noise of known level, restored in one evaluation that is told 0.5, 1 and 2 times this level. PSNR
in dB, mean over {seeds} seeds (training and noise), +- their standard deviation. Priors of
{learned} clean micrographs of the same kinds, {minutes:g} core-minutes of training each. Noisy
images: {noisy}.
"""


class Data(NamedTuple):
    """Clean micrographs to learn from and to test with (image, y, x)."""

    learned: Image
    tested: Image


def micrographs() -> Data:
    """Return them, from a file after the first time."""
    if not CACHE.exists():
        learned, tested = (
            np.stack(simulated_micrographs(n, SIDE, seed))
            for n, seed in ((LEARNED, 11), (TESTED, 12))
        )
        np.savez(CACHE, learned=learned, tested=tested)
    with np.load(CACHE) as stored:
        return Data(stored["learned"], stored["tested"])


def trained(data: Data, D: float, seed: int, minutes: float) -> GenerativeModel:
    """Return a prior after some core-minutes of training."""
    marks: list[float] = []

    def settings(steps: int) -> GenerativeSettings:
        dimensions = None if math.isinf(D) else D
        return GenerativeSettings(steps=steps, poisson_dimensions=dimensions, seed=seed, **SHAPE)

    def clock(progress: Progress) -> Command | None:
        marks.append(time.process_time())
        return Stop() if progress.step > TIMED else None

    run(train(data.learned, settings(10**6)), clock)
    step = (marks[TIMED + 1] - marks[1]) / TIMED
    model = run(train(data.learned, settings(max(round(60 * minutes / step), 10))))
    print(f"D = {D:g}, seed {seed}: {model.summary}", file=sys.stderr, flush=True)
    return model


def restored(model: GenerativeModel, data: Data, level: float, seed: int) -> list[float]:
    """Return the mean PSNR for each level that the prior is told."""
    denoiser = model.denoiser()
    noise = np.random.default_rng(seed).normal(size=data.tested.shape)
    noisy = torch.from_numpy(model.scale(data.tested + level * noise))[:, None]
    found = []
    for told in TOLD:
        with torch.no_grad():
            means = [
                denoiser(image[None], told * level / model.scale.unit).mean[0, 0].numpy()
                for image in noisy
            ]
        found.append(mean_psnr(model.scale.grey(np.stack(means)), data))
    return found


def mean_psnr(images: Image, data: Data) -> float:
    """Return the mean PSNR of images for grey levels from 0 to 1."""
    pairs = zip(images, data.tested, strict=True)
    return float(np.mean([psnr(image, clean, data_range=1.0) for image, clean in pairs]))


def row(name: str, D: float, data: Data, options: argparse.Namespace) -> str:
    """Train and test one network per seed."""
    figures, steps = [], []
    for seed in range(options.seeds):
        model = trained(data, D, seed, options.minutes)
        figures.append([restored(model, data, level, 100 + seed) for level in LEVELS])
        steps.append(model.metrics["steps"])
        print(np.round(figures[-1], 2).tolist(), file=sys.stderr, flush=True)
    found = np.array(figures)  # seed, level, told
    mean, std = found.mean(0).ravel(), found.std(0).ravel()
    cells = [f"{m:.2f} +- {s:.2f}" for m, s in zip(mean, std, strict=True)]
    lost = (found[:, :, 1:2] - found).mean((0, 1))
    cells.append(f"{lost[0]:.2f} / {lost[2]:.2f}")
    return "| " + " | ".join([name, f"{np.mean(steps):.0f}", *cells]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=4.0, help="of training per network")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = micrographs()
    noise = np.random.default_rng(100).normal(size=data.tested.shape)
    noisy = [mean_psnr(data.tested + level * noise, data) for level in LEVELS]
    lines = _page.rows("noise-level")
    for name, D in ROWS.items():
        if options.rows in name:
            lines[name] = row(name, D, data, options)
            print(lines[name], file=sys.stderr, flush=True)
    head = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    table = "\n".join([*head, *(lines[name] for name in ROWS if name in lines)])
    note = NOTE.format(
        tested=TESTED,
        seeds=options.seeds,
        learned=LEARNED,
        minutes=options.minutes,
        noisy=", ".join(f"{value:.1f} dB" for value in noisy),
    )
    print(f"{note}\n{table}")
    if options.write:
        _page.write("noise-level", "A wrong noise level", f"{note}\n{table}")


if __name__ == "__main__":
    main()
