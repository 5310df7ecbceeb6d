"""Noise levels over time: sigma(t), the scale s(t) of what is observed, and grids to sample on.

The observed variable of a process is x_t = s(t) (x0 + sigma(t) n) (Karras et al. 2022, eq. 2); all
else happens in "sigma space", where x = x0 + sigma n whatever the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Schedule:
    """sigma(t), its inverse and derivative, and the scale s(t) with its derivative."""

    sigma: Function
    inverse: Function
    slope: Function
    scale: Function = torch.ones_like
    scale_slope: Function = torch.zeros_like

    @property
    def unscaled(self) -> Schedule:
        """The same noise levels with s = 1."""
        return Schedule(self.sigma, self.inverse, self.slope)


LINEAR = Schedule(sigma=lambda t: t, inverse=lambda s: s, slope=torch.ones_like)
"""sigma = t (EDM, PFGM++)."""

SQUARE_ROOT = Schedule(sigma=torch.sqrt, inverse=torch.square, slope=lambda t: 0.5 / t.sqrt())
"""sigma = sqrt(t) (variance exploding, as in EDM's table 1)."""


def variance_preserving(beta_d: float = 19.9, beta_min: float = 0.1) -> Schedule:
    """sigma^2 = exp(beta_d t^2 / 2 + beta_min t) - 1, s = 1 / sqrt(1 + sigma^2)."""

    def sigma(t: Tensor) -> Tensor:
        return torch.sqrt(torch.expm1(0.5 * beta_d * t**2 + beta_min * t))

    def inverse(level: Tensor) -> Tensor:
        root = beta_min**2 + 2 * beta_d * torch.log1p(level**2)
        return (root.sqrt() - beta_min) / beta_d

    def slope(t: Tensor) -> Tensor:
        return 0.5 * (beta_min + beta_d * t) * (sigma(t) + 1 / sigma(t))

    def scale(t: Tensor) -> Tensor:
        return 1 / (1 + sigma(t) ** 2).sqrt()

    return Schedule(sigma, inverse, slope, scale, lambda t: -sigma(t) * slope(t) * scale(t) ** 3)


VP_SCHEDULE = variance_preserving()


def karras(count: int, low: float, high: float, rho: float = 7.0) -> Tensor:
    """Return `count` levels from `high` to `low`, uniform in sigma^(1 / rho), and 0.

    Karras et al. 2022, eq. 5. Small rho spends more steps at high noise.
    """
    part = torch.linspace(0, 1, count, dtype=torch.float64)
    levels = (high ** (1 / rho) + part * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return with_zero(levels)


def geometric(count: int, low: float, high: float) -> Tensor:
    """Return `count` levels from `high` to `low`, uniform in log(sigma), and 0 (NCSN, VE)."""
    part = torch.linspace(0, 1, count, dtype=torch.float64)
    return with_zero(high * (low / high) ** part)


def uniform_in_time(count: int, low: float, high: float) -> Tensor:
    """Return `count` levels of the variance preserving process, uniform in its time, and 0.

    Karras et al. 2022, table 1, with the constants beta that make the ends `high` (t = 1) and
    `low` (t = 1e-3).
    """
    first = 1e-3
    top, bottom = math.log(high**2 + 1), math.log(low**2 + 1)
    beta_d = 2 * (bottom / first - top) / (first - 1)
    schedule = variance_preserving(beta_d, top - beta_d / 2)
    times = 1 + torch.arange(count, dtype=torch.float64) / (count - 1) * (first - 1)
    return with_zero(schedule.sigma(times))


def cosine_levels(steps: int = 1000, largest: float = 0.001, offset: float = 0.008) -> list[float]:
    """Return the levels u_0 > ... > u_steps = 0 of iDDPM (Karras et al. 2022, table 1)."""

    def alpha_bar(j: int) -> float:
        return math.sin(0.5 * math.pi * j / steps / (offset + 1)) ** 2

    levels = [0.0]
    for j in range(steps, 0, -1):
        ratio = max(alpha_bar(j - 1) / alpha_bar(j), largest)
        levels.append(math.sqrt((levels[-1] ** 2 + 1) / ratio - 1))
    return levels[::-1]


COSINE = cosine_levels()


def linear_beta_levels(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Return the levels of DDPM's 1000 steps, falling (Ho et al. 2020): sqrt((1 - a) / a)."""
    alpha_bar = torch.cumprod(1 - torch.linspace(first, last, steps, dtype=torch.float64), 0)
    return ((1 - alpha_bar) / alpha_bar).sqrt().flip(0)


def chosen(levels: Tensor, count: int, low: float, high: float) -> Tensor:
    """Return `count` of the given falling levels within bounds, evenly spread, and 0."""
    inside = levels[(levels >= low) & (levels <= high)]
    index = (len(inside) - 1) / (count - 1) * torch.arange(count, dtype=torch.float64)
    return with_zero(inside[index.round().long()])


def with_zero(levels: Tensor) -> Tensor:
    """Append the level 0, at which a sampler ends."""
    return torch.cat([levels, levels.new_zeros(1)])
