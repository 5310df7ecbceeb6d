"""Which pixels make one particle: numbers from 1, 0 between them.

Touching particles are cut where they are narrow: at the watershed of the distance to the matrix,
seen from those maxima that a neck separates. The neck is judged relative to the particle, so that
one rule serves all sizes. Corners and rims of cuboids are no necks: they stay whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.metrics.particles import at_edge, connected
from napari_physgen.segmentation._labels import MOST_CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Numbers = NDArray[np.uint32]

# Rough edges make necks of a pixel. With this and a neck of 0.8, 70 % of drawn pairs of discs
# 1.5-1.85 radii apart were cut and none of 125 ellipses and boxes (half widths 4-20 px, edges rough
# by 0.7 px; of those wavy by 1.1 px 10 %). With the exact half width (-0.5) and a neck of 0.75,
# which cuts as many pairs, it was 1 and 16 %.
ROUGHNESS = 1.0


def split(mask: NDArray[np.bool_], neck: float, spacing: Sequence[float] | Real) -> Numbers:
    """Find the particles of a mask and number them, cutting those that touch at their necks.

    Markers are the maxima of ln(distance + 1 px) that rise by ln(1 / neck) above the saddle to any
    higher one (h-maxima; Soille, Morphological Image Analysis, 2004, 6.3.4), i.e. relative to the
    particle's own half width.

    Parameters
    ----------
    mask : numpy.ndarray
        ([z,] y, x).
    neck : float
        As in `particles`, above 0.
    spacing : sequence of float
        Distance of neighbouring pixels along every axis, any unit.
    """
    import scipy.ndimage
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    if mask.all():
        return np.ones(mask.shape, np.uint32)
    cross = scipy.ndimage.generate_binary_structure(mask.ndim, 1)
    pixels = np.asarray(spacing) / spacing[-1]
    depth = scipy.ndimage.distance_transform_edt(mask, sampling=pixels)
    # Outside lower than all that a maximum may be lowered to.
    height = np.where(mask, np.log(depth + ROUGHNESS), np.log(neck * ROUGHNESS))
    lowered = reconstruction(  # type: ignore[no-untyped-call]
        height + np.log(neck), height, footprint=cross
    )
    tops = local_maxima(lowered, connectivity=1) & mask  # type: ignore[no-untyped-call]
    markers, _ = scipy.ndimage.label(tops, cross)
    parts = watershed(-depth, markers, connectivity=1, mask=mask)  # type: ignore[no-untyped-call]
    return np.asarray(parts, np.uint32)


def separated(
    values: NDArray[np.integer], classes: Sequence[int] | None, neck: float, spacing: Real
) -> tuple[Numbers, NDArray[np.int64]]:
    """Return numbered particles, and the class of each number (0 for number 0)."""
    found = [k for k in np.unique(values).tolist() if k > 0]
    if classes is None and len(found) > MOST_CLASSES:
        raise UserError(
            f"The segmentation holds {len(found)} values, more than there can be classes: if they "
            'number particles already, choose separate="numbered".'
        )
    numbers, kinds = np.zeros(values.shape, np.uint32), [0]
    for kind in found if classes is None else classes:
        mask = values == kind
        if not mask.any():
            continue
        parts = split(mask, neck, spacing) if neck > 0 else connected(mask, periodic=False)
        numbers[mask] = parts[mask] + len(kinds) - 1
        kinds += [kind] * int(parts.max())
    return numbers, np.array(kinds)


def renumbered(
    values: NDArray[np.integer], classes: Sequence[int] | None
) -> tuple[Numbers, NDArray[np.int64]]:
    """Return the numbers without gaps, and 1 as the class of every particle."""
    if classes is not None:
        raise UserError("Labels that number particles have no classes: leave out the classes.")
    found, index = np.unique(np.maximum(values, 0), return_inverse=True)
    first = int(found[0] > 0)  # No background.
    count = found.size + first
    kinds = np.ones(count, np.int64)
    kinds[0] = 0
    return (index.reshape(values.shape) + first).astype(np.uint32), kinds


def keep(numbers: Numbers, smallest: int, edge: bool) -> tuple[Numbers, NDArray[np.int64]]:
    """Drop what does not count and renumber from 1; also return the former numbers."""
    wanted = np.bincount(numbers.ravel()) >= max(smallest, 1)
    wanted[0] = False
    if not edge:
        wanted[at_edge(numbers)] = False
    new = np.where(wanted, np.cumsum(wanted), 0).astype(np.uint32)
    return new[numbers], np.flatnonzero(wanted)
