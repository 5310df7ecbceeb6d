"""How likely descriptors are in a region, and the parameters that make them most likely."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_physgen.regions.features import Features

_PRIOR_NODES = 40.0
"""Independent nodes that the scatter common to all regions counts for in that of one region."""

_LEAST_VARIANCE = 1e-3
"""Of whitened descriptors: a region of equal values must not become infinitely likely."""


class Likelihood(Protocol):
    """Log-likelihood of nodes in regions; parameters are fitted to soft regions."""

    def of(self, share: Tensor) -> Tensor:
        """Return (region, node) nats, not tempered, after fitting to (region, node) shares."""

    @property
    def parameters(self) -> int:
        """Free parameters of one region."""


class Gaussian:
    """Normal scatter with an own mean and covariance of each region.

    The covariance leans towards the one within all regions (empirical Bayes), since overlapping
    windows leave few independent nodes in a small region.

    Parameters
    ----------
    values : torch.Tensor
        (node, feature).
    evidence : float
    """

    def __init__(self, values: Tensor, evidence: float) -> None:
        self.values = values
        self.evidence = evidence

    def of(self, share: Tensor) -> Tensor:
        """Return (region, node) nats."""
        weight = share.sum(1) + 1e-6
        self.means = share @ self.values / weight[:, None]
        scatter = torch.stack([self._scatter(s, m) for s, m in zip(share, self.means, strict=True)])
        width = self.values.shape[1]
        floor = _LEAST_VARIANCE * torch.eye(width, device=share.device)
        within = scatter.sum(0) / weight.sum() + floor
        counted = self.evidence * weight[:, None, None]
        self.covariances = (self.evidence * scatter + _PRIOR_NODES * within) / (
            counted + _PRIOR_NODES
        )
        return self.at(self.values)

    def at(self, values: Tensor) -> Tensor:
        """Return (region, node) nats of other nodes with the last parameters."""
        factor = torch.linalg.cholesky(self.covariances)
        half_logdet = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        # The inverse factor of a few tens of features is exact enough and one product per region.
        eye = torch.eye(values.shape[1], device=values.device).expand_as(factor)
        inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
        distance = torch.stack(
            [
                ((values - mean) @ one.T).square().sum(1)
                for mean, one in zip(self.means, inverse, strict=True)
            ]
        )
        constant = 0.5 * values.shape[1] * math.log(2 * math.pi)
        made: Tensor = -0.5 * distance - half_logdet[:, None] - constant
        return made

    def _scatter(self, share: Tensor, mean: Tensor) -> Tensor:
        difference = self.values - mean
        return (difference * share[:, None]).T @ difference

    @property
    def parameters(self) -> int:
        """Free parameters of one region: mean and scatter, which leans on that of all regions."""
        return 4 * self.values.shape[1]


class Counts:
    """Counts drawn from the spectrum of the region; their total is no evidence.

    Parameters
    ----------
    values : torch.Tensor
        (node, channel) counts.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        total = values.sum(0)
        self._mean = (total + 1e-6 * total.mean()) / len(values) + 1e-12
        self._channels = int((total > 0).sum())
        shares = total.double() / total.sum()
        self.alone = float(torch.special.xlogy(total.double(), shares).sum())
        """Log-likelihood of all nodes as one region, nats."""

    def of(self, share: Tensor) -> Tensor:
        """Return (region, node) nats, less the multinomial coefficient, which is common to all."""
        # One node's worth of the mean spectrum keeps channels without counts possible.
        counted = share @ self.values + self._mean
        self.means = counted / counted.sum(1, keepdim=True)
        return self.at(self.values)

    def at(self, values: Tensor) -> Tensor:
        """Return (region, node) nats of other nodes with the last parameters."""
        return self.means.log() @ values.T

    @property
    def parameters(self) -> int:
        """Free parameters of one region, as many as channels less one that hold counts."""
        return self._channels - 1


def likelihood(features: Features, device: torch.device | str = "cpu") -> Gaussian | Counts:
    """Return the likelihood of the family of `features` for its valid nodes."""
    values = torch.from_numpy(features.points).to(device)
    if features.family == "counts":
        return Counts(values)
    return Gaussian(values, features.evidence)
