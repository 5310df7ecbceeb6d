"""The generative models of the review as values: noise law, levels, training weight, sampler.

| model | source |
|---|---|
| ncsn | Song and Ermon 2019: 10 geometric levels, annealed Langevin dynamics |
| ddpm | Ho et al. 2020: 1000 steps, ancestral sampling |
| iddpm | Nichol and Dhariwal 2021: cosine schedule |
| ve, vp, sub-vp | Song et al. 2021: score SDEs |
| edm | Karras et al. 2022: Heun's method |
| pfgm, pfgm++ | Xu et al. 2022, 2023: Poisson flows |
| trigflow | Lu and Song 2024: the same in angles |

DDIM (Song et al. 2021) is any diffusion of these sampled with eta = 0; consistency models (Song et
al. 2023) start from any of them (`distill`). Hyper-parameters in sigma hold for a Poisson flow as
they are (r = sigma sqrt(D)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from napari_physgen.errors import UserError
from napari_physgen.generative import precondition, schedule
from napari_physgen.generative.noise import GAUSSIAN, Noise
from napari_physgen.generative.precondition import Precondition

Sampler = Literal["ode", "langevin", "predictor-corrector"]

_DROWNED = 2.0
"""Noise over contrast from which on nothing is seen; NCSN, whose images span 0 to 1, has 4."""


@dataclass(frozen=True)
class Process:
    """A forward process, how a denoiser of it is trained and how it is run backwards.

    Parameters
    ----------
    name : str
    sigma_min, sigma_max : float
        Noise levels of sampling, in units in which images span about -1 to 1.
    grid : callable
        ``(count, sigma_min, sigma_max)``: falling levels with 0 at the end.
    draw : callable
        ``(u, sigma_min, sigma_max)``: levels to train at, from uniform numbers u.
    weight : callable
        ``(sigma, sigma_data)``: weight of the squared error.
    precondition : Precondition
    noise : Noise
    sampler : {"ode", "langevin", "predictor-corrector"}
    eta : float
        Fresh noise per step: 0 none (an ODE), 1 as much as the exact reverse process.
    heun : bool
        Second order steps.
    steps : int
        Levels to sample with.
    """

    name: str
    sigma_min: float
    sigma_max: float
    grid: Callable[[int, float, float], Tensor]
    draw: Callable[[Tensor, float, float], Tensor]
    weight: Callable[[Tensor, float], Tensor]
    precondition: Precondition
    noise: Noise = GAUSSIAN
    sampler: Sampler = "ode"
    eta: float = 0.0
    heun: bool = False
    steps: int = 18

    def sigmas(self, count: int | None = None) -> Tensor:
        """Return the levels to sample at, falling, with 0 at the end (float64)."""
        return self.grid(count or self.steps, self.sigma_min, self.sigma_max)

    def train_sigma(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw `count` levels to train at (float64)."""
        device = "cpu" if generator is None else generator.device
        u = torch.rand(count, generator=generator, device=device, dtype=torch.float64)
        return self.draw(u, self.sigma_min, self.sigma_max)

    def with_noise(self, D: float) -> Process:
        """Return the same process with another noise law.

        Raises
        ------
        UserError
            If D is finite and the process is sampled with fresh Gaussian noise.
        """
        changed = replace(self, noise=Noise(D))
        if self.sampler != "ode" or self.eta > 0:
            changed.noise.require_gaussian(f"The process '{self.name}'")
        return changed

    def reaching(self, spread: float) -> Process:
        """Return the process with a sigma_max at which images of this `spread` are drowned.

        Raises
        ------
        UserError
            If the process ends below twice the spread: it could not start from pure noise.
        """
        if self.sigma_max < _DROWNED * spread:
            raise UserError(
                f"The largest noise level of '{self.name}', {self.sigma_max:g}, is too small for "
                f"images that spread by {spread:.3g}: it must be at least twice as large."
            )
        return self


def _normal(u: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-1 + 1e-12, 1 - 1e-12))


def lognormal(mean: float, std: float) -> Callable[[Tensor, float, float], Tensor]:
    """Return a training law ln(sigma) ~ N(mean, std^2)."""
    return lambda u, low, high: (mean + std * _normal(u)).exp()


def _log_uniform(u: Tensor, low: float, high: float) -> Tensor:
    return low * (high / low) ** u


def _uniform_time(u: Tensor, low: float, high: float) -> Tensor:
    first = 1e-5
    return schedule.VP_SCHEDULE.sigma(first + (1 - first) * u)


def _sub_vp_sigma(t: Tensor) -> Tensor:
    # mean exp(c), std 1 - exp(2 c) with c = -t^2 (b1 - b0) / 4 - t b0 / 2
    c = -(t**2) * 19.9 / 4 - t * 0.1 / 2
    return -torch.expm1(2 * c) / c.exp()


def _sub_vp_grid(count: int, low: float, high: float) -> Tensor:
    times = torch.linspace(1, 1e-3, count, dtype=torch.float64)
    return schedule.with_zero(_sub_vp_sigma(times))


def _one_of(levels: Tensor) -> Callable[[Tensor, float, float], Tensor]:
    return lambda u, low, high: levels.to(u.device)[
        (u * len(levels)).long().clamp(max=len(levels) - 1)
    ]


def _edm_weight(sigma: Tensor, sd: float) -> Tensor:
    return (sigma**2 + sd**2) / (sigma * sd) ** 2


def _inverse_variance(sigma: Tensor, sd: float) -> Tensor:
    return 1 / sigma**2


_DDPM = schedule.linear_beta_levels()
_COSINE = torch.tensor(schedule.COSINE, dtype=torch.float64)
_NCSN = schedule.geometric(10, 0.01, 1.0)[:-1]

EDM = Process(
    "edm",
    0.002,
    80.0,
    schedule.karras,
    lognormal(-1.2, 1.2),
    _edm_weight,
    precondition.EDM,
    heun=True,
)
VP = Process(
    "vp",
    float(schedule.VP_SCHEDULE.sigma(torch.tensor(1e-3, dtype=torch.float64))),
    float(schedule.VP_SCHEDULE.sigma(torch.tensor(1.0, dtype=torch.float64))),
    schedule.uniform_in_time,
    _uniform_time,
    _inverse_variance,
    precondition.VP,
    sampler="predictor-corrector",
    eta=1.0,
    steps=250,
)
VE = Process(
    "ve",
    0.01,
    50.0,
    schedule.geometric,
    _log_uniform,
    _inverse_variance,
    precondition.VE,
    sampler="predictor-corrector",
    eta=1.0,
    steps=250,
)


def pfgmpp(D: float) -> Process:
    """Return PFGM++ with D augmented dimensions: EDM with another noise law."""
    return replace(EDM, name=f"pfgm++({D:g})", noise=Noise(D))


presets: Mapping[str, Process] = MappingProxyType(
    {
        process.name: process
        for process in (
            EDM,
            VP,
            VE,
            replace(
                VP,
                name="sub-vp",
                sigma_min=float(_sub_vp_sigma(torch.tensor(1e-3, dtype=torch.float64))),
                sigma_max=float(_sub_vp_sigma(torch.tensor(1.0, dtype=torch.float64))),
                grid=_sub_vp_grid,
                draw=lambda u, low, high: _sub_vp_sigma(1e-3 + (1 - 1e-3) * u),
                precondition=precondition.EDM,
            ),
            Process(
                "ddpm",
                float(_DDPM[-1]),
                float(_DDPM[0]),
                lambda count, low, high: schedule.chosen(_DDPM, count, low, high),
                _one_of(_DDPM),
                _inverse_variance,
                precondition.VP,
                eta=1.0,
                steps=1000,
            ),
            Process(
                "iddpm",
                0.0064,
                float(_COSINE[0]),
                lambda count, low, high: schedule.chosen(_COSINE, count, low, high),
                _one_of(_COSINE[:-1]),
                _inverse_variance,
                precondition.IDDPM,
                eta=1.0,
                steps=1000,
            ),
            Process(
                "ncsn",
                0.01,
                1.0,
                schedule.geometric,
                _one_of(_NCSN),
                _inverse_variance,
                precondition.VE,
                sampler="langevin",
                steps=10,
            ),
            replace(EDM, name="pfgm", noise=Noise(1.0)),
            replace(EDM, name="pfgm++", noise=Noise(2048.0)),
            replace(
                EDM,
                name="trigflow",
                draw=lognormal(-1.0, 1.4),
                precondition=precondition.TRIGONOMETRIC,
            ),
        )
    }
)
"""The processes by name; `pfgmpp` makes PFGM++ with any D."""
