"""Consistency models: f(x, sigma) maps every point of a path to its end (Song et al. 2023).

For fixed (x0, n) the path x0 + sigma n is straight, for Gaussian noise as for Poisson flows, so
that all below holds for both (PFCM, Hein et al. 2024, is distillation with Student-t noise).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from napari_physgen.generative.noise import per_image
from napari_physgen.generative.schedule import karras

if TYPE_CHECKING:
    from napari_physgen.generative.denoiser import Denoiser

EPSILON = 0.002
"""Level at which paths end."""

STAGES = 5
"""Of tuning and distillation: the levels of the last pairs differ by 1 / 32."""

RUNGS = 160
"""Levels at the end of training from scratch; the paper's 1280 are for a million steps."""

MIDDLE = 1.5
"""Second level of several steps, in standard deviations of the images."""


class Pair(NamedTuple):
    """Two levels of one path and the weight of the difference: (batch,) each; lower may be 0."""

    upper: Tensor
    lower: Tensor
    weight: Tensor


def consistency_loss(
    student: Denoiser,
    target: Denoiser,
    x0: Tensor,
    n: Tensor,
    pair: Pair,
    *,
    teacher: Denoiser | None = None,
    cond: Tensor | None = None,
) -> Tensor:
    """Return the pseudo-Huber distance of two points of a path as the student sees them.

    Parameters
    ----------
    student : Denoiser
    target : Denoiser
        What is aimed at at the lower level: the student itself, without gradient, or an average of
        its weights.
    x0, n : torch.Tensor
        Clean images and noise.
    pair : Pair
    teacher : Denoiser, optional
        Gives the lower point by one Heun step (distillation); without, the path is the straight
        one to x0 (training).
    cond : torch.Tensor, optional
    """
    upper = x0 + per_image(pair.upper, x0) * n
    with torch.no_grad():
        if teacher is None:
            lower = x0 + per_image(pair.lower, x0) * n
        else:
            lower = _heun(teacher, upper, pair, cond)
        positive = pair.lower > 0
        # The network cannot be asked at level 0, where f(x, 0) = x.
        asked = torch.where(positive, pair.lower, pair.upper)
        aim = target(lower, asked, cond).mean
        aim = torch.where(per_image(positive, x0) > 0, aim, x0)
    distance = student(upper, pair.upper, cond).mean - aim
    # Song and Dhariwal 2024: c = 0.00054 sqrt(d), norm of the whole image
    c = 0.00054 * math.sqrt(x0[0].numel())
    huber = (distance.flatten(1).square().sum(1) + c**2).sqrt() - c
    return (pair.weight.to(huber.dtype) * huber).mean() / math.sqrt(x0[0].numel())


def _heun(teacher: Denoiser, x: Tensor, pair: Pair, cond: Tensor | None) -> Tensor:
    a, b = per_image(pair.upper, x), per_image(pair.lower, x)
    slope = (x - teacher(x, pair.upper, cond).mean) / a
    euler = x + (b - a) * slope
    safe = torch.where(pair.lower > 0, pair.lower, pair.upper)
    end = (euler - teacher(euler, safe, cond).mean) / per_image(safe, x)
    return torch.where(b > 0, x + (b - a) * (slope + end) / 2, euler)


def tuning_pair(sigma: Tensor, stage: int, q: float = 2.0, k: float = 8.0, b: float = 1.0) -> Pair:
    """Return the levels of Easy Consistency Tuning (Geng et al. 2024, eq. 14).

    r = max(0, t (1 - (1 + k sigmoid(-b t)) / q^(stage + 1))): from denoising (r = 0) towards
    neighbouring levels, stage by stage.
    """
    lower = sigma * (1 - (1 + k * torch.sigmoid(-b * sigma)) / q ** (stage + 1))
    lower = lower.clamp_min(0)
    return Pair(sigma, lower, 1 / (sigma - lower))


def improved_pair(index: Tensor, levels: Tensor) -> Pair:
    """Return neighbouring levels of improved consistency training, weight 1 / difference."""
    rising = levels.flip(0)
    lower, upper = rising[index], rising[index + 1]
    return Pair(upper, lower, 1 / (upper - lower))


def distillation_pair(index: Tensor, levels: Tensor) -> Pair:
    """Return neighbouring levels of consistency distillation, all of the same weight."""
    pair = improved_pair(index, levels)
    return pair._replace(weight=torch.ones_like(pair.weight))


def improved_scales(step: int, steps: int, first: int = 10, last: int = 1280) -> int:
    """Return the number of levels of iCT at a step: doubled at equal intervals."""
    interval = math.floor(steps / (math.log2(math.floor(last / first)) + 1))
    doublings = math.floor(step / max(interval, 1))
    return min(first << doublings, last) + 1


def improved_probabilities(levels: Tensor, mean: float = -1.1, std: float = 2.0) -> Tensor:
    """Return how often each interval of falling `levels` (> 0) is drawn: a discrete lognormal."""
    edge = torch.erf((levels.flip(0).log() - mean) / (math.sqrt(2) * std))
    weight = edge.diff()
    return weight / weight.sum()


def training_schedule(
    step: int, steps: int, first: int = 2, last: int = 150, ema: float = 0.95
) -> tuple[float, int]:
    """Return the target's average and the number of levels of consistency training (CT)."""
    grown = step / steps * ((last + 1) ** 2 - first**2) + first**2
    scales = max(math.ceil(math.sqrt(grown) - 1), 1)
    return math.exp(math.log(ema) * first / scales), scales + 1


def levels(count: int, low: float, high: float) -> Tensor:
    """Return `count` falling levels, without 0."""
    return karras(count, low, high)[:-1]


@dataclass(frozen=True)
class Course:
    """A way to a consistency model.

    Parameters
    ----------
    pairs : callable
        ``(done, count, high, rng)``: `count` pairs of levels up to `high` when the share `done` of
        the training is over.
    taught : bool
        Whether the lower points lie on the teacher's paths, not on straight ones.
    anew : bool
        Whether it starts from random weights, not from the teacher's.
    """

    pairs: Callable[[float, int, float, torch.Generator], Pair]
    taught: bool = False
    anew: bool = False


def _staged(done: float, count: int, high: float, rng: torch.Generator) -> Pair:
    """Return pairs that come closer: 1 - lower / upper = 1/2, 1/4, ... 2^-STAGES.

    Levels are drawn log-uniformly, without the sigmoid of the paper: on a mixture in the plane one
    step is then twice as good, for the highest levels are seen often enough.
    """
    u = torch.rand(count, generator=rng)
    sigma = 2 * EPSILON * (high / (2 * EPSILON)) ** u
    return tuning_pair(sigma, min(int(STAGES * done), STAGES - 1), k=0)


def _growing(done: float, count: int, high: float, rng: torch.Generator) -> Pair:
    rungs = levels(improved_scales(round(1000 * done), 1000, last=RUNGS), EPSILON, high)
    index = torch.multinomial(improved_probabilities(rungs), count, True, generator=rng)
    return Pair(*(part.float() for part in improved_pair(index, rungs)))


courses: Mapping[str, Course] = MappingProxyType(
    {
        "tuning": Course(_staged),
        "distillation": Course(_staged, taught=True),
        "training": Course(_growing, anew=True),
    }
)


def multistep_levels(count: int, high: float, sigma_data: float) -> Tensor:
    """Return `count` falling levels at which to ask a consistency model, one evaluation each.

    The highest, then down in factors of 4 from MIDDLE standard deviations of the images.
    """
    lower = MIDDLE * sigma_data * 0.25 ** torch.arange(count - 1, dtype=torch.float64)
    return torch.cat([torch.tensor([high], dtype=torch.float64), lower])
