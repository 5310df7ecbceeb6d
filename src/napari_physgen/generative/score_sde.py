"""Score SDEs of Song et al. 2021 in their own time and scale.

    dx = f(t) x dt + g(t) dw,    x_t = m(t) (x0 + sigma(t) n)

with the discrete predictors of that paper (appendix E, F). `samplers` needs none of this, its step
is the same process in sigma space; here it is as published, to reproduce it and to run its
networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 1000
"""Discrete steps N."""

Score = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Sde:
    """A stochastic differential equation.

    Parameters
    ----------
    drift, diffusion : callable
        f(t) and g(t).
    mean : callable
        m(t), the factor on the clean image.
    std : callable
        Standard deviation of x_t given x0.
    """

    drift: Callable[[Tensor], Tensor]
    diffusion: Callable[[Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]
    std: Callable[[Tensor], Tensor]

    def score(self, denoise: Callable[[Tensor, float], Tensor]) -> Score:
        """Return the score of x_t from a denoiser in sigma space."""

        def score(x: Tensor, t: Tensor) -> Tensor:
            m, std = self.mean(t), self.std(t)
            clean = denoise(x / m, float(std / m))
            return (m * clean - x) / std**2

        return score


def _log_mean(t: Tensor) -> Tensor:
    return -(t**2) * (_B1 - _B0) / 4 - t * _B0 / 2


_B0, _B1 = 0.1, 20.0
_LOW, _HIGH = 0.01, 50.0
_RATE = math.sqrt(2 * math.log(_HIGH / _LOW))


def _beta(t: Tensor) -> Tensor:
    return _B0 + t * (_B1 - _B0)


VP_SDE = Sde(
    drift=lambda t: -_beta(t) / 2,
    diffusion=lambda t: _beta(t).sqrt(),
    mean=lambda t: _log_mean(t).exp(),
    std=lambda t: (-torch.expm1(2 * _log_mean(t))).sqrt(),
)
SUB_VP_SDE = Sde(
    drift=lambda t: -_beta(t) / 2,
    diffusion=lambda t: (_beta(t) * -torch.expm1(4 * _log_mean(t))).sqrt(),
    mean=lambda t: _log_mean(t).exp(),
    std=lambda t: -torch.expm1(2 * _log_mean(t)),
)
VE_SDE = Sde(
    drift=torch.zeros_like,
    diffusion=lambda t: _LOW * (_HIGH / _LOW) ** t * _RATE,
    mean=torch.ones_like,
    std=lambda t: _LOW * (_HIGH / _LOW) ** t,
)


def _index(t: Tensor) -> int:
    return int(t * (STEPS - 1))


def vp_beta(t: Tensor) -> float:
    """Return beta of the discrete step at time t."""
    return (_B0 + (_B1 - _B0) * _index(t) / (STEPS - 1)) / STEPS


def ve_levels(t: Tensor) -> tuple[float, float]:
    """Return the noise levels of the discrete step at time t and of the next lower one."""
    index = _index(t)
    levels = [_LOW * (_HIGH / _LOW) ** (i / (STEPS - 1)) for i in (index, index - 1)]
    return levels[0], levels[1] if index > 0 else 0.0


def ancestral_vp(x: Tensor, t: Tensor, score: Score, z: Tensor) -> tuple[Tensor, Tensor]:
    """Take DDPM's step with its larger variance; return x and its mean."""
    beta = vp_beta(t)
    mean = (x + beta * score(x, t)) / math.sqrt(1 - beta)
    return mean + math.sqrt(beta) * z, mean


def ancestral_ve(x: Tensor, t: Tensor, score: Score, z: Tensor) -> tuple[Tensor, Tensor]:
    """Take the step of SMLD; return x and its mean. The same as `samplers.step` with eta = 1."""
    a, b = ve_levels(t)
    mean = x + score(x, t) * (a**2 - b**2)
    return mean + b * math.sqrt((a**2 - b**2) / a**2) * z, mean


def reverse_diffusion(
    sde: Sde, x: Tensor, t: Tensor, score: Score, z: Tensor
) -> tuple[Tensor, Tensor]:
    """Take the reversed step of the discrete forward process; return x and its mean."""
    if sde is VE_SDE:
        a, b = ve_levels(t)
        f, G = torch.zeros_like(x), math.sqrt(a**2 - b**2)
    elif sde is VP_SDE:
        beta = vp_beta(t)
        f, G = (math.sqrt(1 - beta) - 1) * x, math.sqrt(beta)
    else:
        f, G = sde.drift(t) * x / STEPS, float(sde.diffusion(t)) / math.sqrt(STEPS)
    mean = x - (f - G**2 * score(x, t))
    return mean + G * z, mean


def euler_maruyama(
    sde: Sde, x: Tensor, t: Tensor, score: Score, z: Tensor
) -> tuple[Tensor, Tensor]:
    """Take a step of the reverse SDE; return x and its mean."""
    dt = -1 / STEPS
    g = sde.diffusion(t)
    mean = x + (sde.drift(t) * x - g**2 * score(x, t)) * dt
    return mean + g * math.sqrt(-dt) * z, mean
