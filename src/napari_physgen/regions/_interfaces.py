"""Whether a wall between two regions is a step, or a line drawn across a slow change.

Along the direction in which two regions differ most (Fisher), the nodes not far from the wall, but
beyond the reach of the window, are compared with the regions as a whole: across a step, a blurred
one as well, they differ as much (1), across a ramp much less (about 0.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_physgen.physics.wall_edges import label_length

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features

_NEAR, _FAR = 0.5, 1.25  # windows from the wall
_SHALLOW, _DEEP = 0.1, 0.3  # of the depth of a region, where that is more
_WAVES = 4
_SECOND = 0.2  # of the walls of a region
_LEAST_NODES = 6
_LEAST_LENGTH = 4.0  # grid steps


@dataclass(frozen=True)
class Step:
    """How two regions that touch differ at their wall.

    Parameters
    ----------
    pair : (int, int)
        Regions from 0 on.
    length : float
        Of their wall, grid steps.
    jump : float
        Difference next to the wall, as a fraction of the difference of the regions.
    """

    pair: tuple[int, int]
    length: float
    jump: float


def steps(features: Features, labels: NDArray[np.integer]) -> list[Step]:
    """Return how all pairs of regions that touch differ at their walls."""
    found = []
    regions = np.unique(labels[features.valid])
    for i, first in enumerate(regions):
        for second in regions[i + 1 :]:
            one = (labels == first) & features.valid
            other = (labels == second) & features.valid
            sides = np.where(one, 0, 1)
            length = label_length(sides, features.spacing, one | other)
            if length < _LEAST_LENGTH:
                continue
            jump = _jump(features, one, other)
            if jump is not None:
                found.append(Step((int(first), int(second)), length, jump))
    return found


def widths(features: Features, labels: NDArray[np.integer], regions: int) -> list[float]:
    """Return the mean width of each region, grid steps; 0 for an empty one."""
    found = []
    for region in range(regions):
        inside = (labels == region) & features.valid
        edge = label_length(inside.astype(np.int8), features.spacing, features.valid)
        found.append(2 * float(inside.sum()) / max(edge, 1.0))
    return found


def lies_between(features: Features, labels: NDArray[np.integer], region: int) -> bool:
    """Whether a region has two others at its sides, as mixed pixels at their wall would."""
    lengths = []
    for other in np.unique(labels[features.valid]):
        if other != region:
            either = ((labels == region) | (labels == other)) & features.valid
            sides = np.where(labels == region, 0, 1)
            lengths.append(label_length(sides, features.spacing, either))
    second = sorted(lengths)[-2] if len(lengths) > 1 else 0.0
    return second > _SECOND * sum(lengths)


def smoothness(features: Features, labels: NDArray[np.integer]) -> float:
    """Return how well two regions are explained as one that changes slowly across the scan.

    For every pair, touching or not: the scatter about a smooth surface (cosines of up to one and a
    half periods), over the scatter within the two regions. Below 1 the surface says more than the
    regions do.

    Returns
    -------
    float
        The smallest ratio of all pairs; infinite where there is no pair.
    """
    ratios = [np.inf]
    regions = np.unique(labels[features.valid])
    for i, first in enumerate(regions):
        for second in regions[i + 1 :]:
            one = (labels == first) & features.valid
            other = (labels == second) & features.valid
            if min(one.sum(), other.sum()) > 2 * _WAVES**2:
                ratios.append(_surface(features, one, other))
    return float(min(ratios))


def _surface(features: Features, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    score, weight = _scores(features, one, other)
    both = one | other
    height, width = features.shape
    waves_y, waves_x = (
        np.cos(np.pi * np.arange(_WAVES)[:, None] * (np.arange(n) + 0.5) / n)
        for n in (height, width)
    )
    terms = np.einsum("iy,jx->ijyx", waves_y, waves_x).reshape(-1, height, width)[:, both].T
    root = np.sqrt(weight[both])
    values = score[both]
    found, *_ = np.linalg.lstsq(terms * root[:, None], values * root, rcond=None)
    rest = values - terms @ found
    within = np.empty_like(values)
    for side in (one[both], other[both]):
        mean = np.average(values[side], weights=np.maximum(weight[both][side], 1e-12))
        within[side] = values[side] - mean
    return float((root**2 @ rest**2) / max(float(root**2 @ within**2), 1e-30))


def _jump(features: Features, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    reach = features.window / features.step[0] if features.window > features.step[0] else 2.0
    score, weight = _scores(features, one, other)
    near, whole = [], []
    for side, opposite in ((one, other), (other, one)):
        distance = distance_transform_edt(~opposite)
        depth = float(np.percentile(distance[side], 95))
        nearest, farthest = max(_NEAR * reach, _SHALLOW * depth), max(_FAR * reach, _DEEP * depth)
        band = side & (distance >= nearest) & (distance < farthest)
        if band.sum() < _LEAST_NODES or weight[band].sum() == 0:
            return None
        near.append(np.average(score[band], weights=weight[band]))
        whole.append(np.average(score[side], weights=weight[side]))
    difference = whole[0] - whole[1]
    return float((near[0] - near[1]) / difference) if difference else None


def _scores(
    features: Features, one: NDArray[np.bool_], other: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where each node is between two regions (y, x), and the weight of that."""
    first, second = features.values[:, one], features.values[:, other]
    if features.family == "counts":
        counted = [part.sum(1) + 0.5 for part in (first, second)]
        direction = np.log(counted[0] / counted[0].sum()) - np.log(counted[1] / counted[1].sum())
        total = features.values.sum(0).astype(np.float64)
        return np.tensordot(direction, features.values, 1) / np.maximum(total, 1), total
    means = [part.mean(1, keepdims=True) for part in (first, second)]
    rest = np.concatenate([first - means[0], second - means[1]], 1).astype(np.float64)
    covariance = rest @ rest.T / rest.shape[1]
    covariance += 1e-3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    direction = np.linalg.solve(covariance, (means[0] - means[1])[:, 0])
    return np.tensordot(direction, features.values, 1), np.ones(features.shape)
