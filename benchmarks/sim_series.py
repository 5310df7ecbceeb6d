"""A time-lapse of SIM stacks: how much quicker than the first the later ones are, and how good.

    python benchmarks/sim_series.py                       20 stacks of 9 x 256 x 256
    python benchmarks/sim_series.py --stacks 6 --method pinn

Simulated filaments that drift by 0.7 px per time point, bend, change their brightness and bleach.
Prints one table and puts its rows into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch

sys.path.insert(0, str(Path(__file__).parent))

import _page

from napari_physgen.backend import Progress, run
from napari_physgen.metrics.image import compare
from napari_physgen.sim import SimSettings, reconstruct
from napari_physgen.sim.reconstruct import reconstruct_stack
from napari_physgen.sim.series import Series
from napari_physgen.sim.simulate import default_patterns, filaments, simulate

SETTINGS = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80)
SIZE, DRIFT, SEED = 256, 0.7, 21
COLUMNS = (
    "method, stacks",
    "first, s",
    "later ones, s",
    "ratio",
    "PSNR of the last as part of the series / by itself",
    "its chi2",
)
NOTE = """\
Stacks of 9 x 256 x 256, simulated filaments that drift by 0.7 px per time point, bend and bleach by
2 % each time; 150 photons per pixel at first. Seconds of one core. The first one includes reading
all stacks, the estimate of the patterns and the search for the smoothness. "By itself" is a full
reconstruction of the last stack with the same patterns.
"""


def movie(stacks: int) -> list[np.ndarray]:
    """Return the sample on the fine grid at each time point."""
    rng = np.random.default_rng(SEED)
    side = 2 * SIZE + 2 * 64
    sample = filaments((side, side), SEED)
    bend, fade = (
        scipy.ndimage.gaussian_filter(rng.standard_normal((side, side)), width)
        for width in (40, 12)
    )
    inner = slice(64, -64), slice(64, -64)
    bend, fade = (field[inner] / field.std() for field in (bend, fade))
    y, x = np.mgrid[: 2 * SIZE, : 2 * SIZE] + 64.0
    points = []
    for t in range(stacks):
        way = 2 * DRIFT * (t - stacks / 2)
        places = [y + way * (0.7 + 0.3 * bend), x + way * (0.7 - 0.3 * bend)]
        there = scipy.ndimage.map_coordinates(sample, places, order=3, mode="reflect")
        points.append(np.clip(there * np.exp(0.05 * t * fade), 0, None).astype(np.float32))
    return points


def measure(method: str, stacks: int) -> str:
    """Return a line of the table."""
    settings = SETTINGS.model_copy(update={"method": method})
    truths = movie(stacks)
    patterns = default_patterns(settings, SEED)
    raw = np.stack(
        [
            simulate(truth, settings, 150 * 0.98**t, SEED + t, patterns)
            for t, truth in enumerate(truths)
        ]
    )
    ends: dict[str, float] = {}

    def note(progress: Progress) -> None:
        place = progress.message.partition(":")[0]
        ends["first" if place.startswith(f"time 1 of {stacks}") else "last"] = time.process_time()

    begin = time.process_time()
    series = run(reconstruct(raw, settings), note)
    assert isinstance(series, Series)
    print(series.summary, file=sys.stderr)
    first = ends["first"] - begin
    later = (time.process_time() - ends["first"]) / (stacks - 1)
    own = series.points[-1].patterns
    alone = run(reconstruct_stack(raw[-1], settings, own))
    quick, full = (compare(image, truths[-1]).psnr for image in (series.image[-1], alone.image))
    cells = (
        f"{method}, {stacks}",
        f"{first:.1f}",
        f"{later:.1f}",
        f"{first / later:.1f}",
        f"{quick:.2f} / {full:.2f}",
        f"{series.points[-1].chi2:.3f} / {alone.chi2:.3f}",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stacks", type=int, default=20)
    parser.add_argument("--method", nargs="*", default=["variational", "pinn"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [measure(method, options.stacks) for method in options.method]
    kept = _page.rows("sim-series")
    names = {line.split("|")[1].strip() for line in lines}
    old = [row for name, row in kept.items() if name not in (*names, COLUMNS[0], "---")]
    head = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    table = "\n".join([*head, *sorted([*old, *lines], reverse=True)])
    print(table)
    _page.write("sim-series", "SIM: time-lapses", f"{NOTE}\n{table}")


if __name__ == "__main__":
    main()
