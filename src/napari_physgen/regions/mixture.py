"""The fast map: a mixture of regions whose walls cost their length.

The objective of a map z, in nats, which the network is judged by as well:

    J(z) = evidence * max_theta sum_x log p(features(x) | theta_z(x)) - wall_cost * length(z)

with the Cauchy-Crofton length over eight neighbours in grid steps. EM alternates between the
parameters theta of the regions and a convex solve for the map (`_potts`), from several starts,
on a coarse grid first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import xlogy

from napari_physgen.physics.wall_edges import label_length
from napari_physgen.regions._coarse import coarsened, first_map
from napari_physgen.regions._likelihood import Counts, likelihood
from napari_physgen.regions._potts import Potts, agreeing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features

_ROUNDS = 16
_STEPS, _LAST_STEPS = 15, 60  # of the solver: between two looks at the parameters, and at the end
_SETTLED = 1e-3  # share of nodes that may still change region
_LEAST_SHARE = 0.05  # of 1 / regions: a start that lost a region is kept only if nothing else is
_CHEAP = 0.5  # of the wall cost, while starts are compared
_MORE = 3
"""Every other start has so many regions too many, which are then merged where that costs least."""


@dataclass(frozen=True)
class Mixture:
    """A map of regions on the grid.

    Parameters
    ----------
    labels : numpy.ndarray
        (y, x) int64, regions 0, 1, ...; arbitrary where nothing is valid.
    probabilities : numpy.ndarray
        (region, y, x) float32.
    objective : float
        J, nats.
    misfit : float
        Negative tempered log-likelihood per valid node, nats.
    length : float
        Walls, grid steps.
    means : numpy.ndarray
        (region, feature) mean descriptor, or spectrum with the sum 1.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    objective: float
    misfit: float
    length: float
    means: NDArray[np.float32]

    @property
    def regions(self) -> int:
        """Number of regions, empty ones included."""
        return len(self.probabilities)

    @property
    def smallest(self) -> float:
        """Share of the smallest region, as a fraction of 1 / regions."""
        counts = np.bincount(self.labels.ravel(), minlength=self.regions)
        return float(counts.min() * self.regions / max(counts.sum(), 1))


def objective(features: Features, labels: NDArray[np.integer], wall_cost: float) -> float:
    """Return J of a hard map, nats.

    Parameters
    ----------
    features : Features
    labels : numpy.ndarray
        (y, x) regions from 0 on.
    wall_cost : float
        Nats per grid step.
    """
    return -_misfit(features, labels) - wall_cost * _length(features, labels)


def solve(
    features: Features,
    start: NDArray[np.floating],
    wall_cost: float,
    rounds: int = _ROUNDS,
    last: int = _LAST_STEPS,
) -> Mixture:
    """Fit the mixture from a soft map.

    Parameters
    ----------
    features : Features
    start : numpy.ndarray
        (region, y, x).
    wall_cost : float
        Nats per grid step.
    rounds, last : int
        Most alternations between parameters and map, and steps of the solver after them.
    """
    model = likelihood(features)
    valid = torch.from_numpy(features.valid)
    potts = Potts(features.spacing, valid)
    soft = torch.from_numpy(np.ascontiguousarray(start, np.float32))
    labels = soft.argmax(0)
    for _ in range(rounds):
        cost = _cost(model.of(soft[:, valid]), features.evidence, soft, valid)
        soft = potts.solve(cost, wall_cost, soft, _STEPS)
        before, labels = labels, soft.argmax(0)
        if (labels != before)[valid].float().mean() < _SETTLED:
            break
    soft = potts.solve(cost, wall_cost, soft, last)
    labels = soft.argmax(0)
    hard = torch.nn.functional.one_hot(labels, len(soft)).movedim(-1, 0).float()
    cost = _cost(model.of(hard[:, valid]), features.evidence, soft, valid)
    soft = agreeing(potts.soften(cost, wall_cost, hard), hard)
    z = labels.numpy()
    misfit, length = _misfit(features, z), _length(features, z)
    return Mixture(
        z,
        soft.numpy(),
        -misfit - wall_cost * length,
        misfit / max(int(features.valid.sum()), 1),
        length,
        model.means.numpy().copy(),
    )


def fit(
    features: Features, regions: int, wall_cost: float, restarts: int = 6, seed: int = 0
) -> Mixture:
    """Fit the mixture from several starts and return the best map.

    Parameters
    ----------
    features : Features
    regions : int
    wall_cost : float
        Nats per grid step.
    restarts : int
    seed : int

    Returns
    -------
    Mixture
        The one with the largest objective among those that kept all regions.
    """
    coarse, factor = coarsened(features)
    if regions == 1 or factor == 1:
        return _best(features, regions, wall_cost, restarts, seed)
    return finer(features, _best(coarse, regions, wall_cost, restarts, seed), wall_cost)


def finer(features: Features, rough: Mixture, wall_cost: float) -> Mixture:
    """Go on with more nodes from a map of the same scan on a coarser grid."""
    coarse = rough.probabilities
    rows, columns = (
        np.arange(n) * m // n for n, m in zip(features.shape, coarse.shape[1:], strict=True)
    )
    return solve(features, coarse[:, rows][:, :, columns], wall_cost)


def _best(features: Features, regions: int, wall_cost: float, restarts: int, seed: int) -> Mixture:
    """Return the best map of several starts."""
    if regions == 1:
        return solve(features, np.ones((1, *features.shape), np.float32), wall_cost)
    # Dear walls keep a poor start from getting anywhere, so that they are cheap at first.
    cheap = _CHEAP * wall_cost
    maps = []
    for number in range(restarts):
        more = _MORE * (number % 2)
        first = first_map(features, regions + more, number // 2, seed)
        found = solve(features, first, cheap, _ROUNDS // 2, _STEPS)
        if more:
            found = _merged(features, found, regions, cheap)
        maps.append(solve(features, found.probabilities, wall_cost, _ROUNDS // 2, _STEPS))
    best = max(maps, key=_worth)
    return solve(features, best.probabilities, wall_cost)


def _worth(one: Mixture) -> tuple[bool, float]:
    return one.smallest >= _LEAST_SHARE, one.objective


def _cost(
    nats: torch.Tensor, evidence: float, like: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Return (region, y, x) what each region costs, relative to the best one."""
    cost = torch.zeros_like(like)
    cost[:, valid] = evidence * (nats.max(0).values - nats)
    return cost


def _misfit(features: Features, labels: NDArray[np.integer]) -> float:
    model = likelihood(features)
    z = torch.from_numpy(labels[features.valid].astype(np.int64))
    share = torch.nn.functional.one_hot(z).T.float()
    nats = model.of(share)
    chosen = float(nats.gather(0, z[None]).double().sum())
    # Counts relative to one region for all, so that the figure says what regions explain.
    return features.evidence * ((model.alone if isinstance(model, Counts) else 0.0) - chosen)


def _length(features: Features, labels: NDArray[np.integer]) -> float:
    return label_length(labels, features.spacing, features.valid)


def _merged(features: Features, found: Mixture, regions: int, wall_cost: float) -> Mixture:
    """Merge regions, one pair at a time, where the objective loses least."""
    while found.regions > regions:
        first, second = _cheapest_pair(features, found, wall_cost)
        q = np.delete(found.probabilities, second, 0)
        q[first] += found.probabilities[second]
        found = solve(features, q, wall_cost, 2, _STEPS)
    return found


def _cheapest_pair(features: Features, found: Mixture, wall_cost: float) -> tuple[int, int]:
    """Return the two regions that are most alike, walls between them included."""
    count = found.regions
    own = np.eye(count)[found.labels[features.valid]].T
    size = own.sum(1)
    total = own @ features.points
    losses = {}
    for first in range(count):
        for second in range(first + 1, count):
            if features.family == "counts":
                loss = _parting(total[first], total[second])
            else:
                share = size[first] * size[second] / max(size[first] + size[second], 1)
                means = total / np.maximum(size, 1)[:, None]
                # Of whitened descriptors: half the squared distance of the means, per node.
                loss = 0.5 * share * float(((means[first] - means[second]) ** 2).sum())
            touching = _between(features, found.labels, first, second)
            losses[first, second] = features.evidence * loss - wall_cost * touching
    return min(losses, key=lambda pair: losses[pair])


def _parting(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return how much likelier counts are with two spectra than with one, nats."""

    def nats(counts: NDArray[np.floating]) -> float:
        return float(xlogy(counts, counts / max(counts.sum(), 1e-9)).sum())

    return nats(first) + nats(second) - nats(first + second)


def _between(features: Features, labels: NDArray[np.integer], first: int, second: int) -> float:
    either = ((labels == first) | (labels == second)) & features.valid
    return label_length(labels, features.spacing, either)
