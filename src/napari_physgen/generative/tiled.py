"""A network denoiser in tiles, with the result of the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from napari_physgen.backend.tiles import tiles
from napari_physgen.generative.denoiser import Estimate

if TYPE_CHECKING:
    from torch import Tensor

    from napari_physgen.generative.network import NetworkDenoiser
    from napari_physgen.generative.noise import Noise
    from napari_physgen.networks.denoiser import DenoiserUNet


@dataclass(frozen=True)
class Tiled:
    """Look at large images tile by tile.

    Parameters
    ----------
    denoiser : NetworkDenoiser
    size : int
        Largest tile along y and x, px.
    """

    denoiser: NetworkDenoiser
    size: int

    @property
    def noise(self) -> Noise:
        """The law of the noise."""
        return self.denoiser.noise

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Estimate:
        """Return mean and std of the whole image."""
        net = cast("DenoiserUNet", self.denoiser.net)
        halo, multiple = net.halo, net.multiple
        size = max(self.size, 2 * halo + 4 * multiple)
        if max(x.shape[-2:]) <= size:
            return self.denoiser(x, sigma, cond)
        mean, std = torch.empty_like(x), torch.empty_like(x)
        for tile in tiles(x.shape[-2:], size, halo, multiple):
            (rows, columns), (top, left), (y, x0) = tile.read, tile.place, tile.take
            part = cond if cond is None else cond[..., rows, columns]
            estimate = self.denoiser(x[..., rows, columns], sigma, part)
            mean[..., top, left] = estimate.mean[..., y, x0]
            if estimate.std is not None:
                std[..., top, left] = estimate.std[..., y, x0]
        return Estimate(mean, std)
