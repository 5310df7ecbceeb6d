"""How badly each region explains each node, in nats.

Gaussian:  1/2 |A_k (x - m_k)|^2 - log det A_k,         m_k = P_k + basis h_k
counts:    -sum_e n_e log(p_k,e / p_e),                p_k = softmax(P_k + basis h_k)

with p the mean spectrum of the scan and h_k(x) the change by the slow variables, interpolated
from their coarse grid. A multinomial is an exponential family, so that only h and the
log-partition log sum_e exp(P_k + basis h_k) are needed at every node; this is convex, so that
interpolating it can only overestimate the misfit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_physgen.networks.dense_vae import spread_out
from napari_physgen.regions._likelihood import Gaussian

if TYPE_CHECKING:
    from napari_physgen.networks.dense_vae import RegionDecoder
    from napari_physgen.regions._vae_scan import Scan


def misfit(decoder: RegionDecoder, scan: Scan, u: Tensor) -> Tensor:
    """Return the negative log-likelihood (region, y, x), nats, but for a constant per node.

    Parameters
    ----------
    decoder : RegionDecoder
    scan : Scan
    u : torch.Tensor
        (latent, coarse y, coarse x) slow variables.
    """
    change = decoder.change(u)
    if scan.family == "gaussian":
        return _gaussian(decoder, scan, change)
    return _counts(decoder, scan, change)


def changes(decoder: RegionDecoder, scan: Scan, u: Tensor) -> Tensor:
    """Return the interpolated change h_k (region, direction, y, x)."""
    return spread_out(decoder.change(u), scan.slow, scan.shape)


def expected_change(decoder: RegionDecoder, scan: Scan, q: Tensor, u: Tensor) -> Tensor:
    """Return what the slow variables change where regions are q (feature, y, x)."""
    own = (q[:, None] * changes(decoder, scan, u)).sum(0)
    return torch.einsum("fr,ryx->fyx", decoder.basis, own)


def estimate_noise(
    decoder: RegionDecoder, scan: Scan, q: Tensor, u: Tensor, evidence: float
) -> None:
    """Set the whitening of each region to that of the most likely noise, as in the mixture."""
    left = scan.values - expected_change(decoder, scan, q, u)
    model = Gaussian(left[:, scan.valid].T, evidence)
    model.of(q[:, scan.valid])
    eye = torch.eye(len(left), device=left.device)
    factor = torch.linalg.cholesky(model.covariances)
    decoder.whiten.copy_(torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False))


def means(decoder: RegionDecoder, change: Tensor) -> Tensor:
    """Return P_k + basis h_k of changes (region, direction, node) as (region, feature, node)."""
    moved = torch.einsum("fr,krn->kfn", decoder.basis, change)
    return decoder.prototypes[..., None] + moved


def _gaussian(decoder: RegionDecoder, scan: Scan, change: Tensor) -> Tensor:
    fine = spread_out(change, scan.slow, scan.shape).flatten(2)
    values = scan.values.flatten(1)
    nll = [
        0.5
        * (white @ values - (white @ start)[:, None] - (white @ decoder.basis) @ moved)
        .square()
        .sum(0)
        - white.diagonal().log().sum()
        for white, start, moved in zip(decoder.whiten, decoder.prototypes, fine, strict=True)
    ]
    return torch.stack(nll).reshape(-1, *scan.shape)


def _counts(decoder: RegionDecoder, scan: Scan, change: Tensor) -> Tensor:
    log_prototypes = decoder.prototypes.log_softmax(1)
    moved = torch.einsum("fr,kryx->kfyx", decoder.basis, change)
    partition = torch.logsumexp(log_prototypes[..., None, None] + moved, dim=1)
    fine = spread_out(torch.cat([change, partition[:, None]], dim=1), scan.slow, scan.shape)
    counts = scan.values.flatten(1)
    # One pass over the spectra for all that is linear in them.
    linear = torch.cat([log_prototypes - scan.mean, decoder.basis.T]) @ counts
    regions = len(log_prototypes)
    against = linear[:regions].reshape(-1, *scan.shape)
    along = linear[regions:].reshape(-1, *scan.shape)
    return scan.total * fine[:, -1] - against - (along * fine[:, :-1]).sum(1)
