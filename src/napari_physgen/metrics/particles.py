"""Particles of a phase: their share, sizes and chords.

Pictures are (y, x) arrays, lengths are in pixels. Those of a simulation may be `periodic`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Real = NDArray[np.float64]


def fraction(phase: ArrayLike, inside: ArrayLike | None = None) -> float:
    """Return the share of pixels (inside) that belong to the phase."""
    mask = np.asarray(phase) > 0
    return float(mask.mean() if inside is None else mask[np.asarray(inside, bool)].mean())


def connected(mask: NDArray[np.bool_], periodic: bool) -> NDArray[np.uint32]:
    """Return the connected parts of a mask, numbered from 1; periodic edges join them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    parts, count = scipy.ndimage.label(mask)
    if not periodic or count == 0:
        return np.asarray(parts, np.uint32)
    pairs = [
        np.stack([parts.take(0, axis).ravel(), parts.take(-1, axis).ravel()])
        for axis in range(mask.ndim)
    ]
    first, second = np.concatenate(pairs, 1)
    both = (first > 0) & (second > 0)
    links = coo_array((np.ones(both.sum()), (first[both], second[both])), (count + 1,) * 2)
    _, merged = connected_components(links, directed=False)
    numbers = np.zeros(count + 1, np.uint32)
    numbers[1:] = np.unique(merged[1:], return_inverse=True)[1] + 1
    return np.asarray(numbers[parts])


def equivalent_diameters(phase: ArrayLike, *, periodic: bool = False, smallest: int = 4) -> Real:
    """Return the diameters of the discs (balls) that have the particles' areas, ascending, px.

    Particles are what hangs together along the axes. In a picture that is not periodic those cut
    by its edge are left out, unless no other is there.

    Parameters
    ----------
    phase : array
        ([z,] y, x).
    periodic : bool
    smallest : int
        Fewer pixels than this are noise.
    """
    numbers = connected(np.asarray(phase) > 0, periodic)
    area = np.bincount(numbers.ravel())
    if area.size < 2:
        return np.zeros(0)
    whole = area >= smallest
    whole[0] = False
    if not periodic:
        inner = whole.copy()
        inner[at_edge(numbers)] = False
        whole = inner if inner.any() else whole
    return np.sort(diameters_of(area[whole], numbers.ndim))


def at_edge(numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the numbers on the edge of the picture (0, the background, may be one)."""
    sides = [numbers.take(end, axis).ravel() for axis in range(numbers.ndim) for end in (0, -1)]
    return np.asarray(np.unique(np.concatenate(sides)))


def diameters_of(areas: ArrayLike, ndim: int = 2) -> Real:
    """Return the diameters of discs of these areas, or of balls of these volumes."""
    size = np.asarray(areas, float)
    return np.asarray(np.sqrt(4 / np.pi * size) if ndim == 2 else np.cbrt(6 / np.pi * size))


def chord_lengths(phase: ArrayLike, axis: int = 1, *, periodic: bool = False) -> Real:
    """Return the lengths of all stretches of the phase along lines parallel to `axis`, px.

    Those cut by the edge of the picture are left out (none is in a periodic one; lines that
    lie in the phase altogether have no ends and are left out, too).
    """
    lines = np.moveaxis(np.asarray(phase) > 0, axis, -1)
    if periodic:
        lines = np.concatenate([lines, lines], -1)
    steps = np.diff(lines.astype(np.int8), axis=-1)
    chords = []
    for line in steps:
        starts, ends = np.flatnonzero(line > 0), np.flatnonzero(line < 0)
        if starts.size and ends.size:
            ends = ends[ends > starts[0]]
            starts = starts[: ends.size]
            # Of the doubled line, every chord counts once.
            once = starts < lines.shape[-1] // 2 if periodic else slice(None)
            chords.append((ends - starts)[once])
    return np.concatenate(chords).astype(float) if chords else np.zeros(0)
