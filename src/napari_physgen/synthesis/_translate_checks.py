"""What must not change in translation, measured: contrast, masks, edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Real = NDArray[np.floating]
    Labels = NDArray[np.integer]

INVERTED = -0.15
"""Contrast from which on dark and bright phases count as exchanged. Where the phases of the real
images differ by their rims alone it is about 0, with either sign."""

_REACH = 6


def contrast(simulated: Real, translated: Real, labels: Labels | None) -> float:
    """Return how much of the translated image's grey levels follows those of the simulated one.

    Parameters
    ----------
    simulated, translated : numpy.ndarray
        Any equal shape.
    labels : numpy.ndarray or None
        Same shape: classes, whose mean grey levels are compared; None: compare pixels.

    Returns
    -------
    float
        Correlation with the translated image, -1 to 1, of the simulated one's class means or
        pixels; below 0 the phases are exchanged.
    """
    guide = np.asarray(simulated, np.float64)
    if labels is not None:
        count = np.maximum(np.bincount(labels.ravel()), 1)
        means = np.bincount(labels.ravel(), guide.ravel()) / count
        guide = means[labels]
    a, b = guide - guide.mean(), translated - np.mean(translated, dtype=np.float64)
    scale = float(np.sqrt((a * a).mean() * (b * b).mean()))
    return float((a * b).mean()) / scale if scale > 0 else 0.0


def edge_shift(
    simulated: Sequence[Real], translated: Sequence[Real], labels: Sequence[Labels]
) -> float:
    """Return by how much edges moved outwards from class 0, in px; NaN without edges.

    The squared slope of the mean grey level across the mask's boundary, as a function of the
    distance from it, has its centre somewhere in every image; compared are the two centres.
    """
    return _edge(translated, labels) - _edge(simulated, labels)


def _edge(images: Sequence[Real], labels: Sequence[Labels]) -> float:
    """Return the mean distance of the visible edge from the boundary of class 0, px."""
    total, count = np.zeros(2 * _REACH), np.zeros(2 * _REACH)
    for image, label in zip(images, labels, strict=True):
        inside = label > 0
        if inside.all() or not inside.any():
            continue
        # Half a pixel off on both sides: the boundary runs between the pixels.
        away = np.where(inside, 0.5 - distance_transform_edt(inside), 0.0)
        away += np.where(inside, 0.0, distance_transform_edt(~inside) - 0.5)
        near = np.abs(away) < _REACH
        bins = np.floor(away[near]).astype(int) + _REACH
        total += np.bincount(bins, image[near], 2 * _REACH)
        count += np.bincount(bins, minlength=2 * _REACH)
    if not count.all():
        return float("nan")
    slope = np.diff(total / count) ** 2
    places = np.arange(1 - _REACH, _REACH)
    return float((slope * places).sum() / slope.sum()) if slope.sum() > 0 else float("nan")
