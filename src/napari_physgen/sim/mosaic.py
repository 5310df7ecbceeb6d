"""Tiles of a field, and one picture from what was made of each.

Neighbours share HALO raw px on either side of their border. What lies within GUARD of a tile's edge
is not used, for light from beyond the tile reaches it; between there the tiles are blended,

    rho(r) = sum_t w_t(r) rho_t(r) / sum_t w_t(r),    w = sin^2 of the way across, 1 inside,

so that two neighbours' weights add up to 1 and no seam can be seen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.backend.tiles import Tile, tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]

HALO = 32
GUARD = 16
"""Raw px; the tail of the PSF beyond 16 px holds less than 1 % of the light."""


def cut(shape: tuple[int, int], size: int) -> list[Tile]:
    """Cut a field (y, x) of raw pixels into tiles of about equal size, `size` px at most."""
    rows, columns = (tiles((n,), _even(n, size), HALO) for n in shape)
    return [
        Tile(*(down + across for down, across in zip(row, column, strict=True)))
        for row in rows
        for column in columns
    ]


def _even(length: int, size: int) -> int:
    """Return the tile size, `size` at most, whose tiles end where the field does."""
    if length <= size:
        return size
    return 2 * HALO + math.ceil(length / math.ceil(length / (size - 2 * HALO)))


class Mosaic:
    """A picture of the whole field that grows tile by tile.

    Parameters
    ----------
    shape : (int, int)
        Field (y, x), raw px.
    zoom : int
        Pixels of the picture per raw px.
    """

    def __init__(self, shape: tuple[int, int], zoom: int) -> None:
        self._shape, self._zoom = shape, zoom
        fine = shape[0] * zoom, shape[1] * zoom
        self._sum, self._weight = np.zeros(fine, np.float32), np.zeros(fine, np.float32)

    def add(self, tile: Tile, image: Image) -> None:
        """Blend in the picture (zoom * y, zoom * x) of a tile, its halo included."""
        y, x = (
            _window(read, place, length, self._zoom)
            for read, place, length in zip(tile.read, tile.place, self._shape, strict=True)
        )
        window = y[:, None] * x
        where = tuple(finer(part, self._zoom) for part in tile.read)
        self._sum[where] += window * image
        self._weight[where] += window

    def image(self) -> Image:
        """Return the picture; 0 where no tile was added yet."""
        return np.asarray(self._sum / np.maximum(self._weight, 1e-6), np.float32)


def finer(part: slice, zoom: int) -> slice:
    """Return the pixels of the result that belong to raw pixels along one axis."""
    return slice(part.start * zoom, part.stop * zoom)


def _window(read: slice, place: slice, length: int, zoom: int) -> Image:
    """Return the weight along one axis: 1 inside and at the field's ends, 0 towards neighbours."""
    r = read.start + (np.arange((read.stop - read.start) * zoom) + 0.5) / zoom
    weight = np.ones_like(r)
    if place.start > 0:
        weight *= _rise(r - place.start)
    if place.stop < length:
        weight *= _rise(place.stop - r)
    return np.asarray(weight, np.float32)


def _rise(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    across = np.clip(0.5 + distance / (2 * (HALO - GUARD)), 0, 1)
    return np.asarray(np.sin(np.pi / 2 * across) ** 2)
