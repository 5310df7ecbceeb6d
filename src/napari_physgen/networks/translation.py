"""Networks of unpaired translation: ResNet generator, patch discriminator, patch projections.

Zhu et al., ICCV 2017 (CycleGAN; generator of Johnson et al. 2016, 70 x 70 PatchGAN of Isola et al.
2017) and Park et al., ECCV 2020 (CUT). As its users do, the generator up-samples by repeating
pixels before a convolution (Odena et al. 2016: transposed convolutions leave a checkerboard) and
mirrors the image at its borders. MONAI's `PatchDiscriminator` draws its weights from torch's global
random numbers and has no ResNet generator to go with it, hence these lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Literal["pixel", "batch", "instance"]

MULTIPLE = 4
"""Pixels of the input per pixel of the deepest features."""


class Generator(nn.Module):
    """Map (batch, in_channels, y, x) to an image (batch, 1, y, x), about in [-1, 1].

    The first input channel is the image, in [-1, 1]. Any y and x of at least 16 will do. Shifts of
    the input by `MULTIPLE` pixels shift the output, away from the borders, unless `norm` is
    "instance".

    Parameters
    ----------
    in_channels : int
        The image and what else the translation may depend on.
    features : int
        Channels at full resolution; four times as many in the blocks.
    blocks : int
        Residual blocks at a quarter of the resolution.
    norm : {"pixel", "batch", "instance"}
        "pixel" normalises the channels of each pixel; "instance" is the published one, whose
        output depends on the size of the image.
    skip : bool
        Whether the network corrects the image, starting from no change, instead of drawing it
        anew.
    generator : torch.Generator, optional
        Source of the first weights, on the CPU; a fixed one by default.

    Attributes
    ----------
    halo : int
        Pixels around a tile that its output depends on, a multiple of `MULTIPLE`.
    """

    def __init__(
        self,
        in_channels: int,
        features: int = 16,
        blocks: int = 5,
        *,
        norm: Norm = "pixel",
        skip: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.skip = skip
        # 7 x 7 in and out, two halvings, two 3 x 3 per block at a quarter, two doublings.
        reach = 3 + 1 + 2 + 8 * blocks + (4 + 2) + (2 + 1) + 3
        self.halo = -(-reach // MULTIPLE) * MULTIPLE
        wide = 4 * features
        self.first = _layer(in_channels, features, 7, norm)
        self.down1 = _layer(features, 2 * features, 3, norm, stride=2)
        self.down2 = _layer(2 * features, wide, 3, norm, stride=2)
        self.blocks = nn.ModuleList(_Block(wide, norm) for _ in range(blocks))
        self.up1 = _layer(wide, 2 * features, 3, norm)
        self.up2 = _layer(2 * features, features, 3, norm)
        self.last = _Reflecting(features, 1, 7, device="meta")
        draw = generator or torch.Generator().manual_seed(0)
        if skip:
            initialise(self, _kaiming(draw))
            for name, parameter in self.blocks.named_parameters():
                if name.endswith("outer.1.weight"):
                    nn.init.constant_(parameter, 0.1)
            self.last.weight.data.mul_(0.1)
        else:
            initialise(self, _published(draw))

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the network."""
        y, x = inputs.shape[-2:]
        features = self._padded(inputs)
        for part in (self.first, self.down1, self.down2, *self.blocks):
            features = part(features)
        features = self.up1(F.interpolate(features, scale_factor=2))
        features = self.up2(F.interpolate(features, scale_factor=2))
        drawn: Tensor = self.last(features)[..., :y, :x]
        # No tanh around a correction: simulated images are black and white, where it is flat.
        return inputs[:, :1] + drawn if self.skip else torch.tanh(drawn)

    def features(self, inputs: Tensor) -> list[Tensor]:
        """Return what five depths of the encoding half see, for contrastive learning."""
        found = [self._padded(inputs)]
        features = self.first(found[0])
        for part in (self.down1, self.down2):
            features = part(features)
            found.append(features)
        half = max(len(self.blocks) // 2, 1)
        for depth, block in enumerate(self.blocks[: half + 1]):
            features = block(features)
            if depth in (0, half):
                found.append(features)
        return found

    def _padded(self, inputs: Tensor) -> Tensor:
        y, x = inputs.shape[-2:]
        return F.pad(inputs, (0, -x % MULTIPLE, 0, -y % MULTIPLE), mode="reflect")


class PatchDiscriminator(nn.Sequential):
    """Map an image (batch, 1, y, x) to one score per overlapping patch (batch, 1, y', x').

    Parameters
    ----------
    features : int
        Channels of the first layer; doubled per layer, at most eight times as many.
    layers : int
        Layers between the first and the last one: 1, 2, 3 see patches of 16, 34, 70 pixels.
    generator : torch.Generator, optional
        Source of the first weights, on the CPU; a fixed one by default.
    """

    def __init__(
        self, features: int = 64, layers: int = 3, *, generator: torch.Generator | None = None
    ) -> None:
        widths = [features * min(2**k, 8) for k in range(layers + 1)]
        parts: list[nn.Module] = [
            nn.Conv2d(1, features, 4, 2, 1, device="meta"),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for k in range(1, layers + 1):
            stride = 2 if k < layers else 1
            parts += [
                nn.Conv2d(widths[k - 1], widths[k], 4, stride, 1, device="meta"),
                nn.InstanceNorm2d(widths[k]),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        parts.append(nn.Conv2d(widths[-1], 1, 4, 1, 1, device="meta"))
        super().__init__(*parts)
        initialise(self, _published(generator or torch.Generator().manual_seed(0)))


class PatchProjection(nn.Module):
    """Features at chosen places as unit vectors, by one small network per depth (CUT).

    Parameters
    ----------
    channels : sequence of int
        Channels of each depth.
    width : int
        Length of the vectors.
    generator : torch.Generator, optional
        Source of the first weights, on the CPU; a fixed one by default.
    """

    def __init__(
        self, channels: Sequence[int], width: int = 64, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(count, width, device="meta"),
                nn.ReLU(inplace=True),
                nn.Linear(width, width, device="meta"),
            )
            for count in channels
        )
        initialise(self, _kaiming(generator or torch.Generator().manual_seed(0)))

    def forward(self, features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Return (batch, place, width) per depth; `places` are flat indices into y and x."""
        vectors = []
        for head, depth, chosen in zip(self.heads, features, places, strict=True):
            picked = depth.flatten(2)[..., chosen].transpose(1, 2)
            vectors.append(F.normalize(head(picked).float(), dim=-1))
        return vectors


class PixelNorm(nn.Module):
    """Normalise the channels of each pixel (layer normalisation), with a scale and an offset."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, image: Tensor) -> Tensor:
        """Apply the normalisation."""
        last = image.permute(0, 2, 3, 1)
        with torch.autocast(image.device.type, enabled=False):
            weight, bias = self.weight.to(image.dtype), self.bias.to(image.dtype)
            normal = F.layer_norm(last, weight.shape, weight, bias, 1e-5)
        return normal.permute(0, 3, 1, 2)


class _Reflecting(nn.Conv2d):
    """A convolution of odd size that mirrors the image at its borders."""

    def forward(self, image: Tensor) -> Tensor:
        """Apply the convolution."""
        edge = self.kernel_size[0] // 2
        # Autocast on the CPU would turn the image to float32 here, and back for the convolution.
        with torch.autocast(image.device.type, enabled=False):
            image = F.pad(image, (edge,) * 4, mode="reflect")
        return F.conv2d(image, self.weight, self.bias, self.stride)


class _Block(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.inner = _layer(channels, channels, 3, norm)
        self.outer = _layer(channels, channels, 3, norm)[:2]

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block."""
        result: Tensor = features + self.outer(self.inner(features))
        return result


def _layer(inputs: int, outputs: int, size: int, norm: Norm, stride: int = 1) -> nn.Sequential:
    kinds: dict[str, Callable[[int], nn.Module]] = {
        "pixel": PixelNorm,
        "batch": nn.BatchNorm2d,
        "instance": nn.InstanceNorm2d,
    }
    return nn.Sequential(
        _Reflecting(inputs, outputs, size, stride, device="meta"),
        kinds[norm](outputs),
        # ReLU, by the name whose gradient torch computes fast in bfloat16 on the CPU.
        nn.LeakyReLU(0.0, inplace=True),
    )


def initialise(module: nn.Module, weights: Callable[[Tensor], Tensor]) -> None:
    """Give the layers that are on no device yet their first weights, biases of 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.to_empty(device="cpu")
            weights(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _kaiming(draw: torch.Generator) -> Callable[[Tensor], Tensor]:
    return lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=draw)


def _published(draw: torch.Generator) -> Callable[[Tensor], Tensor]:
    return lambda weight: nn.init.normal_(weight, 0, 0.02, generator=draw)
