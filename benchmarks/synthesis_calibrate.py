"""Calibration on micrographs with masks: what it finds, and how close its simulations come.

python benchmarks/synthesis_calibrate.py                 all rows (half an hour on one core)
python benchmarks/synthesis_calibrate.py --rows amptere  rows whose name contains "amptere"
python benchmarks/synthesis_calibrate.py --write         put the table into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import _page
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter
from skimage.filters import threshold_otsu
from skimage.io import imread

from napari_physgen.backend import run
from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import REACH
from napari_physgen.synthesis import presets, simulate
from napari_physgen.synthesis._match_images import find_phases
from napari_physgen.synthesis._match_statistics import Statistics, statistics
from napari_physgen.synthesis.calibrate import Calibration, calibrate
from napari_physgen.synthesis.calibration_settings import CalibrationSettings

SEM = Path(__file__).parents[2] / "shared/data/sem"

# The images that the constants of _match_phases were chosen on; all others were never tuned on.
CHOSEN_ON = ("1_0d_0", "1_180d_5", "3_0d_3", "4_0d_3", "5_0d_0", "6_0d_2", "7_0d_5")
SETTINGS = CalibrationSettings()
STROKES, LENGTH, WIDTH = 6, 40, 3  # per phase; px

COLUMNS = (
    "data",
    "length error, % (edges / strokes)",
    "fraction error (edges / strokes)",
    "particles guessed right",
    "IoU (Otsu / edges / strokes)",
    "simulated length error, % (edges / strokes)",
    "S2 distance (edges / strokes)",
    "of the preset (as it is / scaled)",
    "halved",
    "s",
)
NOTE = f"""\
Against the masks' own statistics, mean (worst) over the images. Edges: without any label; strokes:
{STROKES} strokes per phase of at most {LENGTH} px, drawn from the mask at random places. S2
distance: `Statistics.distance` between mask and simulation; of the preset gamma_prime with one cell
per pixel, and scaled to the mask's length. Halved: images on which the calibrated simulation
(edges / strokes) is at least twice as close as the preset as it is. The constants of the edge
detection were chosen on the first row's images only. Otsu: after flat-fielding, polarity given.
"""


@dataclass(frozen=True)
class Way:
    """What came out with one kind of labels."""

    length: float
    fraction: float
    iou: float
    guessed: bool
    simulated_length: float
    distance: float
    seconds: float


def sets() -> dict[str, list[Path]]:
    """Return the images of each row."""
    nasa = sorted((SEM / "nasa_super/images").glob("*.png"))
    chosen = [p for p in nasa if p.stem.removeprefix("spot") in CHOSEN_ON]
    return {
        "nasa_super, 7 images of the choice": chosen,
        "nasa_super, 7 other images": [p for p in nasa if p not in chosen],
        "amptere, 2 images": sorted((SEM / "amptere_gamma_prime/images").glob("*.png")),
        "uhcs_spheroidite, 5 images": sorted((SEM / "uhcs_spheroidite/images").glob("*.png")),
    }


def strokes(mask: NDArray[np.bool_], seed: int = 0) -> NDArray[np.uint8]:
    """Return straight strokes that stay inside one phase: 1 matrix, 2 particles."""
    random = np.random.default_rng(seed)
    drawn = np.zeros(mask.shape, np.uint8)
    for value, phase in ((1, ~mask), (2, mask)):
        y, x = np.nonzero(binary_erosion(phase, iterations=2))
        left = STROKES
        while left:
            i, angle = random.integers(len(y)), random.uniform(0, np.pi)
            steps = np.arange(LENGTH)
            line = np.rint([y[i] + steps * np.sin(angle), x[i] + steps * np.cos(angle)]).astype(int)
            line = line[:, ((line >= 0).T & (mask.shape > line.T)).all(1)]
            inside = phase[tuple(line)]
            end = len(inside) if inside.all() else int(np.argmin(inside))
            if end < 5:
                continue
            stroke = np.zeros(mask.shape, bool)
            stroke[tuple(line[:, : end - 1])] = True
            drawn[binary_dilation(stroke, iterations=WIDTH // 2) & phase] = value
            left -= 1
    return drawn


def otsu(image: NDArray[np.generic], bright: bool) -> NDArray[np.bool_]:
    smooth = gaussian_filter(image.astype(float), 1.5)
    flat = smooth - gaussian_filter(smooth, min(image.shape) / 4)
    above = flat > threshold_otsu(flat)
    return above if bright else ~above


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def way(
    image: NDArray[np.generic],
    labels: NDArray[np.uint8] | None,
    mask: NDArray[np.bool_],
    truth: Statistics,
) -> Way:
    """Calibrate and compare with the mask."""
    (found,), _ = run(find_phases([image], None if labels is None else [labels], SETTINGS))
    result, seconds = calibrated(found.tobytes(), found.shape)
    cell = result.settings.pixel_size_nm
    simulated = statistics(
        [result.simulated.labels > 0], [cell], periodic=True, reach=REACH * truth.length
    )
    return Way(
        length=result.metrics["length_px"] / truth.length - 1,
        fraction=result.metrics["fraction"] - truth.fraction,
        iou=iou(found, mask),
        guessed=iou(found, mask) > iou(~found, mask),
        simulated_length=simulated.length / truth.length - 1,
        distance=truth.distance(simulated),
        seconds=seconds,
    )


@lru_cache
def calibrated(phase: bytes, shape: tuple[int, int]) -> tuple[Calibration, float]:
    """Return the calibration to phases as found, and the seconds it took; the same once only."""
    found = np.frombuffer(phase, bool).reshape(shape)
    begin = time.perf_counter()
    result = run(calibrate(found * 1.0, found.astype(np.uint8), settings=SETTINGS))
    return result, time.perf_counter() - begin


@lru_cache
def preset() -> NDArray[np.bool_]:
    return np.asarray(run(simulate(presets["gamma_prime"])).labels > 0)


def preset_distances(truth: Statistics) -> tuple[float, float]:
    """Return the distances of the preset with one cell per pixel, and with the mask's length."""
    own = statistics([preset()], [1.0], periodic=True).length
    reach = REACH * truth.length
    pictures = (
        statistics([preset()], [p], periodic=True, reach=reach) for p in (1.0, truth.length / own)
    )
    first, second = (truth.distance(picture) for picture in pictures)
    return first, second


def measure(name: str, paths: Sequence[Path]) -> str:
    """Return a row of the table."""
    edges, brushed, defaults, thresholds = [], [], [], []
    for path in paths:
        image = imread(path)
        mask = imread(path.parents[1] / "masks" / path.name) > 0
        truth = statistics([mask], [1.0])
        thresholds.append(iou(otsu(image, image[mask].mean() > image[~mask].mean()), mask))
        defaults.append(preset_distances(truth))
        for ways, labels in ((edges, None), (brushed, strokes(mask))):
            try:
                ways.append(way(image, labels, mask, truth))
                report = str(ways[-1])
            except UserError as error:
                report = f"failed: {error}"
            print(
                f"{name}, {path.stem} (L {truth.length:.1f}, f {truth.fraction:.3f}, "
                f"preset {defaults[-1]}, Otsu {thresholds[-1]:.3f}): {report}",
                file=sys.stderr,
                flush=True,
            )
    return row(name, edges, brushed, defaults, thresholds)


def row(
    name: str,
    edges: list[Way],
    brushed: list[Way],
    defaults: list[tuple[float, float]],
    thresholds: list[float],
) -> str:
    both = (edges, brushed)

    def errors(field: str, scale: float, digits: int) -> str:
        values = [scale * np.abs([getattr(w, field) for w in ways]) for ways in both]
        return " / ".join(f"{v.mean():.{digits}f} ({v.max():.{digits}f})" for v in values)

    ious = [np.mean(thresholds)] + [np.mean([w.iou for w in ways]) for ways in both]
    halved = [
        sum(w.distance <= d[0] / 2 for w, d in zip(ways, defaults, strict=True)) for ways in both
    ]
    cells = (
        name,
        errors("length", 100, 1),
        errors("fraction", 1, 3),
        f"{sum(w.guessed for w in edges)} of {len(edges)}",
        " / ".join(f"{v:.3f}" for v in ious),
        errors("simulated_length", 100, 1),
        errors("distance", 1, 3),
        " / ".join(f"{v:.3f}" for v in np.mean(defaults, 0)),
        f"{halved[0]} / {halved[1]} of {len(defaults)}",
        f"{np.mean([w.seconds for w in edges + brushed]):.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def merged(lines: dict[str, str]) -> str:
    """Return the table with new rows in place of those measured before."""
    old = _page.rows("calibrate")
    rows = [(old | lines)[name] for name in sets() if name in old | lines]
    head = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    return "\n".join([*head, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    options = parser.parse_args()
    if not SEM.is_dir():
        print(f"skipped: the data are not in {SEM}")
        return
    lines = {name: measure(name, paths) for name, paths in sets().items() if options.rows in name}
    table = merged(lines)
    print(f"{NOTE}\n{table}")
    if options.write:
        _page.write("calibrate", "Calibration", f"{NOTE}\n{table}")


if __name__ == "__main__":
    main()
