"""Scale bars, label boxes and their text that were drawn into a micrograph.

What is drawn has the highest or lowest grey level of the picture all over, upright edges and no
blur. A straight bar, or the blank rims of a label box, start a find; text is looked for around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Mask = NDArray[np.bool_]

Box = tuple[int, int, int, int]  # y0, y1, x0, x1

SAME_LEVEL = 0.08  # of the range of grey levels: the ripple that JPEG leaves at edges
SHORTEST, NARROWEST = 0.04, 24  # bar: of the width; px
THICKEST, SLENDER = 0.15, 1.5  # of the height; width per height
THICK_BAR = 0.04  # of the height: what is thicker is a box
SHORTEST_BOX = 10  # px
UPRIGHT = 0.97  # share of each row that is drawn
ENDS = 0.4  # share of the same grey level 2 px beyond an edge, at most
RIM = 0.95  # share of each rim of a label box, two pixels wide, that is drawn
COMMON = 0.2  # share of the picture: its own grey level, not that of ink
SHARP = 0.8  # of the contrast at 6 px is there at 2 px already
MOST_SEEDS = 6  # more such things are the structure itself
TEXT_REACH = 0.12  # of the height: how far from a bar its text may be
SAME_EDGE = 4  # px: two bars that begin and end together are the rims of one box
MARGIN = 3  # px around what was found: anti-aliasing and JPEG ripple


def find_annotations(picture: Real) -> list[Box]:
    """Return the boxes of what was drawn into a picture (y, x)."""
    low, high = float(picture.min()), float(picture.max())
    if low == high:
        return []
    boxes: list[Box] = []
    for level in (low, high):
        near = np.abs(picture - level) <= SAME_LEVEL * (high - low)
        if near.mean() > COMMON:
            continue
        bars = [box for box in _bars(near) if _ends(near, box)]
        seeds = [box for box in bars if _is_sharp(picture, box, level)]
        if seeds and len(seeds) <= MOST_SEEDS:
            boxes += _with_text(near, _joined_rims(seeds, picture.shape[0]))
    return _merged([_grown(box, MARGIN, picture.shape) for box in boxes])


def _bars(near: Mask) -> list[Box]:
    """Return the upright rectangles among the parts of one grey level, whatever touches them."""
    height, width = near.shape
    length = max(NARROWEST, int(SHORTEST * width))
    # An opening with a short line, two rows thick, leaves bars and takes text and end caps off.
    lines = near & np.roll(near, -1, 0)
    lines[-1] = False
    runs = scipy.ndimage.binary_opening(lines, np.ones((1, length), bool))
    runs |= np.roll(runs, 1, 0)
    numbers, _ = scipy.ndimage.label(runs)
    found = []
    for index, place in enumerate(scipy.ndimage.find_objects(numbers), start=1):
        part = numbers[place] == index
        rows, columns = part.shape
        fits = rows <= THICKEST * height and columns >= SLENDER * rows
        # The first and the last row of a bar that was resized are half drawn.
        drawn = int((part.mean(1) >= UPRIGHT).sum())
        if fits and (drawn >= max(2, rows - 2) or _has_rims(near[place])):
            found.append(_box(place))
    return found


def _has_rims(part: Mask) -> bool:
    """Return whether a part is a box all around, whatever is written in it."""
    rims = part[:2], part[-2:], part[:, :2], part[:, -2:]
    return len(part) >= SHORTEST_BOX and all(rim.mean() >= RIM for rim in rims)


def _ends(near: Mask, box: Box) -> bool:
    """Return whether the top or the bottom is a straight edge, unlike the waist of a particle."""
    lines = [line for line in (box[0] - 2, box[1] + 1) if 0 <= line < len(near)]
    return any(near[line, box[2] : box[3]].mean() <= ENDS for line in lines)


def _is_sharp(picture: Real, box: Box, level: float) -> bool:
    """Return whether the picture above and below has its own grey at 2 px already."""
    contrasts = []
    for distance in (2, 6):
        lines = [box[0] - distance, box[1] - 1 + distance]
        around = [picture[line, box[2] : box[3]] for line in lines if 0 <= line < len(picture)]
        if not around:
            return False
        contrasts.append(abs(float(np.mean(around)) - level))
    return contrasts[0] >= SHARP * contrasts[1]


def _joined_rims(seeds: list[Box], height: int) -> list[Box]:
    """Return bars that begin and end together as one box."""
    left = sorted(seeds)
    joined = []
    while left:
        box = left.pop(0)
        for other in list(left):
            near = other[0] - box[1] <= TEXT_REACH * height
            if near and max(abs(box[2] - other[2]), abs(box[3] - other[3])) <= SAME_EDGE:
                box = _union(box, other)
                left.remove(other)
        joined.append(box)
    return joined


def _with_text(near: Mask, boxes: list[Box]) -> list[Box]:
    """Return boxes as they are, bars with the text of their grey level around them."""
    places = [_box(p) for p in scipy.ndimage.find_objects(scipy.ndimage.label(near)[0])]
    reach = TEXT_REACH * near.shape[0]
    glyphs = [g for g in places if 5 <= g[1] - g[0] <= reach and g[3] - g[2] <= reach]
    found = []
    for box in boxes:
        if box[1] - box[0] <= THICK_BAR * near.shape[0]:
            beside = max(reach, 0.3 * (box[3] - box[2]))
            y0, y1, x0, x1 = box[0] - reach, box[1] + reach, box[2] - beside, box[3] + beside
            for g in glyphs:
                if g[0] >= y0 and g[1] <= y1 and g[2] >= x0 and g[3] <= x1:
                    box = _union(box, g)
        found.append(box)
    return found


def _box(place: tuple[slice, slice]) -> Box:
    return place[0].start, place[0].stop, place[1].start, place[1].stop


def _union(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), max(a[3], b[3])


def _grown(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    y0, y1, x0, x1 = box
    height, width = shape
    return (
        max(0, y0 - margin),
        min(height, y1 + margin),
        max(0, x0 - margin),
        min(width, x1 + margin),
    )


def _merged(boxes: list[Box]) -> list[Box]:
    """Return boxes of which none overlap."""
    merged: list[Box] = []
    for box in boxes:
        while True:
            hits = [m for m in merged if _overlap(m, box)]
            if not hits:
                break
            for hit in hits:
                merged.remove(hit)
                box = _union(box, hit)
        merged.append(box)
    return merged


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
