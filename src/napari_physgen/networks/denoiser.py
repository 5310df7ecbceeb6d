"""A magnitude-preserving U-Net that knows the noise level, for images of any size.

Karras et al. 2024 ("EDM2"): weights of unit norm, activations kept at unit size by fixed factors
and by pixel norm over channels, no biases (a channel of ones instead), zero-gain output. Nothing
is computed over space and there is no attention, so that a tile, read with its `halo`, gives the
result of the whole image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESIDUAL = 0.3  # share of the new in a residual sum
_SILU = 0.596  # root mean square of SiLU of a normal variable
_EPSILON = 1e-4


class DenoiserUNet(nn.Module):
    """Map (batch, in_channels, [z,] y, x) and a noise coordinate (batch,) to out_channels.

    Volumes are halved along y and x only: stacks are often thin.

    Parameters
    ----------
    in_channels, out_channels : int
    channels : sequence of int
        Features per level, from the finest on; each level halves y and x.
    blocks : int
        Residual blocks per level on the way down, and again on the way up.
    dimensions : {2, 3}
        Axes of the images.
    generator : torch.Generator, optional
        Source of the first weights, on the CPU; a fixed one by default.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 96),
        *,
        blocks: int = 1,
        dimensions: Literal[2, 3] = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        draw = generator or torch.Generator().manual_seed(0)
        self.multiple: int = 2 ** (len(channels) - 1)
        self.dimensions = dimensions
        self.blocks = blocks
        embedded = 4 * channels[0]
        self.fourier = _Fourier(channels[0], draw)
        self.embed = _Linear(channels[0], embedded, draw)
        self.first = _Conv(in_channels + 1, channels[0], 3, dimensions, draw)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        width, widths = channels[0], []
        for features in channels:
            for _ in range(blocks):
                widths.append(width)
                self.down.append(_Block(width, features, embedded, dimensions, draw))
                width = features
        for features in reversed(channels):
            for _ in range(blocks):
                shares = width, widths.pop()
                self.up.append(_Block(sum(shares), features, embedded, dimensions, draw, shares))
                width = features
        self.last = _Conv(width, out_channels, 3, dimensions, draw)
        self.gain = nn.Parameter(torch.zeros(()))
        self.levels = len(channels)

    @property
    def halo(self) -> int:
        """How far away, at most, pixels matter for the output at a pixel, rounded up."""
        convolutions: int = 2 + 4 * self.blocks * int(2**self.levels - 1)
        return convolutions + 4 * self.multiple  # halving and interpolation

    def forward(self, image: Tensor, coordinate: Tensor) -> Tensor:
        """Apply the network to an image of unit size at a noise coordinate of about 1."""
        height, width = image.shape[-2:]
        image = self._completed(image)
        inside = torch.ones_like(image[:, :1])
        embedding = F.silu(self.embed(self.fourier(coordinate))) / _SILU
        x: Tensor = self.first(torch.cat([image, inside], 1))
        skips = []
        for index, block in enumerate(self.down):
            if index > 0 and index % self.blocks == 0:
                x = self._halved(x)
            skips.append(x)
            x = block(x, embedding)
        for index, block in enumerate(self.up):
            if index > 0 and index % self.blocks == 0:
                x = F.interpolate(x, scale_factor=self._factor, mode=self._mode)
            x = block(torch.cat([x, skips.pop()], 1), embedding)
        output: Tensor = self.last(x) * self.gain
        return output[..., :height, :width]

    def _completed(self, image: Tensor) -> Tensor:
        """Mirror an image at its lower and right border, to a size that can be halved.

        And no further: the network learns crops beyond which there is nothing, and takes mirrored
        noise for more evidence (errors of the outer 4 px grew by 5 to 50 %).
        """
        height, width = image.shape[-2:]
        missing = [0] * (2 * self.dimensions)
        missing[1], missing[3] = -width % self.multiple, -height % self.multiple
        if not any(missing):
            return image
        mirrors = self.dimensions == 2 and min(height, width) > max(missing)
        return F.pad(image, missing, mode="reflect" if mirrors else "replicate")

    @property
    def _mode(self) -> str:
        return "bilinear" if self.dimensions == 2 else "trilinear"

    @property
    def _factor(self) -> tuple[int, ...]:
        return (2, 2) if self.dimensions == 2 else (1, 2, 2)

    def _halved(self, x: Tensor) -> Tensor:
        pool = F.avg_pool2d if self.dimensions == 2 else F.avg_pool3d
        return pool(x, self._factor)


class _Weight(nn.Module):
    """A weight whose filters have unit norm."""

    def __init__(self, shape: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape, generator=generator))

    def unit(self, gain: float = 1.0) -> Tensor:
        """Return the weight, scaled so that inputs of unit size give outputs of size `gain`."""
        if self.training:
            with torch.no_grad():
                self.weight.copy_(_normalised(self.weight))
        weight = _normalised(self.weight)
        return weight * (gain / math.sqrt(weight[0].numel()))


class _Conv(_Weight):
    """Convolution that keeps the size of its input.

    Factors on its input and output are factors on its weight, which costs nothing.
    """

    shares: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        dimensions: int,
        generator: torch.Generator,
        shares: tuple[int, ...] = (),
    ) -> None:
        super().__init__((outputs, inputs, *(size,) * dimensions), generator)
        scale = _equal_shares(shares) if shares else None
        if scale is not None:
            scale = scale.reshape(1, -1, *(1,) * dimensions)
        self.register_buffer("shares", scale, persistent=False)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Convolve; beyond the border there is nothing (the channel of ones says so)."""
        weight = self.unit(gain)
        if self.shares is not None:
            weight = weight * self.shares
        convolve = F.conv2d if weight.ndim == 4 else F.conv3d
        return convolve(x, weight.to(x.dtype), padding=weight.shape[-1] // 2)


class _Linear(_Weight):
    """Linear map that keeps the size of its input."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__((outputs, inputs), generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs)."""
        return F.linear(x, self.unit().to(x.dtype))


class _Fourier(nn.Module):
    """Random Fourier features of a number."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self, count: int, generator: torch.Generator) -> None:
        super().__init__()
        turns = 2 * math.pi * torch.randn(count, generator=generator)
        self.register_buffer("frequencies", turns)
        self.register_buffer("phases", 2 * math.pi * torch.rand(count, generator=generator))

    def forward(self, coordinate: Tensor) -> Tensor:
        """Return (batch, count) of unit size."""
        return math.sqrt(2) * torch.cos(coordinate[:, None] * self.frequencies + self.phases)


class _Block(nn.Module):
    """Residual block with the noise level as a gain.

    `shares` are the widths of inputs that were concatenated, to weigh the same.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedded: int,
        dimensions: int,
        generator: torch.Generator,
        shares: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.skip = (
            nn.Identity()
            if inputs == outputs
            else _Conv(inputs, outputs, 1, dimensions, generator, shares)
        )
        self.before = _Conv(outputs, outputs, 3, dimensions, generator)
        self.modulate = _Linear(embedded, outputs, generator)
        self.gain = nn.Parameter(torch.zeros(()))
        self.after = _Conv(outputs, outputs, 3, dimensions, generator)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Apply to (batch, inputs, ...)."""
        x = _pixel_norm(self.skip(x))
        y = self.before(F.silu(x), 1 / _SILU)
        modulation = self.modulate(embedding) * self.gain + 1
        y = y * modulation.reshape(*modulation.shape, *(1,) * (y.ndim - 2)).to(y.dtype)
        whole = math.hypot(1 - _RESIDUAL, _RESIDUAL)
        y = self.after(F.silu(y), _RESIDUAL / whole / _SILU)
        return torch.add(y, x, alpha=(1 - _RESIDUAL) / whole)


def _normalised(weight: Tensor) -> Tensor:
    """Scale each filter to entries of unit size."""
    flat = weight.flatten(1)
    norm = flat.norm(dim=1) / math.sqrt(flat.shape[1])
    scaled: Tensor = weight / (norm + _EPSILON).reshape(-1, *(1,) * (weight.ndim - 1))
    return scaled


def _pixel_norm(x: Tensor) -> Tensor:
    """Scale the features of each pixel to unit size."""
    size = x.square().mean(1, keepdim=True).sqrt()
    return x * (1 / (size + _EPSILON))


def _equal_shares(widths: tuple[int, ...]) -> Tensor:
    """Return factors that give concatenated parts the same weight (EDM2, eq. 103, t = 1/2)."""
    mean = sum(widths) / len(widths)
    return torch.cat([torch.full((n,), math.sqrt(mean / n)) for n in widths])
