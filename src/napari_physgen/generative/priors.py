"""Priors whose denoiser is known in closed form: the truth that samplers are tested against."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from napari_physgen.generative.denoiser import Estimate
from napari_physgen.generative.noise import GAUSSIAN, Noise, per_image


@dataclass(frozen=True)
class GaussianPrior:
    """x0 ~ N(mean, covariance).

    Parameters
    ----------
    mean : torch.Tensor
        (d,), images flattened.
    covariance : torch.Tensor
        (d, d).
    """

    mean: Tensor
    covariance: Tensor
    noise: Noise = field(default=GAUSSIAN, init=False)

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Estimate:
        """Return mean and standard deviation of N(m + K (x - m), s^2 K), K = C (C + s^2)^-1."""
        values, vectors = torch.linalg.eigh(self.covariance)
        flat = x.flatten(1) - self.mean
        variance = per_image(sigma, flat) ** 2
        shrink = values / (values + variance)
        mean = self.mean + (flat @ vectors * shrink) @ vectors.T
        spread = (variance * shrink) @ (vectors**2).T
        std = spread.sqrt().expand_as(flat)
        return Estimate(mean.reshape(x.shape), std.reshape(x.shape))


@dataclass(frozen=True)
class MixturePrior:
    """A mixture of isotropic Gaussians of the same width.

    Parameters
    ----------
    weights : torch.Tensor
        (k,), sum 1.
    means : torch.Tensor
        (k, d), images flattened.
    std : float
    """

    weights: Tensor
    means: Tensor
    std: float
    noise: Noise = field(default=GAUSSIAN, init=False)

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Estimate:
        """Return the exact posterior mean and standard deviation per component of x."""
        flat = x.flatten(1)
        variance = per_image(sigma, flat) ** 2
        total = self.std**2 + variance
        apart = (flat[:, None] - self.means).square().sum(-1)
        responsible = torch.softmax(self.weights.log() - apart / (2 * total), 1)[..., None]
        shrink = (self.std**2 / total)[:, None]
        centres = self.means + shrink * (flat[:, None] - self.means)
        mean = (responsible * centres).sum(1)
        between = (responsible * (centres - mean[:, None]) ** 2).sum(1)
        std = (between + self.std**2 * variance / total).sqrt()
        return Estimate(mean.reshape(x.shape), std.reshape(x.shape))

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw (count, d)."""
        kinds = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        normal = torch.randn(
            count, self.means.shape[1], generator=generator, dtype=self.means.dtype
        )
        return self.means[kinds] + self.std * normal


@dataclass(frozen=True)
class DataPrior:
    """Nothing but a finite set of images: what a network with unlimited memory would learn.

    Also the target of PFGM++ (Xu et al. 2023): D(x, r) = E[y | x] with weights
    (|x - y|^2 + r^2)^(-(N + D) / 2), r = sigma sqrt(D), which become exp(-|x - y|^2 / 2 sigma^2).

    Parameters
    ----------
    points : torch.Tensor
        (n, d), images flattened.
    noise : Noise
    """

    points: Tensor
    noise: Noise = GAUSSIAN

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Estimate:
        """Return the mean and standard deviation over the set."""
        flat = x.flatten(1)
        variance = per_image(sigma, flat) ** 2
        apart = (flat[:, None] - self.points).square().sum(-1)
        if math.isinf(self.noise.D):
            logarithm = -apart / (2 * variance)
        else:
            D, N = self.noise.D, flat.shape[1]
            # log1p keeps all digits for large D
            logarithm = -(N + D) / 2 * torch.log1p(apart / (variance * D))
        weights = torch.softmax(logarithm, 1)
        mean = weights @ self.points
        spread = (weights @ self.points**2 - mean**2).clamp_min(0).sqrt()
        return Estimate(mean.reshape(x.shape), spread.reshape(x.shape))
