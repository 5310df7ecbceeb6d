"""Fit of one angle's pattern to its frames, in turns: phases by likelihood, then wavevector.

The wavevector is where the separated bands, brought to the same transfer function, correlate
best between the samples of the DFT.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.sim._bands import Wave, bands, equal_phases, mixing, overlap
from napari_physgen.sim._errors import with_errors
from napari_physgen.sim._whittle import fit_phases, phase_covariance, power_law, statistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_physgen.sim._bands import Field, Overlap, Real


def _first_guesses(cut: Overlap, field: Field, count: int) -> list[Real]:
    """Return equal phase steps in both directions, with the offset that the overlap shows."""
    weight = field.transfer(cut.k_here) * field.transfer(cut.k_there)
    weight = weight / np.mean(np.abs(cut.there) ** 2, axis=0)
    guesses = []
    for turn in (1, -1):
        phases = turn * equal_phases(count)
        side, centre = bands(cut, Wave(np.zeros(2), phases, np.ones(count), 1.0))
        guesses.append(phases + np.angle(np.sum(weight * side * centre.conj())))
    return guesses


def fit(
    frames: Real, field: Field, start: Wave | Real, rounds: int = 4, hold: bool = False
) -> Wave:
    """Refine one angle's pattern until its wavevector stands still.

    Parameters
    ----------
    frames : numpy.ndarray
        (phase, y, x), above the offset, divided by each frame's brightness.
    field : Field
        Its OTF weighs the bands.
    start : Wave or numpy.ndarray
        Wavevector within a DFT pixel, with or without phases.
    rounds : int
    hold : bool
        Keep the wavevector as it is.
    """
    count = len(frames)
    frames = frames - frames.mean()
    noise = field.sharpened_noise(frames)
    sharp = field.sharpened(frames)
    spectra = scipy.fft.fft2(sharp)
    law = power_law(spectra, noise, field)
    known = isinstance(start, Wave)
    wave = start if isinstance(start, Wave) else Wave(start, np.zeros(count), np.ones(count), 0.5)
    for _ in range(rounds):
        cut = overlap(sharp, spectra, field, wave.q)
        stats = statistics(cut, field, spectra, wave.q, noise)
        starts = [wave.phases] if known else _first_guesses(cut, field, count)
        fitted, known = fit_phases(stats, wave, starts), True
        step, curvature = _wavevector_step(cut, field, fitted, noise, law)
        step = np.zeros(2) if hold else step
        centre = (np.array(field.shape) - 1) / 2 * field.pixel_um
        wave = replace(fitted, q=fitted.q + step, phases=fitted.phases - 2 * np.pi * step @ centre)
        if np.all(np.abs(step) < 0.003 * field.steps):
            break
    return with_errors(wave, curvature, phase_covariance(stats, fitted))


def _wavevector_step(
    cut: Overlap, field: Field, wave: Wave, noise: float, law: Callable[[Real], Real]
) -> tuple[Real, Real]:
    """Return how far (1/um) the correlation peak of the fitted bands lies from `wave.q`.

    And the curvature (2, 2) of -ln likelihood there.

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
    ring = (np.hypot(*cut.k_there) / field.cutoff * 40).astype(int)
    count = np.maximum(np.bincount(ring), 1)
    power = (np.bincount(ring, np.abs(centre) ** 2) / count)[ring] - noise * gains[
        0
    ] * boost_there**2
    model = wave.error * (half * h_here) ** 2 * np.maximum(power, 0)
    # Where the object is fainter than the noise of both bands, their product is noise as well.
    both = gains[0] * gains[1] * (noise * boost_here * boost_there) ** 2
    weight = 1 / np.sqrt(camera + model + both / law(np.hypot(*cut.k_there)))
    a, b = np.zeros((2, *field.shape), complex)
    a[cut.index] = weight * h_there * side
    b[cut.index] = weight * h_here * centre
    product = scipy.fft.ifft2(a) * scipy.fft.ifft2(b).conj()
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
        np.exp(-2j * np.pi * np.outer(fine * s, r))
        for s, r in zip(field.steps, (y, x), strict=True)
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
    power, _, hessian = correlation(step)
    # -ln likelihood holds the correlation C as -m |C| times the size of the DFT.
    curvature = -hessian / (2 * np.sqrt(power)) * wave.modulation * product.size
    return np.asarray(step), curvature
