"""Simulated stacks of random objects through random microscopes, for networks to start from.

Nothing of them is meant to look like one particular sample: filaments, spots, rings and membranes
of any density and brightness; apertures, pixel sizes, periods, contrasts, doses, uneven light,
unmodulated haze and errors of the estimated patterns in wide ranges (domain randomisation;
Tobin et al., IROS 2017; for SIM: Christensen et al., Biomed. Opt. Express 12, 2720 (2021)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import torch

from napari_physgen.physics.noise import Camera
from napari_physgen.physics.optics import Otf
from napari_physgen.sim.case import Case
from napari_physgen.sim.results import Patterns
from napari_physgen.sim.scene import enlarged
from napari_physgen.sim.settings import SimSettings
from napari_physgen.sim.simulate import draw, filament_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float64]

LAYOUTS = ((3, 3), (3, 3), (3, 5), (2, 3), (5, 3))
"""Angles and phases, equally likely."""

KINDS = ("filaments", "filaments", "filaments", "spots", "rings", "membrane")


@dataclass(frozen=True)
class Exercise:
    """A stack with its truth.

    Parameters
    ----------
    case : Case
        With the patterns and the OTF as an estimate would give them.
    truth : torch.Tensor
        (y, x) on the fine canvas, grey levels.
    """

    case: Case
    truth: torch.Tensor


def exercise(seed: int, size: int = 128, zoom: int = 2) -> Exercise:
    """Simulate one stack (angle, phase, size, size) of a random object."""
    rng = np.random.default_rng([seed, 5])
    settings = _microscope(rng, zoom, seed)
    light = _patterns(rng, settings)
    damping = float(np.exp(rng.uniform(np.log(0.12), 0)))
    otf = Otf.ideal(settings.na, settings.wavelength_nm, damping)
    shape = (settings.angles, settings.phases, size, size)
    plan = Case(np.zeros(shape, np.float32), light, otf, Camera(0, 1, 1), settings)
    operator = plan.operator(torch.device("cpu"))
    operator.set_log_gain(_uneven(rng, settings.angles, size))
    truth = torch.from_numpy(random_object(rng, operator.canvas.fine_size[0]).astype(np.float32))
    truth = truth[:, : operator.canvas.fine_size[1]]
    with torch.no_grad():
        clean = operator(truth).clamp_min(0).numpy().astype(float)
    if rng.random() < 0.5:
        haze = rng.uniform(0, 0.5) * scipy.ndimage.gaussian_filter(
            clean.mean((0, 1)), rng.uniform(4, 15)
        )
        clean += haze
        # Light is not to be lost: it stays in the image, as in all images of this tool.
        truth = truth + enlarged(operator.canvas, torch.from_numpy(haze).float())
    electrons = float(np.exp(rng.uniform(np.log(3), np.log(300))))
    camera = Camera(100.0, float(rng.uniform(1, 3)), float(rng.uniform(0.5, 2)))
    dose = electrons / clean.mean()
    grey = camera.offset + camera.gain * rng.poisson(dose * clean)
    grey = grey + camera.read_noise * rng.standard_normal(grey.shape)
    found = Case(
        grey.astype(np.float32),
        _estimated(rng, light, electrons, size),
        otf.damped(float(np.clip(damping * np.exp(rng.normal(0, 0.15)), 0.08, 1))),
        camera,
        settings,
    )
    return Exercise(found, truth * float(dose * camera.gain))


def _microscope(rng: np.random.Generator, zoom: int, seed: int) -> SimSettings:
    na, emission = rng.uniform(1.1, 1.5), rng.uniform(500, 680)
    angles, phases = LAYOUTS[rng.integers(len(LAYOUTS))]
    return SimSettings(
        na=float(na),
        wavelength_nm=float(emission),
        pixel_size_nm=float(emission / (4 * na) * rng.uniform(0.6, 1.0)),
        angles=angles,
        phases=phases,
        zoom=zoom,
        seed=seed,
    )


def _patterns(rng: np.random.Generator, settings: SimSettings) -> Patterns:
    angles, phases = settings.angles, settings.phases
    k = settings.cutoff * rng.uniform(0.7, 1.15)
    turn = rng.uniform(-np.pi / 2, np.pi / 2) + np.pi / angles * np.arange(angles)
    steps = 2 * np.pi * np.arange(phases) / phases + rng.normal(
        0, rng.choice([0, 0.2]), (angles, phases)
    )
    depth = rng.uniform(0.25, 1) * (1 + 0.1 * rng.standard_normal(angles))
    strength = 1 + rng.normal(0, 0.02, (angles, phases))
    return Patterns(
        wavevectors=k * np.stack([np.sin(turn), np.cos(turn)], -1),
        phases=rng.uniform(-np.pi, np.pi, (angles, 1)) + steps,
        modulation=np.clip(depth, 0.1, 1),
        peak_ratio=np.full(angles, np.inf),
        order="angle-phase",
        verdict="good",
        pixel_size_nm=settings.pixel_size_nm,
        intensities=strength / strength.mean(),
    )


def _estimated(rng: np.random.Generator, light: Patterns, electrons: float, size: int) -> Patterns:
    """Return patterns with errors as at such a dose (measured on simulated stacks)."""
    error = np.radians(min(8.0, 20 / np.sqrt(electrons)))
    step = 1000 / (size * light.pixel_size_nm)
    depth = light.modulation * (1 + rng.normal(0, 0.07, light.modulation.shape))
    return replace(
        light,
        wavevectors=light.wavevectors + rng.normal(0, 0.02 * step, light.wavevectors.shape),
        phases=light.phases + rng.normal(0, error, light.phases.shape),
        modulation=np.clip(depth, 0.05, 1.1),
    )


def _uneven(rng: np.random.Generator, angles: int, size: int) -> torch.Tensor:
    """Return smooth gains, logarithm (angle, 1, y, x)."""
    smooth = rng.uniform(10, 40)
    maps = [
        scipy.ndimage.gaussian_filter(rng.standard_normal((size, size)), smooth, mode="reflect")
        for _ in range(angles)
    ]
    log_gain = rng.uniform(0, 0.15) * np.stack(maps) / np.std(maps)
    return torch.from_numpy(log_gain[:, None].astype(np.float32))


def random_object(rng: np.random.Generator, size: int) -> Image:
    """Return a random object (size, size) over a faint background, bright parts about 1."""
    image = _OBJECTS[str(rng.choice(KINDS))](rng, size)
    # Of few spots the percentile is 0.
    image = image / max(np.percentile(image, 99.5), 0.1 * image.max(), 1e-9)
    haze = scipy.ndimage.gaussian_filter(image, size / rng.uniform(8, 16), mode="reflect")
    return np.asarray(
        image + rng.uniform(0, 0.08) + rng.choice([0, 1]) * rng.uniform(0, 0.4) * haze
    )


def _filaments(rng: np.random.Generator, size: int) -> Image:
    image = np.zeros((size, size))
    spacing = np.exp(rng.uniform(np.log(8), np.log(50)))
    length = 1.2 * size
    for _ in range(max(3, round(size**2 / (spacing * length)))):
        points = filament_path(rng, (size, size), length)
        if rng.random() < 0.3:
            first, last = np.sort(rng.integers(0, len(points), 2))
            points = points[first : last + 20]
        smooth = np.exp(rng.uniform(np.log(4), np.log(40)))
        labels = scipy.ndimage.gaussian_filter1d(rng.standard_normal(len(points)), smooth)
        labels = (labels - labels.mean()) / (labels.std() + 1e-9)
        uneven = np.exp(rng.uniform(0, 0.5) * labels)
        draw(image, points, np.exp(rng.normal(0, 0.35)) * uneven)
    return np.asarray(scipy.ndimage.gaussian_filter(image, rng.uniform(0.5, 1.6)))


def _spots(rng: np.random.Generator, size: int) -> Image:
    image = np.zeros((size, size))
    count = int(size**2 * np.exp(rng.uniform(np.log(3e-4), np.log(1.5e-2))))
    draw(image, rng.uniform(0, size, (count, 2)), np.exp(rng.normal(0, 0.5, count)))
    return np.asarray(scipy.ndimage.gaussian_filter(image, rng.uniform(0.6, 3)))


def _rings(rng: np.random.Generator, size: int) -> Image:
    image = np.zeros((size, size))
    turn = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    for _ in range(1 + int(size**2 * np.exp(rng.uniform(np.log(3e-4), np.log(3e-3))))):
        ring = np.stack([np.sin(turn), rng.uniform(0.7, 1) * np.cos(turn)], -1)
        points = rng.uniform(0, size, 2) + rng.uniform(2, 9) * ring
        draw(image, points, np.full(turn.size, np.exp(rng.normal(0, 0.5))))
    return np.asarray(scipy.ndimage.gaussian_filter(image, rng.uniform(0.6, 1.5)))


def _membrane(rng: np.random.Generator, size: int) -> Image:
    """Return the level lines of a smooth random field: tubes and sheets' edges."""
    field = rng.standard_normal((size, size))
    field = scipy.ndimage.gaussian_filter(field, rng.uniform(4, 14), mode="wrap")
    field /= field.std()
    width = rng.uniform(0.09, 0.27)
    lines = [np.exp(-0.5 * ((field - level) / width) ** 2) for level in (0, 1)]
    return np.asarray(
        scipy.ndimage.gaussian_filter(lines[0] + 0.4 * lines[1], rng.uniform(0.5, 1.2))
    )


_OBJECTS = {"filaments": _filaments, "spots": _spots, "rings": _rings, "membrane": _membrane}
