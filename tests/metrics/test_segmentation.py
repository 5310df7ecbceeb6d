"""Segmentation metrics against closed forms, brute force, MONAI, SciPy and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_physgen.metrics.segmentation import (
    Overlap,
    boundary_f1,
    class_overlaps,
    contour,
    contour_distances,
    default_tolerance,
    fraction_error,
    hausdorff,
    mean_iou,
    median_size_error,
    micro_iou,
    overlap,
    size_distance,
    surface_distance,
)

SHAPES = [(48, 56), (14, 18, 22)]


def blobs(shape: tuple[int, ...], seed: int, share: float = 0.4) -> np.ndarray:
    """Return random islands that stay clear of the frame (others treat it differently)."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    mask = np.zeros(shape, bool)
    middle = (slice(2, -2),) * len(shape)
    mask[middle] = (field > np.quantile(field, 1 - share))[middle]
    return mask


def square(shift: int, side: int = 20, size: int = 64) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[20 : 20 + side, 10 + shift : 10 + shift + side] = True
    return mask


def brute_force(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Distance of every contour pixel of the first to the nearest one of the second."""
    a, b = (np.argwhere(contour(mask)) for mask in (first, second))
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1).min(1))


@pytest.mark.parametrize("shift", range(6))
def test_iou_and_dice_of_shifted_squares(shift: int) -> None:
    found = overlap(square(shift), square(0))
    assert found.iou == pytest.approx((20 - shift) / (20 + shift))
    assert found.dice == pytest.approx((20 - shift) / 20)


@pytest.mark.parametrize("shift", [1, 3, 6])
def test_shifted_squares_are_their_shift_apart(shift: int) -> None:
    pair = square(shift), square(0)
    assert hausdorff(*pair, 100) == shift
    assert hausdorff(*pair) == shift
    assert boundary_f1(*pair, tolerance=shift) == 1
    assert boundary_f1(*pair, tolerance=shift - 0.01) < 1


@pytest.mark.parametrize("shift", [1, 4])
def test_boundary_f1_of_shifted_edges_steps_from_0_to_1_at_the_shift(shift: int) -> None:
    left, right = (np.tile(np.arange(64) < x, (32, 1)) for x in (20, 20 + shift))
    assert boundary_f1(left, right, tolerance=shift - 0.01) == 0
    assert boundary_f1(left, right, tolerance=shift) == 1
    assert surface_distance(left, right) == shift


def test_boundary_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    truth = np.zeros((40, 80), bool)
    truth[10:20, 10:20] = True
    found = truth.copy()
    found[10:20, 50:60] = True  # A second, wrong particle: half the contour is wrong.
    assert boundary_f1(found, truth, tolerance=2) == pytest.approx(2 * 0.5 / 1.5)
    assert boundary_f1(truth, found, tolerance=2) == pytest.approx(2 * 0.5 / 1.5)


def test_default_tolerance_is_three_quarters_of_a_percent_of_the_diagonal() -> None:
    assert default_tolerance((768, 1024)) == pytest.approx(9.6)
    assert default_tolerance((768, 1024), (2.0, 2.0)) == pytest.approx(19.2)
    shifted = [np.tile(np.arange(400) < x, (300, 1)) for x in (100, 103, 104)]
    assert boundary_f1(shifted[0], shifted[1]) == 1  # 3.75 px
    assert boundary_f1(shifted[0], shifted[2]) == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_are_exact(shape: tuple[int, ...]) -> None:
    first, second = blobs(shape, 1), blobs(shape, 2)
    distances = contour_distances(first, second)
    assert distances.to_truth == pytest.approx(brute_force(first, second))
    assert distances.to_prediction == pytest.approx(brute_force(second, first))


@pytest.mark.parametrize("shape", SHAPES)
def test_monai_agrees(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    from monai import metrics as monai

    first, second = blobs(shape, 1), blobs(shape, 2)
    batch = [torch.from_numpy(np.stack([~m, m])[None].astype(np.float32)) for m in (first, second)]
    found = overlap(first, second)
    assert found.iou == pytest.approx(float(monai.MeanIoU(include_background=False)(*batch)))
    assert found.dice == pytest.approx(float(monai.DiceMetric(include_background=False)(*batch)))
    assert hausdorff(first, second) == pytest.approx(
        float(monai.compute_hausdorff_distance(*batch, percentile=95)), rel=1e-5
    )
    assert surface_distance(first, second) == pytest.approx(
        float(monai.compute_average_surface_distance(*batch, symmetric=True)), rel=1e-5
    )


def test_scikit_image_agrees() -> None:
    from skimage.metrics import hausdorff_distance

    first, second = blobs(SHAPES[0], 1), blobs(SHAPES[0], 2)
    expected = hausdorff_distance(contour(first), contour(second))
    assert hausdorff(first, second, 100) == pytest.approx(expected)


def test_scikit_learn_agrees_on_several_classes() -> None:
    from sklearn.metrics import jaccard_score

    random = np.random.default_rng(0)
    truth = random.integers(0, 4, (50, 60))
    found = np.where(random.random(truth.shape) < 0.7, truth, random.integers(0, 4, truth.shape))
    overlaps = class_overlaps(found, truth)
    expected = jaccard_score(truth.ravel(), found.ravel(), average=None)
    assert [overlaps[k].iou for k in range(4)] == pytest.approx(list(expected))
    assert mean_iou(overlaps.values()) == pytest.approx(expected.mean())
    micro = jaccard_score(truth.ravel(), found.ravel(), average="micro")
    assert micro_iou(overlaps.values()) == pytest.approx(micro)
    right = (truth == found).mean()
    assert micro == pytest.approx(right / (2 - right))


def test_spacing_measures_in_its_unit() -> None:
    first, second = np.zeros((2, 20, 20, 20), bool)
    first[5:15, 5:15, 5:15] = second[7:15, 5:15, 5:15] = True
    assert hausdorff(first, second, 100) == 2
    assert hausdorff(first, second, 100, spacing=(5, 1, 1)) == 10
    assert boundary_f1(first, second, 9.99, spacing=(5, 1, 1)) < 1
    assert boundary_f1(first, second, 10, spacing=(5, 1, 1)) == 1


def test_the_frame_of_the_picture_is_no_contour() -> None:
    mask = np.zeros((30, 40), bool)
    mask[:, :12] = True
    line = np.zeros_like(mask)
    line[:, 11] = True
    assert (contour(mask) == line).all()
    assert not contour(np.ones((5, 5), bool)).any()


def test_a_contour_hangs_together_over_corners() -> None:
    y, x = np.mgrid[-9:10, -9:10]
    disc = y**2 + x**2 <= 49
    inner = contour(disc)
    neighbours = np.pad(disc, 1)
    steps = [(0, 1), (2, 1), (1, 0), (1, 2)]
    outside = np.any([~neighbours[a : a + 19, b : b + 19] for a, b in steps], 0)
    assert (inner == disc & outside).all()


def test_what_has_no_answer_is_nan() -> None:
    empty, some = np.zeros((64, 64), bool), square(0)
    assert math.isnan(overlap(empty, empty).iou)
    assert math.isnan(overlap(empty, empty).dice)
    for score in (boundary_f1, hausdorff, surface_distance):
        assert math.isnan(score(empty, empty))
    for pair in ((empty, some), (some, empty)):
        assert boundary_f1(*pair) == 0
        assert hausdorff(*pair) == surface_distance(*pair) == math.inf
    absent = class_overlaps(some, some, range(3))
    assert math.isnan(absent[2].iou)
    assert mean_iou(absent.values()) == 1
    assert math.isnan(mean_iou([Overlap(0, 0, 0)]))


def test_unknown_pixels_count_nowhere() -> None:
    truth, inside = square(0), np.ones((64, 64), bool)
    inside[:, 40:] = False
    found = truth.copy()
    found[30:50, 40:60] = True
    assert overlap(found, truth, inside).iou == 1
    assert fraction_error(found, truth, inside) == 0
    assert boundary_f1(found, truth, 0, inside=inside) == 1
    inside = np.ones((64, 64), bool)
    inside[:, 15:] = False
    assert not contour(truth, inside)[21:39, 14].any()


def test_fraction_error_has_a_sign() -> None:
    truth, found = square(0, 20), square(0, 10)
    assert fraction_error(found, truth) == pytest.approx((100 - 400) / 64**2)
    assert fraction_error(truth, found) == -fraction_error(found, truth)


def test_size_distance_is_the_kolmogorov_smirnov_statistic() -> None:
    from scipy.stats import ks_2samp

    random = np.random.default_rng(0)
    first, second = random.lognormal(3, 0.3, 80), random.lognormal(3.1, 0.4, 130)
    expected = ks_2samp(first, second).statistic
    assert size_distance(first, second) == pytest.approx(expected)
    # A weight of two is a particle seen twice.
    weights = random.integers(1, 4, 80), random.integers(1, 4, 130)
    repeated = [np.repeat(s, w) for s, w in zip((first, second), weights, strict=True)]
    assert size_distance(first, second, weights=weights) == pytest.approx(
        ks_2samp(*repeated).statistic
    )
    assert size_distance(first, first) == 0
    assert size_distance(first, first + 1000) == 1


def test_sizes_without_particles() -> None:
    assert size_distance([], [3.0]) == 1
    assert math.isnan(size_distance([], []))
    assert math.isnan(median_size_error([], [3.0]))
    assert median_size_error([2, 3, 4], [2, 2, 9]) == pytest.approx(0.5)
