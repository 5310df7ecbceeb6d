"""Translation beside the published CycleGAN: time of a step, and likeness after equal time.

python benchmarks/translation.py                 all rows (12 minutes on one core)
python benchmarks/translation.py --minutes 10    ten minutes of training per row
python benchmarks/translation.py --write         put the table into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import _page
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom
from skimage.io import imread

from napari_physgen.backend import Command, Progress, Stop, run
from napari_physgen.synthesis import presets, simulate
from napari_physgen.synthesis.fidelity import fidelity
from napari_physgen.synthesis.fidelity_results import Comparison
from napari_physgen.synthesis.translation import train_translation
from napari_physgen.synthesis.translation_settings import (
    TranslationSettings,
    translation_presets,
)

REAL = Path(__file__).parents[2] / "shared/data/sem/nasa_super/images"
IMAGES, ENLARGED, SIZE = 8, 3, 512
TIMED = 2  # steps, after a first one

# The published configuration on the crops of ours; the masks are shown to its judge of masks only.
CROPS = {"crop": 96, "batch": 4, "device": "cpu"}
COLUMNS = (
    "configuration",
    "weights, million",
    "core-s per step",
    "steps",
    "Frechet distance",
    "kernel distance",
    "told apart",
    "entropy difference, bit",
    "mask IoU",
    "edges moved, px",
)
NOTE = """\
nasa_super spots 3 to 7 (10 images, no masks) as the real images, {images} gamma prime simulations
drawn dark on bright with a little noise as the simulated ones; {crop} px crops, {batch} per step,
{minutes:g} core-minutes of training each, one thread. Distances, and the accuracy of a classifier
(told apart, 0.5 is perfect), are those of `fidelity`. Mask IoU: what a segmenter reads off
translated images that were held out.
"""


@dataclass(frozen=True)
class Case:
    """Simulated images, their masks and the real ones."""

    simulated: list[NDArray[np.float32]]
    masks: list[NDArray[np.uint8]]
    real: list[NDArray[np.generic]]


def case() -> Case:
    """Return the images: the simulations enlarged to about the size of the real particles."""
    simulated, masks = [], []
    for seed in range(IMAGES):
        changes = {"size": 256, "fraction": 0.5, "nuclei": 110, "duration": 30, "seed": seed}
        labels = run(simulate(presets["gamma_prime"].model_copy(update=changes))).labels > 0
        large = zoom(labels * 1.0, ENLARGED, order=1, mode="grid-wrap", grid_mode=True)
        mask = (gaussian_filter(large, 2) > 0.5)[:SIZE, :SIZE].astype(np.uint8)
        noise = np.random.default_rng(seed).normal(size=mask.shape)
        masks.append(mask)
        simulated.append((gaussian_filter(-0.5 * mask, 1) + 0.06 * noise).astype(np.float32))
    real = [imread(path) for path in sorted(REAL.glob("spot[3-7]_*.png"))]
    return Case(simulated, masks, real)


def configurations() -> dict[str, TranslationSettings]:
    """Return the configurations by the names of their rows."""
    names = {
        "published CycleGAN (ResNet-9, 64 filters)": "paper",
        "CycleGAN, preset cpu": "cpu",
        "FastCUT, preset fastcut": "fastcut",
    }
    return {row: translation_presets[name].model_copy(update=CROPS) for row, name in names.items()}


def row(name: str, settings: TranslationSettings, case: Case, minutes: float) -> str:
    """Train for equal time and compare."""
    step = seconds_per_step(settings, case)
    steps = max(round(60 * minutes / step), 1)
    settings = settings.model_copy(update={"steps": steps})
    model = run(train_translation(case.simulated, case.real, settings, masks=case.masks))
    translated = model.translate(case.simulated, case.masks)
    compared, _ = compare(case, translated)
    count = sum(p.numel() for p in model.game.parameters()) / 1e6
    print(f"{name}: {model.summary} {model.metrics}", file=sys.stderr, flush=True)
    cells = [name, f"{count:.2f}", f"{step:.2f}", f"{steps}", *figures(compared)]
    cells += [f"{model.metrics['mask_iou']:.3f}", f"{model.metrics['edge_shift_px']:+.1f}"]
    return "| " + " | ".join(cells) + " |"


def seconds_per_step(settings: TranslationSettings, case: Case) -> float:
    """Return the time of the processor per step, after the first step."""
    marks: list[float] = []

    def clock(progress: Progress) -> Command | None:
        marks.append(time.process_time())
        return Stop() if progress.step > TIMED else None

    short = settings.model_copy(update={"steps": 1000})
    run(train_translation(case.simulated[:2], case.real[:1], short, masks=case.masks[:2]), clock)
    return (marks[TIMED + 1] - marks[1]) / TIMED


def compare(case: Case, synthetic: list[NDArray[np.float32]]) -> tuple[Comparison, Comparison]:
    """Return how alike synthetic and real images are, and the halves of the real ones."""
    found = {c.name: c for c in run(fidelity(case.real, synthetic)).comparisons}
    return found["synthetic"], found["real, half against half"]


def figures(compared: Comparison) -> list[str]:
    """Return the cells of a comparison."""
    return [
        f"{compared.frechet_distance:.1f}",
        f"{compared.kernel_distance.value:.2f}",
        f"{compared.separability.value:.2f}",
        f"{abs(compared.entropy_difference.value):.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="of training per row")
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    options = parser.parse_args()
    if not REAL.is_dir():
        print(f"skipped: the data are not in {REAL}")
        return
    images = case()
    simulated, halves = compare(images, images.simulated)
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for name, compared in (("simulated, as they are", simulated), ("real, two halves", halves)):
        lines.append("| " + " | ".join([name, "", "", "", *figures(compared), "", ""]) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    for name, settings in configurations().items():
        if options.rows in name:
            lines.append(row(name, settings, images, options.minutes))
            print(lines[-1], file=sys.stderr, flush=True)
    table = "\n".join(lines)
    note = NOTE.format(images=IMAGES, minutes=options.minutes, **CROPS)
    print(f"{note}\n{table}")
    if options.write:
        _page.write("translation", "Translation", f"{note}\n{table}")


if __name__ == "__main__":
    main()
