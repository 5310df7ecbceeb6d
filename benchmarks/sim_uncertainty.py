"""How often the standard deviation of a SIM image covers its true error.

    python benchmarks/sim_uncertainty.py --write
    python benchmarks/sim_uncertainty.py --rows spots
    python benchmarks/sim_uncertainty.py --calibrate      the factor BIAS in sim/uncertainty.py

The objects are others than those that the factor was fitted to.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.ndimage
import scipy.optimize
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

import _page
from _data import SIM, biosr, published

from napari_physgen.backend import run
from napari_physgen.metrics.image import fit_intensity, match_blur
from napari_physgen.physics.optics import Otf
from napari_physgen.sim import SimSettings, estimate_patterns
from napari_physgen.sim.case import Case
from napari_physgen.sim.curriculum import exercise
from napari_physgen.sim.measurement import Measurement
from napari_physgen.sim.pinn import Unchanged, correct, prepare, teach
from napari_physgen.sim.scene import first_guess
from napari_physgen.sim.simulate import CAMERA, default_patterns, filaments, siemens_star, simulate
from napari_physgen.sim.uncertainty import element
from napari_physgen.sim.variational import solve
from napari_physgen.sim.views import jackknife

Image = NDArray[np.floating]

SETTINGS = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80, device="cpu")
SIZE, SEED = 64, 31
PHOTONS = (9, 60, 240)
CALIBRATION = range(70200, 70210)
NOTE = """\
Share of the pixels whose true error is within 1.96 standard deviations; 95 % is right. "Jackknife":
without the term for what smoothness and positivity take away. "Finest detail": image, truth and
standard deviation averaged over a resolution element. Simulated: 9 x 64 x 64, patterns estimated
from the frames where there is enough light (else given), photons per pixel and frame. Burns & Liu:
a crop of 64 x 64, patterns given. BioSR: GT-SIM at matched blur stands for the truth, and has noise
and errors of its own; "two halves": difference of two independent images, noise alone.
"""
HEAD = (
    "| data | pixel: jackknife | pixel: std | finest detail: jackknife | finest detail: std |",
    "|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Judged:
    """An image with its standard deviations, all (y, x) in grey levels."""

    image: Image
    jackknife: Image
    std: Image
    blur: float


def judged(case: Case, network: bool = False) -> Judged:
    """Solve a stack and return its image with the standard deviation, before and after."""
    settings, cpu = case.settings, torch.device("cpu")
    operator = case.operator(cpu)
    measurement = Measurement.of(case.frames, case.camera, settings.seed, cpu)
    scene = first_guess(operator, measurement)
    solution = run(solve(scene, measurement, settings))
    subject = run(prepare(scene, measurement, solution.regularisation, settings))
    networks = [Unchanged()]
    if network:
        networks, _ = run(teach([subject], settings))
    refined = correct(networks, subject)
    with torch.no_grad():
        folds = torch.stack(
            [
                torch.stack([net_view.rho(net) for net in networks]).mean(0)
                for net_view in subject.views
            ]
        )

    def field(image: torch.Tensor) -> Image:
        return operator.canvas.crop(image.detach(), settings.zoom).numpy().astype(float)

    plain = field(jackknife(folds).sqrt())
    return Judged(field(refined.rho), plain, field(refined.std), element(settings))


def covered(error: Image, std: Image) -> float:
    return float(np.mean(np.abs(error) <= 1.96 * std))


def cells(found: Judged, truth: Image) -> str:
    """Return coverage before and after, per pixel and per resolution element."""
    error = found.image - truth

    def coarse(image: Image) -> Image:
        return scipy.ndimage.gaussian_filter(image, found.blur)

    shares = [covered(error, found.jackknife), covered(error, found.std)]
    shares += [covered(coarse(error), coarse(s)) for s in (found.jackknife, found.std)]
    return " | ".join(f"{100 * share:.0f} %" for share in shares)


def simulated(make: Callable[[], Image], photons: float, network: bool = False) -> str:
    """Return the cells of a simulated object."""
    light = make()
    patterns = default_patterns(SETTINGS, SEED)
    raw = simulate(light, SETTINGS, photons, SEED, patterns)
    otf = Otf.ideal(SETTINGS.na, SETTINGS.wavelength_nm)
    found = run(estimate_patterns(raw, SETTINGS, otf))
    if found.verdict.startswith("failed"):
        found = patterns
    shape = (3, 3, *raw.shape[1:])
    case = Case(raw.astype(np.float32).reshape(shape), found, otf, CAMERA, SETTINGS)
    truth = light * (raw.mean() - CAMERA.offset) / _mean_of_frames(light, case)
    return cells(judged(case, network), truth)


def _mean_of_frames(light: Image, case: Case) -> float:
    operator = case.operator(torch.device("cpu"))
    canvas = operator.canvas
    with torch.no_grad():
        frames = operator(canvas.pad(torch.from_numpy(light.astype(np.float32)), canvas.zoom))
    return float(frames.mean())


def spots() -> Image:
    """Return vesicles: discs of 2 to 5 fine px, some touching."""
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[: 2 * SIZE, : 2 * SIZE]
    image = np.full((2 * SIZE, 2 * SIZE), 0.02)
    for _ in range(60):
        centre, radius = rng.uniform(0, 2 * SIZE, 2), rng.uniform(1, 2.5)
        distance = np.hypot(y - centre[0], x - centre[1])
        image += rng.uniform(0.3, 1) * np.clip(radius + 0.5 - distance, 0, 1)
    return image


def reticulum() -> Image:
    """Return the walls between the cells of random points, as the endoplasmic reticulum's tubes."""
    rng = np.random.default_rng(SEED)
    points = rng.uniform(-10, 2 * SIZE + 10, (60, 2))
    y, x = np.mgrid[: 2 * SIZE, : 2 * SIZE]
    distance = np.hypot(y[..., None] - points[:, 0], x[..., None] - points[:, 1])
    near = np.sort(distance, -1)
    return 0.03 + np.exp(-0.5 * ((near[..., 1] - near[..., 0]) / 2.5) ** 2)


def paper(number: int) -> str:
    """Return the cells of a published stack of Burns & Liu, with a quarter of its light."""
    stack = list(published(given=True, stacks=number))[-1]
    rng = np.random.default_rng(SEED)
    thin = rng.binomial(stack.raw.astype(int), 0.25)[:, 20:84, 20:84]
    zoom = stack.settings.zoom
    truth = stack.truth[20 * zoom : 84 * zoom, 20 * zoom : 84 * zoom].astype(float)
    case = _measured(
        replace(stack, raw=thin, given=stack.given.cropped(20, 20)),
        stack.given.cropped(20, 20),
        0.0,
    )
    found = judged(case)
    return cells(found, fit_intensity(truth, found.image))


def thin_biosr(electrons: float) -> str:
    """Return the cells of BioSR level 09 thinned, against GT-SIM at matched blur."""
    stack = next(biosr(electrons))
    patterns = run(estimate_patterns(stack.raw, stack.settings, stack.otf))
    found = judged(_measured(stack, patterns, stack.offset))
    truth = np.asarray(stack.truth, float)
    sigma = match_blur(found.image, truth).sigma

    def at_blur(image: Image) -> Image:
        return scipy.ndimage.gaussian_filter(image, sigma)

    image = at_blur(found.image)
    plain, std = at_blur(found.jackknife), at_blur(found.std)
    return cells(Judged(image, plain, std, found.blur), fit_intensity(truth, image))


def halves() -> str:
    """Return how the jackknife covers the difference of two halves of BioSR level 09."""
    stack = next(biosr(48))
    rng = np.random.default_rng(SEED)
    many = np.maximum(np.rint((stack.raw.astype(float) - stack.offset) / 2.46), 0).astype(int)
    one = rng.binomial(many, 0.5)
    patterns = run(estimate_patterns(stack.raw, stack.settings, stack.otf))
    first, second = (
        judged(_measured(replace(stack, raw=stack.offset + 2.46 * part), patterns, stack.offset))
        for part in (one, many - one)
    )
    spread = np.hypot(first.jackknife, second.jackknife)
    pair = Judged(first.image - second.image, spread, spread, first.blur)
    left, _, right, _ = cells(pair, np.zeros_like(spread)).split(" | ")
    return f"{left} | - | {right} | -"


def _measured(stack, patterns, offset: float) -> Case:
    from napari_physgen.physics.noise import estimate_camera

    settings = stack.settings.model_copy(update={"device": "cpu"})
    frames = stack.raw.astype(np.float32)
    camera = estimate_camera(frames, settings.cutoff, settings.pixel_size_nm, offset=offset)
    shape = (settings.angles, settings.phases, *frames.shape[1:])
    return Case(frames.reshape(shape), patterns, stack.otf, camera, settings)


def rows() -> Iterator[tuple[str, Callable[[], str]]]:
    objects: dict[str, Callable[[], Image]] = {
        "filaments": lambda: filaments((2 * SIZE, 2 * SIZE), seed=SEED),
        "spots": spots,
        "reticulum": reticulum,
        "Siemens star": lambda: siemens_star((2 * SIZE, 2 * SIZE)),
    }
    for name, make in objects.items():
        for photons in PHOTONS:
            yield f"{name}, {photons} photons", lambda m=make, p=photons: simulated(m, p)
    yield "filaments, 60 photons, with network", lambda: simulated(objects["filaments"], 60, True)
    if SIM.is_dir():
        for number in (1, 2):
            yield f"Burns & Liu, stack {number}, thinned to 1/4", lambda n=number: paper(n)
        for electrons in (24, 9):
            yield f"BioSR thinned, {electrons} e-", lambda e=electrons: thin_biosr(e)
        yield "BioSR, two halves of 24 e-", halves


def calibrate() -> None:
    """Print the factors of noise and bias that make the true errors of exercises likeliest."""
    errors, noises, biases = [], [], []
    for seed in CALIBRATION:
        task = exercise(seed, SIZE)
        found = judged(task.case)
        canvas = task.case.operator(torch.device("cpu")).canvas
        truth = canvas.crop(task.truth, canvas.zoom).numpy()
        noise = scipy.ndimage.gaussian_filter(found.jackknife**2, found.blur)
        errors.append(found.image - truth)
        noises.append(noise)
        biases.append(np.maximum(found.std**2 - noise, 0))
        print(seed, covered(errors[-1], found.std), flush=True)

    def unlikely(logs: NDArray[np.float64]) -> float:
        total = 0.0
        for error, noise, bias in zip(errors, noises, biases, strict=True):
            variance = np.exp(logs[0]) * noise + np.exp(logs[1]) * bias
            total += float(np.mean(np.log(variance) + error**2 / variance))
        return total

    best = scipy.optimize.minimize(unlikely, np.zeros(2), method="Nelder-Mead").x
    print("noise times", np.exp(best[0] / 2), "bias times", np.exp(best[1] / 2), "of the present")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--write", action="store_true", help="fill in docs/benchmarks.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.calibrate:
        calibrate()
        return
    names = [name for name, _ in rows()]
    for name, measure in rows():
        if options.rows.lower() in name.lower():
            line = f"| {name} | {measure()} |"
            print(line, flush=True)
            if options.write:  # at once: a row takes a while
                known = _page.rows("sim-uncertainty") | {name: line}
                lines = [known[name] for name in names if name in known]
                text = "\n".join([NOTE, *HEAD, *lines])
                _page.write("sim-uncertainty", "SIM standard deviation", text)


if __name__ == "__main__":
    main()
