"""A network as a denoiser: preconditioned, with its own estimate of the posterior variance.

The network gives two numbers per pixel, F and h:

    mean = c_skip x + c_out F,    std = sigma sd / sqrt(sigma^2 + sd^2) exp(h / 2)

with sd the standard deviation of the images; the factor is the posterior std of a Gaussian prior.
Trained by 0.5 (e^2 / v + ln v), v becomes E[(x0 - mean)^2 | x, sigma, cond]: the posterior variance
for any noise law and any condition, plus the squared bias of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_physgen.generative.denoiser import Estimate
from napari_physgen.generative.noise import GAUSSIAN, Noise, per_image
from napari_physgen.generative.precondition import Precondition

BEYOND = 2.0
"""Times sigma_max: where "no image at all" (sigma = inf) is put on the network's noise scale."""

_LIMIT = 15.0


@dataclass(frozen=True)
class NetworkDenoiser:
    """Ask a network for the clean image.

    Parameters
    ----------
    net : torch.nn.Module
        (batch, channel, [z,] y, x) and (batch,) to two channels, or one without a variance.
    precondition : Precondition
    sigma_data : float
        Standard deviation of the images.
    sigma_max : float
    noise : Noise
    conditions : int
        Channels of the condition; the network gets one more, which says whether there is one.
    std_scale : float
        Factor on the standard deviation, from a calibration.
    certain : bool
        Whether it gives no standard deviation, as a consistency model, whose image is not a mean.
    """

    net: nn.Module
    precondition: Precondition
    sigma_data: float
    sigma_max: float
    noise: Noise = GAUSSIAN
    conditions: int = 0
    std_scale: float = 1.0
    certain: bool = False

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Estimate:
        """Return mean and std; sigma = inf stands for no image at all, only the condition."""
        level = per_image(sigma, x)
        blind = torch.isinf(level)
        x = torch.where(blind, torch.zeros_like(x), x)
        level = torch.where(blind, torch.full_like(level, BEYOND * self.sigma_max), level)
        c = self.precondition(
            level.double() if x.dtype == torch.float64 else level, self.sigma_data
        )
        features = self._with_condition(c.into * x, cond)
        coordinate = (c.noise / self.precondition.span).reshape(-1).expand(len(x))
        output = self.net(features, coordinate)
        mean = c.skip * x + c.out * output[:, :1].to(x.dtype)
        if self.certain or output.shape[1] == 1:
            return Estimate(mean)
        base = level * self.sigma_data / (level**2 + self.sigma_data**2).sqrt()
        spread = output[:, 1:2].to(x.dtype).clamp(-_LIMIT, _LIMIT)
        return Estimate(mean, self.std_scale * base * (spread / 2).exp())

    def _with_condition(self, x: Tensor, cond: Tensor | None) -> Tensor:
        if self.conditions == 0:
            return x
        shape = (len(x), self.conditions, *x.shape[2:])
        if cond is None:
            told, present = x.new_zeros(shape), torch.zeros_like(x[:, :1])
        else:
            told = cond.expand(shape)
            present = torch.ones_like(x[:, :1])
        return torch.cat([x, told, present], 1)
