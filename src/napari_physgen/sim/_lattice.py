"""Likelihood of frames lit by several waves whose wavevectors and phases belong together.

Wave w has the wavevector n_w . g and, in frame p, the phase n_w . psi_p + c_w, with integer orders
n_w of one or two generators g: (1), (2) for the two orders of three beams; (1, 0), (0, 1), (-1, -1)
for a hexagonal lattice, whose wavevectors add up to 0. As for one wave (`_whittle`), the frames'
spectra at k and at k - k_w are Gaussian with a covariance that follows from the power of the
object at all the frequencies that the waves bring there; here with all waves at once, so
that none of them counts as an error of the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
from scipy.optimize import minimize

from napari_physgen.sim._bands import Wave, overlap
from napari_physgen.sim._errors import OFFSET_SCALE, STEP_SCALE
from napari_physgen.sim._refine import fit
from napari_physgen.sim._waves import Comb, moved_to, overlaps
from napari_physgen.sim._whittle import BRIGHTNESS_PRIOR, MODEL_ERROR, likelihood, statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_physgen.sim._bands import Complex, Field, Real
    from napari_physgen.sim._whittle import Statistics

    Orders = NDArray[np.intp]


@dataclass(frozen=True)
class _Pair:
    """The overlap of the central band with that of one wave.

    Parameters
    ----------
    stats : Statistics
        Of the frames at k and at k - k_w.
    here, there : numpy.ndarray
        (band,), the column of the object's frequency that each band shows at k and at k - k_w;
        bands are 0, all waves, all waves backwards.
    """

    stats: Statistics
    here: NDArray[np.intp]
    there: NDArray[np.intp]


def _pairs(frames: Real, field: Field, orders: Orders, waves: Sequence[Wave]) -> list[_Pair]:
    """Reduce the frames to what the likelihood needs."""
    frames = frames - frames.mean()
    noise = field.sharpened_noise(frames)
    sharp = field.sharpened(frames)
    spectra = scipy.fft.fft2(sharp)
    bands = np.concatenate([np.zeros_like(orders[:1]), orders, -orders])
    vectors = np.stack([w.q for w in waves])
    generators = np.linalg.lstsq(orders.astype(float), vectors, rcond=None)[0]
    pairs = []
    for order, wave in zip(orders, waves, strict=True):
        if not overlaps(wave, field):
            continue
        columns, index = np.unique(
            np.concatenate([bands, order + bands]), axis=0, return_inverse=True
        )
        cut = overlap(sharp, spectra, field, wave.q)
        stats = statistics(cut, field, spectra, wave.q, noise, columns @ generators)
        here, there = index.reshape(2, len(bands))
        pairs.append(_Pair(stats, here, there))
    return pairs


@dataclass(frozen=True)
class _Cost:
    """-ln posterior of x = (psi, c, ln brightness, modulation, ln model error) and its gradient."""

    pairs: list[_Pair]
    orders: Orders
    count: int

    def unpack(self, x: Real) -> tuple[Real, Real, Real, Real, float]:
        """Return psi (frame, generator), c (wave,), ln brightness (frame,), m (wave,), ln error."""
        waves, free = self.orders.shape
        edges = np.cumsum([self.count * free, waves, self.count, waves])
        psi, c, log_s, m, error = np.split(x, edges)
        return psi.reshape(self.count, free), c, log_s, m, float(error[0])

    def phases(self, psi: Real, c: Real) -> Real:
        """Return the phases (frame, wave)."""
        return np.asarray(psi @ self.orders.T + c)

    def __call__(self, x: Real) -> tuple[float, Real]:
        """Return the value and the gradient at `x`."""
        psi, c, log_s, m, log_error = self.unpack(x)
        strengths, error = np.exp(log_s), np.exp(log_error)
        turn = np.exp(1j * self.phases(psi, c))
        bands = np.concatenate([np.ones((self.count, 1)), m / 2 * turn, m / 2 * turn.conj()], 1)
        weights = strengths[:, None] * bands
        value, d_weights, d_error = 0.0, np.zeros_like(weights), 0.0
        for pair in self.pairs:
            a = _matrix(pair, weights)
            part, d_a, slope = likelihood(pair.stats, a, error)
            value, d_error = value + part, d_error + slope
            for half, h, columns in (
                (d_a[:, : self.count], pair.stats.h_here, pair.here),
                (d_a[:, self.count :], pair.stats.h_there, pair.there),
            ):
                d_weights += np.einsum("b,bpc->pc", h, half)[:, columns]
        # d value = 2 Re(d_weights* d weights)
        waves = m.size
        plus, minus = d_weights[:, 1 : 1 + waves], d_weights[:, 1 + waves :]
        slope_m = strengths[:, None] * (turn.conj() * plus + turn * minus)
        d_m = slope_m.real.sum(0)
        d_phase = strengths[:, None] * m * np.real(1j * (turn * minus - turn.conj() * plus))
        d_s = 2 * np.real(d_weights.conj() * weights).sum(1)
        uneven = log_s - log_s.mean()
        value += float(np.sum(uneven**2)) / BRIGHTNESS_PRIOR**2
        d_s += 2 * uneven / BRIGHTNESS_PRIOR**2
        # Only the waves beyond the generators have constants of their own.
        d_c = d_phase.sum(0)
        d_c[: self.orders.shape[1]] = 0
        gradient = [(d_phase @ self.orders).ravel(), d_c, d_s, d_m, [d_error * error]]
        return value, np.concatenate(gradient)

    def variances(self, x: Real) -> Real:
        """Return the variances (wave, 2) at the minimum: of the mean phase, of one step."""
        small = 1e-3
        hessian = np.array(
            [(self(x + d)[1] - self(x - d)[1]) / (2 * small) for d in small * np.eye(x.size)]
        )
        values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
        # Constants that do not exist have no curvature: they must not count.
        inverse = np.where(values > 1e-6 * values[-1], 1 / np.maximum(values, 1e-30), 0)
        # Each overlap counts the same frequencies again.
        covariance = len(self.pairs) * (vectors * inverse) @ vectors.T
        free = self.count * self.orders.shape[1]
        waves = len(self.orders)
        found = []
        for w, order in enumerate(self.orders):
            turn = np.zeros((self.count, x.size))
            turn[:, :free] = np.kron(np.eye(self.count), order)
            if w >= self.orders.shape[1]:
                turn[:, free + w] = 1
            own = turn @ covariance @ turn.T
            offset = own.mean()
            step = (np.trace(own) - self.count * offset) / (self.count - 1)
            found.append([max(offset, 1e-12), max(step, 1e-12)])
        return np.reshape(found, (waves, 2))


def _matrix(pair: _Pair, weights: Complex) -> Complex:
    """Return A (bin, 2 frames, column) for the weights (frame, band) of the bands."""
    size = pair.stats.power.shape[1]
    halves = []
    for h, columns in ((pair.stats.h_here, pair.here), (pair.stats.h_there, pair.there)):
        half = np.zeros((len(weights), size), complex)
        half[:, columns] = weights
        halves.append(h[:, None, None] * half)
    return np.concatenate(halves, axis=1)


def fit_lattice(
    frames: Real, field: Field, orders: Orders, waves: Sequence[Wave], rounds: int = 2
) -> Comb:
    """Fit all waves of one angle, in turns: phases by likelihood, then the wavevectors.

    Parameters
    ----------
    frames : numpy.ndarray
        (phase, y, x), above the offset, divided by each frame's brightness.
    field : Field
    orders : numpy.ndarray
        (wave, generator), integers; the first waves are the generators.
    waves : sequence of Wave
        First guesses.
    rounds : int
    """
    comb, errors = _fit_phases(frames, field, orders, waves)
    for _ in range(rounds):
        q, error = _wavevectors(frames, field, orders, comb)
        moved = [
            replace(moved_to(w, k, field), q_error=error * float(np.hypot(*k)))
            for w, k in zip(comb.waves, q, strict=True)
        ]
        comb, errors = _fit_phases(frames, field, orders, moved)
    return replace(comb, waves=tuple(_with_errors(comb.waves, errors())))


def _with_errors(waves: Sequence[Wave], variances: Real) -> list[Wave]:
    """Return the waves with standard errors from variances (wave, 2): of mean phase and step."""
    offset, step = np.sqrt(variances).T * [[OFFSET_SCALE], [STEP_SCALE]]
    return [
        replace(wave, offset_error=float(o), step_error=float(s))
        for wave, o, s in zip(waves, offset, step, strict=True)
    ]


def _wavevectors(frames: Real, field: Field, orders: Orders, comb: Comb) -> tuple[Real, float]:
    """Return wavevectors (wave, 2) that belong together, and their relative standard error.

    They are where the bands correlate best.

    Each wave is looked at in frames from which the bands of the others are removed.
    """
    unmix, mixing = np.linalg.pinv(comb.mixing), comb.mixing
    found, depth, own_orders, errors = [], [], [], []
    for number, wave in enumerate(comb.separable):
        if overlaps(wave, field):
            own = [0, 1 + number, 1 + number + len(comb.separable)]
            clean = np.tensordot((mixing[:, own] @ unmix[own]).real, frames, 1)
            fitted = fit(clean, field, wave, rounds=1)
            found.append(fitted.q)
            errors.append(fitted.q_error)
            # The brighter a wave, the better it is known.
            depth.append([max(wave.modulation, 0.01)])
            own_orders.append(orders[number])
    scale = np.array(depth)
    generators = np.linalg.lstsq(scale * np.array(own_orders), scale * np.array(found), rcond=None)[
        0
    ]
    # As fractions of the wavevector the error is the same for all; the best one counts.
    error = min(e / np.hypot(*q) for e, q in zip(errors, found, strict=True))
    return np.asarray(orders @ generators), float(error)


def _fit_phases(
    frames: Real, field: Field, orders: Orders, waves: Sequence[Wave]
) -> tuple[Comb, Callable[[], Real]]:
    """Fit phases, brightness and modulation of all waves at fixed wavevectors.

    Returns
    -------
    comb : Comb
    variances : callable
        Returns the variances (wave, 2) of the mean phase and of one step.
    """
    free = orders.shape[1]
    count = len(frames)
    cost = _Cost(_pairs(frames, field, orders, waves), orders, count)
    phases = np.stack([w.phases for w in waves], -1)
    psi = phases[:, :free]
    c = np.angle(np.exp(1j * (phases - psi @ orders.T)).sum(0))
    strengths = np.mean([w.strengths for w in waves], axis=0)
    depths = np.clip([w.modulation for w in waves], 0.05, 1.5)
    start = [psi.ravel(), c, np.log(strengths), depths, [np.log(MODEL_ERROR[0] * 10)]]
    bounds = [
        *[(None, None)] * (psi.size + c.size),
        *[(-0.5, 0.5)] * count,
        *[(0.0, 2.0)] * len(waves),
        tuple(np.log(MODEL_ERROR)),
    ]
    solution = minimize(
        cost,
        np.concatenate(start),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 200},
    )
    psi, c, log_s, m, log_error = cost.unpack(solution.x)
    phases = cost.phases(psi, c)
    fitted = [
        replace(
            wave,
            phases=phases[:, w],
            strengths=np.exp(log_s),
            modulation=float(m[w]),
            error=float(np.exp(log_error)),
        )
        for w, wave in enumerate(waves)
    ]
    return Comb(tuple(fitted), float(solution.fun)), lambda: cost.variances(solution.x)
