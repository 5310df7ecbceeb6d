"""Scores of region maps against closed forms."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest

from napari_physgen.errors import UserError
from napari_physgen.regions.evaluate import evaluate


def halves(wall: int, size: int = 40) -> np.ndarray:
    return np.where(np.arange(size) < wall, 1, 2) + np.zeros((size, 1), int)


def test_the_truth_under_other_names_is_perfect() -> None:
    truth = halves(16)
    scores = evaluate(np.array([0, 5, 3])[truth], truth - 1)
    assert astuple(scores)[:6] == pytest.approx((1,) * 6)
    assert scores.largest_share == pytest.approx(24 / 40)


def test_a_longer_wall_has_a_larger_ratio() -> None:
    truth, found = halves(20), halves(20)
    found[:, 30:] = 1
    assert evaluate(found, truth).wall_ratio == pytest.approx(2)


def test_tolerances_are_grid_points_and_four_pixels() -> None:
    truth, found = halves(20), halves(22)
    assert evaluate(found, truth).boundary_f1 == 0
    assert evaluate(found, truth, tolerance=2).boundary_f1 == 1
    assert evaluate(found, truth).boundary_f1_4px == 1
    assert evaluate(found, truth, pixel=4).boundary_f1_4px == 0


def test_points_without_data_or_truth_are_left_out() -> None:
    truth, found = halves(20), halves(20)
    found[:10] = 0
    truth[30:] = 7
    found[30:, :30] = 2
    scores = evaluate(found, truth, unlabelled=7)
    assert (scores.adjusted_rand, scores.wall_ratio, scores.boundary_f1) == (1, 1, 1)
    assert scores.largest_share == 0.5


def test_a_single_region_has_no_wall_to_compare() -> None:
    one = np.ones((8, 8), int)
    scores = evaluate(one, one)
    assert (scores.adjusted_rand, scores.largest_share) == (1, 1)
    assert math.isnan(scores.wall_ratio)
    assert math.isnan(scores.boundary_f1)
    invented = evaluate(halves(4, 8), one)
    assert invented.wall_ratio == math.inf
    assert invented.adjusted_rand == 0


def test_maps_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UserError, match="same size"):
        evaluate(np.ones((4, 4), int), np.ones((4, 5), int))
    with pytest.raises(UserError, match="no labelled pixel"):
        evaluate(np.zeros((4, 4), int), np.ones((4, 4), int))
