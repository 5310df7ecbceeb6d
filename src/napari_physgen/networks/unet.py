"""A 2-D U-Net whose output at a pixel depends on its surroundings only.

Ronneberger et al., MICCAI 2015, with what image formation asks for: reflecting borders
(zeros would draw a dark frame), bilinear up-sampling (transposed convolutions leave a
checkerboard) and no normalisation over space (the result of a tile is that of the whole image).
MONAI's U-Nets pad with zeros and its `BasicUNet` has five fixed levels, hence these lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLOPE = 0.1


class UNet(nn.Module):
    """Map (batch, in_channels, y, x) to (batch, out_channels, y, x).

    Any y and x of at least ``2 ** len(channels)`` will do. Shifts of the input by
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
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 128),
        *,
        zero_init_last: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        finer, coarser = channels[:-1], channels[1:]
        # On no device yet: the usual first weights would come from torch's global generator.
        self.first = _block(in_channels, channels[0])
        self.down = nn.ModuleList(_block(a, b) for a, b in zip(finer, coarser, strict=True))
        # A 1x1 convolution commutes with up-sampling; before it, it costs a quarter.
        self.narrow = nn.ModuleList(
            nn.Conv2d(b, a, 1, device="meta") for a, b in zip(finer, coarser, strict=True)
        )
        self.up = nn.ModuleList(_block(2 * a, a) for a in finer)
        self.last = nn.Conv2d(channels[0], out_channels, 1, device="meta")
        self._initialise(zero_init_last, generator or torch.Generator().manual_seed(0))

    def forward(self, image: Tensor) -> Tensor:
        """Apply the network."""
        y, x = image.shape[-2:]
        features = F.pad(image, (0, -x % self.multiple, 0, -y % self.multiple), mode="reflect")
        features = self.first(features)
        skips = []
        for down in self.down:
            skips.append(features)
            features = down(F.max_pool2d(features, 2))
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            wide = F.interpolate(narrow(features), scale_factor=2, mode="bilinear")
            features = up(torch.cat([skips.pop(), wide], dim=1))
        result: Tensor = self.last(features)[..., :y, :x]
        return result

    def _initialise(self, zero_init_last: bool, generator: torch.Generator) -> None:
        self.to_empty(device="cpu")
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, _SLOPE, generator=generator)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        if zero_init_last:
            nn.init.zeros_(self.last.weight)


class _Reflecting(nn.Conv2d):
    """A convolution that mirrors the image at its borders."""

    def forward(self, image: Tensor) -> Tensor:
        """Apply the convolution."""
        y, x = (size // 2 for size in self.kernel_size)
        # Autocast on the CPU would turn the image to float32 here, and back for the convolution.
        with torch.autocast(image.device.type, enabled=False):
            image = F.pad(image, (x, x, y, y), mode="reflect")
        return F.conv2d(image, self.weight, self.bias)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _Reflecting(inputs, outputs, 3, device="meta"),
        nn.LeakyReLU(_SLOPE, inplace=True),
        _Reflecting(outputs, outputs, 3, device="meta"),
        nn.LeakyReLU(_SLOPE, inplace=True),
    )
