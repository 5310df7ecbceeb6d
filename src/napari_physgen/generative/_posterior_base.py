"""What all posterior methods share: the measurement, and derivatives of a denoiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_physgen.errors import UserError
from napari_physgen.generative.denoiser import Estimate
from napari_physgen.generative.noise import Noise, per_image
from napari_physgen.physics.operator import Spectral
from napari_physgen.physics.proximal import prox

if TYPE_CHECKING:
    from napari_physgen.generative.denoiser import Denoiser
    from napari_physgen.generative.samplers import Rule
    from napari_physgen.physics.operator import Operator

Variance = Callable[[Tensor], Tensor]

SMALLEST = 1e-6
"""Least noise variance of a datum, relative to the mean: a camera without read noise would claim
to know dark pixels exactly."""


@dataclass(frozen=True)
class Measurement:
    """Data y = A x0 + e with noise e of a variance that may follow the light.

    Parameters
    ----------
    operator : Operator
        A.
    y : torch.Tensor
        (batch or 1, ...) data.
    variance : callable
        Variance of each datum, given the data without noise.
    """

    operator: Operator
    y: Tensor
    variance: Variance

    def __call__(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Return y - A d and the diagonal of Sy, for an image d."""
        predicted = self.operator(mean)
        if predicted.shape[1:] != self.y.shape[1:]:
            shapes = [" x ".join(map(str, t.shape[1:])) for t in (self.y, predicted, mean)]
            raise UserError(
                f"The data have the shape {shapes[0]}, but the forward model makes {shapes[1]} "
                f"of an image of {shapes[2]}: choose the model that these data were taken with."
            )
        variance = torch.as_tensor(self.variance(predicted)).to(predicted)
        floor = (SMALLEST * variance.mean()).clamp_min(torch.finfo(variance.dtype).tiny)
        return self.y.to(predicted) - predicted, variance.clamp_min(floor).expand_as(predicted)

    def nearest(self, z: Tensor, rho: Tensor) -> Tensor:
        """Return argmin_x |y - A x|^2 / Sy + rho |x - z|^2, rho (batch,)."""
        _, variance = self(z)
        y = self.y.to(z).expand_as(variance)
        return prox(self.operator, z, y, per_image(rho, variance), variance)


@dataclass(frozen=True)
class Conditioned:
    """A denoiser made by a function; no gradients flow through it."""

    noise: Noise
    estimate: Callable[[Tensor, float | Tensor, Tensor | None], Estimate]

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Estimate:
        """Return the estimate of x0 given x and the data."""
        return self.estimate(x, sigma, cond)


@dataclass(frozen=True)
class Posterior:
    """How to sample images that explain data.

    Parameters
    ----------
    denoiser : Denoiser
        D_y, the estimate of x0 given x = x0 + sigma n and the data.
    rule : callable, optional
        Step for `integrate`; without one any sampler will do.
    calibrated : bool
        Whether the spread of the samples may be called uncertainty.
    """

    denoiser: Denoiser
    rule: Rule | None = None
    calibrated: bool = True

    def start(self, noise: Tensor, sigma: float, cond: Tensor | None = None) -> Tensor:
        """Return the first state of a sampler: noise around what the data say.

        Noise alone would do for levels far above the images; around D_y a few times their standard
        deviation is enough, and steps are left for where it matters.

        Parameters
        ----------
        noise : torch.Tensor
            (batch, channel, [z,] y, x) of unit scale.
        sigma : float
            The first level.
        cond : torch.Tensor, optional
            For the denoiser.
        """
        x = sigma * noise
        return x + self.denoiser(x, sigma, cond).mean


Pull = Callable[[Tensor], Tensor]


def linearise(
    denoiser: Denoiser, x: Tensor, sigma: float | Tensor, cond: Tensor | None
) -> tuple[Estimate, Pull]:
    """Return D(x) and v -> J^T v with J = dD/dx (Tweedie: sigma^2 J is the posterior covariance).

    The derivative is taken anew for every v from one evaluation of the denoiser, also where the
    caller has switched gradients off.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        estimate = denoiser(leaf, sigma, cond)

    def pull(v: Tensor) -> Tensor:
        return torch.autograd.grad(estimate.mean, leaf, v, retain_graph=True)[0]

    std = None if estimate.std is None else estimate.std.detach()
    return Estimate(estimate.mean.detach(), std), pull


def spectral(measurement: Measurement, what: str) -> Spectral:
    """Return the operator; UserError if it does not know its singular values."""
    if not isinstance(measurement.operator, Spectral):
        raise UserError(
            f"{what} needs a forward model with known singular values (noise only, missing "
            "pixels, coarse pixels, periodic blur): choose moment matching (MMPS) or DiffPIR."
        )
    return measurement.operator
