"""How far fitted patterns can be off, and the chance that they are good enough.

The curvature of each likelihood gives a standard error. The likelihoods count frequencies as
independent and objects as Gaussian; what they miss by this was measured on simulated stacks,
as the ratio of true to stated errors. It hardly depends on the sample, the light or the pattern.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.special

if TYPE_CHECKING:
    from napari_physgen.sim._bands import Real, Wave

Q_SCALE, OFFSET_SCALE, STEP_SCALE, MODULATION_SCALE = 1.6, 1.45, 1.35, 1.65
"""True errors over those that the curvatures give."""

PHASE_PER_ERROR = np.radians(18)
USUAL_ERROR = 0.02
"""Phase error per square root of the model error (measured on simulated filaments and spots), for
what exceeds the usual one: uneven light, bent fringes, a wrong OTF."""

MODULATION_FLOOR = 0.01
"""Relative error of the modulation that no light removes."""

Q_LIMIT = 0.02
PHASE_LIMIT = np.radians(3)
MODULATION_LIMIT = 0.05
"""What good patterns keep: wavevectors in DFT pixels (0.02 turn the phase by less than 4 degrees
between the middle and an edge of the field), phases (rms of an angle), modulation (relative)."""


def with_errors(wave: Wave, curvature: Real, covariance: Real) -> Wave:
    """Return the wave with the standard errors of its wavevector and phases.

    Parameters
    ----------
    wave : Wave
    curvature : numpy.ndarray
        (2, 2), of -ln likelihood at the wavevector, um^2.
    covariance : numpy.ndarray
        (phase, phase), of the phases, rad^2.
    """
    count = len(covariance)
    values = np.linalg.eigvalsh(curvature)
    spread = np.mean(1 / values) if values[0] > 0 else np.inf
    offset = covariance.mean()
    steps = (np.trace(covariance) - count * offset) / (count - 1)
    model = PHASE_PER_ERROR * np.sqrt(max(wave.error - USUAL_ERROR, 0.0))
    return replace(
        wave,
        q_error=float(Q_SCALE * np.sqrt(spread)),
        offset_error=float(OFFSET_SCALE * np.sqrt(offset)),
        step_error=float(np.hypot(STEP_SCALE * np.sqrt(steps), model)),
    )


def with_modulation(wave: Wave, modulation: float, error: float) -> Wave:
    """Return the wave with this modulation and the standard error that its fit gives."""
    relative = np.hypot(MODULATION_SCALE * error / max(modulation, 1e-3), MODULATION_FLOOR)
    return replace(wave, modulation=modulation, modulation_error=float(relative))


def phase_error(wave: Wave) -> float:
    """Return the standard error of one phase in the middle of the field, rad."""
    others = 1 - 1 / len(wave.phases)
    return float(np.hypot(wave.offset_error, np.sqrt(others) * wave.step_error))


def chance(wave: Wave, steps: Real) -> float:
    """Return the probability that all errors of an angle are within the limits.

    Errors are normal; the mean square of the phases is taken as gamma distributed.

    Parameters
    ----------
    wave : Wave
    steps : numpy.ndarray
        Frequency per DFT pixel along (y, x), 1/um.
    """
    q = -np.expm1(-0.5 * (Q_LIMIT * steps.min() / wave.q_error) ** 2)
    others = len(wave.phases) - 1
    share = wave.step_error**2 / len(wave.phases)
    mean = wave.offset_error**2 + others * share
    shape = mean**2 / (2 * wave.offset_error**4 + 2 * others * share**2)
    phases = scipy.special.gammainc(shape, shape * PHASE_LIMIT**2 / mean)
    modulation = scipy.special.erf(MODULATION_LIMIT / wave.modulation_error / np.sqrt(2))
    return float(q * phases * modulation)
