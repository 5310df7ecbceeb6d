"""Several waves in the frames of one angle: each fitted by itself, then brought into agreement.

The phases of the frames separate the bands of all waves, 1 + 2 W of them. As long as their phases
run in different steps, the other waves are to the likelihood fit of one (`_refine`) nothing but a
model error that is uncorrelated with it. The frames are sorted so that the wave's
steps are those of one turn, which the fit starts from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.sim._bands import Wave
from napari_physgen.sim._bands import overlap as cut_overlap
from napari_physgen.sim._damping import (
    OverlapPower,
    fit_modulation,
    modulation_error,
    reduced,
)
from napari_physgen.sim._errors import with_modulation as one_with_modulation
from napari_physgen.sim._refine import fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.sim._bands import Complex, Field, Real


WIDEST = 1.6
"""Pattern frequency, in cutoffs, up to which bands are compared with the central one: where 7 % of
the disc overlap, and the OTF has less than a hundredth."""


@dataclass(frozen=True)
class Comb:
    """The waves of one angle; all belong to the same frames.

    Parameters
    ----------
    waves : tuple of Wave
        Phases and strengths in the order of the frames.
    cost : float
        -ln posterior of the frames, up to a constant.
    """

    waves: tuple[Wave, ...]
    cost: float = 0.0

    @property
    def strengths(self) -> Real:
        """Relative brightness of the frames (phase,): all waves have the same."""
        return self.waves[0].strengths

    @property
    def separable(self) -> tuple[Wave, ...]:
        """The first waves, as many as the number of frames can tell apart."""
        return self.waves[: (len(self.strengths) - 1) // 2]

    @property
    def mixing(self) -> Complex:
        """Matrix (phase, band) that mixes the bands (0, separable waves, the same backwards)."""
        turn = np.exp(1j * np.stack([w.phases for w in self.separable], -1))
        bands = np.concatenate([np.ones((len(turn), 1)), turn, turn.conj()], -1)
        return np.asarray(self.strengths[:, None] * bands)


def sorted_frames(count: int, step: int) -> NDArray[np.intp]:
    """Return the order of frames in which phases in `step` parts of a turn run in single ones.

    Frames whose steps share a factor with their number cannot be sorted so and stay as they are.
    """
    order = np.arange(count) * step % count
    return np.argsort(order) if np.unique(order).size == count else np.arange(count)


def fit_wave(
    frames: Real, field: Field, start: Wave | Real, step: int = 1, rounds: int = 4
) -> Wave:
    """Fit one of several waves of an angle, whose phases run in about `step` parts of a turn."""
    order = sorted_frames(len(frames), step)
    if isinstance(start, Wave):
        start = _sorted(start, order)
    return _sorted(fit(frames[order], field, start, rounds=rounds), np.argsort(order))


def _sorted(wave: Wave, order: NDArray[np.intp]) -> Wave:
    return replace(wave, phases=wave.phases[order], strengths=wave.strengths[order])


def moved_to(wave: Wave, q: Real, field: Field) -> Wave:
    """Return a wave with another wavevector and the same phases in the middle of the field."""
    centre = (np.array(field.shape) - 1) / 2 * field.pixel_um
    return replace(wave, q=q, phases=wave.phases + 2 * np.pi * (wave.q - q) @ centre)


def overlaps(wave: Wave, field: Field) -> bool:
    """Whether enough of a wave's band overlaps with the central one to compare them."""
    return bool(np.hypot(*wave.q) < WIDEST * field.cutoff)


def overlap_powers(frames: Real, field: Field, comb: Comb) -> list[OverlapPower]:
    """Measure the powers of the central band and of each separable wave's in their overlap.

    Up to the first wave that is too fine to overlap.
    """
    frames = frames - frames.mean()
    sharp = field.sharpened(frames)
    spectra = scipy.fft.fft2(sharp)
    noise = field.sharpened_noise(frames)
    unmix = np.linalg.pinv(comb.mixing)
    gains = np.sum(np.abs(unmix) ** 2, axis=1)
    powers = []
    for number, part in enumerate(comb.separable, 1):
        if not overlaps(part, field):
            break
        cut = cut_overlap(sharp, spectra, field, part.q)
        side, centre = unmix[number] @ cut.here, unmix[0] @ cut.there
        both = gains[number] * noise, gains[0] * noise
        powers.append(reduced(cut, (side, centre), both, field, part.error))
    return powers


def with_modulation(frames: Real, field: Field, comb: Comb) -> Comb:
    """Return the waves with the modulation that the ratio of their bands to the central one shows.

    Where there is no overlap they keep that of the likelihood.
    """
    waves = list(comb.waves)
    for number, power in enumerate(overlap_powers(frames, field, comb)):
        depth, error = fit_modulation(power, field), modulation_error(power, field)
        waves[number] = one_with_modulation(waves[number], depth, error)
    return replace(comb, waves=tuple(waves))
