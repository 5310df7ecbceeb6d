"""How close labels are to the truth: overlap, contours and sizes.

Arrays are (y, x) or (z, y, x). Masks are boolean; labels are whole numbers, 0 the background.
`inside` is true where the truth is known: other pixels count nowhere. What has no answer (a class
that neither holds) is NaN, never 0 or 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.ndimage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Real = NDArray[np.float64]
    Mask = NDArray[np.bool_]

# Of the picture's diagonal: the usual tolerance of the boundary F1 (Csurka et al. 2013).
TOLERANCE_SHARE = 0.0075


class Overlap(NamedTuple):
    """Numbers of pixels in both masks, in the prediction only, and in the truth only."""

    both: int
    extra: int
    missed: int

    @property
    def iou(self) -> float:
        """Intersection over union (Jaccard index); NaN if both masks are empty."""
        return _ratio(self.both, sum(self))

    @property
    def dice(self) -> float:
        """Twice the intersection over the sum of the areas; NaN if both masks are empty."""
        return _ratio(2 * self.both, 2 * self.both + self.extra + self.missed)


class ContourDistances(NamedTuple):
    """Distance of every contour pixel to the nearest one of the other contour.

    Parameters
    ----------
    to_truth : numpy.ndarray
        (n,), of the predicted contour; infinite where the truth has no contour.
    to_prediction : numpy.ndarray
        (m,), of the true contour; infinite where the prediction has no contour.
    """

    to_truth: Real
    to_prediction: Real

    def f1(self, tolerance: float) -> float:
        """Return the boundary F1, 2 P R / (P + R); see `boundary_f1`."""
        if self.to_truth.size + self.to_prediction.size == 0:
            return float("nan")
        # A contour that lies a whole number of steps away counts as within them.
        limit = tolerance * (1 + 1e-9)
        shares = [float((d <= limit).mean()) if d.size else 0.0 for d in self]
        return 2 * shares[0] * shares[1] / sum(shares) if sum(shares) > 0 else 0.0

    def hausdorff(self, percentile: float = 95) -> float:
        """Return the larger of the two directed percentiles; see `hausdorff`."""
        if min(d.size for d in self) == 0:
            return float("nan") if max(d.size for d in self) == 0 else float("inf")
        return float(max(np.percentile(d, percentile) for d in self))

    def mean(self) -> float:
        """Return the average over the pixels of both contours; see `surface_distance`."""
        return float(np.concatenate(self).mean()) if self.to_truth.size else self.hausdorff()


def overlap(prediction: Mask, truth: Mask, inside: Mask | None = None) -> Overlap:
    """Count the pixels that two masks share and do not share."""
    p, t = _known(prediction, inside), _known(truth, inside)
    both, either, true = (int(np.count_nonzero(m)) for m in (p & t, p | t, t))
    return Overlap(both, either - true, true - both)


def class_overlaps(
    prediction: ArrayLike,
    truth: ArrayLike,
    classes: Iterable[int] | None = None,
    inside: Mask | None = None,
) -> dict[int, Overlap]:
    """Return the overlap of every class by its number, by default of all in either array."""
    p, t = np.asarray(prediction), np.asarray(truth)
    numbers = classes if classes is not None else np.union1d(p, t).tolist()
    return {int(k): overlap(p == k, t == k, inside) for k in numbers}


def mean_iou(overlaps: Iterable[Overlap]) -> float:
    """Return the mean IoU of the classes (the background is one) that either array holds."""
    return nan_mean(o.iou for o in overlaps)


def micro_iou(overlaps: Iterable[Overlap]) -> float:
    """Return the IoU of all classes pooled, with the background: sum tp / sum (tp + fp + fn).

    That of segmentation_models_pytorch, where images of all classes, one channel each, are
    compared as if they were one. Without ignored pixels it is a / (2 - a) for the share a of pixels
    that are right.
    """
    pooled = np.array(list(overlaps)).reshape(-1, 3)
    return _ratio(pooled[:, 0].sum(), pooled.sum())


def contour(mask: Mask, inside: Mask | None = None) -> Mask:
    """Return the inner boundary: pixels of the mask with a neighbour outside of it.

    Neighbours share an edge (4 of them, 6 in 3-D), so that the contour hangs together over
    corners. Neither the picture's frame nor the border to unknown pixels is a contour.
    """
    filled = np.asarray(mask, bool) if inside is None else mask | ~inside
    core = scipy.ndimage.binary_erosion(filled, border_value=1)
    return np.asarray(_known(mask, inside) & ~core)


def contour_distances(
    prediction: Mask,
    truth: Mask,
    *,
    spacing: Sequence[float] | None = None,
    inside: Mask | None = None,
) -> ContourDistances:
    """Measure how far two contours are apart, by exact Euclidean distance transforms.

    Parameters
    ----------
    prediction, truth : numpy.ndarray
        Masks ([z,] y, x).
    spacing : sequence of float, optional
        Distance of neighbouring pixels along every axis, in the unit of the result; default 1.
    inside : numpy.ndarray, optional
        True where the truth is known.
    """
    first, second = contour(prediction, inside), contour(truth, inside)
    return ContourDistances(
        _distance_to(second, spacing)[first], _distance_to(first, spacing)[second]
    )


def default_tolerance(shape: Sequence[int], spacing: Sequence[float] | None = None) -> float:
    """Return 0.75 % of the picture's diagonal, in px or in the unit of the spacing."""
    return TOLERANCE_SHARE * float(np.linalg.norm(np.multiply(shape, spacing or 1.0)))


def boundary_f1(
    prediction: Mask,
    truth: Mask,
    tolerance: float | None = None,
    *,
    spacing: Sequence[float] | None = None,
    inside: Mask | None = None,
) -> float:
    """Return the F1 score of two contours (Csurka et al., BMVC 2013).

    Precision P is the share of the predicted contour (`contour`) that is at most the tolerance
    away from the true one, recall R the share of the true one that near to the predicted one;
    F1 = 2 P R / (P + R). NaN if there is no contour at all, 0 if one of the two is missing.

    Parameters
    ----------
    prediction, truth, spacing, inside
        As in `contour_distances`.
    tolerance : float, optional
        In px or in the unit of the spacing; default 0.75 % of the diagonal, as in MATLAB's bfscore.
    """
    if tolerance is None:
        tolerance = default_tolerance(truth.shape, spacing)
    return contour_distances(prediction, truth, spacing=spacing, inside=inside).f1(tolerance)


def hausdorff(
    prediction: Mask,
    truth: Mask,
    percentile: float = 95,
    *,
    spacing: Sequence[float] | None = None,
    inside: Mask | None = None,
) -> float:
    """Return the symmetric Hausdorff distance: the larger of the two directed percentiles.

    Between contours; at 100 % the largest distance of all. NaN if there is no contour at all,
    infinite if one of the two is missing. Parameters as in `contour_distances`.
    """
    distances = contour_distances(prediction, truth, spacing=spacing, inside=inside)
    return distances.hausdorff(percentile)


def surface_distance(
    prediction: Mask,
    truth: Mask,
    *,
    spacing: Sequence[float] | None = None,
    inside: Mask | None = None,
) -> float:
    """Return the average symmetric surface distance: the mean over the pixels of both contours.

    NaN if there is no contour at all, infinite if one of the two is missing. Parameters as in
    `contour_distances`.
    """
    return contour_distances(prediction, truth, spacing=spacing, inside=inside).mean()


def fraction_error(prediction: Mask, truth: Mask, inside: Mask | None = None) -> float:
    """Return the share of the (known) pixels in the prediction minus that in the truth."""
    _, extra, missed = overlap(prediction, truth, inside)
    return _ratio(extra - missed, truth.size if inside is None else int(inside.sum()))


def size_distance(
    sizes: ArrayLike, true_sizes: ArrayLike, *, weights: tuple[ArrayLike, ArrayLike] | None = None
) -> float:
    """Return the Kolmogorov-Smirnov statistic of two samples: the largest gap of their sums.

    0 for equal distributions, 1 for those that do not overlap or where one sample is empty, NaN
    where both are.

    Parameters
    ----------
    sizes, true_sizes : array
        Equivalent diameters of the particles, one unit.
    weights : tuple of array, optional
        Of every particle in either sample (its area: the distribution of the phase over the sizes);
        default 1 (the distribution of the particles).
    """
    samples = [np.asarray(s, float) for s in (sizes, true_sizes)]
    if min(s.size for s in samples) == 0:
        return float("nan") if max(s.size for s in samples) == 0 else 1.0
    masses = [np.ones_like(s) for s in samples] if weights is None else weights
    at = np.concatenate(samples)
    shares = [_share_up_to(at, s, np.asarray(w)) for s, w in zip(samples, masses, strict=True)]
    return float(np.abs(shares[0] - shares[1]).max())


def median_size_error(sizes: ArrayLike, true_sizes: ArrayLike) -> float:
    """Return how much larger the median is than the true one, relative; NaN without particles."""
    samples = [np.asarray(s, float) for s in (sizes, true_sizes)]
    if min(s.size for s in samples) == 0:
        return float("nan")
    return float(np.median(samples[0]) / np.median(samples[1]) - 1)


def nan_mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are numbers; NaN if none is."""
    numbers = np.array(list(values), float)
    numbers = numbers[~np.isnan(numbers)]
    return float(numbers.mean()) if numbers.size else float("nan")


def _share_up_to(at: Real, sample: Real, weights: Real) -> Real:
    """Return the weighted share of a sample that is at most as large as each of the values."""
    order = np.argsort(sample)
    running = np.concatenate([[0.0], np.cumsum(weights[order])])
    return np.asarray(running[np.searchsorted(sample[order], at, side="right")] / running[-1])


def _distance_to(line: Mask, spacing: Sequence[float] | None) -> Real:
    if not line.any():
        return np.full(line.shape, np.inf)
    return np.asarray(scipy.ndimage.distance_transform_edt(~line, sampling=spacing))


def _known(mask: Mask, inside: Mask | None) -> Mask:
    return np.asarray(mask, bool) if inside is None else np.asarray(mask, bool) & inside


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
