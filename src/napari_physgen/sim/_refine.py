"""Fit of one angle's pattern to its frames: phases, brightness, modulation, wavevector.

Where the shifted bands overlap, the frames' spectra at k and at k - q share the object's
spectrum at S(k) and S(k - q). With the object's power spectrum as prior, the 2 P complex numbers
u = (D_p(k), D_p(k - q)) are Gaussian with covariance

    C(k) = noise + A(k) diag(power of S(k), S(k - q), S(k + q), S(k - 2q)) A(k)^H

where A holds the OTF, the phases, the brightness and the modulation. The parameters
minimise Whittle's likelihood, sum over k of ln det C + u^H C^-1 u. It contains what separate recipes
use one at a time: bands must agree in the overlap, and bands at different object
frequencies must be uncorrelated (Wicker et al., Opt. Express 21, 2032 (2013)), each with
its statistical weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
from scipy.optimize import minimize

from napari_physgen.sim._bands import NOTCH, equal_phases, mixing

if TYPE_CHECKING:
    from napari_physgen.sim._bands import Complex, Field, Real

MODEL_ERROR = 0.03
"""Power of what the forward model leaves out (uneven light, aberrations), relative to the signal."""

STEP_PRIOR = 0.7
BRIGHTNESS_PRIOR = 0.03
"""Soft priors: phases deviate from equal steps by about 0.7 rad, brightness from the frame's mean
by 3 %. They matter only where the frames say less."""

BINS = 10
"""Bins per axis of (|k|, |k - q|), within which the covariance counts as constant."""

INDEPENDENT = 0.6
"""Independent frequencies per DFT pixel of the apodised field."""


@dataclass(frozen=True)
class Wave:
    """One angle's pattern.

    Parameters
    ----------
    q : numpy.ndarray
        (2,) wavevector (y, x), 1/um.
    phases, strengths : numpy.ndarray
        (phase,) rad and relative brightness of the frames.
    modulation : float
        Modulation depth.
    likelihood : float
        -ln of Whittle's likelihood; lower is better, for the same frames only.
    """

    q: Real
    phases: Real
    strengths: Real
    modulation: float
    likelihood: float = np.inf


@dataclass(frozen=True)
class Overlap:
    """Frames' spectra where the bands 0 and +1 overlap.

    Parameters
    ----------
    here, there : numpy.ndarray
        (phase, k): D_p(k) and D_p(k - q).
    k_here, k_there : tuple of numpy.ndarray
        The frequencies k and k - q, (k,) each as (y, x), 1/um.
    index : tuple of numpy.ndarray
        Where the frequencies k lie on the DFT grid.
    """

    here: Complex
    there: Complex
    k_here: tuple[Real, Real]
    k_there: tuple[Real, Real]
    index: tuple[np.ndarray, np.ndarray]


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
        (bin, 4), power of S at k, k - q, k + q, k - 2q.
    noise : numpy.ndarray
        (2, bin), noise power of D_p at k and at k - q.
    """

    sample: Complex
    count: Real
    h_here: Real
    h_there: Real
    power: Real
    noise: Real


def overlap(sharp: Real, spectra: Complex, field: Field, q: Real) -> Overlap:
    """Cut the band overlap for wavevector `q` out of the spectra of one angle's frames."""
    k_y, k_x = (np.broadcast_to(k, field.shape) for k in field.k)
    distance = np.hypot(k_y - q[0], k_x - q[1])
    low, high = NOTCH * field.cutoff, 0.97 * field.cutoff
    inside = (field.radius > low) & (field.radius < high) & (distance > low) & (distance < high)
    index = np.nonzero(inside)
    shifted = scipy.fft.fft2(sharp * field.carrier(q))
    here = (k_y[index], k_x[index])
    return Overlap(
        here=spectra[:, *index],
        there=shifted[:, *index],
        k_here=here,
        k_there=(here[0] - q[0], here[1] - q[1]),
        index=index,
    )


def statistics(
    cut: Overlap, field: Field, spectra: Complex, q: Real, noise: float
) -> Statistics:
    """Reduce an overlap to binned covariances, with a power law for the object."""
    level, slope = _power_law(spectra.mean(axis=0), noise / len(spectra), field)
    k, k_there = np.array(cut.k_here), np.array(cut.k_there)
    others = (k, k_there, k + q[:, None], k_there - q[:, None])
    radii = [np.hypot(*o) for o in others]
    cells = np.stack(radii[:2]) / field.cutoff * BINS
    label = cells[0].astype(int) * BINS + cells[1].astype(int)
    _, label, count = np.unique(label, return_inverse=True, return_counts=True)

    def mean(values: Real) -> Real:
        return np.asarray(np.bincount(label, values) / count)

    transfers = [field.transfer(cut.k_here), field.transfer(cut.k_there)]
    typical = [mean(h) for h in transfers]
    # Within a bin the OTF still varies: bring every frequency to the bin's mean.
    u = np.concatenate(
        [
            d * (h[label] / np.maximum(own, 1e-6))
            for d, h, own in zip((cut.here, cut.there), typical, transfers, strict=True)
        ]
    )
    order = np.argsort(label, kind="stable")
    edges = np.concatenate([[0], np.cumsum(count)])
    u = u[:, order]
    sample = np.stack(
        [u[:, a:b] @ u[:, a:b].conj().T / (b - a) for a, b in zip(edges, edges[1:], strict=False)]
    )
    lowest = NOTCH * field.cutoff
    power = np.stack(
        [mean(np.exp(level - slope * np.log(np.maximum(r, lowest)))) for r in radii], -1
    )
    return Statistics(
        sample=sample,
        count=INDEPENDENT * count,
        h_here=typical[0],
        h_there=typical[1],
        power=power,
        noise=noise * np.stack([mean(field.sharpening(k) ** 2) for k in (cut.k_here, cut.k_there)]),
    )


def _power_law(mean: Complex, noise: float, field: Field) -> tuple[float, float]:
    """Fit ln of the object's power = level - slope ln k, from the mean of the frames."""
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
    return float(level), float(-slope)


def whittle(stats: Statistics, phases: Real, strengths: Real, m: float) -> tuple[float, Complex]:
    """Return -ln likelihood and its derivative.

    Returns
    -------
    value : float
    derivative : numpy.ndarray
        (bin, 2 P, 4), d value / d conj(A).
    """
    a = _transfer(stats, phases, strengths, m)
    ap = a * stats.power[:, None, :]
    c = ap @ a.conj().swapaxes(-1, -2)
    size = c.shape[-1]
    diagonal = np.einsum("bii->bi", c).real.mean(axis=-1)
    camera = np.repeat(stats.noise.T, size // 2, axis=1)
    c = c + (camera + MODEL_ERROR * diagonal[:, None])[:, :, None] * np.eye(size)
    inverse = np.linalg.inv(c)
    product = inverse @ stats.sample
    trace = np.einsum("bii->b", product).real
    value = float(np.sum(stats.count * (np.linalg.slogdet(c)[1] + trace)))
    w = (inverse - product @ inverse) * stats.count[:, None, None]
    own = np.einsum("bii->b", w).real * MODEL_ERROR / size
    return value, w @ ap + own[:, None, None] * ap


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


def fit_phases(stats: Statistics, start: Wave, starts: list[Real]) -> Wave:
    """Fit phases, brightness and modulation at a fixed wavevector, from several phase guesses."""
    count = len(start.phases)

    def cost(x: Real, equal: Real) -> tuple[float, Real]:
        phases, log_s, m = x[:count], x[count : 2 * count], x[-1]
        strengths = np.exp(log_s)
        value, d_a = whittle(stats, phases, strengths, m)
        wave = np.exp(1j * phases)
        h1, h2 = stats.h_here[:, None, None], stats.h_there[:, None, None]
        # Sum over the bins of conj(dA)-weighted transfer: 2 Re(d_a . conj(dA/dx)).
        d_here = np.sum(d_a[:, :count] * h1, axis=0)
        d_there = np.sum(d_a[:, count:] * h2, axis=0)
        plus = d_here[:, 1] + d_there[:, 3]
        minus = d_here[:, 2] + d_there[:, 0]
        centre = d_here[:, 0] + d_there[:, 1]
        d_phase = 2 * strengths * m / 2 * np.real(-1j * wave.conj() * plus + 1j * wave * minus)
        d_m = 2 * np.sum(strengths / 2 * np.real(wave.conj() * plus + wave * minus))
        both = centre + m / 2 * (wave.conj() * plus + wave * minus)
        d_s = 2 * strengths * np.real(both)
        offset = np.angle(np.exp(1j * (phases - equal)).sum())
        spread = np.angle(np.exp(1j * (phases - equal - offset)))
        value += np.sum(spread**2) / STEP_PRIOR**2 + np.sum((log_s - log_s.mean()) ** 2) / BRIGHTNESS_PRIOR**2
        d_phase = d_phase + 2 * (spread - spread.mean()) / STEP_PRIOR**2
        d_s = d_s + 2 * (log_s - log_s.mean()) / BRIGHTNESS_PRIOR**2
        return float(value), np.concatenate([d_phase, d_s, [d_m]])

    best = None
    for phases in starts:
        turn = _turn(phases)
        x0 = np.concatenate([phases, np.log(start.strengths), [start.modulation]])
        bounds = [(None, None)] * count + [(-0.5, 0.5)] * count + [(0.0, 1.3)]
        found = minimize(
            cost,
            x0,
            args=(turn * equal_phases(count),),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 100},
        )
        if best is None or found.fun < best.fun:
            best = found
    assert best is not None
    x = best.x
    return Wave(
        q=start.q,
        phases=x[:count],
        strengths=np.exp(x[count : 2 * count]),
        modulation=float(x[-1]),
        likelihood=float(best.fun),
    )


def _turn(phases: Real) -> int:
    """Return +1 or -1: the direction of the equal steps closest to `phases`."""
    equal = equal_phases(len(phases))
    match = [abs(np.exp(1j * (phases - sign * equal)).sum()) for sign in (1, -1)]
    return 1 if match[0] >= match[1] else -1


def first_guesses(cut: Overlap, field: Field, count: int) -> list[Real]:
    """Return equal phase steps in both directions, with the offset that the overlap shows."""
    weight = field.transfer(cut.k_here) * field.transfer(cut.k_there)
    weight = weight / np.mean(np.abs(cut.there) ** 2, axis=0)
    guesses = []
    for turn in (1, -1):
        phases = turn * equal_phases(count)
        side, centre = bands(cut, Wave(np.zeros(2), phases, np.ones(count), 1.0))
        guesses.append(phases + np.angle(np.sum(weight * side * centre.conj())))
    return guesses


def bands(cut: Overlap, wave: Wave) -> tuple[Complex, Complex]:
    """Return b_1(k) and b_0(k - q) in the overlap."""
    inverse = np.linalg.pinv(mixing(wave.phases, wave.strengths))
    return inverse[1] @ cut.here, inverse[0] @ cut.there


def fit(frames: Real, field: Field, start: Wave | Real, rounds: int = 4) -> Wave:
    """Refine one angle's pattern until its wavevector stands still.

    Parameters
    ----------
    frames : numpy.ndarray
        (phase, y, x), above the offset, divided by each frame's brightness.
    field : Field
        Its OTF weighs the bands.
    start : Wave or numpy.ndarray
        Wavevector within a DFT pixel, with or without phases.
    """
    count = len(frames)
    frames = frames - frames.mean()
    noise = field.sharpened_noise(frames)
    sharp = field.sharpened(frames)
    spectra = scipy.fft.fft2(sharp)
    known = isinstance(start, Wave)
    wave = start if isinstance(start, Wave) else Wave(start, np.zeros(count), np.ones(count), 0.5)
    for _ in range(rounds):
        cut = overlap(sharp, spectra, field, wave.q)
        stats = statistics(cut, field, spectra, wave.q, noise)
        starts = [wave.phases] if known else first_guesses(cut, field, count)
        wave, known = fit_phases(stats, wave, starts), True
        step = _wavevector_step(cut, field, wave, noise)
        centre = (np.array(field.shape) - 1) / 2 * field.pixel_um
        wave = replace(wave, q=wave.q + step, phases=wave.phases - 2 * np.pi * step @ centre)
        if np.all(np.abs(step) < 0.003 * field.steps):
            break
    return wave


def _wavevector_step(cut: Overlap, field: Field, wave: Wave, noise: float) -> Real:
    """Return how far (1/um) the correlation peak of the fitted bands lies from `wave.q`.

    Both bands are given the same transfer function, H(k) H(k - q) times a common weight; with
    unequal ones the peak moves by some hundredths of a DFT pixel.
    """
    h_here, h_there = field.transfer(cut.k_here), field.transfer(cut.k_there)
    inverse = np.linalg.pinv(mixing(wave.phases, wave.strengths))
    gains = np.sum(np.abs(inverse) ** 2, axis=1)
    half = wave.modulation / 2
    boost_here, boost_there = field.sharpening(cut.k_here), field.sharpening(cut.k_there)
    camera = noise * (
        gains[1] * (h_there * boost_here) ** 2 + gains[0] * (half * h_here * boost_there) ** 2
    )
    side, centre = bands(cut, wave)
    power = np.mean(np.abs(half * h_here * centre) ** 2 / (h_here * h_there) ** 2)
    weight = 1 / np.sqrt(camera + MODEL_ERROR * power * (h_here * h_there) ** 2)
    a, b = np.zeros((2, *field.shape), complex)
    a[cut.index] = weight * h_there * side
    b[cut.index] = weight * h_here * centre
    product = scipy.fft.ifft2(a) * scipy.fft.ifft2(b).conj() * field.interior
    y, x = ((np.arange(n) - (n - 1) / 2) * field.pixel_um for n in field.shape)

    def correlation(step: Real) -> tuple[float, Real, Real]:
        """Return |C|^2, its gradient and Hessian with respect to the wavevector."""
        e_y, e_x = np.exp(-2j * np.pi * step[0] * y), np.exp(-2j * np.pi * step[1] * x)
        d_y, d_x = -2j * np.pi * y, -2j * np.pi * x
        left = np.stack([e_y, d_y * e_y, d_y**2 * e_y]) @ product
        table = left @ np.stack([e_x, d_x * e_x, d_x**2 * e_x]).T
        c, c_y, c_x = table[0, 0], table[1, 0], table[0, 1]
        first = np.array([c_y, c_x])
        second = np.array([[table[2, 0], table[1, 1]], [table[1, 1], table[0, 2]]])
        gradient = 2 * np.real(c.conj() * first)
        hessian = 2 * np.real(np.outer(first.conj(), first) + c.conj() * second)
        return float(np.abs(c) ** 2), gradient, hessian

    fine = np.linspace(-0.6, 0.6, 9)
    kernels = [
        np.exp(-2j * np.pi * np.outer(fine * s, r)) for s, r in zip(field.steps, (y, x), strict=True)
    ]
    i, j = np.unravel_index(
        np.argmax(np.abs(kernels[0] @ product @ kernels[1].T)), (fine.size, fine.size)
    )
    step = np.array([fine[i], fine[j]]) * field.steps
    for _ in range(5):
        _, gradient, hessian = correlation(step)
        if np.linalg.eigvalsh(hessian)[1] >= 0:
            break
        move = -np.linalg.solve(hessian, gradient)
        step = step + np.clip(move, -0.1 * field.steps, 0.1 * field.steps)
    return np.asarray(step)
