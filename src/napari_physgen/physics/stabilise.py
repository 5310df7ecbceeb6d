"""Grey levels whose noise is 1 everywhere: the generalised Anscombe transform, and back.

With u = grey - offset, gain g, read noise s and w0 = sqrt(3/8 g^2 + s^2)

    f = 2/g (sqrt(g u + w0^2) - w0)

(Starck, Murtagh & Bijaoui 1998), here less its value at the offset: then f is 0 without light,
and tends to u / s as the gain vanishes. The mean of f is not f of the mean. The unbiased inverse
leads from the mean of f to the mean grey level; with D = f + 2 w0 / g it is

    u / g = D^2/4 - 1/8 - (s/g)^2 + sqrt(3/2)/4 D^-1 - 11/8 D^-2 + 5/8 sqrt(3/2) D^-3

(Makitalo & Foi, IEEE Trans. Image Process. 22, 91, 2013). It is right within 0.05 photons.

All functions take NumPy arrays or torch tensors, and gradients flow through them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from napari_physgen.physics.noise import Camera

Values = TypeVar("Values", np.ndarray, Tensor)

_A, _B, _C = math.sqrt(3 / 2) / 4, 11 / 8, 5 / 8 * math.sqrt(3 / 2)
_DARKEST = 2 * math.sqrt(3 / 8)  # D without light nor read noise; the series is for D above


def stabilise(grey: Values, camera: Camera) -> Values:
    """Return values whose noise has a standard deviation of 1.

    Nearly so at less than 2 photons: there it is smaller unless read noise fills it up.

    Parameters
    ----------
    grey : array or tensor
        Grey levels.
    camera : Camera
        With a gain or a read noise above 0.
    """
    gain, root = camera.gain, _root(camera)
    light = grey - camera.offset
    if gain > 0:
        # Slightly above the branch point, where the slope of the root is infinite.
        light = light.clip(min=(1e-6 - 1) * root**2 / gain)
    values: Values = 2 * light / ((gain * light + root**2) ** 0.5 + root)
    return values


def unstabilise(values: Values, camera: Camera) -> Values:
    """Return the mean grey level where the mean of the stabilised values is `values`.

    What a denoiser makes of stabilised values are such means.

    Parameters
    ----------
    values : array or tensor
    camera : Camera
    """
    inside, rest = _inside(values, camera)
    grey: Values = _inverse(inside, camera) + _slope(inside, camera) * rest
    return grey


def unstabilise_with_std(mean: Values, std: Values, camera: Camera) -> tuple[Values, Values]:
    """Return mean and standard deviation of the grey level of normally distributed values.

    To second order in `std`: with I the inverse, I + I'' std^2 / 2, and the root of
    (I' std)^2 + (I'' std^2)^2 / 2.

    Parameters
    ----------
    mean, std : array or tensor
        Of the stabilised value of a pixel, given what is known.
    camera : Camera
    """
    inside, rest = _inside(mean, camera)
    slope, bend = _slope(inside, camera), _bend(inside, camera) * std**2
    grey = _inverse(inside, camera) + slope * rest + bend / 2
    return grey, ((slope * std) ** 2 + bend**2 / 2) ** 0.5


def _root(camera: Camera) -> float:
    return math.hypot(math.sqrt(3 / 8) * camera.gain, camera.read_noise)


def _inside(values: Values, camera: Camera) -> tuple[Values, Values]:
    """Return values within the range of the series, and by how much they were below it."""
    if camera.gain == 0:
        return values, 0 * values
    inside = values.clip(min=_DARKEST - 2 * _root(camera) / camera.gain)
    return inside, values - inside


def _reciprocal(values: Values, camera: Camera) -> Values:
    """Return 1 / D."""
    return camera.gain / (camera.gain * values + 2 * _root(camera))


def _inverse(values: Values, camera: Camera) -> Values:
    q = _reciprocal(values, camera)
    series = (1 + values**2) / 4 + _A * q - _B * q**2 + _C * q**3
    return camera.offset + _root(camera) * values + camera.gain * series


def _slope(values: Values, camera: Camera) -> Values:
    q = _reciprocal(values, camera)
    series = values / 2 - _A * q**2 + 2 * _B * q**3 - 3 * _C * q**4
    return _root(camera) + camera.gain * series


def _bend(values: Values, camera: Camera) -> Values:
    q = _reciprocal(values, camera)
    return camera.gain * (0.5 + 2 * _A * q**3 - 6 * _B * q**4 + 12 * _C * q**5)
