"""Colour pictures as grey ones, and coloured marks in grey pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.segmentation._annotations import Box

LUMINANCE = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709
COLOURED = 0.1  # of the range of grey levels between channels: more than JPEG leaves in grey
MARKS = 0.2  # share of coloured pixels up to which they are marks in a grey picture
SMALLEST_MARK = 4  # px
MARGIN = 4  # px


def grey_of(
    image: NDArray[np.generic],
) -> tuple[NDArray[np.float64], tuple[Box, ...], list[str]]:
    """Return a picture (y, x) or (y, x, 1, 3 or 4) in grey, boxes of coloured marks, and notes."""
    picture = np.asarray(image, np.float64)
    if picture.ndim == 2:
        return picture, (), []
    channels = picture[..., :3]
    if channels.shape[-1] == 1 or (channels == channels[..., :1]).all():
        return channels[..., 0], (), []
    grey = channels @ np.array(LUMINANCE)
    coloured = np.ptp(channels, axis=-1) > COLOURED * max(np.ptp(channels), 1e-30)
    share = coloured.mean()
    if share > MARKS or not coloured.any():
        notes = ["colours were turned into their luminance"] if share > MARKS else []
        return grey, (), notes
    return grey, _boxes(coloured), []


def _boxes(coloured: NDArray[np.bool_]) -> tuple[Box, ...]:
    """Return the boxes of marks that lie close together."""
    around = scipy.ndimage.maximum_filter(coloured, 2 * MARGIN + 1)
    parts, _ = scipy.ndimage.label(around)
    counts = np.bincount(parts[coloured], minlength=parts.max() + 1)
    places = scipy.ndimage.find_objects(parts)
    return tuple(
        (rows.start, rows.stop, columns.start, columns.stop)
        for index, (rows, columns) in enumerate(places, start=1)
        if counts[index] >= SMALLEST_MARK
    )
