"""What a microscope or a program drew around and into a micrograph: info bars, frames, scale bars.

An info bar is a strip along one side that is digitally flat: away from its text, neighbouring
pixels are equal to the last digit, which no detector delivers, and it begins at one straight row.
Nothing is read; what was found is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.segmentation._annotations import Box, find_annotations

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Real = NDArray[np.float64]

LARGEST_STRIP = 0.35  # of the height or width
SAME_LEVEL = 0.04  # of the range of grey levels: the ripple that JPEG leaves around text
SECOND_LEVEL = 0.1  # of the last row: a bar of two colours
PLAIN_ROW, TEXT_ROW = 0.8, 0.45  # share of background in rows without and with text
TEXT_ROWS = 0.85  # of the rows of a bar; the others are rules and frames
PICTURE_ROWS, OF_PICTURE = 4, 0.5  # rows above a bar, and how much of them is flat background
EVERYWHERE = 0.25  # share of flat background in the rest: then the picture has no noise itself
DIGITALLY_FLAT = 0.4  # of the pixels in the first rows of a bar equal their neighbour
MOST_STRIPS = 8


@dataclass(frozen=True)
class Banner:
    """What was drawn around and into a picture.

    Parameters
    ----------
    shape : tuple of int
        (y, x) of the picture.
    box : tuple of int
        y0, y1, x0, x1 of the micrograph itself, without info bars and frames.
    rectangles : tuple of tuple of int
        y0, y1, x0, x1 each: scale bars, labels and text drawn into the micrograph, in pixels of
        the whole picture.
    """

    shape: tuple[int, int]
    box: Box
    rectangles: tuple[Box, ...]

    @property
    def cut(self) -> dict[str, int]:
        """Rows or columns to cut off, by side; sides where nothing was found are left out."""
        y0, y1, x0, x1 = self.box
        sides = {"top": y0, "bottom": self.shape[0] - y1, "left": x0, "right": self.shape[1] - x1}
        return {side: width for side, width in sides.items() if width}


def find_banner(image: NDArray[np.generic]) -> Banner:
    """Find info bars and frames along the sides of a picture, and annotations in it.

    Parameters
    ----------
    image : numpy.ndarray
        (y, x), any grey levels.

    Returns
    -------
    Banner
        The whole picture and no rectangles where nothing was drawn.
    """
    picture = np.asarray(image, np.float64)
    box: Box = (0, picture.shape[0], 0, picture.shape[1])
    for _ in range(MOST_STRIPS):
        found = _without_strip(picture, box)
        if found == box:
            break
        box = found
    y0, y1, x0, x1 = box
    inside = find_annotations(picture[y0:y1, x0:x1])
    moved = tuple((a + y0, b + y0, c + x0, d + x0) for a, b, c, d in inside)
    return Banner((picture.shape[0], picture.shape[1]), box, moved)


# How each side becomes the bottom, and what a strip of n rows there takes off the box.
_SIDES: tuple[tuple[Callable[[Real], Real], tuple[int, int, int, int]], ...] = (
    (lambda p: p, (0, -1, 0, 0)),
    (lambda p: p[::-1], (1, 0, 0, 0)),
    (lambda p: p.T[::-1], (0, 0, 1, 0)),
    (lambda p: p.T, (0, 0, 0, -1)),
)


def _without_strip(picture: Real, box: Box) -> Box:
    """Return the box without one more strip at each side that has one."""
    for turned, inwards in _SIDES:
        y0, y1, x0, x1 = box
        rows = strip_rows(turned(picture[y0:y1, x0:x1]))
        box = tuple(edge + rows * sign for edge, sign in zip(box, inwards, strict=True))  # type: ignore[assignment]
    return box


def strip_rows(picture: Real) -> int:
    """Return how many rows at the bottom of a picture (y, x) are an info bar or frame, 0 if none.

    The strip begins at a row that is background almost everywhere, right under rows that are
    mostly not: particles, layers and denuded zones end at different heights.
    """
    height = len(picture)
    low, high = float(picture.min()), float(picture.max())
    if height < 2 * PICTURE_ROWS or low == high:
        return 0
    background = _at_levels(picture, _levels(picture[-1], SAME_LEVEL * (high - low)))
    share = background.mean(1)
    if share[-1] < PLAIN_ROW:
        return 0
    flat = background[:, 1:] & (picture[:, 1:] == picture[:, :-1])
    flat_share = flat.mean(1)
    for top in range(max(PICTURE_ROWS, int(height * (1 - LARGEST_STRIP))), height):
        if (
            share[top] >= PLAIN_ROW
            and np.median(flat_share[top - PICTURE_ROWS : top]) <= OF_PICTURE
            and (share[top:] >= TEXT_ROW).mean() >= TEXT_ROWS
            and flat_share[:top].mean() <= EVERYWHERE
            and np.median(flat_share[top : top + 2 * PICTURE_ROWS]) >= DIGITALLY_FLAT
        ):
            return height - top
    return 0


def _levels(row: Real, tolerance: float) -> list[tuple[float, float]]:
    """Return the lowest and highest grey of the one or two levels that fill a row."""
    levels: list[tuple[float, float]] = []
    rest = row
    while len(levels) < 2 and len(rest) >= max(1, SECOND_LEVEL * len(row)):
        values, counts = np.unique(rest, return_counts=True)
        level = values[counts.argmax()]
        near = np.abs(rest - level) <= tolerance
        if near.sum() < SECOND_LEVEL * len(row):
            break
        levels.append((level - tolerance, level + tolerance))
        rest = rest[~near]
    return levels


def _at_levels(picture: Real, levels: list[tuple[float, float]]) -> NDArray[np.bool_]:
    """Return which pixels lie at one of the levels."""
    found = np.zeros(picture.shape, bool)
    for low, high in levels:
        found |= (picture >= low) & (picture <= high)
    return found
