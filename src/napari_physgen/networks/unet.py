"""A U-Net whose output at a pixel depends on its surroundings only.

Ronneberger et al., MICCAI 2015, with what image formation asks for: reflecting borders
(zeros would draw a dark frame), bilinear up-sampling (transposed convolutions leave a
checkerboard) and no normalisation over space (the result of a tile is that of the whole image;
batch normalisation, where wanted, has constant statistics in use).
MONAI's U-Nets pad with zeros and its `BasicUNet` has five fixed levels, hence these lines.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLOPE = 0.1


class UNet(nn.Module):
    """Map (batch, in_channels, [z,] y, x) to (batch, out_channels, [z,] y, x).

    Any size of at least ``2 ** len(channels)`` along all axes will do. Shifts of the input by
    `multiple` pixels shift the output, away from the borders.

    Parameters
    ----------
    in_channels, out_channels : int
    channels : sequence of int
        Features per level, from the finest on; each level halves y and x.
    zero_init_last : bool
        Whether the output is exactly 0 before training, for networks that learn a correction.
    generator : torch.Generator, optional
        Source of the first weights, on the CPU; a fixed one by default.
    batch_norm : bool
        Whether every convolution is followed by batch normalisation.
    dimensions : {2, 3}
        Axes of the images.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 128),
        *,
        zero_init_last: bool = False,
        generator: torch.Generator | None = None,
        batch_norm: bool = False,
        dimensions: Literal[2, 3] = 2,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        self.dimensions = dimensions
        self._mode = {2: "bilinear", 3: "trilinear"}[dimensions]
        conv, block = _CONVOLUTIONS[dimensions], partial(_block, dimensions, batch_norm)
        finer, coarser = channels[:-1], channels[1:]
        # On no device yet: the usual first weights would come from torch's global generator.
        self.first = block(in_channels, channels[0])
        self.down = nn.ModuleList(block(a, b) for a, b in zip(finer, coarser, strict=True))
        # A 1x1 convolution commutes with up-sampling; before it, it costs a quarter.
        self.narrow = nn.ModuleList(
            conv(b, a, 1, device="meta") for a, b in zip(finer, coarser, strict=True)
        )
        self.up = nn.ModuleList(block(2 * a, a) for a in finer)
        self.last = conv(channels[0], out_channels, 1, device="meta")
        self._initialise(zero_init_last, generator or torch.Generator().manual_seed(0))

    @property
    def halo(self) -> int:
        """How far away, at most, pixels matter for the output at a pixel, rounded up."""
        levels: int = len(self.down)
        down: int = 2 * (2 ** (levels + 1) - 1) + self.multiple
        return down + 4 * int(2**levels - 1)  # two convolutions and the up-sampling

    def forward(self, image: Tensor) -> Tensor:
        """Apply the network."""
        features, skips = self._encode(image)
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            wide = F.interpolate(narrow(features), scale_factor=2, mode=self._mode)
            features = up(torch.cat([skips.pop(), wide], dim=1))
        inner = tuple(slice(size) for size in image.shape[-self.dimensions :])
        result: Tensor = self.last(features)[(..., *inner)]
        return result

    def encode(self, image: Tensor) -> Tensor:
        """Return the coarsest features (batch, channel, [z,] y, x)."""
        return self._encode(image)[0]

    def _encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        sizes = reversed(image.shape[-self.dimensions :])
        missing = [part for size in sizes for part in (0, -size % self.multiple)]
        features = self.first(F.pad(image, missing, mode="reflect"))
        pool = F.max_pool2d if self.dimensions == 2 else F.max_pool3d
        skips = []
        for down in self.down:
            skips.append(features)
            features = down(pool(features, 2))
        return features, skips

    def _initialise(self, zero_init_last: bool, generator: torch.Generator) -> None:
        self.to_empty(device="cpu")
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, _SLOPE, generator=generator)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        if zero_init_last:
            nn.init.zeros_(self.last.weight)


class _Mirror(nn.Module):
    """Mirror the image at its borders by one pixel."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.margin = (1, 1) * dimensions

    def forward(self, image: Tensor) -> Tensor:
        """Add the margin."""
        # Autocast on the CPU would turn the image to float32 here, and back for the convolution.
        with torch.autocast(image.device.type, enabled=False):
            return F.pad(image, self.margin, mode="reflect")


_CONVOLUTIONS: dict[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: dict[int, type[nn.BatchNorm2d | nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def _block(dimensions: int, batch_norm: bool, inputs: int, outputs: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for width in (inputs, outputs):
        parts += [_Mirror(dimensions), _CONVOLUTIONS[dimensions](width, outputs, 3, device="meta")]
        parts += [_NORMS[dimensions](outputs, device="meta")] if batch_norm else []
        parts += [nn.LeakyReLU(_SLOPE, inplace=True)]
    return nn.Sequential(*parts)
