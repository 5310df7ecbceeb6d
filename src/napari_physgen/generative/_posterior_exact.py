"""Problems with a known posterior: what every method is judged by.

A Gaussian prior on a ring of 64 pixels (standard deviation 0.5, correlation length 4 px) and four
instruments. The posterior is Gaussian with

    mean m + K (y - A m),    covariance C - K A C,    K = C A^T (A C A^T + Sy)^-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_physgen.generative.priors import GaussianPrior
from napari_physgen.physics.blur import Convolution
from napari_physgen.physics.operator import Identity, Mask, Subsampling

if TYPE_CHECKING:
    from napari_physgen.physics.operator import Operator

PIXELS = 64


@dataclass(frozen=True)
class Problem:
    """Data of a Gaussian prior with equal noise.

    Parameters
    ----------
    prior : GaussianPrior
    operator : Operator
    noise : float
        Standard deviation of the data.
    y : torch.Tensor
        (1, 1, n) data of an image drawn from the prior.
    """

    prior: GaussianPrior
    operator: Operator
    noise: float
    y: Tensor

    def variance(self, y: Tensor) -> Tensor:
        """Return the noise variance of data."""
        return torch.full_like(y, self.noise**2)

    def solve(self) -> tuple[Tensor, Tensor]:
        """Return the mean (n,) and the covariance (n, n) of the exact posterior."""
        m, C = self.prior.mean, self.prior.covariance
        A = self.operator(torch.eye(len(m)).to(m)[:, None]).flatten(1).T
        Sy = self.noise**2 * torch.eye(len(A)).to(m)
        K = torch.linalg.solve(A @ C @ A.T + Sy, A @ C).T
        return m + K @ (self.y.flatten() - A @ m), C - K @ A @ C


@dataclass(frozen=True)
class Calibration:
    """How far samples are from the exact posterior.

    Parameters
    ----------
    mean_error : float
        rms error of their mean over the rms of the exact standard deviation.
    std_ratio : float
        Their mean standard deviation over the exact one.
    coverage : float
        Posterior probability of their mean +- 1.96 standard deviations, mean over pixels; 0.95
        where they are right.
    """

    mean_error: float
    std_ratio: float
    coverage: float

    @classmethod
    def of(cls, samples: Tensor, problem: Problem) -> Calibration:
        """Return the figures of samples (batch, 1, n)."""
        exact, covariance = problem.solve()
        sd = covariance.diagonal().sqrt()
        mean, std = samples.mean(0).flatten(), samples.std(0).flatten()
        error = float((mean - exact).square().mean().sqrt() / sd.square().mean().sqrt())
        above, below = ((mean + k * std - exact) / sd for k in (1.96, -1.96))
        inside = torch.special.ndtr(above) - torch.special.ndtr(below)
        return cls(error, float(std.mean() / sd.mean()), float(inside.mean()))


def ring_prior() -> GaussianPrior:
    """Return the prior on the ring, float64."""
    place = torch.arange(PIXELS, dtype=torch.float64)
    apart = (place[:, None] - place).abs()
    apart = torch.minimum(apart, PIXELS - apart)
    covariance = 0.25 * torch.exp(-(apart**2) / (2 * 4**2))
    return GaussianPrior(torch.zeros(PIXELS).double(), covariance + 1e-9 * torch.eye(PIXELS))


def ring_problems(seed: int = 0) -> dict[str, Problem]:
    """Return the four: noise only, a blur of 2 px, 40 % of the pixels missing, coarse pixels."""
    generator = torch.Generator().manual_seed(seed)

    def normal(n: int) -> Tensor:
        return torch.randn(n, generator=generator, dtype=torch.float64)

    kernel = torch.exp(-(torch.arange(-8, 9, dtype=torch.float64) ** 2) / (2 * 2**2))
    kept = torch.rand(PIXELS, generator=generator) > 0.4
    instruments: dict[str, tuple[Operator, float]] = {
        "denoise": (Identity(), 0.3),
        "blur": (Convolution(kernel / kernel.sum()), 0.05),
        "inpaint": (Mask(kept), 0.05),
        "super-resolve": (Subsampling((4,)), 0.05),
    }
    prior = ring_prior()
    values, vectors = torch.linalg.eigh(prior.covariance)
    truth = (vectors @ (values.clamp_min(0).sqrt() * normal(PIXELS)))[None, None]
    problems = {}
    for name, (operator, noise) in instruments.items():
        clean = operator(truth)
        y = clean + noise * normal(clean.numel()).reshape(clean.shape)
        problems[name] = Problem(prior, operator, noise, y)
    return problems
