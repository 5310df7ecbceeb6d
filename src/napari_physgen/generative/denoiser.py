"""The one thing that everything here takes and returns: a denoiser.

``D(x, sigma, cond) -> (mean, std)`` of the clean image x0 given x = x0 + sigma n: a trained
network, a closed form, a guided pair, a posterior given data. Whatever takes one returns one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from napari_physgen.errors import UserError
from napari_physgen.generative.noise import per_image

if TYPE_CHECKING:
    from torch import Tensor

    from napari_physgen.generative.noise import Noise


class Estimate(NamedTuple):
    """Posterior mean of the clean image and its standard deviation per pixel, if known."""

    mean: Tensor
    std: Tensor | None = None


class Denoiser(Protocol):
    """Estimate the clean image from a noisy one."""

    @property
    def noise(self) -> Noise:
        """The law of the noise that it removes."""

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Estimate:
        """Return the posterior of x0 given x = x0 + sigma n.

        Parameters
        ----------
        x : torch.Tensor
            (batch, channel, [z,] y, x). Gradients of the mean with respect to it can be taken.
        sigma : float or torch.Tensor
            Noise level, one for all or (batch,).
        cond : torch.Tensor, optional
            What else is known, (batch, channel, [z,] y, x).
        """


@dataclass(frozen=True)
class Guided:
    """Exaggerate what the condition, or the better of two networks, adds.

    D_w = D_u + w (D_c - D_u) for noise levels in an interval (Ho and Salimans 2022; Karras et al.
    2024 with an earlier copy of the network as `weaker`; Kynkaanniemi et al. 2024 for the
    interval); w = 1 changes nothing.

    Parameters
    ----------
    denoiser : Denoiser
        Called with the condition.
    weight : float
    weaker : Denoiser, optional
        Called with the condition too; default: `denoiser` without it.
    interval : (float, float)
        Noise levels at which to guide.
    """

    denoiser: Denoiser
    weight: float
    weaker: Denoiser | None = None
    interval: tuple[float, float] = (0.0, float("inf"))

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise UserError(f"The guidance must be 0 or more, got {self.weight:g}.")

    @property
    def noise(self) -> Noise:
        """The law of the noise."""
        return self.denoiser.noise

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Estimate:
        """Return the guided estimate; the standard deviation is that of `denoiser`."""
        told = self.denoiser(x, sigma, cond)
        weak = self.weaker(x, sigma, cond) if self.weaker else self.denoiser(x, sigma)
        level = per_image(sigma, x)
        inside = (level >= self.interval[0]) & (level <= self.interval[1])
        gain = 1 + (self.weight - 1) * inside.to(x.dtype)
        return Estimate(weak.mean + gain * (told.mean - weak.mean), told.std)
