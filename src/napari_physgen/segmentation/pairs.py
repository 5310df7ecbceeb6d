"""Training crops from images and masks, with random changes that a microscope could make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.ndimage
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Real = NDArray[np.float32]
    Labels = NDArray[np.integer]

_BOUNDARY = 2.0  # px, over which the weight of a boundary fades

# Ranges at strength 1, chosen on nasa_super spots 3-7.
_CONTRAST, _BRIGHTNESS, _GAMMA, _BLUR, _NOISE = 0.35, 0.2, 0.4, 1.0, 0.08


@dataclass(frozen=True)
class Batch:
    """Crops on the device.

    Parameters
    ----------
    images : torch.Tensor
        (crop, 1, [z,] y, x).
    masks : torch.Tensor
        (crop, [z,] y, x), int64.
    weights : torch.Tensor
        (crop, [z,] y, x), weights of the pixels; 0 where nothing is known.
    """

    images: Tensor
    masks: Tensor
    weights: Tensor


class Pairs:
    """Images with masks to draw random crops from.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        ([z,] y, x), normalised.
    masks : sequence of numpy.ndarray
        Classes, -1 where unknown.
    boundary_weight : float
    random : numpy.random.Generator
    """

    def __init__(
        self,
        images: Sequence[Real],
        masks: Sequence[Labels],
        boundary_weight: float,
        random: np.random.Generator,
    ) -> None:
        self.images = [np.asarray(image, np.float32) for image in images]
        self.masks = [np.asarray(mask, np.int64) for mask in masks]
        self.weights = [boundary_weights(mask, boundary_weight) for mask in self.masks]
        self.random = random

    def draw(self, count: int, crop: int, device: torch.device) -> Batch:
        """Return random crops, turned and mirrored at random."""
        parts = [self._one(crop) for _ in range(count)]
        images, masks, weights = (
            torch.from_numpy(np.stack(arrays)).to(device) for arrays in zip(*parts, strict=True)
        )
        return Batch(images[:, None], masks, weights)

    def _one(self, crop: int) -> tuple[Real, NDArray[np.int64], Real]:
        which = int(self.random.integers(len(self.images)))
        arrays = (self.images[which], self.masks[which], self.weights[which])
        shape = arrays[0].shape
        start = [int(self.random.integers(max(n - crop, 0) + 1)) for n in shape]
        window = tuple(slice(s, s + crop) for s in start)
        turn = orientation(self.random, len(shape))
        return tuple(turn(_filled(a[window], crop)) for a in arrays)


def orientation(random: np.random.Generator, dimensions: int) -> Callable[[Any], Any]:
    """Return a function that turns an array by a multiple of 90 degrees and mirrors it."""
    quarter, flips = int(random.integers(4)), random.random(dimensions) < 0.5

    def turn(array: NDArray[Any]) -> NDArray[Any]:
        axes = tuple(axis for axis in range(dimensions) if flips[axis])
        return np.ascontiguousarray(np.flip(np.rot90(array, quarter, (-2, -1)), axes))

    return turn


def boundary_weights(mask: Labels, weight: float) -> Real:
    """Return 1 + weight at boundaries between classes, fading to 1; 0 where nothing is known."""
    edge = np.zeros(mask.shape, bool)
    for axis in range(mask.ndim):
        before = [slice(None)] * mask.ndim
        after = list(before)
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        one, other = tuple(before), tuple(after)
        step = (mask[one] != mask[other]) & (mask[one] >= 0) & (mask[other] >= 0)
        edge[one] |= step
        edge[other] |= step
    far = scipy.ndimage.distance_transform_edt(~edge) if edge.any() else np.full(mask.shape, np.inf)
    weights = 1 + weight * np.exp(-0.5 * (far / _BOUNDARY) ** 2)
    return np.where(mask < 0, 0, weights).astype(np.float32)


def changed(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Return crops (crop, 1, [z,] y, x) with other contrast, brightness, gamma, blur and noise."""
    if strength == 0:
        return images
    shape = (images.shape[0],) + (1,) * (images.ndim - 1)
    draw = Uniform(shape, images.device, generator)
    images = (images - 0.5) * torch.exp(strength * _CONTRAST * draw()) + 0.5
    images = images + strength * _BRIGHTNESS * draw()
    power = torch.exp(strength * _GAMMA * draw())
    images = torch.sign(images) * images.abs().clamp_min(1e-4) ** power
    images = _blurred(images, strength * _BLUR, draw)
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return images + strength * _NOISE * draw().abs() * noise


class Uniform:
    """Random numbers between -1 and 1, one for each crop."""

    def __init__(
        self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator
    ) -> None:
        self.shape, self.device, self.generator = shape, device, generator

    def __call__(self) -> Tensor:
        """Draw."""
        return 2 * torch.rand(self.shape, generator=self.generator, device=self.device) - 1


def _blurred(images: Tensor, sigma: float, draw: Uniform) -> Tensor:
    """Blur half of the crops, or sharpen them, by a blend with one blurred copy."""
    radius = max(1, round(2 * sigma))
    x = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (x / max(sigma, 0.3)) ** 2)
    kernel = kernel / kernel.sum()
    smooth = images
    for axis in range(2, images.ndim):
        shape = [1] * images.ndim
        shape[axis] = -1
        margin = [0, 0] * (images.ndim - 2)
        margin[2 * (images.ndim - 1 - axis)] = margin[2 * (images.ndim - 1 - axis) + 1] = radius
        padded = F.pad(smooth, margin, mode="reflect")
        convolve = F.conv2d if images.ndim == 4 else F.conv3d
        smooth = convolve(padded, kernel.reshape(shape))
    share = draw()  # negative sharpens
    share = torch.where(share > 0, share, 0.5 * share)
    return images + share * (smooth - images)


def _filled(array: NDArray[np.generic], crop: int) -> NDArray[np.generic]:
    """Mirror what is smaller than a crop."""
    missing = [(0, crop - n) for n in array.shape]
    if not any(after for _, after in missing):
        return array
    return np.pad(array, missing, mode="symmetric")
