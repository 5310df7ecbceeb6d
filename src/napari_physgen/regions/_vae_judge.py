"""One objective for the maps of the mixture model and of the physics VAE.

    J(z) = evidence max_theta log p(features | z, theta) - wall_cost length(z)

is the objective of the mixture, whose regions are homogeneous. Slow changes within the regions
enter it as what they are worth when z is given, less their price:

    J(z, u) = J(z) + max(0, e [log p(features | z, u) - max_theta log p(features | z)]
                            - KL(u || N(0, 1)) - 1/2 (free numbers of the basis) log(nodes))

with e the part of the evidence that counts for slow changes (`independence`).
A map without them has u = 0, hence both kinds of map are compared by the same number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_physgen.physics.wall_edges import label_length
from napari_physgen.regions._vae_misfit import expected_change, misfit
from napari_physgen.regions._vae_trend import independence
from napari_physgen.regions.mixture import objective

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_physgen.networks.dense_vae import Code, RegionDecoder
    from napari_physgen.regions._vae_scan import Scan
    from napari_physgen.regions.features import Features


_FLOOR = 0.3
"""Smallest share of a region, in units of an equal share; half of what it had if that is less."""


def shares(regions: Tensor, scan: Scan) -> Tensor:
    """Return the share of each region in a hard map (region,)."""
    members = functional.one_hot(regions[scan.valid], len(scan.start))
    return members.double().mean(0)


def smallest_shares(regions: Tensor, scan: Scan) -> Tensor:
    """Return below which share a region counts as lost, from the map it had before (region,)."""
    return (shares(regions, scan) / 2).clamp_max(_FLOOR / len(scan.start))


@dataclass(frozen=True)
class Verdict:
    """How good a map is.

    Parameters
    ----------
    gain : float
        Objective less that of the given map, nats; negative if a region was lost.
    plain : float
        The same without slow changes: the objective of the mixture.
    slow : bool
        Whether slow changes within regions pay for themselves.
    """

    gain: float
    plain: float
    slow: bool


class Judge:
    """Compares maps of the network with a given one.

    Parameters
    ----------
    features : Features
    scan : Scan
    given : numpy.ndarray
        (y, x) regions from 0 on.
    """

    def __init__(self, features: Features, scan: Scan, given: NDArray[np.int64]) -> None:
        self._features = features
        self._scan = scan
        self._given = given
        self._share = independence(features)
        self._nodes = self._share * features.evidence * float(features.valid.sum())
        self._floor = smallest_shares(torch.from_numpy(given).to(scan.valid.device), scan)
        # Walls enter linearly, whatever they cost now.
        self._of_given = objective(features, given, 0.0)
        self._length_of_given = label_length(given, features.spacing, features.valid)

    def __call__(
        self, decoder: RegionDecoder, regions: Tensor, code: Code, wall_cost: float
    ) -> Verdict:
        """Judge a map.

        Parameters
        ----------
        decoder : RegionDecoder
        regions : torch.Tensor
            (y, x) regions from 0 on.
        code : Code
            Its slow variables count.
        wall_cost : float
            Nats per grid step.
        """
        labels = regions.cpu().numpy()
        plain = objective(self._features, labels, 0.0)
        length = label_length(labels, self._features.spacing, self._features.valid)
        slow = self._worth_of_slow(decoder, code, regions, plain)
        gain = plain - self._of_given - wall_cost * (length - self._length_of_given)
        if (shares(regions, self._scan) < self._floor).any():
            return Verdict(min(gain, 0.0) - 1.0, gain, False)
        return Verdict(gain + max(slow, 0.0), gain, slow > 0)

    def _worth_of_slow(
        self, decoder: RegionDecoder, code: Code, regions: Tensor, plain: float
    ) -> float:
        """Return what slow changes add to the objective, less their price, nats."""
        numbers = len(decoder.basis) * decoder.centres.shape[1]
        price = float(code.kl()) + 0.5 * numbers * log(max(self._nodes, 2.0))
        if self._scan.family == "gaussian":
            flat = self.without(decoder, code, regions)
            gained = objective(flat, regions.cpu().numpy(), 0.0) - plain
        else:
            gained = self._features.evidence * self._against_homogeneous(decoder, code, regions)
        return self._share * gained - price

    def without(self, decoder: RegionDecoder, code: Code, regions: Tensor) -> Features:
        """Return the descriptors with what changes slowly in each region taken off."""
        scan = self._scan
        own = functional.one_hot(regions, len(scan.start)).movedim(-1, 0).float()
        white = expected_change(decoder, scan, own, code.mu) * scan.valid
        shift = torch.linalg.solve(scan.whiten, white.flatten(1)).reshape(white.shape)
        return replace(self._features, values=self._features.values - shift.cpu().numpy())

    def _against_homogeneous(self, decoder: RegionDecoder, code: Code, regions: Tensor) -> float:
        """Return log p(counts | z, u) - max log p(counts | z), nats."""
        scan = self._scan
        nll = misfit(decoder, scan, code.mu).double()
        gained = 0.0
        for region, own in enumerate(nll):
            inside = (regions == region) & scan.valid
            total = (scan.values * inside).sum((1, 2)).double()
            share = total / total.sum().clamp_min(1e-9)
            best = torch.xlogy(total, share).sum() - (total * scan.mean).sum()
            gained -= float(own[inside].sum() + best)
        return gained
