"""Which peaks belong together: one |k| and equally spaced directions for all angles.

Gratings and SLMs give every angle nearly the same period (BioSR: 180.1-180.5 nm) and directions
180 degrees / angles apart (60.1, 60.0). Both are soft: they choose between peaks that the frames
alone leave open, and say where to look for a pattern that is too weak to be found alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from napari_physgen.sim._bands import Real
    from napari_physgen.sim._search import Landscape

CERTAIN = 7.0
"""Evidence (-ln p, corrected for the number of cells) above which a peak counts by itself."""

HELPED = 3.0
"""The same for a peak within the small region that the other angles point to. Where no pattern was,
2 of 31 simulated angles had as much, but no modulation that stood out in the fit."""

PERIOD_SPREAD = 0.005
SPACING_SPREAD = np.radians(0.7)
"""Standard deviations of ln |k| and of the direction around equal spacing."""

REACH = 3.5
"""Standard deviations from where the other angles point to within which a peak is looked for."""

STANDING = 12.0
"""Evidence beyond this is not counted when peaks compete: the side peaks of a bright structure or
of a bent pattern share it in nearly fixed proportions."""


@dataclass(frozen=True)
class Choice:
    """Where the pattern of one angle is taken to be.

    Parameters
    ----------
    q : numpy.ndarray
        (2,) wavevector of a grid cell (y, x), 1/um.
    evidence : float
        -ln of the chance of such a peak in noise, corrected for the cells looked at.
    ratio : float
        Peak amplitude over the median of the ring.
    how : {"found", "helped", "guessed"}
        By itself; with the help of the other angles; only from the other angles.
    """

    q: Real
    evidence: float
    ratio: float
    how: Literal["found", "helped", "guessed"]


def choose(lands: list[Landscape]) -> list[Choice]:
    """Choose one wavevector per angle."""
    candidates = [_candidates(land) for land in lands]
    certain = [bool(c and c[0].evidence > CERTAIN) for c in candidates]
    if not any(certain):
        return _choose_jointly(lands)
    picks = _compatible(candidates, certain)
    certain = _demoted(picks, certain)
    sure = [p for p, c in zip(picks, certain, strict=True) if c]
    for a, land in enumerate(lands):
        if not certain[a]:
            picks[a] = _helped(land, sure, len(lands), [p for i, p in enumerate(picks) if i < a])
    return picks


def _candidates(land: Landscape, most: int = 6) -> list[Choice]:
    """Return the highest separate peaks, best first."""
    evidence = land.evidence.copy()
    trials = np.log(evidence.size)
    steps = land.steps
    found: list[Choice] = []
    for _ in range(most):
        best = int(np.argmax(evidence))
        value = float(evidence[best])
        if found and value - trials < 0.5 * found[0].evidence:
            break
        q = np.array([land.k_y[best], land.k_x[best]])
        found.append(Choice(q, value - trials, land.ratio(value), "found"))
        near = np.hypot((land.k_y - q[0]) / steps[0], (land.k_x - q[1]) / steps[1]) < 1.6
        evidence[near] = -np.inf
    return found


def _compatible(candidates: list[list[Choice]], certain: list[bool]) -> list[Choice]:
    """Let each certain angle take the candidate that agrees best with the others."""
    picks = [c[0] for c in candidates]
    sure = [a for a, c in enumerate(certain) if c]
    for _ in range(4):
        before = list(picks)
        for a in sure:
            others = [picks[b] for b in sure if b != a]
            if others:
                top = candidates[a][0].evidence
                # A faint peak must not pull a bright one.
                trust = min(1.0, float(np.median([o.evidence for o in others])) / top) ** 2
                scores = [
                    c.evidence * STANDING / max(top, STANDING)
                    - trust * _disagreement(c.q, others, len(candidates))
                    for c in candidates[a]
                ]
                picks[a] = candidates[a][int(np.argmax(scores))]
        if all(p is b for p, b in zip(picks, before, strict=True)):
            break
    return picks


def _demoted(picks: list[Choice], certain: list[bool]) -> list[bool]:
    """No longer count as certain what is fainter than the others and differs from them in |k|.

    Fine structure of a sample can look like a pattern, but at no particular period.
    """
    evidence = np.array([p.evidence if c else 0.0 for p, c in zip(picks, certain, strict=True)])
    radius = np.array([np.hypot(*pick.q) for pick in picks])
    keep = []
    for a, sure in enumerate(certain):
        others = (np.arange(len(picks)) != a) & np.array(certain)
        if sure and others.any():
            faint = evidence[a] < 0.5 * np.median(evidence[others])
            sure = not (faint and abs(radius[a] / np.median(radius[others]) - 1) > 0.05)
        keep.append(sure)
    return keep


def _disagreement(q: Real, others: list[Choice], angles: int) -> float:
    """Return half the squared deviation from common |k| and equal spacing, at most 2 x 6."""
    log_k = np.array([np.log(np.hypot(*o.q)) for o in others])
    period = (np.log(np.hypot(*q)) - np.median(log_k)) / PERIOD_SPREAD
    turns = np.array([_off_spacing(q, o.q, angles) for o in others])
    spacing = np.median(np.abs(turns)) / SPACING_SPREAD
    return float(min(period**2 / 2, 6.0) + min(spacing**2 / 2, 6.0))


def _off_spacing(q: Real, other: Real, angles: int) -> float:
    """Return by how much (rad) the turn from `other` to `q` misses a multiple of pi / angles.

    Multiples of pi do not count: two angles with the same direction are as wrong as can be.
    """
    unit = np.pi / angles
    turn = (np.arctan2(*q) - np.arctan2(*other)) / unit
    nearest = round(turn)
    if nearest % angles == 0:
        nearest += 1 if turn > nearest else -1
    return float((turn - nearest) * unit)


def expected(wavevectors: Real, errors: Real, missing: int) -> Real:
    """Return the wavevector (2,) that common |k| and equal spacing give for a missing angle.

    Parameters
    ----------
    wavevectors : numpy.ndarray
        (angle, 2), 1/um.
    errors : numpy.ndarray
        (angle,), their standard errors; those that are infinite do not count.
    missing : int
    """
    count = len(wavevectors)
    weight = np.where(np.arange(count) == missing, 0.0, 1 / errors**2)
    radius = np.average(np.hypot(*wavevectors.T), weights=weight)
    unit = np.pi / count
    directions = np.arctan2(*wavevectors.T)
    turn = np.sum(weight * np.exp(2j * np.pi * directions / unit))
    free = np.angle(turn) * unit / (2 * np.pi) + unit * np.arange(count)
    used = np.abs(_turned(free[:, None] - directions[weight > 0])).min(axis=1)
    best = free[np.argmax(used)]
    return np.asarray(radius * np.array([np.sin(best), np.cos(best)]))


def _expected(sure: list[Choice], angles: int) -> tuple[float, Real]:
    """Return |k| and the directions (angle,) in [0, pi) that the sure peaks point to."""
    radius = float(np.median([np.hypot(*s.q) for s in sure]))
    unit = np.pi / angles
    directions = np.array([np.arctan2(*s.q) for s in sure])
    base = np.angle(np.exp(2j * np.pi * directions / unit).sum()) * unit / (2 * np.pi)
    return radius, np.asarray((base + unit * np.arange(angles)) % np.pi)


def _helped(land: Landscape, sure: list[Choice], angles: int, taken: list[Choice]) -> Choice:
    """Look again where the sure peaks of other angles say that this one should be.

    Each cell counts by how well it agrees with them (weighted Bonferroni correction).
    """
    radius, directions = _expected(sure, angles)
    used = [np.arctan2(*c.q) for c in [*sure, *taken]]
    free = [d for d in directions if all(abs(_turned(d - u)) > np.pi / angles / 2 for u in used)]
    k, direction = np.hypot(land.k_y, land.k_x), np.arctan2(land.k_y, land.k_x)
    # The others, too, are known to half a cell only.
    cell = 0.5 * land.steps.max()
    along = (k - radius) / np.hypot(PERIOD_SPREAD * radius, cell)
    across = [
        _turned(direction - d) * radius / np.hypot(SPACING_SPREAD * radius, cell) for d in free
    ]
    away = along**2 + np.min([np.full(k.size, np.inf), *(a**2 for a in across)], axis=0)
    near = away < REACH**2
    if not near.any():
        q = radius * np.array([np.sin(free[0] if free else 0), np.cos(free[0] if free else 0)])
        return Choice(q, 0.0, 0.0, "guessed")
    weight = np.exp(-away[near] / 2)
    score = land.evidence[near] + np.log(weight / weight.sum())
    best = np.flatnonzero(near)[np.argmax(score)]
    evidence, raw = float(score.max()), float(land.evidence[best])
    q = np.array([land.k_y[best], land.k_x[best]])
    how: Literal["helped", "guessed"] = "helped" if evidence > HELPED else "guessed"
    return Choice(q, evidence, land.ratio(raw), how)


def _turned(angle: Real | float) -> Real:
    """Reduce differences of undirected directions to [-pi/2, pi/2)."""
    return np.asarray((np.asarray(angle) + np.pi / 2) % np.pi - np.pi / 2)


def _choose_jointly(lands: list[Landscape]) -> list[Choice]:
    """Add up the evidence of all angles over common |k| and equally spaced directions."""
    angles = len(lands)
    radii = np.hypot(lands[0].k_y, lands[0].k_x)
    step = lands[0].steps.max()
    k = np.arange(radii.min(), radii.max(), step / 2)
    base = np.arange(0, np.pi, step / 2 / radii.max())
    best: tuple[float, list[Real]] = (-np.inf, [])
    for turn in (1, -1):
        total = np.zeros((k.size, base.size))
        for a, land in enumerate(lands):
            direction = base + turn * a * np.pi / angles
            total += land.lookup(np.outer(k, np.sin(direction)), np.outer(k, np.cos(direction)))
        i, j = np.unravel_index(np.argmax(total), total.shape)
        if total[i, j] > best[0]:
            points = [
                k[i] * np.array([np.sin(d), np.cos(d)])
                for d in base[j] + turn * np.arange(angles) * np.pi / angles
            ]
            best = (float(total[i, j]), points)
    # Each lookup takes the best of nine cells; the angles' summed evidence is gamma distributed.
    trials = np.log(k.size * base.size) + angles * np.log(9)
    chance = best[0] - trials - angles * np.log(1 + max(best[0] / angles, 0))
    how: Literal["helped", "guessed"] = "helped" if chance > CERTAIN else "guessed"
    picks = []
    for land, point in zip(lands, best[1], strict=True):
        away = np.minimum(
            np.hypot(land.k_y - point[0], land.k_x - point[1]),
            np.hypot(land.k_y + point[0], land.k_x + point[1]),
        )
        q, evidence = land.peak(away < 2.2 * step)
        raw = float(land.evidence[away < 2.2 * step].max())
        picks.append(Choice(q, min(evidence, chance / angles), land.ratio(raw), how))
    return picks
