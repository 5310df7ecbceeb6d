"""One network for many stacks: against the variational image, by dose and by how it was trained.

    python benchmarks/sim_trained.py                   all rows (half an hour on one core)
    python benchmarks/sim_trained.py --rows BioSR      rows whose name contains this

Simulated: new filaments and membranes, whose truth is exact; "own stacks": trained on 8 others of
the same kind by the physics loss alone. BioSR: against a reference of high dose.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import _page
import numpy as np
import torch
from _data import Case, biosr
from numpy.typing import NDArray

from napari_physgen.backend import run
from napari_physgen.metrics.image import compare, match_blur
from napari_physgen.metrics.residual import coverage
from napari_physgen.physics.noise import Camera
from napari_physgen.sim import Patterns, SimSettings, estimate_patterns, reconstruct
from napari_physgen.sim.curriculum import random_object
from napari_physgen.sim.simulate import default_patterns, simulate
from napari_physgen.sim.train_model import train_model
from napari_physgen.sim.training_settings import SimTrainingSettings

SETTINGS = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80, otf_damping=0.4)
ELECTRONS = Camera(offset=100, gain=2, read_noise=1.5)
LEARNT, TESTED = 8, 4
METHODS = ("variational", "shipped", "shipped, adapted", "own stacks", "shipped, then own stacks")
COLUMNS = ("data: method", "PSNR / SSIM", "held-out misfit", "95 % coverage", "s per stack")


def stacks(photons: float, first: int, count: int) -> list[Case]:
    """Return simulated stacks of 9 x 128 x 128 px with their truth."""
    made = []
    for seed in range(first, first + count):
        truth = filamentous(seed)
        light = default_patterns(SETTINGS, seed, 0.7)
        raw = simulate(truth, SETTINGS, photons, seed, light, ELECTRONS)
        made.append(Case(raw, SETTINGS, truth=truth, given=light, offset=100))
    return made


def filamentous(seed: int) -> NDArray[np.float32]:
    """Return a random object of filaments or membranes: none that the shipped model has seen."""
    rng = np.random.default_rng([seed, 77])
    return random_object(rng, 256).astype(np.float32)


def scored(case: Case, image: NDArray[np.float32]) -> tuple[float, float]:
    if case.matched:
        return match_blur(image, case.truth)[1:]
    return tuple(compare(image, case.truth))


def measure(name: str, tests: list[Case], lessons: list[Case], folder: Path) -> Iterator[str]:
    """Give one line per method."""
    patterns = [
        case.given or run(estimate_patterns(case.raw, case.settings, case.otf)) for case in tests
    ]
    for method in METHODS:
        if "own" in method and not lessons:
            continue
        values = []
        changes: dict[str, object] = {
            "method": "variational" if method == "variational" else "trained"
        }
        if "own" in method:
            changes["model"] = learned(
                lessons, "nothing" if method.startswith("own") else "model", folder
            )
        if "adapted" in method:
            changes["adaptation"] = 40
        for case, light in zip(tests, patterns, strict=True):
            begin = time.perf_counter()
            result = run(
                reconstruct(case.raw, case.settings.model_copy(update=changes), light, case.otf)
            )
            seconds = time.perf_counter() - begin
            share = float("nan")
            if result.std is not None and not case.matched:
                scale = float((result.image * case.truth).sum() / np.square(case.truth).sum())
                share = coverage(result.image, result.std, scale * case.truth)
            values.append((*scored(case, result.image), result.chi2, share, seconds))
        psnr, ssim, chi2, share, seconds = np.mean(values, axis=0)
        told = "-" if np.isnan(share) else f"{share:.3f}"
        yield (
            f"| {name}: {method} | {psnr:.2f} / {ssim:.3f} | {chi2:.3f} | {told} | {seconds:.1f} |"
        )


def learned(lessons: list[Case], start: str, folder: Path) -> Path:
    """Train on stacks whose truth is not looked at."""
    chosen = SimTrainingSettings.parse(
        lessons[0].settings.model_dump() | {"start": start, "learning_steps": 400}
    )
    raw = [case.raw for case in lessons]
    known: list[Patterns | None] = [case.given for case in lessons]
    path = folder / f"{start}.safetensors"
    run(train_model(raw, chosen, known)).save(path)
    return path


ROWS: dict[str, Callable[[], tuple[list[Case], list[Case]]]] = {
    "simulated, 5 photons": lambda: (stacks(5, 0, TESTED), stacks(5, 100, LEARNT)),
    "simulated, 50 photons": lambda: (stacks(50, 0, TESTED), stacks(50, 100, LEARNT)),
    "BioSR, 237 e-": lambda: (list(biosr()), []),
    "BioSR thinned, 24 e-": lambda: (list(biosr(24, seeds=3)), []),
    "BioSR thinned, 9 e-": lambda: (list(biosr(9, seeds=3)), []),
    "BioSR level 01, 6 e-": lambda: (list(biosr(level="01")), []),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    old = _page.rows("sim-trained")
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for name, cases in ROWS.items():
        if options.rows.lower() not in name.lower():
            lines += [line for line in old.values() if line.startswith(f"| {name}: ")]
            continue
        with TemporaryDirectory() as folder:
            for line in measure(name, *cases(), Path(folder)):
                print(line, flush=True)
                lines.append(line)
    note = (
        "PSNR in dB / SSIM after an affine intensity fit; BioSR at matched blur. Coverage: share "
        "of true pixels within 1.96 std. One CPU thread.\n"
    )
    _page.write("sim-trained", "SIM: one network for many stacks", f"{note}\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
