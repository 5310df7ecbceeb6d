"""A scan as the physics VAE sees it, and the first weights that a given map suggests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_physgen.networks.dense_vae import DenseEncoder, DenseVAE, RegionDecoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features

_SHRINK = 0.02
"""Share of its mean variance that is added to the covariance within regions."""

_PRINCIPAL = 8
"""Principal components of spectra that the encoder sees."""

_TILE = 4
_SLOWEST, _FASTEST = 32, 8
"""Nodes per node of the slow variables: a sixth of the shorter side within these bounds."""


@dataclass(frozen=True)
class Scan:
    """Tensors of a scan, or of a part of it.

    Parameters
    ----------
    inputs : torch.Tensor
        (channel, y, x) what the encoder sees.
    values : torch.Tensor
        (feature, y, x): white within regions on average, or counts.
    total : torch.Tensor
        (y, x) sum of `values`.
    start : torch.Tensor
        (region, y, x) soft assignments to start from.
    valid : torch.Tensor
        (y, x) bool.
    family : {"gaussian", "counts"}
    slow : int
        Nodes per node of the slow variables.
    mean, whiten : torch.Tensor
        values = whiten (features - mean) for the Gaussian family; for counts `mean` is the log
        of the mean spectrum.
    """

    inputs: Tensor
    values: Tensor
    total: Tensor
    start: Tensor
    valid: Tensor
    family: Literal["gaussian", "counts"]
    slow: int
    mean: Tensor
    whiten: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Nodes along y and x."""
        return self.valid.shape[0], self.valid.shape[1]

    def part(self, rows: slice, columns: slice) -> Scan:
        """Return neighbouring nodes; slices begin at multiples of `slow`."""
        window = (..., rows, columns)
        return replace(
            self,
            inputs=self.inputs[window],
            values=self.values[window],
            total=self.total[window],
            start=self.start[window],
            valid=self.valid[window],
        )


def prepare(features: Features, start: NDArray[np.float32], device: torch.device) -> Scan:
    """Bring descriptors to the device, Gaussian ones white within the regions of `start`."""
    valid = torch.from_numpy(features.valid).to(device)
    values = torch.from_numpy(np.ascontiguousarray(features.values)).float().to(device) * valid
    q = torch.from_numpy(np.ascontiguousarray(start)).float().to(device) * valid
    slow = min(max(min(features.shape) // 4, _FASTEST), _SLOWEST)
    count = len(values)
    mean, whiten = values.new_zeros(count), torch.eye(count, device=device)
    if features.family == "gaussian":
        mean, whiten = _within(values, q, valid)
        values = _mapped(whiten, values - mean[:, None, None]) * valid
        inputs = values
    else:
        inputs = _spectral_inputs(values, valid)
        mean = (values.sum((1, 2)) + 0.5).log()
        mean = mean - torch.logsumexp(mean, 0)
    q = torch.where(valid, q, 1 / len(q))
    return Scan(inputs, values, values.sum(0), q, valid, features.family, slow, mean, whiten)


def first_model(scan: Scan, latent: int, draw: torch.Generator) -> DenseVAE:
    """Return a model whose regions, prototypes and noise are those of the start."""
    weight = scan.start * scan.valid
    if scan.family == "gaussian":
        prototypes = _means(scan.values, weight)
        expected = torch.einsum("kf,kyx->fyx", prototypes, weight)
    else:
        spectra = torch.einsum("fyx,kyx->kf", scan.values, weight) + 0.5
        prototypes = (spectra / spectra.sum(1, keepdim=True)).log()
        expected = torch.einsum("kf,kyx->fyx", prototypes.exp(), weight * scan.total)
    residual = scan.values - expected
    basis = _slow_directions(residual, scan, latent)
    if scan.family == "counts":
        share = scan.values.sum((1, 2)) / scan.values.sum()
        basis = basis / (share[:, None] + 1 / len(share) ** 2)
    encoder = DenseEncoder(len(scan.inputs), len(scan.start), latent, scan.slow, generator=draw)
    white = torch.eye(len(basis) if scan.family == "gaussian" else 0)
    decoder = RegionDecoder(
        prototypes.cpu(),
        basis.cpu(),
        _places(prototypes, latent).cpu(),
        white.expand(len(prototypes), -1, -1),
        draw,
    )
    return DenseVAE(encoder, decoder).to(scan.valid.device)


def _within(values: Tensor, q: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the map that makes the pooled covariance within regions 1."""
    nodes = valid.sum()
    mean = values.sum((1, 2)) / nodes
    residual = (values - torch.einsum("kf,kyx->fyx", _means(values, q), q)) * valid
    flat = residual.flatten(1)
    covariance = flat @ flat.T / nodes
    ridge = _SHRINK * covariance.diagonal().mean() + 1e-8
    covariance = covariance + ridge * torch.eye(len(values), device=values.device)
    return mean, torch.linalg.inv(torch.linalg.cholesky(covariance))


def _means(values: Tensor, q: Tensor) -> Tensor:
    """Return the mean of each region (region, feature)."""
    return torch.einsum("fyx,kyx->kf", values, q) / _mass(q)[:, None]


def _mass(q: Tensor) -> Tensor:
    return q.sum((1, 2)).clamp_min(1e-6)


def _mapped(matrix: Tensor, values: Tensor) -> Tensor:
    return torch.einsum("gf,fyx->gyx", matrix, values)


def _spectral_inputs(counts: Tensor, valid: Tensor) -> Tensor:
    """Return the principal components of spectra in units of their scatter (channel, y, x).

    Found on tiles of nodes, where counting noise hides less; channels are weighted so that
    counting noise is white (correspondence analysis).
    """
    total = counts.sum(0).clamp_min(1e-6)
    mean = counts.sum((1, 2)) / counts.sum().clamp_min(1e-6)
    root = (mean + 1e-3 / len(mean)).sqrt()
    tiles = _blocks(counts, _TILE)
    weight = tiles.sum(0).clamp_min(1e-6)
    white = (tiles / weight - mean[:, None]) / root[:, None] * weight.sqrt()
    count = min(_PRINCIPAL, len(mean), white.shape[1])
    directions = torch.linalg.eigh(white @ white.T)[1][:, -count:]
    seen = torch.einsum("fc,fyx->cyx", directions / root[:, None], counts) / total
    seen = (seen - (directions * (mean / root)[:, None]).sum(0)[:, None, None]) * valid
    scatter = (seen.square().sum((1, 2)) / valid.sum()).sqrt().clamp_min(1e-6)
    standardised: Tensor = seen / scatter[:, None, None]
    return standardised


def _slow_directions(residual: Tensor, scan: Scan, latent: int) -> Tensor:
    """Return how the residuals of the start change slowly (feature, latent)."""
    # Counts are summed and divided by their total, so that dim nodes do not dominate.
    total = scan.valid.float() if scan.family == "gaussian" else scan.total
    coarse = _blocks(residual * scan.valid, scan.slow)
    weight = _blocks(total[None], scan.slow)
    coarse = (coarse / weight.clamp_min(1e-6)) * (weight > 0)
    left, size, _ = torch.linalg.svd(coarse, full_matrices=False)
    count = min(latent, len(size))
    basis = left[:, :count] * size[:count] / coarse.shape[1] ** 0.5
    return functional.pad(basis, (0, latent - count))


def _blocks(maps: Tensor, size: int) -> Tensor:
    """Return means over blocks of nodes (map, block)."""
    means = functional.avg_pool2d(maps[None], size, ceil_mode=True, count_include_pad=False)
    return means[0].flatten(1)


def _places(prototypes: Tensor, latent: int) -> Tensor:
    """Return places of the regions in the latent space (region, latent), 2 apart on average."""
    centred = prototypes - prototypes.mean(0)
    left, size, _ = torch.linalg.svd(centred, full_matrices=False)
    count = min(latent, len(size))
    places = functional.pad(left[:, :count] * size[:count], (0, latent - count))
    apart = torch.pdist(places).mean() if len(places) > 1 else places.new_ones(())
    apart_by_two: Tensor = places * (2 / apart.clamp_min(1e-6))
    return apart_by_two
