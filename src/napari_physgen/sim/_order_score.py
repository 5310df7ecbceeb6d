"""How well raw frames fit the order that they were sorted by.

Three things are true of the right order and false of most others, and the score is their product:

1. Evidence. The frames of an angle differ by the shift of one pattern, and each angle has a pattern
   of its own. In a wrong order a group holds frames of several angles or planes: what is left of
   each pattern is fainter, or the same one turns up in several groups. This is the evidence of
   `_search`, summed over the different patterns.
2. Purity. Each frame, compared with the mean of all, shows the pattern of its own angle and none of
   the others; a frame of plain light shows none. With the correlation c_f(q) of frame f at the
   wavevector q, this is sum_f |c_f(q of its angle)|^2 / sum_f sum_q |c_f(q)|^2.
3. Likeness. The frames of a plane show the same coarse structure. This tells frames of neighbouring
   planes from frames of neighbouring phases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.physics.noise import estimate_camera
from napari_physgen.physics.optics import TYPICAL_DAMPING, Otf
from napari_physgen.sim._bands import NOTCH, Field
from napari_physgen.sim._joint import choose
from napari_physgen.sim._search import landscape
from napari_physgen.sim.patterns import search_ring

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.sim._bands import Real
    from napari_physgen.sim._joint import Choice
    from napari_physgen.sim.settings import SimSettings

    Frames = NDArray[np.float32]

COARSE = 0.3
"""Structure below this part of the cutoff is compared: there the pattern shifts little light to."""

BETWEEN = 4
"""Directions between two patterns at which the noise of the correlation is measured."""

STRICT = 4
"""Power of the purity in the score. One frame in the wrong place costs 5 to 10 % of the purity, and
evidence varies by a quarter between orders that differ by little more."""


@dataclass(frozen=True)
class Score:
    """How well one order fits.

    Parameters
    ----------
    evidence : float
        -ln of the chance that noise alone gives such patterns, summed over the different ones.
    purity, likeness : float
        0 to 1, see the module.
    patterns : int
        Number of different patterns that stand out.
    """

    evidence: float
    purity: float
    likeness: float
    patterns: int

    @property
    def total(self) -> float:
        """Evidence, discounted by what contradicts it."""
        return self.evidence * self.purity**STRICT * self.likeness


def score(frames: Frames, plain: Frames | None, settings: SimSettings) -> Score:
    """Judge frames that were sorted by angle.

    Parameters
    ----------
    frames : numpy.ndarray
        (angle, phase, y, x), grey levels.
    plain : numpy.ndarray or None
        (y, x), the frame of plain light where the order says that there is one.
    settings : SimSettings
    """
    shape = (frames.shape[2], frames.shape[3])
    flat = frames.reshape(-1, *shape)
    if plain is not None:
        flat = np.concatenate([flat, plain[None]])
    offset = settings.camera_offset
    if offset is None:
        offset = estimate_camera(
            flat, settings.cutoff, settings.pixel_size_nm, gain=settings.camera_gain
        ).offset
    light = flat.astype(float) - offset
    light /= np.maximum(light.mean(axis=(1, 2), keepdims=True), 1e-12)
    groups = light[: len(frames) * frames.shape[1]].reshape(frames.shape)
    otf = Otf.ideal(settings.na, settings.wavelength_nm, TYPICAL_DAMPING)
    view = Field(shape, settings.pixel_size_nm / 1000, otf)
    lands = [landscape(group, view, *search_ring(settings)) for group in groups]
    choices = choose(lands)
    different = _different(choices, lands[0].steps)
    return Score(
        float(sum(max(choice.evidence, 0.0) for choice in different)),
        _purity(light, choices, different, view),
        _likeness(groups, view),
        sum(choice.how != "guessed" for choice in different),
    )


def _different(choices: list[Choice], steps: Real) -> list[Choice]:
    """Return the choices without those that repeat the pattern of a brighter one."""
    kept: list[Choice] = []
    for choice in sorted(choices, key=lambda c: -c.evidence):
        if not any(_same(choice, other, steps) for other in kept):
            kept.append(choice)
    return kept


def _same(one: Choice, other: Choice, steps: Real) -> bool:
    return bool(min(np.hypot(*((one.q - sign * other.q) / steps)) for sign in (1, -1)) <= 2)


def _purity(light: Real, choices: list[Choice], different: list[Choice], view: Field) -> float:
    mean = light.mean(axis=0)
    images = _whitened(light - mean, view) * _whitened(mean[None] - mean.mean(), view)

    def power(q: Real) -> Real:
        return np.asarray(np.abs(np.sum(images * view.carrier(-q), axis=(1, 2))) ** 2)

    # Between the patterns there is noise only; the median of exponential numbers is ln 2.
    turns = np.arange(1, 2 * BETWEEN, 2) * np.pi / (2 * BETWEEN) / len(choices)
    elsewhere = [power(_turned(c.q, turn)) for c in different for turn in turns]
    noise = np.median(elsewhere) / np.log(2)
    carried = np.maximum([power(c.q) - noise for c in different], 0)
    phases = (len(light) - len(light) % len(choices)) // len(choices)
    own = 0.0
    for angle, choice in enumerate(choices):
        row = next((i for i, c in enumerate(different) if _same(choice, c, view.steps)), 0)
        own += carried[row, angle * phases : (angle + 1) * phases].sum()
    return float(own / max(carried.sum(), 1e-300))


def _turned(q: Real, angle: float) -> Real:
    """Return a wavevector (y, x) turned by `angle` (rad)."""
    return np.array(
        [
            q[0] * np.cos(angle) + q[1] * np.sin(angle),
            q[1] * np.cos(angle) - q[0] * np.sin(angle),
        ]
    )


def _whitened(images: Real, view: Field) -> Real:
    """Return images (..., y, x) whose spectrum is flat where there is more than noise, else 0."""
    spectra = view.spectrum(images)
    power = view.radial_mean(np.mean(np.abs(spectra) ** 2, axis=0))
    signal = np.clip(1 - view.noise_power(spectra) / np.maximum(power, 1e-300), 0, 1)
    ratio = view.radius / view.cutoff
    weight = np.where((ratio > NOTCH) & (ratio < 0.98), signal, 0.0)
    return np.asarray(scipy.fft.ifft2(spectra * np.sqrt(weight / np.maximum(power, 1e-300))).real)


def _likeness(groups: Real, view: Field) -> float:
    """Return the share of the coarse structure that the frames of a plane have in common."""
    coarse = (view.radius > 0) & (view.radius < COARSE * view.cutoff)
    flat = groups.reshape(-1, *view.shape)
    power = np.abs(view.spectrum(flat - 1))[:, coarse] ** 2
    apart = np.abs(view.spectrum(flat - flat.mean(axis=0)))[:, coarse] ** 2
    return float(np.clip(1 - apart.sum() / max(power.sum(), 1e-300), 0, 1))
