"""Find the illumination patterns in a raw SIM stack.

Coarse to fine: significance of the band correlation in a ring of wavevectors (`_search`), one
choice for all angles (`_joint`), then a likelihood fit of wavevector, phases, brightness and
modulation per angle (`_refine`), and the damping of the OTF from all of them (`_damping`).
Equal phase steps are not assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from napari_physgen.backend.job import Progress
from napari_physgen.errors import UserError
from napari_physgen.physics.noise import estimate_camera
from napari_physgen.physics.optics import TYPICAL_DAMPING, Otf
from napari_physgen.sim._bands import Field
from napari_physgen.sim._damping import (
    fit_damping,
    fit_modulation,
    modulation_error,
    overlap_power,
)
from napari_physgen.sim._errors import phase_error, with_modulation
from napari_physgen.sim._joint import choose, expected
from napari_physgen.sim._kinds import KINDS, fit_combs
from napari_physgen.sim._refine import fit
from napari_physgen.sim._search import landscape, zoomed_peak
from napari_physgen.sim._steps import share_steps
from napari_physgen.sim._verdict import judge
from napari_physgen.sim.detection import detection_otf
from napari_physgen.sim.ingest import ingest
from napari_physgen.sim.results import Patterns
from napari_physgen.sim.spectrum import figures

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

    from napari_physgen.backend.job import Job
    from napari_physgen.sim._bands import Real, Wave
    from napari_physgen.sim._joint import Choice
    from napari_physgen.sim._search import Landscape
    from napari_physgen.sim.ingest import Stack
    from napari_physgen.sim.settings import SimSettings


SIDE_PEAK = (0.7, 3.0)
"""How far (DFT pixels) from where the other angles point a fit may have ended on a side peak."""


@dataclass(frozen=True)
class Attempt:
    """Frames in one order, with where the patterns seem to be."""

    order: str
    frames: Real
    brightness: Real
    lands: list[Landscape]
    choices: list[Choice]

    @property
    def evidence(self) -> float:
        """Summed evidence; a pattern that shows up in several angles counts once.

        In the wrong order each group of frames holds frames of all angles.
        """
        best = {c.q.tobytes(): 0.0 for c in self.choices}
        for choice in self.choices:
            key = choice.q.tobytes()
            best[key] = max(best[key], choice.evidence)
        return sum(best.values())


def estimate_patterns(
    raw: ArrayLike,
    settings: SimSettings,
    otf: Otf | ArrayLike | str | Path | None = None,
) -> Job[Patterns]:
    """Estimate wavevectors, phases and modulation from the raw frames (a job).

    Parameters
    ----------
    raw : array
        (frame, y, x) or (angle, phase, y, x).
    settings : SimSettings
    otf : Otf, array or path, optional
        Measured detection OTF or PSF, see `detection_otf`; default ``settings.otf``, else the
        ideal one, with its damping fitted unless the settings give it.

    Returns
    -------
    Patterns
        `verdict` says in words whether to trust them.

    Raises
    ------
    UserError
        If the stack cannot be a raw SIM stack of these settings.
    """
    stack = ingest(raw, settings)
    known = detection_otf(settings, stack.shape, otf)
    start = known or Otf.ideal(settings.na, settings.wavelength_nm, TYPICAL_DAMPING)
    field = Field(stack.shape, settings.pixel_size_nm / 1000, start)
    # numpy's threads cost more than they bring on matrices this small
    with threadpool_limits(1, user_api="blas"):
        attempt = yield from _search(stack, field, settings)
        kind = KINDS.get(settings.pattern)
        if kind is None:
            waves, field = yield from _fit(attempt, field, fit_otf=known is None)
            patterns = _patterns(attempt, waves, waves, field, settings)
        else:
            lands, choices = attempt.lands, attempt.choices
            fits = fit_combs(kind, attempt.frames, field, lands, choices, known is None)
            combs, field = yield from fits
            first = [comb.waves[0] for comb in combs]
            patterns = _patterns(attempt, first, kind.judged(combs), field, settings)
            patterns = kind.completed(patterns, combs)
    return replace(patterns, figures=figures(stack.by_angle(attempt.order), patterns, settings))


def _search(stack: Stack, field: Field, settings: SimSettings) -> Job[Attempt]:
    """Look for the patterns in each possible frame order; return the more likely one."""
    orders = ["angle-phase", "phase-angle"] if stack.order == "auto" else [stack.order]
    offset = settings.camera_offset
    if offset is None:
        offset = estimate_camera(
            stack.frames, settings.cutoff, settings.pixel_size_nm, gain=settings.camera_gain
        ).offset
    kind = KINDS.get(settings.pattern)
    sort, pick = (kind.sort, kind.choose) if kind else (np.asarray, choose)
    attempts = []
    for number, order in enumerate(orders):
        frames, brightness = _normalised(stack, order, offset)
        lands = []
        for angle in range(stack.angles):
            step = number * stack.angles + angle
            yield Progress(step, len(orders) * stack.angles, "looking for the patterns")
            lands.append(landscape(sort(frames[angle]), field, *search_ring(settings)))
        attempts.append(Attempt(order, frames, brightness, lands, pick(lands)))
    return max(attempts, key=lambda attempt: attempt.evidence)


def _fit(attempt: Attempt, field: Field, fit_otf: bool) -> Job[tuple[list[Wave], Field]]:
    """Fit the waves of all angles and, if it is not known, the damping of the OTF."""
    message, total = "fitting the patterns", 2 * len(attempt.choices)
    waves = []
    for angle, (land, choice) in enumerate(zip(attempt.lands, attempt.choices, strict=True)):
        yield Progress(angle, total, message)
        waves.append(fit(attempt.frames[angle], field, zoomed_peak(land, choice.q)))
    rough = field
    if fit_otf:
        cuts = [overlap_power(f, field, w) for f, w in zip(attempt.frames, waves, strict=True)]
        damping = fit_damping(cuts, field.cutoff)
        # Undoing a strong damping amplifies what the model leaves out; the waves do not need it.
        rough = replace(field, otf=field.otf.damped(max(damping, TYPICAL_DAMPING)))
        field = replace(field, otf=field.otf.damped(damping))
    for angle, wave in enumerate(waves):
        yield Progress(len(waves) + angle, total, message)
        waves[angle] = fit(attempt.frames[angle], rough, wave, rounds=2)
    waves = _measured(attempt.frames, _unslipped(attempt.frames, waves, rough), field)
    lost = [c.how == "guessed" and w.lost for c, w in zip(attempt.choices, waves, strict=True)]
    errors = np.where(lost, np.inf, [w.q_error for w in waves])
    if any(lost) and np.isfinite(errors).any():
        q = np.array([w.q for w in waves])
        for angle in (a for a, missing in enumerate(lost) if missing):
            q[angle] = expected(q, errors, angle)
            waves[angle] = fit(attempt.frames[angle], rough, q[angle], rounds=1, hold=True)
            # It says nothing about the period, but its direction is taken.
            errors[angle] = 1e3 * field.steps.max()
        waves = _measured(attempt.frames, waves, field)
    return waves, field


def _unslipped(frames: Real, waves: list[Wave], field: Field) -> list[Wave]:
    """Return the waves with those on a side peak moved to the peak that the others point to.

    Bright filaments make side peaks, 1.2 to 1.7 DFT pixels away, higher than the peak itself; there
    the modulation comes out lower. An angle that really is elsewhere stays.
    """
    q = np.array([w.q for w in waves])
    errors = np.array([w.q_error for w in waves])
    kept = list(waves)
    for angle, wave in enumerate(waves):
        if not np.isfinite(np.delete(errors, angle)).any():
            continue
        target = expected(q, errors, angle)
        target *= np.sign(target @ wave.q)
        if SIDE_PEAK[0] < np.linalg.norm((wave.q - target) / field.steps) < SIDE_PEAK[1]:
            other = fit(frames[angle], field, target)
            if other.modulation > wave.modulation:
                kept[angle] = other
    return kept


def _measured(frames: Real, waves: list[Wave], field: Field) -> list[Wave]:
    """Return the waves with common steps, and with their modulation and its error."""
    waves = share_steps(waves)
    for angle, wave in enumerate(waves):
        power = overlap_power(frames[angle], field, wave)
        modulation, error = fit_modulation(power, field), modulation_error(power, field)
        waves[angle] = with_modulation(wave, modulation, error)
    return waves


def search_ring(settings: SimSettings) -> tuple[float, float]:
    """Return the range of |k| (1/um) in which the pattern is searched.

    The period follows from the excitation NA and wavelength where given; else 0.6 to 1.25 times the
    detection cutoff, and never finer than the objective can make it.

    Raises
    ------
    UserError
        If the pattern would be too fine for its bands to overlap.
    """
    cutoff = settings.cutoff
    low, high = 0.6 * cutoff, 1.25 * cutoff
    if settings.excitation_na is not None:
        # Emission is 4-10 % redder than excitation; without the laser line allow for that.
        wavelength = settings.excitation_nm or 0.93 * settings.wavelength_nm
        spread = 0.04 if settings.excitation_nm else 0.08
        centre = 2000 * settings.excitation_na / wavelength
        low, high = (1 - spread) * centre, (1 + spread) * centre
    elif settings.excitation_nm is not None:
        high = max(min(high, 1.03 * 2000 * settings.na / settings.excitation_nm), 1.1 * low)
    if high > 1.7 * cutoff:
        raise UserError(
            f"With this excitation the pattern's period would be {1000 / high:.0f} nm, too fine "
            f"for a resolution of {1000 / cutoff:.0f} nm: check the excitation NA and wavelength, "
            "the NA and the emission wavelength."
        )
    return low, high


def _normalised(stack: Stack, order: str, offset: float) -> tuple[Real, Real]:
    """Return frames (angle, phase, y, x) of mean 1 above the offset, and their brightness."""
    frames = stack.by_angle(order).astype(float) - offset
    brightness = frames.mean(axis=(2, 3))
    return frames / brightness[..., None, None], brightness


def _patterns(
    attempt: Attempt, waves: list[Wave], judged: list[Wave], field: Field, settings: SimSettings
) -> Patterns:
    """Collect the fits, with the sign convention of `Patterns`."""
    wavevectors = np.array([w.q for w in waves])
    phases = np.array([w.phases for w in waves])
    for a in range(len(waves)):
        forward = wavevectors[a, 1] if a == 0 else wavevectors[a] @ wavevectors[a - 1]
        if forward < 0:
            wavevectors[a], phases[a] = -wavevectors[a], -phases[a]
    intensities = attempt.brightness * np.array([w.strengths / w.strengths.mean() for w in waves])
    return Patterns(
        wavevectors=wavevectors,
        phases=np.angle(np.exp(1j * phases)),
        modulation=np.array([w.modulation for w in waves]),
        peak_ratio=np.array([c.ratio for c in attempt.choices]),
        order=attempt.order,
        verdict=judge(attempt.choices, judged, field.steps),
        pixel_size_nm=settings.pixel_size_nm,
        intensities=intensities / intensities.mean(),
        otf_damping=field.otf.damping,
        wavevector_error=np.array([w.q_error for w in waves]),
        phase_error=np.array([phase_error(w) for w in waves]),
        modulation_error=np.array([w.modulation_error for w in waves]),
    )
