"""From masks to micrographs without training: a small model of a scanning electron microscope.

The measured look (`appearance`) gives the mean grey level at every distance from a boundary and
the texture of both phases; the microscope adds brightness that varies between particles, shading,
charging, curtaining, the size of the beam and shot noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
from scipy.signal import lfilter
from scipy.special import expit

from napari_physgen.metrics.particles import connected
from napari_physgen.synthesis.appearance import (
    FINE,
    PARTICLE,
    by_size,
    facing,
)
from napari_physgen.synthesis.draws import factor
from napari_physgen.synthesis.texture import signed_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.synthesis.appearance import Appearance
    from napari_physgen.synthesis.render_settings import RenderSettings

    Real = NDArray[np.float32]
    Labels = NDArray[np.uint8]

_SOFT = 0.7  # px, half the width over which one texture takes over from the other
_EDGE = (0.7, 3.0)  # px, range of the widths of added rims
_RELIEF = (0.5, 1.3)  # of the measured one
_TRAIL = 12.0  # px behind a particle until charge is half gone
_SHADES = (0.15, 0.5)  # correlation lengths of shading, parts of the shorter side


def render(
    labels: Labels,
    look: Appearance,
    settings: RenderSettings,
    random: np.random.Generator,
) -> Real:
    """Return a micrograph of a mask.

    Parameters
    ----------
    labels : numpy.ndarray
        (y, x): 0 matrix, 1 particles, 2 fine particles.
    look : Appearance
        Measured on an image of the same pixel size.
    settings : RenderSettings
    random : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        (y, x) float32, grey levels as in `look`: mostly 0 to 1.
    """
    large = labels == PARTICLE
    distance = signed_distance(large)
    image = _levels(distance, look, settings, random)
    relief = look.relief * random.uniform(*_RELIEF)
    image += facing(distance, look.distances, relief)
    parts = connected(large, periodic=False)
    image += by_size(parts, look.diameters, look.offsets)
    scatter = look.scatter + settings.variation * _contrast(look)
    image += random.uniform(0, 1) * scatter * _per_particle(parts, random)
    image += _fine(labels == FINE, look, random)
    image += _textures(distance, look, settings, random)
    image += _shading(labels.shape, settings.shading, random)
    image += _charging(large, settings.charging, random)
    image += _stripes(labels.shape, settings.curtaining, random)
    image = scipy.ndimage.gaussian_filter(image, random.uniform(0, settings.blur))
    return _shot_noise(image, settings.noise, random)


def _levels(
    distance: Real, look: Appearance, settings: RenderSettings, random: np.random.Generator
) -> Real:
    """Return the mean grey level, with another contrast and rim than the measured ones."""
    middle = float(look.profile.mean())
    levels = middle + (look.profile - middle) * factor(settings.contrast, random)
    width = random.uniform(*_EDGE)
    place = random.uniform(-2, 0.5)
    height = settings.edge_brightness * _contrast(look) * random.uniform(-1, 1)
    rim = height * np.exp(-0.5 * ((distance - place) / width) ** 2)
    return np.asarray(np.interp(distance, look.distances, levels) + rim, np.float32)


def _contrast(look: Appearance) -> float:
    """Return the range of the mean grey levels."""
    return float(np.ptp(look.profile))


def _per_particle(parts: NDArray[np.uint32], random: np.random.Generator) -> Real:
    """Return one normal number for each particle, 0 in the matrix."""
    values = np.concatenate([[0], random.standard_normal(int(parts.max()))]).astype(np.float32)
    return np.asarray(values[parts])


def _fine(mask: NDArray[np.bool_], look: Appearance, random: np.random.Generator) -> Real:
    """Return what fine particles add to the grey level of the matrix around them."""
    if not look.fine.size or not mask.any():
        return np.zeros(mask.shape, np.float32)
    distance = signed_distance(mask)
    dip = np.interp(distance, look.distances, look.fine) * random.uniform(0.6, 1.4)
    return np.asarray(np.where(distance > -4, dip, 0), np.float32)


def _textures(
    distance: Real, look: Appearance, settings: RenderSettings, random: np.random.Generator
) -> Real:
    """Return the textures of both phases, each in its place."""
    share = expit(distance / _SOFT)
    shape = (distance.shape[0], distance.shape[1])
    matrix, particles = (
        factor(settings.texture, random) * texture.draw(shape, random) for texture in look.textures
    )
    return np.asarray(matrix * (1 - share) + particles * share, np.float32)


def _shading(shape: tuple[int, ...], amount: float, random: np.random.Generator) -> Real:
    """Return a slowly varying field."""
    if amount == 0:
        return np.zeros(shape, np.float32)
    sigma = random.uniform(*_SHADES) * min(shape)
    step = max(1, int(sigma / 4))
    coarse = random.standard_normal([n // step + 2 for n in shape])
    smooth = scipy.ndimage.gaussian_filter(coarse, sigma / step, mode="wrap")
    smooth = (smooth - smooth.mean()) / max(float(smooth.std()), 1e-9)
    whole = scipy.ndimage.zoom(smooth, [n / m for n, m in zip(shape, coarse.shape, strict=True)])
    return np.asarray(random.uniform(0, amount) * whole[: shape[0], : shape[1]], np.float32)


def _charging(mask: NDArray[np.bool_], amount: float, random: np.random.Generator) -> Real:
    """Return offsets of scan lines and trails that fade behind particles along x."""
    if amount == 0:
        return np.zeros(mask.shape, np.float32)
    lines = scipy.ndimage.gaussian_filter1d(random.standard_normal(mask.shape[0]), 0.5)
    decay = 0.5 ** (1 / _TRAIL)
    trail = lfilter([1 - decay], [1, -decay], mask.astype(np.float32), axis=1)
    trail -= trail.mean()
    return np.asarray(
        amount * (random.uniform(0, 1) * lines[:, None] + random.uniform(-1, 1) * trail), np.float32
    )


def _stripes(shape: tuple[int, ...], amount: float, random: np.random.Generator) -> Real:
    """Return vertical stripes that are constant over most of the height."""
    if amount == 0:
        return np.zeros(shape, np.float32)
    sigma = (shape[0] / 4, random.uniform(0.7, 2))
    field = scipy.ndimage.gaussian_filter(random.standard_normal(shape), sigma)
    return np.asarray(random.uniform(0, amount) * field / field.std(), np.float32)


def _shot_noise(image: Real, amount: float, random: np.random.Generator) -> Real:
    """Return the image with Poisson noise of a relative strength drawn up to `amount` at 0.5."""
    strength = random.uniform(0, amount)
    if strength == 0:
        return image
    # Var = strength^2 at a grey of 0.5: 1 grey level is 0.5 / strength^2 electrons.
    gain = 2 * strength**2
    floor = min(0.0, float(image.min()))
    electrons = random.poisson(np.maximum(image - floor, 0) / gain)
    return np.asarray(electrons * gain + floor, np.float32)
