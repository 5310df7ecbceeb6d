"""Large images in tiles, with the result of the whole image.

A network whose output depends on at most `halo` pixels around gives the same result in tiles that
overlap by as much, if every tile begins where its coarsest grid has a point (`multiple`).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Slices = tuple[slice, ...]


class Tile(NamedTuple):
    """One tile: what to read, which part of its result to take, and where that belongs."""

    read: Slices
    take: Slices
    place: Slices


def tiles(shape: Sequence[int], size: int, halo: int, multiple: int = 1) -> list[Tile]:
    """Cut an image into tiles that cover it once.

    Parameters
    ----------
    shape : sequence of int
        Pixels along the axes that are cut.
    size : int
        Pixels of a tile along each axis, its halo included.
    halo : int
        Pixels around a pixel that its result depends on.
    multiple : int
        Tiles begin at multiples of it.

    Returns
    -------
    list of Tile
        A single one if the image is not larger than `size` along any axis.

    Raises
    ------
    ValueError
        If `size` leaves nothing between two halos.
    """
    return [
        Tile(*(tuple(slices) for slices in zip(*parts, strict=True)))
        for parts in itertools.product(*(_cut(n, size, halo, multiple) for n in shape))
    ]


def _cut(length: int, size: int, halo: int, multiple: int) -> list[tuple[slice, slice, slice]]:
    """Return (read, take, place) along one axis."""
    if length <= size:
        return [(slice(0, length), slice(0, length), slice(0, length))]
    margin = -(-halo // multiple) * multiple
    core = (size - 2 * margin) // multiple * multiple
    if core < 1:
        raise ValueError(f"Tiles of {size} pixels leave nothing between halos of {halo}.")
    cuts = []
    for start in range(0, length, core):
        stop = min(start + core, length)
        first, last = max(start - margin, 0), min(stop + margin, length)
        cuts.append((slice(first, last), slice(start - first, stop - first), slice(start, stop)))
    return cuts
