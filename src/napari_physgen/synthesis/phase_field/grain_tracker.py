"""Keep grains of the same orientation apart.

The grains of a polycrystal share a few order parameters. Where two grains of the same one are about
to touch they would merge, which no real grains do; the smaller one then moves to an order parameter
that is absent around it (C. E. Krill, L.-Q. Chen, Acta Mater. 50, 3057 (2002)). Nothing is seen of
it: order parameters vanish between grains before those touch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.metrics.particles import connected

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRESENT = 0.1  # an order parameter above this belongs to a grain
REACH = 8  # cells around a grain that must be free of others of its orientation


def kept_apart(eta: NDArray[np.floating], periodic: bool) -> bool:
    """Move grains to other order parameters where their own is near, in place.

    Parameters
    ----------
    eta : numpy.ndarray
        (order parameter, *shape), changed in place.
    periodic : bool
        Whether grains continue across the edges.

    Returns
    -------
    bool
        Whether any grain moved.
    """
    moved = False
    for colour in range(len(eta)):
        parts = connected(eta[colour] > PRESENT, periodic)
        if parts.max() < 2:
            continue
        nearest, distance = _territories(parts, periodic)
        sizes = np.bincount(parts.ravel())
        leaving: set[int] = set()
        for one, other in _near_pairs(nearest, distance, periodic):
            if not leaving & {one, other}:
                leaving.add(one if sizes[one] <= sizes[other] else other)
        for grain in leaving:
            own = nearest == grain
            around = own & (distance <= 2 * REACH)
            rivals = eta[:, around].max(1)
            rivals[colour] = np.inf
            free = int(rivals.argmin())
            if rivals[free] > PRESENT:
                continue
            eta[free][own] += eta[colour][own]
            eta[colour][own] = 0
            moved = True
    return moved


def _territories(
    parts: NDArray[np.uint32], periodic: bool
) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Return the nearest grain of every cell and the distance to it."""
    from scipy.ndimage import distance_transform_edt

    margin = min(3 * REACH, *parts.shape) if periodic else 0
    wide = np.pad(parts, margin, mode="wrap") if margin else parts
    distance, index = distance_transform_edt(wide == 0, return_indices=True)
    inner = (slice(margin, -margin),) * parts.ndim if margin else (slice(None),) * parts.ndim
    return wide[tuple(index)][inner], distance[inner]


def _near_pairs(
    nearest: NDArray[np.uint32], distance: NDArray[np.float64], periodic: bool
) -> list[tuple[int, int]]:
    """Return the pairs of grains whose gap is narrower than REACH, each once."""
    pairs = set()
    for axis in range(nearest.ndim):
        here, there = nearest, np.roll(nearest, -1, axis)
        gap = distance + np.roll(distance, -1, axis)
        close = (here != there) & (gap < REACH)
        if not periodic:
            close[(slice(None),) * axis + (-1,)] = False
        pairs |= {(min(p), max(p)) for p in zip(here[close], there[close], strict=True)}
    return sorted((int(one), int(other)) for one, other in pairs)
