"""Stripes of light that acts on the dye out of proportion: harmonics of one wave.

The fundamental is found as any stripes are. Harmonic h in one band shows at k what harmonic h - 1
shows at k - q, so that neighbouring bands are compared with each other even where they are too
fine to overlap with the central one: first for the sign of the harmonic, then, after a fit
of all waves together, for its modulation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.sim._bands import overlap
from napari_physgen.sim._damping import fit_modulation, modulation_error, reduced
from napari_physgen.sim._errors import with_modulation
from napari_physgen.sim._lattice import fit_lattice
from napari_physgen.sim._waves import Comb, fit_wave, overlap_powers

if TYPE_CHECKING:
    from napari_physgen.sim._bands import Complex, Field, Overlap, Real, Wave
    from napari_physgen.sim._search import Landscape

ORDERS = np.array([[1], [2], [3]])

LARGEST = 1.98
"""Largest modulation of a harmonic: narrow lines in the dark have 2."""

GUESSES = (0.3, 0.05)
"""Modulation of the second and third harmonic to start from."""


def fit_harmonics(frames: Real, field: Field, land: Landscape, start: list[Real] | Comb) -> Comb:
    """Fit the fundamental and its harmonics.

    Parameters
    ----------
    frames : numpy.ndarray
        (phase, y, x), above the offset, divided by each frame's brightness.
    field : Field
    land : Landscape
        Not needed: the steps of all harmonics are known.
    start : list of numpy.ndarray or Comb
        Wavevector of the fundamental, or all waves as fitted before.
    """
    if not isinstance(start, list):
        return fit_lattice(frames, field, ORDERS, start.waves)
    first = fit_wave(frames, field, start[0])
    waves = [first]
    for h, m in zip((2, 3), GUESSES, strict=True):
        waves.append(replace(first, q=h * first.q, phases=h * first.phases, modulation=m))
    comb = _with_sign(frames, field, Comb(tuple(waves)))
    comb = fit_lattice(frames, field, ORDERS, comb.waves, rounds=1)
    # Better phases may tell another sign.
    sure = _with_sign(frames, field, comb)
    return comb if sure is comb else fit_lattice(frames, field, ORDERS, sure.waves, rounds=0)


def _with_sign(frames: Real, field: Field, comb: Comb) -> Comb:
    """Return the waves with the second harmonic turned if neighbouring bands contradict."""
    cut, unmix = _neighbours(frames, field, comb)
    first, second, *more = comb.waves
    both = unmix[2] @ cut.here, unmix[1] @ cut.there
    power = reduced(cut, both, (0.0, 0.0), field, first.error)
    # Each frequency counts as far as the optics passed both bands.
    if np.sum(field.otf(power.k_here, 0) * field.otf(power.k_there, 0) * power.cross) >= 0:
        return comb
    return replace(comb, waves=(first, replace(second, phases=second.phases + np.pi), *more))


def with_depths(frames: Real, field: Field, comb: Comb) -> Comb:
    """Return the harmonics with the signed modulation that neighbouring bands show.

    A harmonic beyond what the frames can separate keeps that of the likelihood.
    """
    cut, unmix = _neighbours(frames, field, comb)
    gains = np.sum(np.abs(unmix) ** 2, axis=1)
    noise = field.sharpened_noise(frames - frames.mean())
    power = overlap_powers(frames, field, comb)[0]
    depth, error = fit_modulation(power, field, LARGEST), modulation_error(power, field)
    waves = [with_modulation(comb.waves[0], depth, error)]
    for h, wave in enumerate(comb.waves[1:], 2):
        if h <= len(comb.separable):
            found = unmix[h] @ cut.here, unmix[h - 1] @ cut.there
            both = gains[h] * noise, gains[h - 1] * noise
            # What stands beside the smaller band is half the ratio of the modulations.
            power = reduced(cut, found, both, field, wave.error)
            before = abs(waves[-1].modulation) / 2
            depth = before * fit_modulation(power, field, LARGEST)
            wave = with_modulation(wave, depth, before * modulation_error(power, field))
        waves.append(_signed(wave, h, waves[0].phases))
    return replace(comb, waves=tuple(waves))


def _signed(wave: Wave, order: int, phases: Real) -> Wave:
    """Return harmonic `order` with exactly `order` times the phases, its sign in the modulation."""
    away = np.exp(1j * (wave.phases - order * phases)).sum()
    return replace(wave, phases=order * phases, modulation=wave.modulation * np.sign(away.real))


def _neighbours(frames: Real, field: Field, comb: Comb) -> tuple[Overlap, Complex]:
    """Return the spectra at k and at k - q of the fundamental, and the matrix for the bands."""
    sharp = field.sharpened(frames - frames.mean())
    cut = overlap(sharp, scipy.fft.fft2(sharp), field, comb.waves[0].q)
    return cut, np.asarray(np.linalg.pinv(comb.mixing), complex)
