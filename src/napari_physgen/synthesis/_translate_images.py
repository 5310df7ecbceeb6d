"""Images of a translation: checked, brought to [-1, 1], cut into random squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.generic]

SMALLEST = 64
PERCENTILES = (0.5, 99.5)
CLASSES = 32
"""More are a sign of numbered particles in place of classes."""

CHANNELS = 2
"""Of the noise: fine and coarse."""

_COARSE = 16


def listed(images: Sequence[Image] | Image) -> list[Image]:
    """Return the images one by one; a single (y, x) array is one image."""
    if isinstance(images, np.ndarray) and images.ndim == 2:
        return [images]
    return [np.asarray(image) for image in images]


def paired(
    simulated: Sequence[Any] | Image, masks: Sequence[Image] | Image | None
) -> tuple[list[Image], list[Image] | None]:
    """Return images and masks, given as pairs or apart."""
    if masks is None and not isinstance(simulated, np.ndarray):
        pairs = [item for item in simulated if isinstance(item, tuple) and len(item) == 2]
        if pairs and len(pairs) == len(simulated):
            return [np.asarray(a) for a, _ in pairs], [np.asarray(b) for _, b in pairs]
        if pairs:
            raise UserError("Give a mask with every simulated image, or with none.")
    return listed(simulated), None if masks is None else listed(masks)


def normalised(image: Image, name: str, smallest: int = SMALLEST) -> tuple[Tensor, float, float]:
    """Return an image (y, x) as float32 in [-1, 1], and the grey levels of -1 and 1.

    Raises
    ------
    UserError
        If it is no grey-level image, too small, flat, or holds NaN or infinity.
    """
    if image.ndim != 2:
        raise UserError(
            f"The {name} image has the shape {image.shape}: give grey-level images (y, x), without "
            "colour, time or depth."
        )
    if min(image.shape) < smallest:
        raise UserError(
            f"The {name} image is {image.shape[0]} x {image.shape[1]} px: at least {smallest} px "
            "along both axes are needed."
        )
    values = np.asarray(image, np.float32)
    if not np.isfinite(values).all():
        raise UserError(f"The {name} image holds NaN or infinite values: replace or crop them.")
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    if high <= low:
        # Few pixels of a second grey level, as in a sparse mask.
        low, high = float(values.min()), float(values.max())
    if high <= low:
        raise UserError(f"The {name} image is flat: leave out images that show nothing.")
    scaled = (values - low) * np.float32(2 / (high - low)) - 1
    return torch.from_numpy(np.clip(scaled, -1, 1)), low, high


def class_mask(mask: Image, image: Image) -> Tensor:
    """Return a mask as class numbers, int64 (y, x).

    Raises
    ------
    UserError
        If it has another shape than its image or is no mask of classes.
    """
    if mask.shape != image.shape:
        raise UserError(
            f"A mask has the shape {mask.shape}, its image {image.shape}: both must be the same."
        )
    classes = np.asarray(mask)
    whole = np.isfinite(classes).all() and (classes == np.rint(classes)).all()
    if not whole or classes.min() < 0 or classes.max() >= CLASSES:
        raise UserError(
            f"A mask holds other values than the classes 0 to {CLASSES - 1}: give one small number "
            "per phase, not per particle."
        )
    return torch.from_numpy(classes.astype(np.int64))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return (batch, classes, y, x) float from (batch, y, x); -1 means unknown, all zeros."""
    return torch.stack([labels == k for k in range(classes)], 1).float()


def noise(size: Sequence[int], draw: torch.Generator) -> Tensor:
    """Return (batch, 2, y, x) random numbers of unit variance: fine, and coarse ones of 16 px."""
    batch, y, x = size
    fine = torch.randn(batch, 1, y, x, generator=draw)
    cells = torch.randn(batch, 1, y // _COARSE + 2, x // _COARSE + 2, generator=draw)
    coarse = F.interpolate(cells, scale_factor=_COARSE, mode="bilinear")[..., :y, :x]
    return torch.cat([fine, 1.5 * coarse], 1)


@dataclass(frozen=True)
class Domain:
    """The images of one kind, ready for cutting.

    Parameters
    ----------
    images : list of torch.Tensor
        (y, x), float32 in [-1, 1].
    labels : list of torch.Tensor or None
        (y, x), int64.
    """

    images: list[Tensor]
    labels: list[Tensor] | None = None

    @property
    def smallest(self) -> int:
        """The shortest side of all images."""
        return min(min(image.shape) for image in self.images)

    def to(self, device: torch.device) -> Domain:
        """Return a copy on `device`."""
        labels = None if self.labels is None else [label.to(device) for label in self.labels]
        return Domain([image.to(device) for image in self.images], labels)

    def cut(self, crop: int, batch: int, draw: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Return random squares (batch, 1, y, x) with their labels, mirrored at random."""
        areas = torch.tensor([float(image.numel()) for image in self.images])
        chosen = torch.multinomial(areas, batch, replacement=True, generator=draw)
        squares, labels = [], []
        for k in chosen.tolist():
            y, x = (
                int(torch.randint(n - crop + 1, (), generator=draw)) for n in self.images[k].shape
            )
            flip = bool(torch.rand((), generator=draw) < 0.5)
            squares.append(_square(self.images[k], y, x, crop, flip))
            if self.labels is not None:
                labels.append(_square(self.labels[k], y, x, crop, flip))
        return torch.stack(squares)[:, None], torch.stack(labels) if labels else None


def _square(image: Tensor, y: int, x: int, crop: int, flip: bool) -> Tensor:
    square = image[y : y + crop, x : x + crop]
    return square.flip(-1) if flip else square
