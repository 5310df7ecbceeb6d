"""Phase steps that all angles have in common.

One device shifts the pattern for all angles, so its errors repeat (measured on a TIRF-SIM: 0, +134,
-87 degrees in every angle). The angles' steps are drawn towards their mean as far as their
differences are no larger than their errors: the angles' own deviations are normal, with a
standard deviation that is averaged over (hierarchical model; Gelman et al., Bayesian Data Analysis,
sec. 5.4).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.sim._bands import equal_phases, turn_of

if TYPE_CHECKING:
    from napari_physgen.sim._bands import Wave

OWN = np.radians([0.0, 0.5, 1, 2, 4, 8, 16])
"""Standard deviations that the angles' own steps may have, all equally likely beforehand."""

FINEST = np.radians(0.3)
"""No step is taken to be known better than this."""


def share_steps(waves: list[Wave]) -> list[Wave]:
    """Return the waves with steps, and errors of steps, that borrow strength from other angles."""
    equal = equal_phases(len(waves[0].phases))
    turns = np.array([turn_of(wave.phases) for wave in waves])
    away = np.array([t * w.phases - equal for t, w in zip(turns, waves, strict=True)])
    offset = np.angle(np.exp(1j * away).sum(axis=1))
    away = np.angle(np.exp(1j * (away - offset[:, None])))
    offset += away.mean(axis=1)
    away -= away.mean(axis=1, keepdims=True)
    error = np.maximum([wave.step_error for wave in waves], FINEST) ** 2

    # Axes: own deviation, angle(, phase).
    total = OWN[:, None] ** 2 + error
    weight = 1 / total
    precision = weight.sum(axis=1)
    common = (weight @ away / precision[:, None])[:, None]
    misfit = np.sum((away - common) ** 2, axis=2)
    freedom = equal.size - 1
    log_odds = -0.5 * (
        freedom * (np.log(total).sum(axis=1) + np.log(precision)) + (misfit * weight).sum(axis=1)
    )
    odds = np.exp(log_odds - log_odds.max())
    odds /= odds.sum()

    keep = OWN[:, None] ** 2 * weight
    steps = common + keep[..., None] * (away - common)
    mean = np.einsum("o,oap->ap", odds, steps)
    spread = keep * error + (1 - keep) ** 2 / precision[:, None]
    spread += np.sum((steps - mean) ** 2, axis=2) / freedom
    step_error = np.sqrt(odds @ spread)
    phases = turns[:, None] * (mean + equal + offset[:, None])
    return [
        replace(w, phases=p, step_error=float(e))
        for w, p, e in zip(waves, phases, step_error, strict=True)
    ]
