"""Texture of a phase: what its mean grey levels leave over, measured and drawn again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import scipy.ndimage
from scipy.special import ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float32]
    Mask = NDArray[np.bool_]

_QUANTILES = np.linspace(0.002, 0.998, 64)
_LAGS, _FARTHEST = 5.0, 64  # at most this part of the shorter side; px
_FEWEST = 50  # pixels of a phase
_MOST, _REAL, _FADE = 0.6, 0.5, 2.0  # share of a phase, probability, px
_NONE = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Texture:
    """What is left of a phase after its mean profile.

    Parameters
    ----------
    correlation : numpy.ndarray
        (2 lag + 1, 2 lag + 1) autocovariance over its variance, lag 0 in the centre, tapered.
    quantiles : numpy.ndarray
        (64,) grey levels of the normal quantiles `_QUANTILES`.
    sample : numpy.ndarray
        (y, x) of the image itself, where the phase fills most of it; empty otherwise. Its ridges
        and flakes are what no correlation describes.
    """

    correlation: Real
    quantiles: Real
    sample: Real

    def draw(self, shape: tuple[int, int], random: np.random.Generator) -> Real:
        """Return a texture (y, x): drawn from the statistics, or half of the time the sample."""
        if self.sample.size and random.random() < _REAL:
            return _shifted(self.sample, shape, random)
        return self._random(shape, random)

    def _random(self, shape: tuple[int, int], random: np.random.Generator) -> Real:
        """Return a random field (y, x) with this correlation and these grey levels."""
        lag = self.correlation.shape[0] // 2
        padded = tuple(scipy.fft.next_fast_len(n + lag, real=True) for n in shape)
        kernel = np.zeros(padded, np.float32)
        size = min(2 * lag + 1, *padded)
        cut = lag - size // 2
        centre = self.correlation[cut : cut + size, cut : cut + size]
        kernel[:size, :size] = centre
        kernel = np.roll(kernel, (-(size // 2),) * 2, (0, 1))
        power = np.maximum(scipy.fft.rfft2(kernel).real, 0)
        noise = scipy.fft.rfft2(random.standard_normal(padded, dtype=np.float32))
        field = scipy.fft.irfft2(noise * np.sqrt(power), padded)[: shape[0], : shape[1]]
        field /= max(float(field.std()), 1e-9)
        return np.asarray(np.interp(field, _normal_quantiles(), self.quantiles), np.float32)


def signed_distance(mask: Mask) -> Real:
    """Return the distance of pixel centres to the boundary, px, positive inside of the mask."""
    inside = scipy.ndimage.distance_transform_edt(mask)
    outside = scipy.ndimage.distance_transform_edt(~mask)
    return np.asarray(np.where(mask, inside - 0.5, 0.5 - outside), np.float32)


def texture_of(rest: Real, phase: Mask) -> Texture:
    """Measure the texture of the pixels of a phase."""
    if phase.sum() < _FEWEST:
        phase = np.ones_like(phase)
    values = rest[phase]
    quantiles = np.quantile(values, _QUANTILES).astype(np.float32)
    quantiles -= np.float32(np.median(values))
    lag = int(min(min(rest.shape) / _LAGS, _FARTHEST))
    padded = [scipy.fft.next_fast_len(n + lag, real=True) for n in rest.shape]
    clipped = np.clip(rest - values.mean(), *np.quantile(values - values.mean(), (0.002, 0.998)))
    pairs = _correlate(phase.astype(float), padded, lag)
    products = _correlate(np.where(phase, clipped, 0), padded, lag)
    covariance = products / np.maximum(pairs, 1e-3 * pairs.max())
    ramp = np.hypot(*np.mgrid[-lag : lag + 1, -lag : lag + 1]) / (lag + 1)
    taper = np.cos(np.pi / 2 * np.minimum(ramp, 1)) ** 2
    centre = max(float(covariance[lag, lag]), 1e-12)
    texture = Texture((covariance * taper / centre).astype(np.float32), quantiles, _NONE)
    return (
        replace(texture, sample=_sample(texture, rest, phase)) if phase.mean() > _MOST else texture
    )


def _sample(texture: Texture, rest: Real, phase: Mask) -> Real:
    """Return what is left of the phase, with random texture where the other phase is."""
    shape = (rest.shape[0], rest.shape[1])
    share = signed_distance(phase) / _FADE - 1  # nothing from the boundary itself
    share = np.clip(share, 0, 1)
    fill = texture._random(shape, np.random.default_rng(0))
    clipped = np.clip(rest, texture.quantiles[0], texture.quantiles[-1])
    return np.asarray(share * clipped + (1 - share) * fill, np.float32)


def _shifted(sample: Real, shape: tuple[int, int], random: np.random.Generator) -> Real:
    """Return a mirrored sample from a random place on, continued by its mirror image."""
    turned = np.flip(sample, tuple(axis for axis in (0, 1) if random.random() < 0.5))
    missing = [(0, max(n - m, 0)) for n, m in zip(shape, turned.shape, strict=True)]
    turned = np.pad(turned, missing, mode="symmetric")
    y, x = (int(random.integers(m - n + 1)) for n, m in zip(shape, turned.shape, strict=True))
    return np.asarray(turned[y : y + shape[0], x : x + shape[1]])


def _correlate(field: NDArray[np.float64], padded: list[int], lag: int) -> NDArray[np.float64]:
    power = np.abs(scipy.fft.rfft2(field, padded)) ** 2
    whole = np.roll(scipy.fft.irfft2(power, padded), (lag, lag), (0, 1))
    return np.asarray(whole[: 2 * lag + 1, : 2 * lag + 1])


def _normal_quantiles() -> NDArray[np.float64]:
    return np.asarray(ndtri(_QUANTILES))
