"""Comparison of partitions against closed forms and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics

from napari_physgen.metrics.partition import (
    adjusted_rand,
    contingency,
    largest_share,
    matched,
    mean_matched_iou,
    mean_pairwise_rand,
    normalised_mutual_information,
    wall_f1,
)


def halves(wall: int, size: int = 40, names: tuple[int, int] = (1, 2)) -> np.ndarray:
    """Return a picture (size, size) whose first `wall` columns are one part."""
    return np.where(np.arange(size) < wall, *names) + np.zeros((size, 1), int)


def random_labels(parts: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, parts, (30, 20))


@pytest.mark.parametrize("parts", [(3, 3), (5, 2), (1, 4)])
def test_indices_are_those_of_scikit_learn(parts: tuple[int, int]) -> None:
    first, second = (random_labels(k, seed) for seed, k in enumerate(parts))
    second = np.where(np.arange(30)[:, None] < 12, first, second)
    flat = (second.ravel(), first.ravel())
    rand = sklearn.metrics.adjusted_rand_score(*flat)
    information = sklearn.metrics.normalized_mutual_info_score(*flat)
    assert adjusted_rand(first, second) == pytest.approx(rand, abs=1e-12)
    assert normalised_mutual_information(first, second) == pytest.approx(information, abs=1e-12)


def test_names_of_parts_do_not_matter() -> None:
    truth = random_labels(4, 0)
    renamed = np.array([7, 2, 9, 0])[truth]
    assert adjusted_rand(renamed, truth) == 1
    assert normalised_mutual_information(renamed, truth) == pytest.approx(1)
    assert mean_matched_iou(renamed, truth) == 1
    assert wall_f1(renamed, truth, 0) == 1
    np.testing.assert_array_equal(matched(renamed, truth), truth)


def test_single_parts_agree_and_tell_nothing_about_others() -> None:
    one = np.ones((6, 6), int)
    assert adjusted_rand(one, 5 * one) == 1
    assert normalised_mutual_information(one, one) == 1
    assert adjusted_rand(one, halves(3, 6)) == 0
    assert math.isnan(wall_f1(one, one))
    assert wall_f1(one, halves(3, 6)) == 0


def test_pixels_outside_count_nowhere() -> None:
    truth, found = halves(20), halves(20)
    found[:, 30:] = 9
    inside = np.arange(40) < 30
    inside = np.broadcast_to(inside, truth.shape)
    assert adjusted_rand(found, truth) < 1
    assert adjusted_rand(found, truth, inside) == 1
    assert mean_matched_iou(found, truth, inside) == 1
    assert wall_f1(found, truth, inside=inside) == 1
    assert largest_share(found, inside) == pytest.approx(2 / 3)
    nowhere = np.zeros(truth.shape, bool)
    scores = (adjusted_rand, normalised_mutual_information, mean_matched_iou)
    assert all(math.isnan(score(found, truth, nowhere)) for score in scores)
    assert math.isnan(largest_share(found, nowhere))


def test_overlap_of_shifted_halves_is_the_closed_form() -> None:
    found, truth = halves(24), halves(20)
    assert contingency(found, truth).tolist() == [[800, 160], [0, 640]]
    assert mean_matched_iou(found, truth) == pytest.approx((20 / 24 + 16 / 20) / 2)


def test_a_part_too_many_is_nobody_and_a_part_too_few_scores_nothing() -> None:
    truth = halves(20)
    split = truth.copy()
    split[:5, :20] = 3
    assert mean_matched_iou(split, truth) == pytest.approx((35 / 40 + 1) / 2)
    assert set(np.unique(matched(split, truth))) == {1, 2, 3}
    assert (matched(split, truth)[:5, :20] == 3).all()
    assert mean_matched_iou(truth, split) == pytest.approx((35 / 40 + 1 + 0) / 3)


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_walls_agree_up_to_the_tolerance(shift: int) -> None:
    truth, found = halves(20), halves(20 + shift)
    assert wall_f1(found, truth, shift) == 1
    assert wall_f1(found, truth, shift - 0.1) == 0


def test_walls_on_wide_pixels_are_farther_apart() -> None:
    truth, found = halves(20), halves(21)
    assert wall_f1(found, truth, 1.5, spacing=(1.0, 2.0)) == 0
    assert wall_f1(found.T, truth.T, 1.5, spacing=(1.0, 2.0)) == 1


def test_wall_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    """20 of 40 true points are found; 20 of 50 found ones are true, the others are 0.7 px off."""
    truth, found = halves(20), halves(20)
    found[20:] = 1
    found[:20, 30:] = 1
    precision, recall = 20 / 50, 20 / 40
    expected = 2 * precision * recall / (precision + recall)
    assert wall_f1(found, truth, 0.5) == pytest.approx(expected)


def test_stability_is_the_mean_over_pairs() -> None:
    a, b, c = (random_labels(3, seed) for seed in range(3))
    pairs = [adjusted_rand(a, b), adjusted_rand(a, c), adjusted_rand(b, c)]
    assert mean_pairwise_rand([a, b, c]) == pytest.approx(np.mean(pairs))
    assert mean_pairwise_rand([a, a, a]) == 1
    assert math.isnan(mean_pairwise_rand([a]))
