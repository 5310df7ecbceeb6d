"""How alike two ways to part a picture are, whatever the parts are called.

Labels are (y, x) or any other shape, whole numbers; which number a part has does not matter.
`inside` is true where both are known: other pixels count nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import scipy.optimize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Real = NDArray[np.float64]
    Mask = NDArray[np.bool_]


def contingency(labels: ArrayLike, truth: ArrayLike, inside: Mask | None = None) -> Real:
    """Count the pixels that every part (rows) shares with every true part (columns)."""
    p, t = (_known(np.asarray(a), inside) for a in (labels, truth))
    rows, i = np.unique(p, return_inverse=True)
    columns, j = np.unique(t, return_inverse=True)
    counts = np.bincount(i.ravel() * len(columns) + j.ravel(), minlength=len(rows) * len(columns))
    return counts.reshape(len(rows), len(columns)).astype(float)


def adjusted_rand(labels: ArrayLike, truth: ArrayLike, inside: Mask | None = None) -> float:
    """Return the adjusted Rand index (Hubert & Arabie, J. Classif. 2, 193, 1985).

    The share of pairs of pixels on which both agree (together or apart), scaled so that 1 is the
    same partition and 0 what chance gives. Two partitions of a single part each are the same: 1.
    NaN if no pixel is known.
    """
    table = contingency(labels, truth, inside)
    together, first, second = (
        _pairs(counts) for counts in (table.ravel(), table.sum(1), table.sum(0))
    )
    everything = _pairs(table.sum(keepdims=True))
    if table.sum() == 0:
        return float("nan")
    chance = first * second / everything if everything else 0.0
    most = (first + second) / 2
    return float((together - chance) / (most - chance)) if most != chance else 1.0


def normalised_mutual_information(
    labels: ArrayLike, truth: ArrayLike, inside: Mask | None = None
) -> float:
    """Return the mutual information over the mean of the two entropies, 0 to 1.

    1 if both have a single part; NaN if no pixel is known.
    """
    table = contingency(labels, truth, inside)
    if table.sum() == 0:
        return float("nan")
    joint = table / table.sum()
    first, second = _entropy(joint.sum(1)), _entropy(joint.sum(0))
    if first + second == 0:
        return 1.0
    shared = first + second - _entropy(joint.ravel())
    return float(np.clip(2 * shared / (first + second), 0, 1))


def matched(labels: ArrayLike, truth: ArrayLike, inside: Mask | None = None) -> NDArray[np.generic]:
    """Return the labels with the numbers of the true parts that they overlap best.

    One part for one true part, so that most pixels agree (Hungarian method). Parts without a
    partner get numbers above all true ones; pixels outside get the number of their part too.
    """
    p, t = np.asarray(labels), np.asarray(truth)
    table = contingency(p, t, inside)
    parts, true = np.unique(_known(p, inside)), np.unique(_known(t, inside))
    rows, columns = scipy.optimize.linear_sum_assignment(table, maximize=True)
    partner = dict(zip(parts[rows].tolist(), true[columns].tolist(), strict=True))
    named, position = np.unique(p, return_inverse=True)
    spare = int(true.max(initial=0)) + 1
    for part in named.tolist():
        if part not in partner:
            partner[part], spare = spare, spare + 1
    return np.array([partner[part] for part in named.tolist()])[position].reshape(p.shape)


def mean_matched_iou(labels: ArrayLike, truth: ArrayLike, inside: Mask | None = None) -> float:
    """Return the mean IoU of the true parts with the parts that are matched to them (`matched`).

    A true part without a partner counts 0. NaN if no pixel is known.
    """
    table = contingency(labels, truth, inside)
    if not table.size:
        return float("nan")
    rows, columns = scipy.optimize.linear_sum_assignment(table, maximize=True)
    both = table[rows, columns]
    either = table.sum(1)[rows] + table.sum(0)[columns] - both
    return float((both / either).sum() / table.shape[1])


def mean_pairwise_rand(partitions: Sequence[ArrayLike], inside: Mask | None = None) -> float:
    """Return the mean adjusted Rand index of all pairs: how stable a map is. NaN for one."""
    pairs = [
        adjusted_rand(p, q, inside) for i, p in enumerate(partitions) for q in partitions[i + 1 :]
    ]
    return float(np.mean(pairs)) if pairs else float("nan")


def largest_share(labels: ArrayLike, inside: Mask | None = None) -> float:
    """Return the share of the largest part; NaN if no pixel is known."""
    known = _known(np.asarray(labels), inside)
    if not known.size:
        return float("nan")
    return float(np.unique(known, return_counts=True)[1].max() / known.size)


def wall_f1(
    labels: ArrayLike,
    truth: ArrayLike,
    tolerance: float = 1.5,
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    inside: Mask | None = None,
) -> float:
    """Return the boundary F1 of two partitions, whatever lies on either side of a wall.

    The points of a wall are the middles between neighbours (along y or x) of different parts.
    Precision P is the share of those of `labels` that have one of `truth` within the tolerance,
    recall R the reverse; F1 = 2 P R / (P + R). NaN if neither has walls, 0 if only one has.

    Parameters
    ----------
    labels, truth : array
        (y, x).
    tolerance : float
        In the unit of the spacing, by default px.
    spacing : (float, float)
        Distance of neighbouring pixels along y and x.
    inside : numpy.ndarray, optional
    """
    first, second = (_cracks(np.asarray(a), inside) for a in (labels, truth))
    if not first.any() or not second.any():
        return float("nan") if not first.any() and not second.any() else 0.0
    limit = tolerance * (1 + 1e-9)
    half = (spacing[0] / 2, spacing[1] / 2)
    precision, recall = (
        float((scipy.ndimage.distance_transform_edt(~wall, sampling=half)[of] <= limit).mean())
        for of, wall in ((first, second), (second, first))
    )
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _cracks(image: NDArray[np.generic], inside: Mask | None) -> Mask:
    """Return where walls run, (2 y - 1, 2 x - 1): true at the middles between cut neighbours."""
    known = np.ones(image.shape, bool) if inside is None else inside
    walls = np.zeros([2 * n - 1 for n in image.shape], bool)
    walls[::2, 1::2] = (image[:, 1:] != image[:, :-1]) & known[:, 1:] & known[:, :-1]
    walls[1::2, ::2] = (image[1:] != image[:-1]) & known[1:] & known[:-1]
    return walls


def _known(labels: NDArray[np.generic], inside: Mask | None) -> NDArray[np.generic]:
    return labels.ravel() if inside is None else labels[inside]


def _pairs(counts: Real) -> float:
    return float((counts * (counts - 1) / 2).sum())


def _entropy(shares: Real) -> float:
    """Return the entropy of shares that sum to 1, nats."""
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())
