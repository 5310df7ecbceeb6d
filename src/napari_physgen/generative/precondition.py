"""How a network F becomes a denoiser: D(x; sigma) = c_skip x + c_out F(c_in x, c_noise).

Karras et al. 2022 ("EDM"), table 1, rows "Network and preconditioning"; the consistency scalings
of Song et al. 2023, eq. 5 with sigma - epsilon, which make f(x, epsilon) = x exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from napari_physgen.generative.schedule import COSINE, VP_SCHEDULE


class Scalings(NamedTuple):
    """c_skip, c_out, c_in and c_noise at some noise levels."""

    skip: Tensor
    out: Tensor
    into: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Precondition:
    """The scalings of one family of models.

    Parameters
    ----------
    scalings : callable
        ``(sigma, sigma_data) -> Scalings``, element by element.
    span : float
        Size of c_noise, so that networks can take it to about 1.
    """

    scalings: Callable[[Tensor, float], Scalings]
    span: float = 1.0

    def __call__(self, sigma: Tensor, sigma_data: float) -> Scalings:
        """Return the scalings at noise levels `sigma`."""
        return self.scalings(sigma, sigma_data)


def _edm(sigma: Tensor, sd: float) -> Scalings:
    total = (sigma**2 + sd**2).sqrt()
    return Scalings(sd**2 / total**2, sigma * sd / total, 1 / total, sigma.log() / 4)


def _vp(sigma: Tensor, sd: float) -> Scalings:
    time = VP_SCHEDULE.inverse(sigma)
    return Scalings(torch.ones_like(sigma), -sigma, 1 / (1 + sigma**2).sqrt(), 999 * time)


def _ve(sigma: Tensor, sd: float) -> Scalings:
    one = torch.ones_like(sigma)
    return Scalings(one, sigma, one, (sigma / 2).log())


def _iddpm(sigma: Tensor, sd: float) -> Scalings:
    levels = torch.as_tensor(COSINE, dtype=sigma.dtype, device=sigma.device)
    nearest = (sigma[..., None] - levels).abs().argmin(-1)
    index = (len(levels) - 2 - nearest).to(sigma.dtype)
    return Scalings(torch.ones_like(sigma), -sigma, 1 / (1 + sigma**2).sqrt(), index)


def consistency(epsilon: float) -> Precondition:
    """Return scalings with D(x; epsilon) = x."""

    def scalings(sigma: Tensor, sd: float) -> Scalings:
        total = (sigma**2 + sd**2).sqrt()
        beyond = sigma - epsilon
        skip = sd**2 / (beyond**2 + sd**2)
        return Scalings(skip, beyond * sd / total, 1 / total, sigma.log() / 4)

    return Precondition(scalings)


def _trigonometric(sigma: Tensor, sd: float) -> Scalings:
    # f = cos(t) x_t - sin(t) sd F(x_t / sd, t) with x_t = cos(t) x, tan(t) = sigma / sd
    angle = (sigma / sd).atan()
    cos, sin = angle.cos(), angle.sin()
    return Scalings(cos**2, -sin * sd, cos / sd, angle)


EDM = Precondition(_edm)
VP = Precondition(_vp, span=250.0)
VE = Precondition(_ve, span=2.0)
IDDPM = Precondition(_iddpm, span=250.0)
TRIGONOMETRIC = Precondition(_trigonometric)
