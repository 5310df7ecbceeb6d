"""Hexagonal patterns: three beams at once, one lattice of three waves in every frame.

Each two of the beams make stripes. The three wavevectors add up to 0, and so do the three phases of
a frame up to a constant. The 7 or more frames shift the lattice so that the phases run
in about 1, 2 and 3 parts of a turn (in any order and direction), which separates 7 bands (Gong
et al., Phil. Trans. R. Soc. A 379, 20200162 (2021)). The three peaks are chosen that close a
triangle; then all waves are fitted together.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.sim._joint import CERTAIN, Choice
from napari_physgen.sim._lattice import fit_lattice
from napari_physgen.sim._waves import fit_wave

if TYPE_CHECKING:
    from napari_physgen.sim._bands import Field, Real, Wave
    from napari_physgen.sim._search import Landscape
    from napari_physgen.sim._waves import Comb

ORDERS = np.array([[1, 0], [0, 1], [-1, -1]])

PEAKS = 12
"""Peaks among which the triangle is looked for."""

UNEVEN = 0.1
"""Largest relative difference of the sides: beams on a circle of the pupil make them equal."""


def choose_triangle(lands: list[Landscape]) -> list[Choice]:
    """Choose three wavevectors that add up to 0, with the most evidence, in the only landscape."""
    (land,) = lands
    peaks = [np.array(p) for p in _peaks(land)]
    best: tuple[float, list[Real]] = (-np.inf, [])
    for one, other in combinations(peaks, 2):
        for sign in (1, -1):
            third = -(one + sign * other)
            sides = [one, sign * other, third]
            length = np.array([np.hypot(*q) for q in sides])
            if np.ptp(length) > UNEVEN * length.mean():
                continue
            total = sum(_evidence(land, q) for q in sides)
            if total > best[0]:
                best = (total, sides)
    if not best[1]:
        best = (0.0, _regular(peaks[0]))
    trials = np.log(land.evidence.size)
    raw = [_evidence(land, q) for q in best[1]]
    return [
        Choice(q, e - trials, land.ratio(e), "found" if e - trials > CERTAIN else "guessed")
        for q, e in zip(best[1], raw, strict=True)
    ]


def _evidence(land: Landscape, q: Real) -> float:
    return float(land.lookup(np.array(q[0]), np.array(q[1])))


def _peaks(land: Landscape) -> list[Real]:
    """Return the highest separate peaks, best first."""
    evidence = land.evidence.copy()
    found = []
    for _ in range(PEAKS):
        best = int(np.argmax(evidence))
        q = np.array([land.k_y[best], land.k_x[best]])
        found.append(q)
        near = np.hypot((land.k_y - q[0]) / land.steps[0], (land.k_x - q[1]) / land.steps[1]) < 2.5
        evidence[near] = -np.inf
    return found


def _regular(q: Real) -> list[Real]:
    """Return the regular triangle of which `q` is one side."""
    turns = 2 * np.pi / 3 * np.arange(3)
    return [np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) @ q for t in turns]


def fit_hexagon(frames: Real, field: Field, land: Landscape, start: list[Real] | Comb) -> Comb:
    """Fit the three waves, from where they were found or from an earlier fit."""
    if not isinstance(start, list):
        return fit_lattice(frames, field, ORDERS, start.waves)
    waves = [fit_wave(frames, field, q, _step(land, q)) for q in start]
    return fit_lattice(frames, field, ORDERS, closed(waves))


def _step(land: Landscape, q: Real) -> int:
    """Return the parts of a turn by which the phases of a wave run, up to their sign."""
    y, x = (np.arange(n) * p for n, p in zip(land.products.shape[1:], land.pixel_um, strict=True))
    power = np.zeros(len(land.products))
    for sign in (1, -1):
        wave_y, wave_x = (
            np.exp(-2j * np.pi * sign * k * r) for k, r in zip(q, (y, x), strict=True)
        )
        power = np.maximum(power, np.abs(wave_y @ land.products @ wave_x))
    return int(np.argmax(power / np.sqrt(np.mean(np.abs(land.products) ** 2, axis=(1, 2))))) + 1


def closed(waves: list[Wave]) -> list[Wave]:
    """Return the waves with signs such that their wavevectors add up to about 0."""
    signs = [(1, s, t) for s in (1, -1) for t in (1, -1)]
    q = np.array([w.q for w in waves])
    off = [np.linalg.norm(np.array(sign) @ q) for sign in signs]
    best = signs[int(np.argmin(off))]
    if waves[0].q[1] < 0:
        best = (-best[0], -best[1], -best[2])
    return [replace(w, q=s * w.q, phases=s * w.phases) for s, w in zip(best, waves, strict=True)]
