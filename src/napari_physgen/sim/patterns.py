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

from napari_physgen.backend.job import Progress
from napari_physgen.physics.noise import estimate_camera
from napari_physgen.physics.optics import Otf
from napari_physgen.sim._bands import Field
from napari_physgen.sim._damping import fit_damping, fit_modulation, overlap_power
from napari_physgen.sim._joint import choose
from napari_physgen.sim._refine import fit
from napari_physgen.sim._search import landscape, zoomed_peak
from napari_physgen.sim.ingest import ingest
from napari_physgen.sim.results import Patterns
from napari_physgen.sim.spectrum import figures

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from napari_physgen.backend.job import Job
    from napari_physgen.sim._bands import Real
    from napari_physgen.sim._joint import Choice
    from napari_physgen.sim._refine import Wave
    from napari_physgen.sim._search import Landscape
    from napari_physgen.sim.ingest import Stack
    from napari_physgen.sim.settings import SimSettings

TYPICAL_DAMPING = 0.3
"""Damping assumed until it is fitted (fairSIM's default; measured on oil objectives)."""


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
        """Summed evidence of the angles."""
        return float(sum(choice.evidence for choice in self.choices))


def estimate_patterns(
    raw: ArrayLike, settings: SimSettings, otf: Otf | None = None
) -> Job[Patterns]:
    """Estimate wavevectors, phases and modulation from the raw frames (a job).

    Parameters
    ----------
    raw : array
        (frame, y, x) or (angle, phase, y, x).
    settings : SimSettings
    otf : Otf, optional
        Measured detection OTF; default ideal, with its damping fitted unless the settings give it.

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
    known = otf is not None or settings.otf_damping is not None
    transfer = otf or Otf.ideal(
        settings.na, settings.wavelength_nm, settings.otf_damping or TYPICAL_DAMPING
    )
    field = Field(stack.shape, settings.pixel_size_nm / 1000, transfer)
    orders = ["angle-phase", "phase-angle"] if stack.order == "auto" else [stack.order]
    total = len(orders) * stack.angles + 2 * stack.angles
    step = 0
    offset = settings.camera_offset
    if offset is None:
        offset = estimate_camera(
            stack.frames, settings.cutoff, settings.pixel_size_nm, gain=settings.camera_gain
        ).offset
    attempts = []
    for order in orders:
        frames, brightness = _normalised(stack, order, offset)
        lands = []
        for angle in range(stack.angles):
            yield Progress(step, total, "looking for the patterns")
            lands.append(landscape(frames[angle], field, *search_ring(settings)))
            step += 1
        attempts.append(Attempt(order, frames, brightness, lands, choose(lands)))
    attempt = max(attempts, key=lambda a: a.evidence)
    waves = []
    for angle, (land, choice) in enumerate(zip(attempt.lands, attempt.choices, strict=True)):
        yield Progress(step, total, f"fitting the pattern of angle {angle + 1}")
        waves.append(fit(attempt.frames[angle], field, zoomed_peak(land, choice.q)))
        step += 1
    if not known:
        cuts = [overlap_power(f, field, w) for f, w in zip(attempt.frames, waves, strict=True)]
        field = replace(field, otf=transfer.damped(fit_damping(cuts, field)))
    for angle, wave in enumerate(waves):
        yield Progress(step, total, f"fitting the pattern of angle {angle + 1}")
        wave = fit(attempt.frames[angle], field, wave, rounds=2)
        depth = fit_modulation(overlap_power(attempt.frames[angle], field, wave), field)
        waves[angle] = replace(wave, modulation=depth)
        step += 1
    patterns = _patterns(attempt, waves, field, settings)
    return replace(patterns, figures=figures(stack.by_angle(attempt.order), patterns, settings))


def search_ring(settings: SimSettings) -> tuple[float, float]:
    """Return the range of |k| (1/um) in which the pattern is searched.

    The period follows from the excitation NA and wavelength where given; else 0.6 to 1.25 times the
    detection cutoff, and never finer than the objective can make it.
    """
    if settings.excitation_na is not None:
        # Emission is 4-10 % redder than excitation; without the laser line allow for that.
        wavelength = settings.excitation_nm or 0.93 * settings.wavelength_nm
        spread = 0.04 if settings.excitation_nm else 0.08
        centre = 2000 * settings.excitation_na / wavelength
        return (1 - spread) * centre, (1 + spread) * centre
    low, high = 0.6 * settings.cutoff, 1.25 * settings.cutoff
    if settings.excitation_nm is not None:
        high = min(high, 1.03 * 2000 * settings.na / settings.excitation_nm)
    return low, max(high, 1.1 * low)


def _normalised(stack: Stack, order: str, offset: float) -> tuple[Real, Real]:
    """Return frames (angle, phase, y, x) of mean 1 above the offset, and their brightness."""
    frames = stack.by_angle(order).astype(float) - offset
    brightness = frames.mean(axis=(2, 3))
    return frames / brightness[..., None, None], brightness


def _patterns(
    attempt: Attempt, waves: list[Wave], field: Field, settings: SimSettings
) -> Patterns:
    """Collect the fits, with the sign convention of `Patterns`."""
    wavevectors = np.array([w.q for w in waves])
    phases = np.array([w.phases for w in waves])
    for a in range(len(waves)):
        forward = wavevectors[a, 1] if a == 0 else wavevectors[a] @ wavevectors[a - 1]
        if forward < 0:
            wavevectors[a], phases[a] = -wavevectors[a], -phases[a]
    intensities = attempt.brightness * np.array([w.strengths / w.strengths.mean() for w in waves])
    modulation = np.array([w.modulation for w in waves])
    return Patterns(
        wavevectors=wavevectors,
        phases=np.angle(np.exp(1j * phases)),
        modulation=modulation,
        peak_ratio=np.array([c.ratio for c in attempt.choices]),
        order=attempt.order,
        verdict=judge(attempt.choices, wavevectors, modulation),
        pixel_size_nm=settings.pixel_size_nm,
        intensities=intensities / intensities.mean(),
        otf_damping=field.otf.damping,
    )


def judge(choices: list[Choice], wavevectors: Real, modulation: Real) -> str:
    """Say in words how far the patterns can be trusted."""
    guessed = _which([c.how == "guessed" for c in choices])
    if guessed:
        return (
            f"failed: the pattern of {guessed} was not found; try the excitation NA and wavelength, "
            "more light or averaged frames, and check NA, pixel size and frame order"
        )
    remarks = []
    helped = _which([c.how == "helped" for c in choices])
    if helped:
        remarks.append(f"{helped} found only with the help of the common period and spacing")
    odd = _which(_odd_ones(wavevectors))
    if odd:
        remarks.append(f"{odd} does not fit equal periods and equally spaced directions")
    weak = _which([m < 0.1 for m in modulation])
    if weak:
        remarks.append(f"weak modulation in {weak}")
    return "usable: " + "; ".join(remarks) if remarks else "good"


def _which(flags: list[bool]) -> str:
    numbers = [str(i + 1) for i, flag in enumerate(flags) if flag]
    if not numbers:
        return ""
    return f"angle {numbers[0]}" if len(numbers) == 1 else "angles " + " and ".join(numbers)


def _odd_ones(wavevectors: Real) -> list[bool]:
    """Tell which angles differ by > 3 % in |k| or by > 5 degrees from equal spacing."""
    count = len(wavevectors)
    radius = np.linalg.norm(wavevectors, axis=1)
    off_period = np.abs(radius / np.median(radius) - 1) > 0.03
    direction = np.arctan2(wavevectors[:, 0], wavevectors[:, 1])
    unit = np.pi / count
    residual = (direction[:, None] - direction) / unit
    off = np.abs(residual - np.round(residual)) * unit
    lonely = np.median(off, axis=1) > np.radians(5)
    same = (np.abs(np.round(residual)) % count == 0) & ~np.eye(count, dtype=bool)
    return [bool(x) for x in off_period | lonely | same.any(axis=1)]

