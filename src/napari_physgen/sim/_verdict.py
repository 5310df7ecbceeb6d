"""Can the estimated patterns be trusted? The answer in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.sim._errors import (
    MODULATION_LIMIT,
    PHASE_LIMIT,
    Q_LIMIT,
    chance,
    phase_error,
)

if TYPE_CHECKING:
    from napari_physgen.sim._bands import Real, Wave
    from napari_physgen.sim._joint import Choice

SURE = 0.95
"""Chance that all errors of all angles are within their limits, for "good"."""


def judge(choices: list[Choice], waves: list[Wave], steps: Real) -> str:
    """Say in words how far the patterns can be trusted.

    Parameters
    ----------
    choices : list of Choice
        How each angle was found.
    waves : list of Wave
        Their fits with standard errors.
    steps : numpy.ndarray
        Frequency per DFT pixel along (y, x), 1/um.
    """
    wavevectors = np.array([w.q for w in waves])
    odd = _odd_ones(wavevectors)
    # A guess is as good if the fit then shows a pattern there. What only the other angles point to
    # must stay where they point.
    missed = [
        w.lost or ((c.how == "guessed" or (c.how == "helped" and o)) and not w.clear)
        for c, w, o in zip(choices, waves, odd, strict=True)
    ]
    guessed = _which(missed)
    if guessed:
        return (
            f"failed: the pattern of {guessed} was not found; try the excitation NA and "
            "wavelength, more light or averaged frames, and check NA, pixel size and frame order"
        )
    same = _which(_repeated(wavevectors))
    if same:
        return (
            f"failed: {same} show the same pattern; check the frame order and the numbers of "
            "angles and phases"
        )
    remarks = []
    helped = _which([c.how != "found" for c in choices])
    if helped:
        remarks.append(f"{helped} found only with the help of the common period and spacing")
    if any(odd):
        remarks.append(f"{_which(odd)} does not fit equal periods and equally spaced directions")
    weak = _which([w.modulation < 0.1 for w in waves])
    if weak:
        remarks.append(f"weak modulation in {weak}")
    # Waves of a lattice come without errors.
    known = [w for w in waves if np.isfinite(w.modulation_error)]
    if np.prod([chance(w, steps) for w in known]) < SURE:
        remarks.append(f"not known better than {_precision(known, steps)}, more light would help")
    return "usable: " + "; ".join(remarks) if remarks else "good"


def _precision(waves: list[Wave], steps: Real) -> str:
    """Name what is not known well enough, with the standard error in the worst angle."""
    shift = max(w.q_error for w in waves) / steps.min()
    phase = max(phase_error(w) for w in waves)
    modulation = max(w.modulation_error for w in waves)
    named = [
        (shift / Q_LIMIT, f"{shift:.2g} DFT pixels (wavevector)"),
        (phase / PHASE_LIMIT, f"{np.degrees(phase):.2g} degrees (phases)"),
        (modulation / MODULATION_LIMIT, f"{100 * modulation:.2g} % (modulation)"),
    ]
    # At half its limit an error begins to matter; the worst one is always named.
    worst = max(share for share, _ in named)
    words = [text for share, text in named if share > min(0.5, 0.999 * worst)]
    return " and ".join(words)


def _which(flags: list[bool]) -> str:
    numbers = [str(i + 1) for i, flag in enumerate(flags) if flag]
    if not numbers:
        return ""
    return f"angle {numbers[0]}" if len(numbers) == 1 else "angles " + " and ".join(numbers)


def _turns(wavevectors: Real) -> Real:
    """Return the turns (angle, angle) between directions, in units of equal spacing."""
    direction = np.arctan2(wavevectors[:, 0], wavevectors[:, 1])
    return np.asarray((direction[:, None] - direction) * len(wavevectors) / np.pi)


def _repeated(wavevectors: Real) -> list[bool]:
    """Tell which angles have the same direction as another one."""
    count = len(wavevectors)
    turns = _turns(wavevectors) % count
    same = np.asarray(np.minimum(turns, count - turns) < 0.2) & ~np.eye(count, dtype=bool)
    return [bool(row.any()) for row in same]


def _odd_ones(wavevectors: Real) -> list[bool]:
    """Tell which angles differ by > 3 % in |k| or by > 5 degrees from equal spacing."""
    radius = np.linalg.norm(wavevectors, axis=1)
    off_period = np.abs(radius / np.median(radius) - 1) > 0.03
    turns = _turns(wavevectors)
    off = np.abs(turns - np.round(turns)) * 180 / len(wavevectors)
    return [bool(x) for x in off_period | (np.median(off, axis=1) > 5)]
