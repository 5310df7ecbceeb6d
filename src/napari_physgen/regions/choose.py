"""What nobody wants to choose by hand: how many regions there are, and what a wall costs.

The number of regions is the one with the most evidence (objective less the price of its
parameters) among those whose regions are wider than what is resolved and whose walls are steps,
not lines drawn across a slow change. The wall cost is the usual one, unless another one
gives clearly more stable maps of data that are measured again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.backend.job import Command, Progress, Stop
from napari_physgen.metrics.partition import adjusted_rand
from napari_physgen.regions import mixture
from napari_physgen.regions._coarse import coarsened
from napari_physgen.regions._interfaces import lies_between, smoothness, steps, widths
from napari_physgen.regions._likelihood import likelihood
from napari_physgen.regions._perturb import perturbed
from napari_physgen.regions.results import CountChoice, WallChoice

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_physgen.regions.features import Features
    from napari_physgen.regions.mixture import Mixture

USUAL = 2.5
"""Wall cost, nats per grid step: on simulated scans of six kinds the best or next to it."""

WALL_COSTS = (0.6, 1.25, 2.5, 5.0, 10.0)
_MARGIN = 0.05
"""Gain of stability that makes up for leaving the usual wall cost."""

_COMPARED, _LOOKED_AT = 20_000, 5_000  # nodes: maps of more are compared on a coarser grid
_LEAST_JUMP = 0.75
_LEAST_WINDOWS = 0.6
_LEAST_STEPS = 3.0  # px
_LEAST_RATIO = 0.95
_REPEATS = 2
_ROUNDS, _STEPS = 5, 20


@dataclass(frozen=True)
class Count:
    """A number of regions with its map, and why it was refused, if it was."""

    choice: CountChoice
    map: Mixture
    refused: str = ""


def count_regions(
    features: Features, wall_cost: float, most: int, restarts: int, seed: int
) -> Generator[Progress, Command | None, list[Count]]:
    """Fit maps of 1 to `most` regions to (coarse) features.

    Yields
    ------
    Progress

    Returns
    -------
    list of Count
        The chosen one first, then the others from few to many regions.
    """
    tried: list[Count] = []
    for regions in range(1, most + 1):
        found = mixture.fit(features, regions, wall_cost, restarts, seed)
        stability = _stability(_repeats(features, found, seed), found, wall_cost)
        price = _price(features, regions)
        choice = CountChoice(regions, found.objective, found.objective - price, stability)
        tried.append(Count(choice, found, _refusal(features, found)))
        command = yield Progress(regions, most, f"trying {regions} regions")
        if isinstance(command, Stop) or _hopeless(tried):
            break
    best = max((one for one in tried if not one.refused), key=lambda one: one.choice.icl)
    return [best, *(one for one in tried if one is not best)]


def wall_costs(
    features: Features, rough: Mixture, seed: int, *, compare: bool
) -> Generator[Progress, Command | None, tuple[float, tuple[WallChoice, ...]]]:
    """Solve for maps of several wall costs, each from the map of the one before.

    Parameters
    ----------
    features : Features
    rough : Mixture
        A map of them, or of coarser ones, with the usual wall cost.
    seed : int
    compare : bool
        Whether to compare maps of repeated measurements; otherwise the usual cost is chosen.

    Yields
    ------
    Progress

    Returns
    -------
    wall_cost : float
        The chosen one.
    tried : tuple of WallChoice
        Points of the L-curve.
    """
    coarse, factor = coarsened(features, _COMPARED if compare else _LOOKED_AT)
    start = mixture.finer(coarse, rough, USUAL * factor)
    again = _repeats(coarse, start, seed) if compare else []
    points: dict[float, WallChoice] = {}
    maps = {USUAL: start}
    usual = WALL_COSTS.index(USUAL)
    order = [*WALL_COSTS[usual:], *WALL_COSTS[:usual][::-1]]
    for number, cost in enumerate(order):
        before = maps[min(maps, key=lambda known: abs(np.log(known / cost)))]
        price = cost * factor  # of a step of the coarse grid
        found = mixture.solve(coarse, before.probabilities, price, _ROUNDS, 2 * _STEPS)
        maps[cost] = found
        stability = _stability(again, found, price) if compare else float("nan")
        length = found.length * factor
        points[cost] = WallChoice(cost, found.misfit / factor**2, length, stability)
        command = yield Progress(number + 1, len(order), f"trying a wall cost of {cost:g}")
        if isinstance(command, Stop):
            break
    chosen = _steadiest(list(points.values())) if compare else USUAL
    return chosen, tuple(points[cost] for cost in sorted(points))


def _steadiest(points: list[WallChoice]) -> float:
    """Return the wall cost nearest to the usual one that is about as stable as any."""
    most = max(point.stability for point in points)
    stable = [point.wall_cost for point in points if point.stability >= most - _MARGIN]
    return min(stable, key=lambda cost: abs(np.log(cost / USUAL)))


def _repeats(features: Features, found: Mixture, seed: int) -> list[Features]:
    """Return the features as other measurements might give them."""
    if found.regions == 1:
        return []
    return [
        perturbed(features, found.labels, np.random.default_rng([seed, repeat]))
        for repeat in range(_REPEATS)
    ]


def _stability(again: list[Features], found: Mixture, wall_cost: float) -> float:
    """Return the mean adjusted Rand index between a map and those of repeated measurements."""
    scores = []
    for features in again:
        other = mixture.solve(features, found.probabilities, wall_cost, _ROUNDS, _STEPS)
        valid = features.valid
        scores.append(adjusted_rand(found.labels[valid], other.labels[valid]))
    return float(np.mean(scores)) if scores else 1.0


def _price(features: Features, regions: int) -> float:
    """Return what the parameters cost, nats.

    Bayes' criterion; for spectra with hundreds of channels, where most hold nothing that tells
    regions apart, Akaike's.
    """
    count = likelihood(features).parameters
    if features.family == "counts":
        return float(count * regions)
    nodes = float(features.valid.sum()) * features.evidence
    return float(0.5 * count * regions * np.log(max(nodes, 2)))


def _refusal(features: Features, found: Mixture) -> str:
    """Say why a map is no answer, whatever its evidence."""
    if found.regions == 1:
        return ""
    if found.smallest == 0:
        return "one of the regions is empty"
    if _unresolved(features, found):
        return "one of the regions is narrower than what is resolved"
    jumps = [one.jump for one in steps(features, found.labels)]
    if min(jumps, default=1.0) < _LEAST_JUMP:
        return "there is a slow change, not a step, between two of the regions"
    if smoothness(features, found.labels) < _LEAST_RATIO:
        return "two of the regions are one that changes slowly across the scan"
    return ""


def _unresolved(features: Features, found: Mixture) -> bool:
    """Whether a region is made of windows, or of pixels, that see both sides of a wall.

    Where pixels stand for themselves, a thin line in one surrounding is as good as any region.
    """
    step = features.step[0]
    windowed = features.window > step
    least = _LEAST_WINDOWS * features.window / step if windowed else max(_LEAST_STEPS / step, 1.5)
    return any(
        width < least and (windowed or lies_between(features, found.labels, region))
        for region, width in enumerate(widths(features, found.labels, found.regions))
    )


def _hopeless(tried: list[Count]) -> bool:
    """Whether the last three maps were all refused or had less evidence than an earlier one."""
    if len(tried) < 5:
        return False
    best = max(one.choice.icl for one in tried if not one.refused)
    return all(one.refused or one.choice.icl < best for one in tried[-3:])
