"""Coarser grids of the same scan, and maps to start from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features

_COARSE_NODES = 5000
_BLOCKS = (4, 8, 6, 3, 2)


def coarsened(features: Features, most: int = _COARSE_NODES) -> tuple[Features, int]:
    """Return means (sums of counts) over blocks of nodes where there are more than `most`.

    Returns
    -------
    features : Features
    factor : int
        Side of the blocks, nodes; 1 where nothing was done.
    """
    factor = 1
    while features.valid.size / factor**2 > most and factor < 8:
        factor += 1
    if factor == 1:
        return features, 1
    values, inside = _blocks(features, factor)
    # Means of overlapping windows are as much evidence as their nodes together, up to one.
    counts = features.family == "counts"
    evidence = features.evidence if counts else min(1.0, features.evidence * factor**2)
    middle = (factor - 1) / 2
    coarse = replace(
        features,
        values=values,
        valid=inside,
        evidence=evidence,
        step=(features.step[0] * factor, features.step[1] * factor),
        start=(
            features.start[0] + middle * features.step[0],
            features.start[1] + middle * features.step[1],
        ),
        window=max(features.window, round(features.step[0] * factor)),
    )
    return coarse, factor


def _blocks(features: Features, size: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the values (feature, y, x) of blocks of nodes and which of these have data."""
    count, height, width = features.values.shape
    rows, columns = max(height // size, 1), max(width // size, 1)
    size_y, size_x = min(size, height), min(size, width)
    cut = (slice(None), slice(0, rows * size_y), slice(0, columns * size_x))
    weight = features.valid[cut[1:]].reshape(rows, size_y, columns, size_x)
    values = features.values[cut].reshape(count, rows, size_y, columns, size_x)
    total = (values * weight).sum((2, 4))
    members = weight.sum((1, 3))
    inside = members > 0
    if features.family == "gaussian":
        total = total / np.maximum(members, 1)
    return total.astype(np.float32), inside


def first_map(features: Features, regions: int, number: int, seed: int) -> NDArray[np.float32]:
    """Return a soft map from k-means of means over blocks of a size that goes with `number`."""
    from sklearn.cluster import KMeans

    height, width = features.shape
    size = min(_BLOCKS[number % len(_BLOCKS)], max(min(height, width) // 4, 1))
    values, inside = _blocks(features, size)
    if inside.sum() < 4 * regions:
        size = 1
        values, inside = _blocks(features, 1)
    points = _comparable(values[:, inside], features.family)
    found = KMeans(regions, n_init=2, random_state=seed * 1000 + number).fit(points)
    labels = np.zeros(inside.shape, np.int64)
    labels[inside] = found.labels_
    labels = labels.repeat(size, 0).repeat(size, 1)
    labels = np.pad(labels, ((0, size), (0, size)), mode="edge")[:height, :width]
    return (0.9 * np.eye(regions, dtype=np.float32)[labels] + 0.1 / regions).transpose(2, 0, 1)


def _comparable(values: NDArray[np.float32], family: str) -> NDArray[np.float32]:
    """Return (point, feature) values in which distances mean something."""
    points = values.T
    if family == "gaussian":
        return points
    # Square roots of shares have nearly the same scatter in all channels (Hellinger distance).
    shares = np.sqrt(points / np.maximum(points.sum(1, keepdims=True), 1e-9))
    centred = shares - shares.mean(0)
    _, _, axes = np.linalg.svd(centred[:: max(len(centred) // 4000, 1)], full_matrices=False)
    made: NDArray[np.float32] = centred @ axes[:8].T
    return made
