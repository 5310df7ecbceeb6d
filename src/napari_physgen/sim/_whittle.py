"""Likelihood of one angle's frames: phases, brightness and modulation at a given wavevector.

Where the shifted bands overlap, the frames' spectra at k and at k - q share the object's
spectrum at S(k) and S(k - q). With the object's power spectrum as prior, the 2 P complex numbers
u = (D_p(k), D_p(k - q)) are Gaussian with covariance

    C(k) = noise + A(k) diag(power of S(k), S(k - q), S(k + q), S(k - 2q)) A(k)^H

where A holds the OTF, the phases, the brightness and the modulation. The parameters
minimise Whittle's likelihood, sum over k of ln det C + u^H C^-1 u. It contains what separate
recipes use one at a time: bands must agree in the overlap, and bands at different object
frequencies must be uncorrelated (Wicker et al., Opt. Express 21, 2032 (2013)), each with its
statistical weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from napari_physgen.sim._bands import NOTCH, Overlap, Wave, equal_phases, turn_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_physgen.sim._bands import Complex, Field, Real

MODEL_ERROR = (1e-4, 0.3)
"""Power of what the forward model leaves out (uneven light, bent fringes, aberrations), relative to
the signal: least and most. It is fitted with the pattern."""

STEP_PRIOR = 0.7
BRIGHTNESS_PRIOR = 0.01
"""Soft priors: phases deviate from equal steps by about 0.7 rad, brightness from the frame's mean
by 1 %. They matter only where the frames say less."""

BINS = 10
"""Bins per axis of (|k|, |k - q|), within which the covariance counts as constant."""

INDEPENDENT = 0.37
"""Independent frequencies per DFT pixel of the apodised field."""


@dataclass(frozen=True)
class Statistics:
    """Sample covariances of u in bins of (|k|, |k - q|), all the fit needs of the frames.

    Parameters
    ----------
    sample : numpy.ndarray
        (bin, 2 P, 2 P), mean of u u^H.
    count : numpy.ndarray
        (bin,), independent frequencies.
    h_here, h_there : numpy.ndarray
        (bin,), OTF at k and at k - q.
    power : numpy.ndarray
        (bin, 4), power of S at k, k - q, k + q, k - 2q; or (bin, column) at given offsets.
    noise : numpy.ndarray
        (2, bin), noise power of D_p at k and at k - q.
    """

    sample: Complex
    count: Real
    h_here: Real
    h_there: Real
    power: Real
    noise: Real


def statistics(
    cut: Overlap,
    field: Field,
    spectra: Complex,
    q: Real,
    noise: float,
    offsets: Real | None = None,
) -> Statistics:
    """Reduce an overlap to binned covariances, with a power law for the object.

    `offsets` (column, 2) says at which k - offset its power is wanted.
    """
    law = power_law(spectra, noise, field)
    k, k_there = np.array(cut.k_here), np.array(cut.k_there)
    if offsets is None:
        offsets = np.outer([0, 1, -1, 2], q)
    radii = [np.hypot(*(k - o[:, None])) for o in offsets]
    cells = np.stack([np.hypot(*k), np.hypot(*k_there)]) / field.cutoff * BINS
    label = cells[0].astype(int) * BINS + cells[1].astype(int)
    _, label, count = np.unique(label, return_inverse=True, return_counts=True)

    def mean(values: Real) -> Real:
        return np.asarray(np.bincount(label, values) / count)

    transfers = [field.transfer(cut.k_here), field.transfer(cut.k_there)]
    typical = [mean(h) for h in transfers]
    # Within a bin the OTF still varies: bring every frequency to the bin's mean.
    u = np.concatenate(
        [
            d * (h[label] / own)
            for d, h, own in zip((cut.here, cut.there), typical, transfers, strict=True)
        ]
    )
    order = np.argsort(label, kind="stable")
    edges = np.concatenate([[0], np.cumsum(count)])
    u = u[:, order]
    sample = np.stack([u[:, a:b] @ u[:, a:b].conj().T / (b - a) for a, b in pairwise(edges)])
    power = np.stack([mean(law(radius)) for radius in radii], -1)
    return Statistics(
        sample=sample,
        count=INDEPENDENT * count.astype(np.float64),
        h_here=typical[0],
        h_there=typical[1],
        power=power,
        noise=noise * np.stack([mean(field.sharpening(k) ** 2) for k in (cut.k_here, cut.k_there)]),
    )


def power_law(spectra: Complex, noise: float, field: Field) -> Callable[[Real], Real]:
    """Return the object's power as a function of |k|, a power law fitted to the mean frame.

    Parameters
    ----------
    spectra : numpy.ndarray
        (phase, y, x), of the sharpened frames.
    noise : float
        Their noise power before sharpening.
    field : Field
    """
    mean, noise = spectra.mean(axis=0), noise / len(spectra)
    ratio = field.radius / field.cutoff
    inside = (ratio > NOTCH) & (ratio < 0.75)
    radius = field.radius[inside]
    ring = (ratio[inside] * 40).astype(int)
    count = np.maximum(np.bincount(ring), 1)
    power = np.bincount(ring, np.abs(mean[inside]) ** 2) / count
    k = np.bincount(ring, radius) / count
    gain = np.bincount(ring, field.sharpening((radius, radius * 0)) ** 2) / count
    transfer = np.bincount(ring, field.transfer((radius, radius * 0)) ** 2) / count
    power = power - noise * gain
    filled = np.bincount(ring) > 0
    good = filled & (power > 0.5 * noise * gain)
    if good.sum() < 3:
        good = filled & (power > 0)
    x, y = np.log(k[good]), np.log(power[good] / transfer[good])
    slope, level = np.polyfit(x, y, 1, w=np.sqrt(count[good]))
    lowest = NOTCH * field.cutoff
    return lambda radius: np.asarray(np.exp(level + slope * np.log(np.maximum(radius, lowest))))


def whittle(
    stats: Statistics, phases: Real, strengths: Real, m: float, error: float
) -> tuple[float, Complex, float]:
    """Return -ln likelihood and its derivative.

    Returns
    -------
    value : float
    derivative : numpy.ndarray
        (bin, 2 P, 4), d value / d conj(A).
    slope : float
        d value / d error.
    """
    return likelihood(stats, _transfer(stats, phases, strengths, m), error)


def likelihood(stats: Statistics, a: Complex, error: float) -> tuple[float, Complex, float]:
    """Return the same for frames that a matrix `a` (bin, 2 P, column) makes of the object."""
    ap = a * stats.power[:, None, :]
    c = ap @ a.conj().swapaxes(-1, -2)
    size = c.shape[-1]
    diagonal = np.einsum("bii->bi", c).real.mean(axis=-1)
    camera = np.repeat(stats.noise.T, size // 2, axis=1)
    c = c + (camera + error * diagonal[:, None])[:, :, None] * np.eye(size)
    inverse = np.linalg.inv(c)
    product = inverse @ stats.sample
    trace = np.einsum("bii->b", product).real
    value = float(np.sum(stats.count * (np.linalg.slogdet(c)[1] + trace)))
    w = (inverse - product @ inverse) * stats.count[:, None, None]
    own = np.einsum("bii->b", w).real
    derivative = w @ ap + (error / size * own)[:, None, None] * ap
    return value, derivative, float(np.sum(own * diagonal))


def _transfer(stats: Statistics, phases: Real, strengths: Real, m: float) -> Complex:
    """Return A (bin, 2 P, 4)."""
    count = len(phases)
    wave = m / 2 * np.exp(1j * phases)
    zero = np.zeros(count)
    one = np.ones(count)
    here = strengths[:, None] * np.stack([one, wave, wave.conj(), zero], -1)
    there = strengths[:, None] * np.stack([wave.conj(), one, zero, wave], -1)
    return np.concatenate(
        [stats.h_here[:, None, None] * here, stats.h_there[:, None, None] * there], axis=1
    )


@dataclass(frozen=True)
class Cost:
    """-ln posterior of x = (phases, ln brightness, modulation, ln model error) and its gradient."""

    stats: Statistics
    equal: Real

    def __call__(self, x: Real) -> tuple[float, Real]:
        """Return the value and the gradient at `x`."""
        count = self.equal.size
        phases, log_s = x[:count], x[count : 2 * count]
        strengths, half, error = np.exp(log_s), x[-2] / 2, np.exp(x[-1])
        value, d_a, d_error = whittle(self.stats, phases, strengths, 2 * half, error)
        # Chain rule through A, whose entries are 1, w and conj(w) times brightness and OTF.
        d_here = np.sum(d_a[:, :count] * self.stats.h_here[:, None, None], axis=0)
        d_there = np.sum(d_a[:, count:] * self.stats.h_there[:, None, None], axis=0)
        wave = np.exp(1j * phases)
        plus = wave.conj() * (d_here[:, 1] + d_there[:, 3])
        minus = wave * (d_here[:, 2] + d_there[:, 0])
        d_phase = 2 * strengths * half * np.real(1j * (minus - plus))
        d_m = np.sum(strengths * np.real(plus + minus))
        d_s = 2 * strengths * np.real(d_here[:, 0] + d_there[:, 1] + half * (plus + minus))

        away = phases - self.equal
        away = np.angle(np.exp(1j * (away - np.angle(np.exp(1j * away).sum()))))
        uneven = log_s - log_s.mean()
        value += np.sum(away**2) / STEP_PRIOR**2 + np.sum(uneven**2) / BRIGHTNESS_PRIOR**2
        d_phase += 2 * (away - away.mean()) / STEP_PRIOR**2
        d_s += 2 * uneven / BRIGHTNESS_PRIOR**2
        return float(value), np.concatenate([d_phase, d_s, [d_m, d_error * error]])

    def phase_covariance(self, x: Real) -> Real:
        """Return the covariance (phase, phase) of the phases at the minimum `x`."""
        small, count = 1e-3, self.equal.size
        shifts = small * np.eye(x.size)
        hessian = np.array([(self(x + d)[1] - self(x - d)[1]) / (2 * small) for d in shifts])
        values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
        covariance = (vectors / np.maximum(values, 1e-3 * values[-1] / x.size)) @ vectors.T
        return np.asarray(covariance[:count, :count])


def fit_phases(stats: Statistics, start: Wave, starts: list[Real]) -> Wave:
    """Fit phases, brightness and modulation at a fixed wavevector, from several phase guesses."""
    count = len(start.phases)
    bounds = [
        *[(None, None)] * count,
        *[(-0.5, 0.5)] * count,
        (0.0, 1.3),
        tuple(np.log(MODEL_ERROR)),
    ]
    found: list[tuple[float, int, Real]] = []
    for phases in starts:
        cost = Cost(stats, turn_of(phases) * equal_phases(count))
        x = _parameters(replace(start, phases=phases))
        solution = minimize(
            cost, x, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 100}
        )
        found.append((float(solution.fun), len(found), solution.x))
    *_, x = min(found)
    return Wave(
        q=start.q,
        phases=x[:count],
        strengths=np.exp(x[count : 2 * count]),
        modulation=float(x[-2]),
        error=float(np.exp(x[-1])),
    )


def phase_covariance(stats: Statistics, wave: Wave) -> Real:
    """Return the covariance (phase, phase) of fitted phases, from the curvature."""
    cost = Cost(stats, turn_of(wave.phases) * equal_phases(len(wave.phases)))
    return cost.phase_covariance(_parameters(wave))


def _parameters(wave: Wave) -> Real:
    """Return the parameters of `Cost`."""
    return np.concatenate(
        [wave.phases, np.log(wave.strengths), [wave.modulation, np.log(wave.error)]]
    )
