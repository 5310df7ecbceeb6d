"""What is measured on a patch: entropy, spectrum, correlation and statistics of its texture.

The texture statistics follow Portilla and Simoncelli, Int. J. Comput. Vis. 40, 49 (2000): moments
of band-passed images and correlations of the magnitudes between scales and directions. They need
no training and no weights, so that they are the same on every computer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.metrics.microstructure import (
    FEWEST_PERIODS,
    autocorrelation,
    power_spectrum,
    radial_profile,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]

GREYS = 256
WAVELENGTHS = (3.0, 6.0, 12.0, 24.0)
"""Centres of the band-passes, px: one octave apart, from the pixel noise to the particles."""

DIRECTIONS = 4
_OCTAVES = 0.55  # standard deviation of ln(frequency) that makes the bands touch: about 1.5 octaves
_BANDS_PER_OCTAVE = 3
_TINY = 1e-12


@dataclass(frozen=True)
class Measured:
    """What is known of one patch.

    Parameters
    ----------
    entropy : float
        Of the grey values, bits.
    frequency, power : numpy.ndarray
        Bands of spatial frequency (1/px) and log10 of the power in them.
    correlation : numpy.ndarray
        (2 reach + 1, 2 reach + 1), the autocorrelation with lag 0 in the centre.
    features : mapping
        Statistics by name.
    """

    entropy: float
    frequency: Real
    power: Real
    correlation: Real
    features: dict[str, float]


def measure(patch: NDArray[np.floating], step: float = 0.0) -> Measured:
    """Measure one patch (y, x) whose grey values run from about 0 to 1, `step` apart."""
    values = np.asarray(patch, np.float64)
    frequency, power = _bands(values)
    correlation = autocorrelation(values, min(values.shape) // 4)
    bits = entropy(values, step)
    features = (
        _grey(values, bits)
        | {f"spectrum at {1 / k:.1f} px": p for k, p in zip(frequency, power, strict=True)}
        | _lags(correlation)
        | _texture(values)
    )
    return Measured(bits, frequency, power, correlation, features)


def entropy(values: NDArray[np.floating], step: float = 0.0) -> float:
    """Return Shannon's entropy of the histogram with 256 greys from 0 to 1, bits.

    H = - sum_i p_i log2 p_i. What lies beyond 0 and 1 counts as black and white.

    Parameters
    ----------
    values : numpy.ndarray
    step : float
        Distance of the grey values of a rounded image, over which each value is spread: an image
        of 100 greys stretched to 256 would have an entropy too low by more than one bit.
    """
    edges = np.linspace(0, 1, GREYS + 1)[1:-1]
    ordered = np.sort(values, None).astype(np.float64)
    if step > 0:
        # The integral of the number of smaller values, averaged over the width.
        total = np.concatenate([[0.0], np.cumsum(ordered)])
        ends = edges[:, None] + np.array([-step / 2, step / 2])
        smaller = np.searchsorted(ordered, ends)
        below = np.diff(smaller * ends - total[smaller])[:, 0] / step
    else:
        below = np.searchsorted(ordered, edges).astype(float)
    share = np.diff(below, prepend=0.0, append=float(values.size)) / values.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def _bands(values: Real) -> tuple[Real, Real]:
    """Return log10 of the power in bands of a third of an octave."""
    k, power = power_spectrum(values)
    band = np.floor(np.log2(0.5 / k) * _BANDS_PER_OCTAVE).astype(int)
    kept = k > FEWEST_PERIODS / min(values.shape)
    centres, levels = [], []
    for number in np.unique(band[kept])[::-1]:
        inside = kept & (band == number)
        centres.append(k[inside].mean())
        levels.append(np.log10(power[inside].mean() + _TINY))
    return np.array(centres), np.array(levels)


def _grey(values: Real, bits: float) -> dict[str, float]:
    mean, spread, skewness, kurtosis = _moments(values)
    low, high = np.percentile(values, (5, 95))
    return {
        "grey entropy": bits,
        "grey mean": mean,
        "grey contrast": np.log(spread + _TINY),
        "grey skewness": skewness,
        "grey kurtosis": kurtosis,
        "grey shadows": low,
        "grey highlights": high,
    }


def _lags(correlation: Real) -> dict[str, float]:
    profile = radial_profile(correlation).y
    lags = np.unique(np.rint(np.geomspace(1, profile.size - 1, 9)).astype(int))
    return {f"correlation at {lag} px": float(profile[lag]) for lag in lags}


def _texture(values: Real) -> dict[str, float]:
    """Return moments of the band-passed patch and correlations of the magnitudes."""
    responses = _filtered(values)
    magnitude = np.abs(responses)
    features: dict[str, float] = {}
    names = [
        [f"{w:g} px, {180 * d // DIRECTIONS} deg" for d in range(DIRECTIONS)] for w in WAVELENGTHS
    ]
    for scale, wavelength in enumerate(WAVELENGTHS):
        _, _, skewness, kurtosis = _moments(responses[scale].real.sum(0))
        features[f"texture skewness at {wavelength:g} px"] = skewness
        features[f"texture kurtosis at {wavelength:g} px"] = np.log(kurtosis + 3)
        for turn in range(DIRECTIONS):
            m = magnitude[scale, turn]
            features[f"texture strength at {names[scale][turn]}"] = np.log(m.mean() + _TINY)
            features[f"texture unevenness at {names[scale][turn]}"] = np.log(
                (m.std() + _TINY) / (m.mean() + _TINY)
            )
    flat = magnitude.reshape(len(WAVELENGTHS) * DIRECTIONS, -1)
    flat = flat - flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + _TINY
    shared = flat @ flat.T
    labels = [name for row in names for name in row]
    for first, second in _pairs():
        features[f"texture shared by {labels[first]} and {labels[second]}"] = shared[first, second]
    return features


def _pairs() -> list[tuple[int, int]]:
    """Return the bands whose magnitudes are correlated: neighbours in scale or of one scale."""
    pairs = []
    for scale in range(len(WAVELENGTHS)):
        here = range(scale * DIRECTIONS, (scale + 1) * DIRECTIONS)
        pairs += [(a, b) for a in here for b in here if a < b]
        if scale + 1 < len(WAVELENGTHS):
            pairs += [(a, a + DIRECTIONS) for a in here]
    return pairs


def _filtered(values: Real) -> NDArray[np.complex128]:
    """Return (scale, direction, y, x) complex responses in the middle of the patch."""
    y, x = values.shape
    margin_y, margin_x = y // 8, x // 8
    taper = np.outer(_taper(y, margin_y), _taper(x, margin_x))
    spectrum = scipy.fft.fft2((values - values.mean()) * taper)
    responses = scipy.fft.ifft2(spectrum * _bank((y, x)))
    return np.asarray(responses[..., margin_y : y - margin_y, margin_x : x - margin_x])


@lru_cache(maxsize=4)
def _bank(shape: tuple[int, int]) -> Real:
    """Return (scale, direction, ky, kx) log-Gabor filters on half of the frequency plane.

    D. J. Field, J. Opt. Soc. Am. A 4, 2379 (1987): a Gaussian of ln(frequency).
    """
    ky, kx = (scipy.fft.fftfreq(n) for n in shape)
    k = np.hypot(ky[:, None], kx)
    log_k = np.log(np.where(k > 0, k, 1))
    angle = np.arctan2(ky[:, None], kx)
    filters = []
    for wavelength in WAVELENGTHS:
        radial = np.exp(-((log_k + np.log(wavelength)) ** 2) / (2 * _OCTAVES**2))
        for turn in range(DIRECTIONS):
            off = np.angle(np.exp(1j * (angle - np.pi * turn / DIRECTIONS)))
            angular = np.where(abs(off) < np.pi / 2, np.cos(off) ** (DIRECTIONS - 1), 0)
            filters.append(np.where(k > 0, radial * angular, 0))
    return np.reshape(filters, (len(WAVELENGTHS), DIRECTIONS, *shape))


def _taper(size: int, margin: int) -> Real:
    """Return a window that falls to 0 over the margin, which hides the jump at the border."""
    rise = np.sin(np.pi / 2 * (np.arange(margin) + 0.5) / margin) ** 2
    return np.concatenate([rise, np.ones(size - 2 * margin), rise[::-1]])


def _moments(values: Real) -> tuple[float, float, float, float]:
    """Return mean, standard deviation, skewness and excess kurtosis."""
    mean, spread = values.mean(), values.std()
    z = (values - mean) / (spread + _TINY)
    return float(mean), float(spread), float((z**3).mean()), float((z**4).mean() - 3)
