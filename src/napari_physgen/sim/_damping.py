"""Modulation and OTF damping from the overlap of the separated bands.

In the overlap b_1(k) = m/2 H(k) S(k - q) and b_0(k - q) = H(k - q) S(k - q) show the same
object. Both carry noise of known size, so e = H(k - q) b_1 - m/2 H(k) b_0 has the likelihood

    sum |e|^2 / (A H(k - q)^2 + B m^2/4 H(k)^2),   A, B: noise of the bands,

whose minimum is not biased by noise (errors in variables). m is the common ratio;
a damping a^(|k|/kc) of H shows as a slope of the ratio across the overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.sim._bands import mixing
from napari_physgen.sim._refine import MODEL_ERROR, bands, overlap

if TYPE_CHECKING:
    from napari_physgen.physics.optics import Otf
    from napari_physgen.sim._bands import Field, Real
    from napari_physgen.sim._refine import Wave

MODULATIONS = np.linspace(0.01, 1.4, 140)
DAMPINGS = np.geomspace(0.05, 1.0, 25)


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
    """

    k_here: Real
    k_there: Real
    side: Real
    cross: Real
    centre: Real
    side_noise: float
    centre_noise: float
    count: Real


def overlap_power(frames: Real, field: Field, wave: Wave, bins: int = 24) -> OverlapPower:
    """Measure the bands' powers in the overlap."""
    frames = frames - frames.mean()
    sharp = field.sharpened(frames)
    cut = overlap(sharp, scipy.fft.fft2(sharp), field, wave.q)
    side, centre = bands(cut, wave)
    # Back to what the optics gave; only the window comes after sharpening.
    side, centre = side / field.sharpening(cut.k_here), centre / field.sharpening(cut.k_there)
    gains = np.sum(np.abs(np.linalg.pinv(mixing(wave.phases, wave.strengths))) ** 2, axis=1)
    noise = field.sharpened_noise(frames)
    here, there = np.hypot(*cut.k_here), np.hypot(*cut.k_there)
    cell = (here / field.cutoff * bins).astype(int) * bins + (
        there / field.cutoff * bins
    ).astype(int)
    _, label, count = np.unique(cell, return_inverse=True, return_counts=True)

    def total(values: Real) -> Real:
        return np.asarray(np.bincount(label, values))

    return OverlapPower(
        k_here=total(here) / count,
        k_there=total(there) / count,
        side=total(np.abs(side) ** 2),
        cross=total((side * centre.conj()).real),
        centre=total(np.abs(centre) ** 2),
        side_noise=gains[1] * noise,
        centre_noise=gains[0] * noise,
        count=count.astype(float),
    )


def _misfit(power: OverlapPower, otf: Otf) -> Real:
    """Return the errors-in-variables misfit for all `MODULATIONS` (modulation,)."""
    h_here, h_there = otf(power.k_here, 0), otf(power.k_there, 0)
    half = MODULATIONS[:, None] / 2
    error = (
        h_there**2 * power.side
        - 2 * half * h_here * h_there * power.cross
        + half**2 * h_here**2 * power.centre
    )
    camera = power.side_noise * h_there**2 + power.centre_noise * half**2 * h_here**2
    signal = np.maximum(power.centre / power.count - power.centre_noise, 0)
    typical = _typical(power)
    model = MODEL_ERROR * signal * h_here**2 * typical**2
    return np.asarray(np.sum(error / (camera + model), axis=1))


def _typical(power: OverlapPower) -> float:
    """Return a first guess of m/2, for weights only."""
    side = max(float(np.sum(power.side - power.count * power.side_noise)), 1e-12)
    centre = max(float(np.sum(power.centre - power.count * power.centre_noise)), 1e-12)
    return float(np.clip(np.sqrt(side / centre), 0.05, 0.6))


def fit_modulation(power: OverlapPower, field: Field) -> float:
    """Return the modulation depth with the smallest misfit."""
    misfit = _misfit(power, field.otf)
    return float(np.clip(_vertex(MODULATIONS, misfit), 0, 1.2))


def fit_damping(powers: list[OverlapPower], field: Field) -> float:
    """Return the OTF damping that makes the bands of all angles agree best."""
    misfit = [
        sum(float(_misfit(power, field.otf.damped(a)).min()) for power in powers) for a in DAMPINGS
    ]
    return float(np.clip(np.exp(_vertex(np.log(DAMPINGS), np.array(misfit))), 0.05, 1))


def _vertex(x: Real, y: Real) -> float:
    """Return the minimum of samples on an even grid, refined by a parabola."""
    i = int(np.argmin(y))
    if i in (0, len(x) - 1):
        return float(x[i])
    curve = y[i - 1] - 2 * y[i] + y[i + 1]
    return float(x[i] + (x[1] - x[0]) * (y[i - 1] - y[i + 1]) / (2 * max(curve, 1e-300)))
