"""One picture without what was drawn around and into it, and its way back to full size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.segmentation._annotations import Box
from napari_physgen.segmentation._banner import Banner, find_banner
from napari_physgen.segmentation._colours import grey_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Cleaned:
    """The micrograph in a picture.

    Parameters
    ----------
    image : numpy.ndarray
        (y, x) float64, what lies in `box`; annotations are filled from beside them.
    valid : numpy.ndarray
        (y, x) bool: False where there were annotations.
    box : tuple of int
        y0, y1, x0, x1 in the whole picture.
    shape : tuple of int
        (y, x) of the whole picture.
    notes : tuple of str
        What was done.
    """

    image: Real
    valid: Mask
    box: Box
    shape: tuple[int, int]
    notes: tuple[str, ...]


def cleaned(image: NDArray[np.generic], title: str, crop_bars: bool = True) -> Cleaned:
    """Leave out info bars, frames and annotations, and turn colours into grey.

    Parameters
    ----------
    image : numpy.ndarray
        (y, x), or (y, x, 3 or 4) in colours.
    title : str
        What to call it in errors.
    crop_bars : bool
        Whether to look for anything drawn.

    Raises
    ------
    UserError
        If it is no single picture or not finite.
    """
    _check(image, title)
    grey, marks, notes = grey_of(image)
    shape = (grey.shape[0], grey.shape[1])
    banner = Banner(shape, (0, shape[0], 0, shape[1]), ())
    if crop_bars:
        banner = find_banner(grey)
        banner = Banner(banner.shape, banner.box, (*banner.rectangles, *marks))
        notes += _words(banner)
    y0, y1, x0, x1 = banner.box
    valid = np.ones(shape, bool)
    for a, b, c, d in banner.rectangles:
        valid[a:b, c:d] = False
    kept = _filled(grey, banner)[y0:y1, x0:x1]
    return Cleaned(kept, valid[y0:y1, x0:x1], banner.box, shape, tuple(notes))


def _check(image: NDArray[np.generic], title: str) -> None:
    coloured = image.ndim == 3 and image.shape[-1] in (1, 3, 4)
    if image.ndim != 2 and not coloured:
        raise UserError(
            f"{capital(title)} has the shape {image.shape}: give single pictures (y, x), such as "
            "the planes of a stack one by one."
        )
    if image.dtype.kind not in "buif" or image.size == 0:
        raise UserError(f"{capital(title)} holds no grey levels: give a micrograph.")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise UserError(
            f"{capital(title)} has pixels that are no numbers (NaN or infinite): mend it or leave "
            "it out."
        )


def _words(banner: Banner) -> list[str]:
    """Return what was found, for the user to check."""
    said = []
    for side, width in banner.cut.items():
        lines = "rows" if side in ("top", "bottom") else "columns"
        said.append(f"a bar or frame of {width} {lines} at the {side} was cut off")
    count = len(banner.rectangles)
    if count:
        noun = "annotation" if count == 1 else "annotations"
        said.append(f"{count} {noun} (scale bar, text) in the picture left out")
    return said


def _filled(grey: Real, banner: Banner) -> Real:
    """Return a picture whose annotations are filled with the mirrored picture beside them."""
    y0, y1, x0, x1 = banner.box
    filled = grey.copy()
    for a, b, c, d in banner.rectangles:
        a, b, c, d = max(a, y0), min(b, y1), max(c, x0), min(d, x1)
        if a >= b or c >= d:
            continue
        rows, columns = np.arange(a, b), np.arange(c, d)
        if (a, b) != (y0, y1):
            rows = _mirrored(rows, y0, y1)
        else:
            columns = _mirrored(columns, x0, x1)
        filled[a:b, c:d] = filled[np.ix_(rows, columns)]
    return filled


def _mirrored(lines: NDArray[np.int64], start: int, stop: int) -> NDArray[np.int64]:
    """Return for each line of a gap one on the wider side of it, mirrored at the edge."""
    before, after = int(lines[0]) - start, stop - 1 - int(lines[-1])
    if not max(before, after):
        return lines
    upwards = before >= after
    steps = lines - lines[0] if upwards else lines[-1] - lines
    room = max(before, after)
    folded = steps % (2 * room)
    depth = np.where(folded < room, folded, 2 * room - 1 - folded)
    return np.asarray(lines[0] - 1 - depth if upwards else lines[-1] + 1 + depth)


def capital(words: str) -> str:
    """Return a title as it begins a sentence; names of files stay as they are."""
    return words[:1].upper() + words[1:] if words.startswith("image ") else words
