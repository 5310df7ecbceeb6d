"""SIM with a learned prior against SIM without one, on published stacks at few photons.

    python benchmarks/sim_prior.py                        one stack, three times noise
    python benchmarks/sim_prior.py --stacks 8 --network   all stacks, also the untrained network

The frames of Burns & Liu 2023 (simulated microtubules with an exact truth) as a camera counts them
at 9 electrons per pixel. All methods get the same noisy frames, patterns and OTF. The prior has
seen simulated objects only (train_priors.py). Prints a table and puts it into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom as spline_zoom

sys.path.insert(0, str(Path(__file__).parent))

import _page
from _data import GAIN, OFFSET, READ_NOISE, SIM, Case, published

from napari_physgen.backend import run
from napari_physgen.generative import RestoreSettings
from napari_physgen.generative._restore_checks import fitted_scale
from napari_physgen.generative.model import GenerativeModel, load
from napari_physgen.generative.solve import Problem
from napari_physgen.generative.structured import set_up_sim
from napari_physgen.metrics.image import compare
from napari_physgen.metrics.residual import coverage
from napari_physgen.sim import reconstruct
from napari_physgen.sim.wiener import wiener

Real = NDArray[np.float32]

MODELS = Path(__file__).parents[1] / "src/napari_physgen/generative/models"
ELECTRONS, BORDER = 9, 8
ROWS = {
    "Wiener": "Wiener",
    "variational": "variational",
    "network": "variational and untrained network",
    "first": "variational on the prior's grid, where sampling starts",
    "sample": "prior, one sample",
    "mean": "prior, mean of the samples",
}
NOTE = """\
PSNR in dB / SSIM after an affine intensity fit, 8 px border cut; coverage: share of true pixels
within 1.96 standard deviations. Burns & Liu 2023, {stacks}, counted at {electrons} electrons
per pixel and frame, {seeds} times noise (mean over all); patterns and OTF given. The prior learned
from simulated objects of ours alone; its mean is that of {samples} samples of {steps} steps.
{threads} CPU thread, beside other jobs: times are CPU seconds.
"""


def counted(raw: NDArray[np.generic], seed: int) -> NDArray[np.uint16]:
    """Return frames as a camera records them that counts few electrons per pixel.

    The noise that the published frames have already is a sixth of what is added.
    """
    rng = np.random.default_rng([seed, ELECTRONS])
    electrons = rng.poisson(raw.astype(float) * ELECTRONS / raw.mean())
    grey = OFFSET + GAIN * electrons + rng.normal(0, READ_NOISE, raw.shape)
    return np.asarray(np.clip(np.rint(grey), 0, 65535), np.uint16)


@dataclass
class Tally:
    """What was measured, by method."""

    scores: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    coverage: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        begin = time.process_time()
        yield
        self.seconds[name].append(time.process_time() - begin)

    def add(self, name: str, image: Real, case: Case, std: Real | None = None) -> None:
        """Score an image, enlarged to the grid of the truth."""
        assert case.truth is not None
        factor = case.truth.shape[0] // image.shape[0]
        large = _enlarged(image, factor, 3)
        self.scores[name].append(tuple(compare(large, case.truth, BORDER)))
        if std is not None:
            self.coverage[name].append(covered(large, _enlarged(std, factor, 1), case.truth))
        found = [f"{value:.3f}" for value in (*self.scores[name][-1], *self.coverage[name][-1:])]
        print(f"{name}: {' / '.join(found)}", file=sys.stderr, flush=True)

    def line(self, name: str) -> str:
        psnr, ssim = np.mean(self.scores[name], axis=0)
        covers = f"{np.mean(self.coverage[name]):.3f}" if self.coverage[name] else "-"
        seconds = f"{np.mean(self.seconds[name]):.0f}" if self.seconds[name] else "-"
        return f"| {ROWS[name]} | {psnr:.2f} / {ssim:.3f} | {covers} | {seconds} |"


def covered(mean: Real, std: Real, truth: NDArray[np.generic]) -> float:
    """Return the coverage after the affine fit of the image to the truth."""
    cut = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    image, true = mean[cut].astype(float), truth[cut].astype(float)
    slope, level = np.polyfit(image.ravel(), true.ravel(), 1)
    return coverage(slope * image + level, slope * std[cut], true)


def _enlarged(image: Real, factor: int, order: int) -> Real:
    if factor == 1:
        return image
    return np.asarray(spline_zoom(image, factor, order=order, mode="nearest", grid_mode=True))


def without_prior(raw: NDArray[np.uint16], case: Case, tally: Tally, network: bool) -> None:
    """Score the Wiener and the variational image, and the untrained network."""
    assert case.given is not None
    known = case.settings.model_copy(update={"camera_offset": OFFSET, "camera_gain": GAIN})
    frames = (raw.astype(np.float32) - OFFSET).reshape(3, 3, *raw.shape[1:])
    assert case.otf is not None
    with tally.timed("Wiener"):
        image = wiener(frames, case.given, case.otf, known)
    tally.add("Wiener", image, case)
    for name, method in (("variational", "variational"), ("network", "pinn"))[: 1 + network]:
        with tally.timed(name):
            settings = known.model_copy(update={"method": method})
            result = run(reconstruct(raw, settings, patterns=case.given, otf=case.otf))
        tally.add(name, result.image, case, result.std)


def with_prior(
    raw: NDArray[np.uint16],
    case: Case,
    model: GenerativeModel,
    tally: Tally,
    samples: int,
    steps: int,
) -> None:
    """Score samples and their mean."""
    settings = RestoreSettings(
        task="sim",
        na=case.settings.na,
        wavelength_nm=case.settings.wavelength_nm,
        pixel_size_nm=case.settings.pixel_size_nm,
        camera_offset=OFFSET,
        camera_gain=GAIN,
        read_noise=READ_NOISE,
        device="cpu",
    )
    with tally.timed("first"):
        setup = run(set_up_sim(raw, settings, case.given, case.otf))
    assert setup.guess is not None
    assert setup.camera is not None
    tally.add("first", setup.guess, case)
    scale = fitted_scale(model, settings, [setup.guess], setup.camera)
    denoiser = model.denoiser()
    problem = Problem(model, denoiser, scale, setup, setup.camera, 1.0, torch.device("cpu"))
    with tally.timed("mean"):
        solution = problem.sampled("mmps", samples, steps, 0, _tell)
    tally.seconds["mean"][-1] += tally.seconds["first"][-1]
    tally.seconds["sample"].append(tally.seconds["mean"][-1] / samples)
    tally.add("sample", solution.samples[0], case)
    tally.add("mean", solution.mean, case, solution.std)
    print(f"chi2 {float((problem.residual(solution.mean) ** 2).mean()):.3f}", file=sys.stderr)


def _tell(number: int, state: object) -> None:
    print(f"sample {number}: {state.index} of {state.total}", file=sys.stderr, flush=True)  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stacks", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=6)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--network", action="store_true", help="also the untrained network")
    parser.add_argument("--model", type=Path, default=MODELS / "filaments.safetensors")
    parser.add_argument("--dry", action="store_true", help="leave the page as it is")
    options = parser.parse_args()
    if not SIM.is_dir():
        print(f"skipped: the data are not in {SIM}")
        return
    torch.set_num_threads(1)
    model, tally = load(options.model), Tally()
    for case in published(True, options.stacks):
        for seed in range(options.seeds):
            raw = counted(case.raw, seed)
            without_prior(raw, case, tally, options.network)
            with_prior(raw, case, model, tally, options.samples, options.steps)
    lines = ["| method | PSNR / SSIM | 95 % coverage | s |", "|---|---|---|---|"]
    table = "\n".join(lines + [tally.line(name) for name in ROWS if tally.scores[name]])
    count = options.stacks
    note = NOTE.format(
        stacks="stack 1" if count == 1 else f"stacks 1 to {count}",
        electrons=ELECTRONS,
        seeds=options.seeds,
        samples=options.samples,
        steps=options.steps,
        threads=torch.get_num_threads(),
    )
    print(table)
    if not options.dry:
        _page.write("sim-prior", "SIM with a prior", f"{note}\n{table}")


if __name__ == "__main__":
    main()
