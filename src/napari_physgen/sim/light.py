"""Ideal illumination of each kind, for simulated stacks: what an aligned microscope would make.

Sums of waves come as `Patterns`, everything else as frames on the grid of the object.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.physics.optics import frequencies
from napari_physgen.sim._arrangement import Arrangement
from napari_physgen.sim.results import Patterns, Waves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.sim.settings import SimSettings

    Frames = NDArray[np.float32]

FINEST = 0.9
"""Pattern frequency where the settings name no excitation aperture, in detection cutoffs."""


def stripes(settings: SimSettings, seed: int, modulation: float = 0.8) -> Patterns:
    """Return one wave per angle: equally spaced directions, equal phase steps, random start."""
    rng = np.random.default_rng([seed, 0])
    # Turning on by 180 / angles from a start within (-90, 90) degrees keeps the sign
    # convention of `Patterns`.
    start = rng.uniform(-np.pi / 2, np.pi / 2)
    directions = start + np.pi / settings.angles * np.arange(settings.angles)
    steps = 2 * np.pi * np.arange(settings.phases) / settings.phases
    phases = rng.uniform(-np.pi, np.pi, (settings.angles, 1)) + steps
    k = finest(settings)
    plain = Arrangement.parse(settings.order).plain
    return Patterns(
        wavevectors=k * np.stack([np.sin(directions), np.cos(directions)], -1),
        phases=np.angle(np.exp(1j * phases)),
        modulation=np.full(settings.angles, modulation),
        peak_ratio=np.full(settings.angles, np.inf),
        order="phase-angle" if plain == "phase-angle" else "angle-phase",
        verdict="good",
        pixel_size_nm=settings.pixel_size_nm,
    )


def three_beam(
    settings: SimSettings, seed: int, modulation: tuple[float, float] = (0.5, 0.6)
) -> Patterns:
    """Return two orders per angle: the second is the finest that the excitation aperture makes."""
    second = stripes(settings, seed)
    steps = 2 * np.pi * np.arange(settings.phases) / settings.phases
    phases = second.phases[:, :1] / 2 + steps
    return replace(
        second,
        wavevectors=second.wavevectors / 2,
        phases=np.angle(np.exp(1j * phases)),
        modulation=np.full(settings.angles, modulation[0]),
        overtones=Waves(
            second.wavevectors[:, None],
            np.angle(np.exp(2j * phases))[..., None],
            np.full((settings.angles, 1), modulation[1]),
        ),
    )


def hexagonal(settings: SimSettings, seed: int, modulation: float = 2 / 3) -> Patterns:
    """Return the lattice of three beams: three waves whose wavevectors and phases add up to 0.

    The phases run in steps of 1, 2 and -3 parts of a turn, so that all waves can be told apart.
    """
    rng = np.random.default_rng([seed, 0])
    directions = rng.uniform(-np.pi / 2, np.pi / 2) + 2 * np.pi / 3 * np.arange(3)
    k = finest(settings) * np.stack([np.sin(directions), np.cos(directions)], -1)
    first = rng.uniform(-np.pi, np.pi, 2)
    first = np.append(first, -first.sum())
    turn = 2 * np.pi / settings.phases * np.arange(settings.phases)
    phases = np.angle(np.exp(1j * (first + turn[:, None] * [1, 2, -3])))
    depths = np.full((1, 3), modulation)
    return Patterns(
        wavevectors=k[:1],
        phases=phases[None, :, 0],
        modulation=depths[:, 0],
        peak_ratio=np.full(3, np.inf),
        order="angle-phase",
        verdict="good",
        pixel_size_nm=settings.pixel_size_nm,
        overtones=Waves(k[None, 1:], phases[None, :, 1:], depths[:, 1:]),
    )


def saturated_stripes(
    settings: SimSettings, seed: int, saturation: float = 2.0, modulation: float = 0.95
) -> Patterns:
    """Return stripes of light whose effect on the dye is not in proportion."""
    from napari_physgen.sim.saturation import saturated  # brings torch along

    return saturated(stripes(settings, seed, modulation), saturation)


def finest(settings: SimSettings) -> float:
    """Return |k| of the finest pattern, 1/um: from the excitation aperture or `FINEST`."""
    if settings.excitation_na is None:
        return FINEST * settings.cutoff
    # Emission is 4-10 % redder than excitation.
    excitation = settings.excitation_nm or 0.93 * settings.wavelength_nm
    return 2000 * settings.excitation_na / excitation


def plasmonic(shape: tuple[int, int], settings: SimSettings, frames: int, seed: int) -> Frames:
    """Return near-field patterns (frame, y, x) of a hexagonal lattice of antennas, mean 1.

    The lattice is finer than light can make it (1.9 detection cutoffs), with sharp spots, and each
    frame lights its antennas from another side: the spots move along a circle around them.

    Parameters
    ----------
    shape : (int, int)
        Grid of the object (y, x), `zoom` times finer than the raw frames.
    settings : SimSettings
    frames : int
    seed : int
        Of the rotation of the lattice.
    """
    rng = np.random.default_rng([seed, 0])
    pixel = settings.pixel_size_nm / 1000 / settings.zoom
    y, x = (np.arange(n) * pixel for n in shape)
    directions = rng.uniform(0, np.pi / 3) + 2 * np.pi / 3 * np.arange(3)
    k = 1.9 * settings.cutoff * np.stack([np.sin(directions), np.cos(directions)], -1)
    side = 2 * np.pi * np.arange(frames) / frames
    offset = np.stack([np.sin(side), np.cos(side)], -1) / (1.9 * settings.cutoff) / 2
    lit = np.zeros((frames, *shape))
    for q in k:
        phase = q[0] * (y[:, None] - offset[:, 0, None, None])
        phase = phase + q[1] * (x - offset[:, 1, None, None])
        lit += np.cos(2 * np.pi * phase)
    spots = (1 + lit / 1.5 * 0.99).clip(0) ** 2
    return np.asarray(spots / spots.mean(), np.float32)


def speckle(shape: tuple[int, int], settings: SimSettings, frames: int, seed: int) -> Frames:
    """Return fully developed speckle (frame, y, x), mean 1, as fine as the objective can make it.

    The intensity behind a pupil of random phases; its spectrum ends at the excitation cutoff.
    """
    rng = np.random.default_rng([seed, 0])
    pixel = settings.pixel_size_nm / 1000 / settings.zoom
    field = rng.standard_normal((frames, *shape)) + 1j * rng.standard_normal((frames, *shape))
    pupil = np.hypot(*frequencies(shape, pixel)) <= speckle_cutoff(settings) / 2
    intensity = np.abs(scipy.fft.ifft2(scipy.fft.fft2(field) * pupil)) ** 2
    return np.asarray(intensity / intensity.mean(), np.float32)


def speckle_cutoff(settings: SimSettings) -> float:
    """Return the highest frequency of speckle through the objective, 1/um."""
    excitation = settings.excitation_nm or 0.93 * settings.wavelength_nm
    return 2000 * (settings.excitation_na or settings.na) / excitation
