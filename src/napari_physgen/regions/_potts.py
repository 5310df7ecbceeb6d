"""Regions from evidence at each point and the price of the walls between them.

The map `z` that minimises ``sum_x cost(z(x), x) + wall_cost * length(z)`` is sought among soft
maps `u`, where the length is ``1/2 sum_k sum_e w_e |u_k(x + e) - u_k(x)|`` with Cauchy-Crofton
weights: a convex problem, solved with the primal-dual steps of Chambolle and Pock, J. Math.
Imaging Vis. 40, 120 (2011), which unlike local moves do not stop at the first map that no single
point can improve.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from napari_physgen.physics.wall_edges import edges, ends

if TYPE_CHECKING:
    from torch import Tensor

_ITERATIONS = 60
_DAMPING = 0.6
_ROUNDS = 8
_MOST_ROUNDS = 5


@dataclass
class Potts:
    """The walls of a grid.

    Parameters
    ----------
    spacing : (float, float)
        Length of a grid step along y and x.
    valid : torch.Tensor
        (y, x) bool; walls against points without data cost nothing.
    """

    spacing: tuple[float, float]
    valid: Tensor
    _dual: list[Tensor] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._edges = []
        for offset, weight in edges(self.spacing):
            first, second = ends(offset)
            open_ = (self.valid[first] & self.valid[second]).float()
            self._edges.append((first, second, weight * open_))

    def solve(self, cost: Tensor, wall_cost: float, start: Tensor, iterations: int = 0) -> Tensor:
        """Return the soft map (region, y, x) of least cost, nearly 0 or 1 everywhere.

        Parameters
        ----------
        cost : torch.Tensor
            (region, y, x), nats.
        wall_cost : float
            Nats per unit of length.
        start : torch.Tensor
            (region, y, x) map to start from.
        iterations : int
            Primal-dual steps; 0 takes the usual number. Several calls go on where the last ended.
        """
        cost = torch.where(self.valid, cost, 0.0)
        if wall_cost <= 0:
            return _hard(-cost)
        if not self._dual or self._dual[0].shape[0] != start.shape[0]:
            self._dual = [torch.zeros_like(start[first]) for first, _, _ in self._edges]
        # |D|^2 <= 16 for four edges per point; both steps are scaled by what a wall costs.
        primal, dual = 0.25 / wall_cost, 0.25 * wall_cost
        now, ahead = start, start
        for _ in range(iterations or _ITERATIONS):
            divergence = torch.zeros_like(now)
            for (first, second, weight), flow in zip(self._edges, self._dual, strict=True):
                most = 0.5 * wall_cost * weight
                flow.add_(dual * (ahead[second] - ahead[first]))
                torch.minimum(torch.maximum(flow, -most, out=flow), most, out=flow)
                divergence[second] += flow
                divergence[first] -= flow
            new = _to_simplex(now - primal * (divergence + cost))
            now, ahead = new, 2 * new - now
        return now

    def soften(self, cost: Tensor, wall_cost: float, start: Tensor) -> Tensor:
        """Return the probabilities (region, y, x) around a map: mean field, from that map on."""
        now = start
        for _ in range(_ROUNDS):
            pull = torch.zeros_like(now)
            for first, second, weight in self._edges:
                pull[first] += weight * now[second]
                pull[second] += weight * now[first]
            new = torch.softmax(wall_cost * pull - cost, 0)
            now = (1 - _DAMPING) * now + _DAMPING * new
        return now


def agreeing(soft: Tensor, hard: Tensor) -> Tensor:
    """Return probabilities whose largest one is that of the hard map, where need be by a hair."""
    least = soft.amax(0, keepdim=True) * (1 + 1e-3)
    raised = torch.where(hard > 0, torch.maximum(soft, least), soft)
    return raised / raised.sum(0, keepdim=True)


def _hard(score: Tensor) -> Tensor:
    """Return 1 for the best region and 0 for the others."""
    best = score.argmax(0, keepdim=True)
    return torch.zeros_like(score).scatter_(0, best, 1.0)


def _to_simplex(values: Tensor) -> Tensor:
    """Project (region, y, x) onto not negative values with the sum 1.

    Rounds of Michelot, J. Optim. Theory Appl. 50, 195 (1986): each drops what the level makes
    negative. After one round less than there are regions it is exact; hardly any point needs more
    than a few, which is quicker than to sort.
    """
    level = (values.sum(0, keepdim=True) - 1) / values.shape[0]
    for _ in range(min(values.shape[0] - 1, _MOST_ROUNDS)):
        above = values > level
        kept = torch.where(above, values, 0.0).sum(0, keepdim=True)
        level = (kept - 1) / above.sum(0, keepdim=True)
    return (values - level).clamp_(min=0)
