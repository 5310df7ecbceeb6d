"""Users' micrographs made ready for networks: without bars and annotations, at one scale and range.

Whatever is done to a picture is said in a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.segmentation._annotations import Box
from napari_physgen.segmentation._banner import Banner, find_banner
from napari_physgen.segmentation._clean import capital, cleaned
from napari_physgen.segmentation._scale import (
    Scale,
    pixel_sizes,
    resampled,
    scale_of,
    to_the_coarsest,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Mask = NDArray[np.bool_]

__all__ = [
    "Banner",
    "Prepared",
    "Scale",
    "find_banner",
    "normalised",
    "prepare",
    "resampled",
    "scale_of",
]

DARK, BRIGHT = 0.5, 99.5  # percentiles that become 0 and 1
WHOLLY = 0.999  # of a resampled pixel must be free of annotations


@dataclass(frozen=True)
class Prepared:
    """Pictures of one scale and range.

    Parameters
    ----------
    images : tuple of numpy.ndarray
        (y, x) float32 each, see `normalised`; annotations are filled from beside them.
    valid : tuple of numpy.ndarray
        (y, x) bool each: False where there were annotations.
    boxes : tuple of tuple of int
        y0, y1, x0, x1 of what was kept of each picture, in its own pixels.
    pixel_size_nm : float or None
        Of all images; None if unknown.
    zooms : tuple of float
        Pixels of each image per pixel of its picture.
    notes : tuple of str
        What was done.
    """

    images: tuple[NDArray[np.float32], ...]
    valid: tuple[Mask, ...]
    boxes: tuple[Box, ...]
    pixel_size_nm: float | None
    zooms: tuple[float, ...]
    notes: tuple[str, ...]


def prepare(
    images: Sequence[NDArray[np.generic]],
    *,
    pixel_size_nm: float | Sequence[float | None] | None = None,
    crop_bars: bool = True,
    smallest: int = 64,
    names: Sequence[str] | None = None,
) -> Prepared:
    """Make micrographs ready for networks.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        (y, x), or (y, x, 3 or 4) in colours, each; any size and grey levels.
    pixel_size_nm : float or sequence of float or None
        Of all images or of each one. Finer ones are averaged to the coarsest.
    crop_bars : bool
        Look for info bars, frames, scale bars and their text, and leave them out.
    smallest : int
        Side that an image must have at the end, px.
    names : sequence of str, optional
        What to call the images in notes and errors; "image 1", ... if not given.

    Raises
    ------
    UserError
        If there is no image, or one is a stack, too small, flat or not finite; if pixel sizes are
        missing or more than eight times apart.
    """
    if not len(images):
        raise UserError("There are no images: give at least one micrograph.")
    titles = list(names) if names else [f"image {i}" for i in range(1, len(images) + 1)]
    sizes, notes = pixel_sizes(pixel_size_nm, titles)
    zooms = [1.0] * len(images)
    if sizes:
        zooms, said = to_the_coarsest(sizes, titles)
        notes += said
    done = []
    for image, zoom, title in zip(images, zooms, titles, strict=True):
        clean = cleaned(np.asarray(image), title, crop_bars)
        notes += [f"{title}: {note}" for note in clean.notes]
        picture = resampled(clean.image, zoom)
        valid = resampled(clean.valid, zoom) >= WHOLLY
        if min(picture.shape) < smallest:
            raise UserError(
                f"{capital(title)} is too small ({picture.shape[1]} x {picture.shape[0]} px after "
                f"preparation): give images of at least {smallest} x {smallest} px."
            )
        done.append((_normalised_one(picture, valid, title), valid, clean.box))
    ready, free, boxes = zip(*done, strict=True)
    return Prepared(ready, free, boxes, max(sizes) if sizes else None, tuple(zooms), tuple(notes))


def normalised(
    image: NDArray[np.generic], valid: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return an image as networks see it: percentiles 0.5 and 99.5 become 0 and 1, no clipping.

    Parameters
    ----------
    image : numpy.ndarray
        (y, x) or (z, y, x).
    valid : numpy.ndarray, optional
        Pixels that count, same shape.

    Raises
    ------
    UserError
        If the image is flat or not finite.
    """
    picture = np.asarray(image, np.float64)
    counted = picture if valid is None else picture[valid]
    if not np.isfinite(picture).all():
        raise UserError(
            "The image has pixels that are no numbers (NaN or infinite): mend it first."
        )
    dark, bright = np.percentile(counted, [DARK, BRIGHT]) if counted.size else (0.0, 0.0)
    if bright <= dark:
        raise UserError("The image is flat: there is nothing to see in it.")
    return np.asarray((picture - dark) / (bright - dark), np.float32)


def _normalised_one(picture: Real, valid: Mask, title: str) -> NDArray[np.float32]:
    try:
        return normalised(picture, valid)
    except UserError as error:
        raise UserError(f"{capital(title)} cannot be used. {error}") from None
