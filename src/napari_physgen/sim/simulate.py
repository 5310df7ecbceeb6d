"""Simulated raw SIM stacks of known objects, made by the forward model that reconstructs them.

Object -> patterned light -> lens (`SimOperator`) -> photons (Poisson) -> camera (offset, gain,
Gaussian read noise) -> grey levels. The objects are a field of filaments and a Siemens star.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from napari_physgen.errors import UserError
from napari_physgen.physics.noise import Camera
from napari_physgen.physics.optics import Otf
from napari_physgen.sim._arrangement import Arrangement
from napari_physgen.sim.light import (
    hexagonal,
    plasmonic,
    saturated_stripes,
    speckle,
    stripes,
    three_beam,
)
from napari_physgen.sim.results import Patterns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.sim.settings import SimSettings

CAMERA = Camera(offset=100, gain=2, read_noise=1.5)
"""A typical sCMOS camera."""

MARGIN = 24
"""Raw px around the field in which the object goes on: wider than the visible PSF."""


def simulate(
    object: ArrayLike,  # noqa: A002 - the plain word, part of the public signature
    settings: SimSettings,
    photons: float,
    seed: int,
    patterns: Patterns | ArrayLike | None = None,
    camera: Camera = CAMERA,
    otf: Otf | None = None,
) -> NDArray[np.uint16]:
    """Record a raw SIM stack of a known object.

    Beyond its border the object goes on with its border values.

    Parameters
    ----------
    object : array
        (zoom * y, zoom * x) fluorophore density on the fine grid, >= 0, in any unit.
    settings : SimSettings
        Microscope; `zoom` says how much finer than the camera the object is sampled.
    photons : float
        Detected photons per pixel, mean over the field and over all frames, that is in the
        widefield image of the stack.
    seed : int
        Of the noise and, by default, of the patterns.
    patterns : Patterns or array, optional
        Illumination, also as frames (frame, zoom * y, zoom * x); default
        `default_patterns(settings, seed)`, for "given" the lattice and for "speckle" the speckle
        of `sim.light`.
    camera : Camera, optional
    otf : Otf, optional
        Detection OTF; default ideal with the settings' damping (1 if not set).

    Returns
    -------
    numpy.ndarray
        (frame, y, x), uint16, in the settings' frame order (angle slowest if "auto").

    Raises
    ------
    UserError
        If the object has no light, or its size is not a multiple of the zoom.
    """
    light = np.asarray(object, np.float32)
    if light.ndim != 2 or any(n % settings.zoom for n in light.shape):
        raise UserError(
            f"The object must be one image whose sides are multiples of the zoom "
            f"({settings.zoom}), but its shape is {light.shape}: crop it."
        )
    if not (np.isfinite(light).all() and light.min() >= 0 and light.max() > 0):
        raise UserError(
            "The object must be bright somewhere and nowhere negative or NaN: "
            "subtract its minimum first."
        )
    if patterns is None:
        patterns = default_light(light.shape, settings, seed)
    otf = otf or Otf.ideal(settings.na, settings.wavelength_nm, settings.otf_damping or 1.0)
    expected = _image(light, settings, patterns, otf)
    if Arrangement.parse(settings.order).plain == "phase-angle":
        expected = expected.swapaxes(0, 1)
    frames = expected.reshape(-1, *expected.shape[2:])
    rng = np.random.default_rng([seed, 1])
    electrons = rng.poisson(frames * (photons / frames.mean()))
    grey = camera.offset + camera.gain * electrons
    grey = grey + camera.read_noise * rng.standard_normal(grey.shape)
    return np.asarray(np.clip(np.rint(grey), 0, 65535), np.uint16)


def _image(
    light: NDArray[np.float32], settings: SimSettings, patterns: Patterns | ArrayLike, otf: Otf
) -> NDArray[np.float64]:
    """Return the noise-free frames (angle, phase, y, x) of an object."""
    import torch

    from napari_physgen.sim.forward import Canvas, SimOperator

    height, width = light.shape
    zoom = settings.zoom
    canvas = Canvas.around((height // zoom, width // zoom), zoom, MARGIN)
    if isinstance(patterns, Patterns):
        operator = SimOperator.sinusoidal(patterns, otf, canvas)
    else:
        frames = np.asarray(patterns, np.float32)
        pixel = settings.pixel_size_nm
        operator = SimOperator.given(frames, settings.angles, otf, canvas, pixel)
    with torch.no_grad():
        frames = operator(canvas.pad(torch.from_numpy(light), zoom)).numpy().astype(float)
    # A band limit leaves faint ripples; beside a bright line they may dip below zero.
    return np.asarray(np.maximum(frames, 0))


def default_light(
    shape: tuple[int, ...], settings: SimSettings, seed: int
) -> Patterns | NDArray[np.float32]:
    """Return ideal illumination of the settings' kind for an object of `shape`."""
    fine = (shape[0], shape[1])
    if settings.pattern == "given":
        return plasmonic(fine, settings, settings.frames, seed)
    if settings.pattern == "speckle":
        return speckle(fine, settings, settings.frames, seed)
    return default_patterns(settings, seed)


def default_patterns(settings: SimSettings, seed: int, modulation: float | None = None) -> Patterns:
    """Return ideal illumination of the settings' kind: equal spacing, equal steps.

    The period follows from the excitation aperture if the settings have it; else the finest wave
    lies at 0.9 times the detection cutoff. Rotation and first phases are random. `modulation` is
    that of stripes, 0.8 by default.
    """
    if settings.pattern == "three-beam":
        return three_beam(settings, seed)
    if settings.pattern == "hexagonal":
        return hexagonal(settings, seed)
    if settings.pattern == "saturated":
        return saturated_stripes(settings, seed)
    return stripes(settings, seed, 0.8 if modulation is None else modulation)


def filaments(shape: tuple[int, int], seed: int, background: float = 0.02) -> NDArray[np.float32]:
    """Return curved, crossing filaments like microtubules over a faint haze, brightest 1.

    Parameters
    ----------
    shape : (int, int)
        Image size (y, x), px; filaments are about 1.5 px wide.
    seed : int
    background : float
        Brightness of the haze.
    """
    rng = np.random.default_rng(seed)
    image = np.zeros(shape)
    length = 1.2 * max(shape)
    # Mean distance between neighbours of about 18 px: some parts resolved, some crowded.
    count = max(4, round(shape[0] * shape[1] / (18 * length)))
    for _ in range(count):
        points = filament_path(rng, shape, length)
        # Labels sit unevenly along a filament.
        labels = scipy.ndimage.gaussian_filter1d(rng.standard_normal(len(points)), 24)
        brightness = rng.uniform(0.5, 1) * np.exp(0.3 * labels / labels.std())
        draw(image, points, brightness)
    image = scipy.ndimage.gaussian_filter(image, 0.6)
    haze = scipy.ndimage.gaussian_filter(image, max(shape) / 12, mode="reflect")
    image = image / np.percentile(image, 99.9) + background * (0.5 + haze / haze.mean())
    return np.asarray(image / image.max(), np.float32)


def filament_path(
    rng: np.random.Generator, shape: tuple[int, int], length: float, step: float = 0.25
) -> NDArray[np.float64]:
    """Return points (n, 2), y and x in px, along a curve with slowly changing curvature."""
    count = round(length / step)
    bends = scipy.ndimage.gaussian_filter1d(rng.standard_normal(count), 60 / step)
    curvature = bends / bends.std() / rng.uniform(80, 300)
    direction = rng.uniform(0, 2 * np.pi) + np.cumsum(curvature) * step
    path = np.cumsum(np.stack([np.sin(direction), np.cos(direction)], -1), axis=0) * step
    middle = rng.uniform(0, 1, 2) * shape
    return np.asarray(path - path[count // 2] + middle)


def draw(
    image: NDArray[np.float64], points: NDArray[np.float64], brightness: NDArray[np.float64]
) -> None:
    """Add points at sub-pixel places to `image`, shared among their four pixels."""
    corner = np.floor(points).astype(int)
    part = points - corner
    for d_y in (0, 1):
        for d_x in (0, 1):
            y, x = corner[:, 0] + d_y, corner[:, 1] + d_x
            share = np.abs(1 - d_y - part[:, 0]) * np.abs(1 - d_x - part[:, 1])
            inside = (y >= 0) & (y < image.shape[0]) & (x >= 0) & (x < image.shape[1])
            np.add.at(image, (y[inside], x[inside]), (share * brightness)[inside])


def siemens_star(
    shape: tuple[int, int], spokes: int = 36, background: float = 0.02
) -> NDArray[np.float32]:
    """Return a Siemens star: at radius r its period is 2 pi r / `spokes`; brightest 1.

    Parameters
    ----------
    shape : (int, int)
        Image size (y, x), px.
    spokes : int
        Number of bright spokes.
    background : float
        Brightness between and around them.
    """
    fine = 4  # samples per pixel and axis: smooth edges
    y, x = ((np.arange(n * fine, dtype=np.float32) + 0.5) / fine - n / 2 for n in shape)
    radius = np.hypot(y[:, None], x)
    bright = np.cos(spokes * np.arctan2(y[:, None], x)) > 0
    star = (bright & (radius < 0.45 * min(shape))).astype(np.float32)
    blocks = star.reshape(shape[0], fine, shape[1], fine).mean((1, 3))
    return np.asarray(background + (1 - background) * blocks, np.float32)
