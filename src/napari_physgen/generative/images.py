"""Images to learn from: checked, scaled, a part kept for scoring, crops drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

HELD_OUT = 0.12
"""Share of the pixels that score the network and never teach it."""

_WHOLE = 5  # from this many images on, whole ones are held out


def as_images(
    images: ArrayLike | Sequence[ArrayLike], volumes: bool, what: str
) -> list[NDArray[np.float32]]:
    """Return a list of planes (y, x), or of volumes (z, y, x).

    Raises
    ------
    UserError
        If they are none, hold NaN or have too many axes.
    """
    axes = 3 if volumes else 2
    items = list(images) if isinstance(images, list | tuple) else [np.asarray(images)]
    found: list[NDArray[np.float32]] = []
    for item in items:
        array = np.asarray(item)
        if array.dtype.kind not in "biuf" or array.ndim < axes:
            kind = "volumes (z, y, x)" if volumes else "images (y, x)"
            raise UserError(f"The {what} must be {kind} of real numbers, got shape {array.shape}.")
        found += list(array.reshape(-1, *array.shape[-axes:]).astype(np.float32))
    if not found:
        raise UserError(f"There are no {what} to learn from.")
    if not all(np.isfinite(part).all() for part in found):
        raise UserError(f"The {what} hold NaN or infinite values: replace them first.")
    return found


def check_partners(
    images: Sequence[NDArray[np.generic]], partners: Sequence[NDArray[np.generic]], what: str
) -> None:
    """Raise UserError unless every image has a partner of its own shape."""
    if [image.shape for image in images] != [partner.shape for partner in partners]:
        raise UserError(
            f"Each image needs {what} of the same size: there are {len(images)} images and "
            f"{len(partners)} of the other, or their shapes differ."
        )


@dataclass(frozen=True)
class Crops:
    """Images (channel, [z,] y, x) with random crops.

    Parameters
    ----------
    images : list of torch.Tensor
        The first channel is the image, the others its condition.
    size : int
        Side of the crops, px; at most that of the smallest image. Along z whole volumes if they
        are thinner.
    """

    images: list[Tensor]
    size: int

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` crops (batch, channel, [z,] y, x), turned and mirrored at random."""
        pixels = torch.tensor([float(image[0].numel()) for image in self.images])
        chosen = torch.multinomial(pixels, count, replacement=True, generator=generator)
        return torch.stack([self._crop(self.images[int(i)], generator) for i in chosen])

    def _crop(self, image: Tensor, generator: torch.Generator) -> Tensor:
        draws = torch.rand(5, generator=generator).tolist()
        place: list[slice] = [slice(None)]
        for length, draw in zip(image.shape[1:], draws, strict=False):
            size = min(self.size, length)
            begin = int(draw * (length - size + 1))
            place.append(slice(begin, begin + size))
        crop = torch.rot90(image[tuple(place)], int(4 * draws[3]), (-2, -1))
        return crop.flip(-1) if draws[4] < 0.5 else crop


def split(images: Sequence[Tensor], size: int) -> tuple[Crops, Crops]:
    """Divide images into some to learn from and some to score with.

    Whole images are held out if there are many, else a strip of each.

    Raises
    ------
    UserError
        If an image is too small for crops of `size`.
    """
    smallest = min(min(image.shape[-2:]) for image in images)
    size = min(size, smallest)
    if len(images) >= _WHOLE:
        every = round(1 / HELD_OUT)
        kept = [image for index, image in enumerate(images) if index % every != every // 2]
        held = [image for index, image in enumerate(images) if index % every == every // 2]
        return Crops(kept, size), Crops(held or kept[:1], size)
    learn, score = [], []
    for image in images:
        rows = image.shape[-2]
        strip = max(round(HELD_OUT * rows), size)
        if rows - strip < size:
            raise UserError(
                f"Images of {rows} px are too small for crops of {size} px and a strip to score "
                "with: choose smaller crops or give more images."
            )
        begin = _typical(image, strip, size)
        parts = image[..., :begin, :], image[..., begin + strip :, :]
        learn += [part for part in parts if part.shape[-2] >= size]
        score.append(image[..., begin : begin + strip, :])
    return Crops(learn, size), Crops(score, size)


def _typical(image: Tensor, strip: int, size: int) -> int:
    """Return the first row of the strip whose contrast is closest to that of the image.

    At the border of the image, or far enough from it for crops of `size`.
    """
    rows = image.shape[-2]
    last = rows - strip
    places: set[int] = {0, last, *range(size, last - size + 1, max(strip // 2, 1))}
    contrast = float(image[0].std())

    def unlike(first: int) -> float:
        return abs(float(image[0][..., first : first + strip, :].std()) - contrast)

    first: int = min(sorted(places), key=unlike)
    return first


def varied(batch: Tensor, amount: float, images: int, generator: torch.Generator) -> Tensor:
    """Change brightness and contrast of the first `images` channels of each crop at random."""
    if amount == 0:
        return batch
    draws = 2 * torch.rand(2, len(batch), *(1,) * (batch.ndim - 1), generator=generator) - 1
    gain, shift = 1 + amount * draws[0], amount * draws[1]
    return torch.cat([batch[:, :images] * gain + shift, batch[:, images:]], 1)
