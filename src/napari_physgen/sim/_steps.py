"""Phase steps that all angles have in common.

One device shifts the pattern for all angles, so its errors repeat (measured on a TIRF-SIM: 0, +134,
-87 degrees in every angle). The angles' steps are drawn towards their mean as far as
their differences are no larger than their errors (empirical Bayes; Efron & Morris 1973).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.sim._bands import equal_phases, turn_of

if TYPE_CHECKING:
    from napari_physgen.sim._bands import Wave

COARSE = np.radians(10)
"""Below this error all angles count alike: what remains is the model's, not the camera's."""


def share_steps(waves: list[Wave]) -> list[Wave]:
    """Return the waves with steps that borrow strength from the other angles."""
    equal = equal_phases(len(waves[0].phases))
    turns = np.array([turn_of(wave.phases) for wave in waves])
    away = np.array([t * w.phases - equal for t, w in zip(turns, waves, strict=True)])
    offset = np.angle(np.exp(1j * away).sum(axis=1))
    away = np.angle(np.exp(1j * (away - offset[:, None])))
    offset += away.mean(axis=1)
    away -= away.mean(axis=1, keepdims=True)
    error = np.array([wave.phase_error for wave in waves]) ** 2
    common = np.average(away, axis=0, weights=1 / np.maximum(error, COARSE**2))
    freedom = (len(waves) - 1) * (equal.size - 1)
    differences = np.sum((away - common) ** 2) / freedom
    own = max(differences - float(np.mean(error)), 0.0)
    keep = (own / (own + error))[:, None]
    phases = turns[:, None] * (common + keep * (away - common) + equal + offset[:, None])
    return [replace(w, phases=p) for w, p in zip(waves, phases, strict=True)]
