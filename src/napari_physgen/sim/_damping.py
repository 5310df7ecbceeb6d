"""Modulation and OTF damping from the overlap of the separated bands.

In the overlap b_1(k) = m/2 H(k) S(k - q) and b_0(k - q) = H(k - q) S(k - q) show the same
object. Both carry noise of known size, so e = H(k - q) b_1 - m/2 H(k) b_0 has the misfit

    sum |e|^2 / (A H(k - q)^2 + B m^2/4 H(k)^2),   A, B: noise of the bands,

whose minimum is not biased by noise (errors in variables). m is the common ratio; a
damping a^(|k|/kc) of H shows as a slope of the ratio across the overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.physics.optics import TYPICAL_DAMPING, ideal_otf
from napari_physgen.sim._bands import bands, mixing, overlap

if TYPE_CHECKING:
    from napari_physgen.sim._bands import Complex, Field, Overlap, Real, Wave

CLEAR = 0.3
"""Part of the cutoff above which out-of-focus light, which is not modulated, no longer matters."""

MODULATIONS = np.linspace(0.01, 1.98, 198)
LARGEST = 1.2
"""Modulation depths that are tried, and the largest one of a single wave, with its error."""

UNEVEN = 0.01
"""Variance of the logarithm of the bands' ratio that is no camera noise."""

DAMPINGS = (0.08, 1.0)

RINGS = 24
FAINTEST = 1e-3
"""Rings in which the object's power is measured, and the least one relative to the strongest."""


@dataclass(frozen=True)
class OverlapPower:
    """Powers of the bands of one angle in bins of (|k|, |k - q|).

    Parameters
    ----------
    k_here, k_there : numpy.ndarray
        (bin,), |k| and |k - q|, 1/um.
    side, cross, centre : numpy.ndarray
        (bin,), sums of |b_1|^2, Re b_1 conj(b_0), |b_0|^2.
    side_noise, centre_noise : float
        Noise powers of b_1 and b_0.
    count : numpy.ndarray
        (bin,), number of frequencies.
    error : float
        Power of the model error relative to the signal.
    """

    k_here: Real
    k_there: Real
    side: Real
    cross: Real
    centre: Real
    side_noise: float
    centre_noise: float
    count: Real
    error: float


def overlap_power(frames: Real, field: Field, wave: Wave, bins: int = 24) -> OverlapPower:
    """Measure the bands' powers in the overlap."""
    frames = frames - frames.mean()
    sharp = field.sharpened(frames)
    cut = overlap(sharp, scipy.fft.fft2(sharp), field, wave.q)
    gains = np.sum(np.abs(np.linalg.pinv(mixing(wave.phases, wave.strengths))) ** 2, axis=1)
    noise = field.sharpened_noise(frames)
    found = bands(cut, wave)
    return reduced(cut, found, (gains[1] * noise, gains[0] * noise), field, wave.error, bins)


def reduced(
    cut: Overlap,
    found: tuple[Complex, Complex],
    noise: tuple[float, float],
    field: Field,
    error: float,
    bins: int = 24,
) -> OverlapPower:
    """Reduce separated bands (side, centre) in their overlap, with their noise powers, to bins."""
    side, centre = found
    # Back to what the optics gave; only the window comes after sharpening.
    side, centre = side / field.sharpening(cut.k_here), centre / field.sharpening(cut.k_there)
    here, there = np.hypot(*cut.k_here), np.hypot(*cut.k_there)
    keep = (here > CLEAR * field.cutoff) & (there > CLEAR * field.cutoff)
    if keep.sum() > 100:
        here, there, side, centre = (values[keep] for values in (here, there, side, centre))
    cell = (here / field.cutoff * bins).astype(int) * bins + (there / field.cutoff * bins).astype(
        int
    )
    _, label, count = np.unique(cell, return_inverse=True, return_counts=True)

    def total(values: Real) -> Real:
        return np.asarray(np.bincount(label, values))

    return OverlapPower(
        k_here=total(here) / count,
        k_there=total(there) / count,
        side=total(np.abs(side) ** 2),
        cross=total((side * centre.conj()).real),
        centre=total(np.abs(centre) ** 2),
        side_noise=noise[0],
        centre_noise=noise[1],
        count=count.astype(float),
        error=error,
    )


def _misfit(power: OverlapPower, field: Field) -> Real:
    """Return the errors-in-variables misfit for all `MODULATIONS` (modulation,).

    Each bin counts as far as its signal stands out: where the object has less power P than the
    noise, the product of both bands' noises, A B / P, hides the ratio as well.
    """
    h_here, h_there = field.otf(power.k_here, 0), field.otf(power.k_there, 0)
    half = MODULATIONS[:, None] / 2
    error = (
        h_there**2 * power.side
        - 2 * half * h_here * h_there * power.cross
        + half**2 * h_here**2 * power.centre
    )
    camera = power.side_noise * h_there**2 + power.centre_noise * half**2 * h_here**2
    typical = _typical(power)
    usual = power.side_noise * h_there**2 + power.centre_noise * typical**2 * h_here**2
    signal = _object_power(power, h_there, field.cutoff)
    model = power.error * signal * (h_there * h_here * typical) ** 2
    weight = usual / (usual + model + power.side_noise * power.centre_noise / signal)
    # Where the OTF passes neither band (a measured one may end early) there is nothing to compare.
    seen = (h_here > 0) & (h_there > 0)
    return np.asarray(np.sum(weight * error / np.where(seen, camera, np.inf), axis=1))


def _object_power(power: OverlapPower, h_there: Real, cutoff: float) -> Real:
    """Return the object's power (bin,) from the centre band, averaged over rings."""
    ring = (power.k_there / cutoff * RINGS).astype(int)
    signal = (power.centre - power.count * power.centre_noise) * h_there**2
    light = np.bincount(ring, power.count * h_there**4)
    mean = np.bincount(ring, signal) / np.where(light > 0, light, np.inf)
    return np.asarray(np.maximum(mean, FAINTEST * max(float(mean.max()), 1e-300))[ring])


def _typical(power: OverlapPower) -> float:
    """Return a first guess of m/2, for weights only."""
    side = max(float(np.sum(power.side - power.count * power.side_noise)), 1e-12)
    centre = max(float(np.sum(power.centre - power.count * power.centre_noise)), 1e-12)
    return float(np.clip(np.sqrt(side / centre), 0.05, 0.6))


def fit_modulation(power: OverlapPower, field: Field, largest: float = LARGEST) -> float:
    """Return the modulation depth with the smallest misfit."""
    return float(np.clip(_vertex(MODULATIONS, _misfit(power, field)), 0, largest))


def modulation_error(power: OverlapPower, field: Field) -> float:
    """Return the standard error of the modulation that the misfit's curvature gives."""
    misfit = _misfit(power, field)
    best = int(np.clip(np.argmin(misfit), 1, misfit.size - 2))
    curve = misfit[best - 1] - 2 * misfit[best] + misfit[best + 1]
    return float((MODULATIONS[1] - MODULATIONS[0]) / np.sqrt(max(float(curve), 1e-12)))


def fit_damping(powers: list[OverlapPower], cutoff: float) -> float:
    """Return the damping of an otherwise ideal OTF that the bands of all angles show.

    The ratio of the bands' powers, which share the object, falls as a^((|k| - |k - q|) / cutoff);
    its logarithm is fitted by one slope. Powers, not correlations: what decorrelates the
    bands (bent fringes, haze) costs modulation, but has no slope.
    """
    numerator = denominator = 0.0
    for power in powers:
        x, y, weight = _ratio_slope(power, cutoff)
        if x.size > 2:
            centre = np.average(x, weights=weight)
            middle = np.average(y, weights=weight)
            numerator += float(np.sum(weight * (x - centre) * (y - middle)))
            denominator += float(np.sum(weight * (x - centre) ** 2))
    # A broad prior around the typical value, for frames that say nothing.
    spread = 1 / np.log(2) ** 2
    slope = (numerator + spread * np.log(TYPICAL_DAMPING)) / (denominator + spread)
    return float(np.clip(np.exp(slope), *DAMPINGS))


def _ratio_slope(power: OverlapPower, cutoff: float) -> tuple[Real, Real, Real]:
    """Return (|k| - |k - q|) / cutoff, ln of the bands' amplitude ratio, and its weight."""
    x = (power.k_here - power.k_there) / cutoff
    cell = np.floor((x + 1) * 10).astype(int)
    h_here, h_there = ideal_otf(power.k_here, cutoff), ideal_otf(power.k_there, cutoff)
    side_noise, centre_noise = power.count * power.side_noise, power.count * power.centre_noise

    def total(values: Real) -> Real:
        return np.asarray(np.bincount(cell, values, minlength=20))

    count = total(power.count)
    side = total((power.side - side_noise) * h_there**2)
    centre = total((power.centre - centre_noise) * h_here**2)
    blur = np.sqrt(np.maximum(count, 1))
    side_error = total(power.side * h_there**2) / blur
    centre_error = total(power.centre * h_here**2) / blur
    good = (side > 3 * side_error) & (centre > 3 * centre_error) & (count > 20)
    error = (side_error[good] / side[good]) ** 2 + (centre_error[good] / centre[good]) ** 2
    middle = total(power.count * x)[good] / count[good]
    return middle, np.log(side[good] / centre[good]) / 2, 4 / (error + UNEVEN)


def _vertex(x: Real, y: Real) -> float:
    """Return the minimum of samples on an even grid, refined by a parabola."""
    i = int(np.argmin(y))
    if i in (0, len(x) - 1):
        return float(x[i])
    curve = y[i - 1] - 2 * y[i] + y[i + 1]
    return float(x[i] + (x[1] - x[0]) * (y[i - 1] - y[i + 1]) / (2 * max(curve, 1e-300)))
