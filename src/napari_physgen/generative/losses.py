"""What denoisers are trained with.

    E_sigma E_n [ lambda(sigma) |D(x0 + sigma n; sigma) - x0|^2 + 1/2 (e^2 / v + ln v) ]

e = D - x0 without gradient: the variance learns from the mean, not the other way round.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_physgen.generative.noise import per_image

if TYPE_CHECKING:
    from napari_physgen.generative.denoiser import Denoiser
    from napari_physgen.generative.process import Process

_QUIETEST = 0.1
"""Share of the noise level below which places without noise count no more."""

VARIANCE = 0.25
"""Weight of the variance's likelihood beside the mean's squared error, which is about 1."""


class Terms(NamedTuple):
    """The weighted squared error of the mean and the likelihood of the variance."""

    squared: Tensor
    likelihood: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.squared + VARIANCE * self.likelihood


def denoising_loss(
    denoiser: Denoiser,
    x0: Tensor,
    sigma: Tensor,
    n: Tensor,
    process: Process,
    sigma_data: float,
    cond: Tensor | None = None,
) -> Terms:
    """Return the loss of one batch.

    Parameters
    ----------
    denoiser : Denoiser
    x0 : torch.Tensor
        Clean images (batch, 1, ...).
    sigma : torch.Tensor
        Levels (batch,); inf: only the condition is seen.
    n : torch.Tensor
        Noise of the process's law, like `x0`.
    process : Process
        Gives the weights.
    sigma_data : float
    cond : torch.Tensor, optional
    """
    level = per_image(sigma, x0)
    blind = torch.isinf(level)
    noisy = x0 + torch.where(blind, torch.zeros_like(level), level) * n
    estimate = denoiser(noisy, sigma, cond)
    weight = process.weight(torch.where(blind, torch.full_like(level, 1e6), level), sigma_data)
    error = estimate.mean - x0
    squared = (weight * error**2).mean()
    if estimate.std is None:
        return Terms(squared, squared.new_zeros(()))
    return Terms(squared, likelihood(error.detach(), estimate.std**2))


def recorrupted_loss(
    denoiser: Denoiser,
    y: Tensor,
    level: float,
    spread: Tensor,
    alpha: Tensor,
    n: Tensor,
) -> Terms:
    """Return the loss of a denoiser that learns from noisy images alone.

    Recorrupted-to-recorrupted (Pang et al. 2021): with n of the noise's own covariance

        y1 = y + alpha n,    y2 = y - n / alpha

    are independent given the clean image, so that E[y2 | y1] = E[x0 | y1]; y1 is an image at the
    level sqrt(1 + alpha^2) times that of y. The variance is that of y2 less what its noise adds.

    Parameters
    ----------
    denoiser : Denoiser
    y : torch.Tensor
        Noisy images (batch, 1, ...).
    level : float
        Their noise level, as the denoiser is told.
    spread : torch.Tensor
        Standard deviation of the noise of each pixel, like `y`.
    alpha : torch.Tensor
        (batch,).
    n : torch.Tensor
        Noise correlated like that of the images, of unit variance.
    """
    a = per_image(alpha, y)
    estimate = denoiser(y + a * spread * n, level * (1 + alpha**2).sqrt())
    error = estimate.mean - (y - spread / a * n)
    added = (spread**2 + (_QUIETEST * level) ** 2) * (1 + 1 / a**2)
    assert estimate.std is not None
    variance = estimate.std**2 + added
    # The weight is that of the noise, which is most of the variance: the same for every network.
    return Terms((error**2 / added).mean(), likelihood(error.detach(), variance))


def likelihood(error: Tensor, variance: Tensor) -> Tensor:
    """Return the mean negative log-likelihood 1/2 (e^2 / v + ln v)."""
    return 0.5 * (error**2 / variance + variance.log()).mean()


@cache
def power_exponent(std: float) -> float:
    """Return gamma of a power-function average of relative width `std` (EDM2, eq. 121-126)."""
    inverse = std**-2
    roots = np.roots([1, 7, 16 - inverse, 12 - inverse])
    return float(roots.real.max())


def power_decay(std: float, step: int, delta: int = 1) -> float:
    """Return the decay beta = (1 - delta / t)^(gamma + 1) for the average after step t."""
    return float((1 - delta / step) ** (power_exponent(std) + 1)) if step > delta else 0.0
