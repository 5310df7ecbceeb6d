"""Evaluation of whole segmentations: closed forms, bad input, and what is said about it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_physgen.errors import UserError
from napari_physgen.io import read_mask
from napari_physgen.segmentation.evaluate import Evaluation, evaluate, mean

if TYPE_CHECKING:
    from pathlib import Path

TRUTH = np.zeros((64, 64), np.uint8)
TRUTH[20:40, 10:30] = 1


def shifted(by: int) -> np.ndarray:
    return np.roll(TRUTH, by, 1)


def classes(seed: int, shape: tuple[int, ...] = (80, 96)) -> np.ndarray:
    """Three classes: matrix, islands, and smaller islands."""
    random = np.random.default_rng(seed)
    large, small = (gaussian_filter(random.standard_normal(shape), s) for s in (4, 2))
    return np.where(large > 0, 1, np.where(small > 0.15, 2, 0))


def same(first: Evaluation, second: Evaluation) -> bool:
    """Whether all figures agree (NaN equals NaN)."""
    return first.to_dict() | {"notes": []} == second.to_dict() | {"notes": []}


def test_a_perfect_segmentation_has_perfect_scores() -> None:
    truth = classes(0)
    found = evaluate(truth, truth, pixel_size_nm=5)
    scores = [found.iou, found.mean_iou, found.micro_iou, found.dice, found.boundary_f1_2px]
    assert scores == [1] * 5
    assert found.iou_per_class == {0: 1, 1: 1, 2: 1} == found.boundary_f1_per_class
    errors = [found.hausdorff95, found.surface_distance, found.fraction_error, found.size_ks]
    assert errors == [0] * 4
    assert found.median_size_error == 0
    assert found.notes == ()


def test_scores_of_a_shifted_square() -> None:
    found = evaluate(shifted(3), TRUTH)
    assert found.iou == pytest.approx(17 / 23)
    assert found.dice == pytest.approx(17 / 20)
    outside = 64**2 - 20 * 23
    assert found.iou_per_class[0] == pytest.approx(outside / (outside + 120))
    assert found.mean_iou == pytest.approx((found.iou + found.iou_per_class[0]) / 2)
    right = 1 - 120 / 64**2
    assert found.micro_iou == pytest.approx(right / (2 - right))
    assert found.hausdorff95 == 3
    assert found.tolerance == pytest.approx(0.0075 * math.hypot(64, 64))
    assert evaluate(shifted(2), TRUTH).boundary_f1_2px == 1
    assert found.boundary_f1_2px < 1
    assert (found.fraction, found.fraction_error, found.size_ks) == (400 / 64**2, 0, 0)


def test_every_class_is_scored_alone() -> None:
    truth, labels = classes(0), classes(0)
    labels[labels == 2] = 0
    found = evaluate(labels, truth)
    assert found.iou_per_class[1] == found.boundary_f1_per_class[1] == 1
    assert found.iou_per_class[2] == found.boundary_f1_2px_per_class[2] == 0
    assert found.iou == pytest.approx((truth == 1).sum() / (truth > 0).sum())
    assert "nothing of class 2" in found.notes[0]


def test_chosen_classes_make_the_foreground() -> None:
    truth, labels = classes(0), classes(1)
    alone = evaluate(labels, truth, classes=(0, 1))
    assert alone.iou == evaluate(labels == 1, truth == 1).iou == alone.iou_per_class[1]
    assert alone.iou_per_class[1] == evaluate(labels, truth).iou_per_class[1]
    assert "class 2" in alone.notes[0]
    absent = evaluate(TRUTH, TRUTH, classes=(0, 1, 2))
    assert math.isnan(absent.iou_per_class[2])
    assert absent.mean_iou == 1


def test_lengths_come_in_nm_where_the_pixel_size_is_known() -> None:
    in_px, in_nm = evaluate(shifted(3), TRUTH), evaluate(shifted(3), TRUTH, pixel_size_nm=4)
    assert in_nm.hausdorff95 == in_px.hausdorff95 == 3
    assert in_nm.median_size == pytest.approx(4 * in_px.median_size)
    assert in_px.median_size == pytest.approx(math.sqrt(4 / math.pi * 400))
    rows = {row.name: row for row in in_nm.rows()}
    assert rows["Hausdorff distance (95 %)"][1:3] == (12, "nm")
    assert rows["median diameter"].unit == "nm"
    assert rows["IoU, class 1"].value == in_nm.iou
    assert rows["fraction"][1:3] == (pytest.approx(100 * 400 / 64**2), "%")
    assert {r.name: r.unit for r in in_px.rows()}["mean distance"] == "px"
    assert all(row.explanation for row in in_nm.rows())
    assert "IoU 0.739" in in_nm.summary


def test_ignored_pixels_count_nowhere() -> None:
    truth = TRUTH.astype(np.int16)
    truth[:, 40:] = -1
    labels = TRUTH.copy()
    labels[5:50, 45:60] = 1
    found = evaluate(labels, truth, ignore=-1)
    assert (found.iou, found.boundary_f1, found.micro_iou, found.fraction_error) == (1, 1, 1, 0)
    assert found.fraction == pytest.approx(400 / (64 * 40))
    assert evaluate(labels, TRUTH).iou < 0.5


def test_stacks_are_scored_plane_by_plane() -> None:
    truth = np.stack([TRUTH, TRUTH, TRUTH])
    labels = np.stack([shifted(k) for k in (0, 2, 4)])
    found = evaluate(labels, truth)
    single = [evaluate(plane, TRUTH) for plane in labels]
    assert found.iou == pytest.approx(np.mean([e.iou for e in single]))
    assert found.hausdorff95 == 2
    assert found.images == 3
    assert same(found, mean(single))
    assert same(found, evaluate(labels[None], truth[None]))
    assert "over 3 images" in found.summary


def test_a_volume_is_scored_as_one() -> None:
    truth, labels = np.zeros((2, 20, 30, 40), np.uint8)
    truth[5:15, 10:20, 10:20] = labels[7:15, 10:20, 10:20] = 1
    found = evaluate(labels, truth, volume=True, pixel_size_nm=(30, 10, 10))
    assert found.iou == pytest.approx(0.8)
    assert found.hausdorff95 == 6  # Pixels along x.
    assert found.true_median_size == pytest.approx((6 / math.pi * 1000 * 3000) ** (1 / 3))
    assert found.images == 1
    planes = evaluate(labels, truth)
    assert planes.images == 20
    assert planes.hausdorff95 == math.inf  # Two planes lack the particle.


def test_the_mean_leaves_out_scores_that_do_not_exist() -> None:
    labels = np.where(classes(0) == 2, 0, classes(0))
    with_two, without = evaluate(classes(0), classes(0)), evaluate(labels, labels)
    assert mean([with_two, without]).iou_per_class == {0: 1, 1: 1, 2: 1}
    empty = evaluate(np.zeros((64, 64), int), np.zeros((64, 64), int))
    assert math.isnan(empty.iou)
    assert mean([empty, evaluate(shifted(3), TRUTH)]).iou == pytest.approx(17 / 23)
    both = mean([evaluate(TRUTH, TRUTH, pixel_size_nm=size) for size in (2, 4)])
    assert (both.pixel_size_nm, both.unit, both.images) == (None, "nm", 2)
    assert both.median_size == pytest.approx(3 * evaluate(TRUTH, TRUTH).median_size)


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (False, True)])
def test_masks_of_any_two_values_are_the_same(values: tuple[int, int]) -> None:
    found = evaluate(shifted(3), np.where(TRUTH, values[1], values[0]))
    assert same(found, evaluate(shifted(3), TRUTH))


def test_more_classes_than_the_truth_has_are_one_foreground() -> None:
    labels = shifted(3).copy()
    labels[30:] *= 2
    found = evaluate(labels, TRUTH)
    assert same(found, evaluate(shifted(3), TRUTH))
    assert "all above 0" in found.notes[0]


def test_numbered_particles_are_one_foreground() -> None:
    numbers = TRUTH * np.arange(64)[:, None]
    found = evaluate(numbers * 10, np.where(TRUTH, np.arange(64 * 64).reshape(64, 64), 0))
    assert found.iou_per_class == {0: 1, 1: 1}
    assert "number particles" in found.notes[0]


def test_a_class_that_the_truth_lacks_counts_as_wrong() -> None:
    truth = classes(0)
    labels = truth.copy()
    labels[:10, :10] = 3
    found = evaluate(labels, truth)
    assert found.iou_per_class[3] == 0
    assert "nothing of class 3" in found.notes[0]


@pytest.mark.parametrize("value", [0, 1])
def test_a_truth_of_one_class_gives_the_scores_that_exist(value: int) -> None:
    found = evaluate(TRUTH, np.full_like(TRUTH, value))
    assert found.iou == pytest.approx(400 / 64**2 if value else 0)
    assert found.boundary_f1 == 0
    assert math.isinf(found.hausdorff95)
    assert f"all {'foreground' if value else 'background'}" in found.notes[-1]
    assert found.fraction_error == pytest.approx(1 - 400 / 64**2 if value else 400 / 64**2)


def test_whole_floats_are_labels() -> None:
    assert same(evaluate(shifted(3).astype(float), TRUTH), evaluate(shifted(3), TRUTH))


def test_scores_are_saved_as_json_without_nan(tmp_path: Path) -> None:
    found = evaluate(TRUTH, np.zeros_like(TRUTH), pixel_size_nm=2)
    found.save(tmp_path / "scores.json")
    read = json.loads((tmp_path / "scores.json").read_text())
    assert read == found.to_dict()
    assert read["hausdorff95"] is None
    assert read["median_size_error"] is None
    assert read["iou_per_class"] == {"0": pytest.approx(1 - 400 / 64**2), "1": 0}
    assert read["notes"] == list(found.notes)
    assert found.metrics["iou"] == 0
    with pytest.raises(UserError, match="folder"):
        found.save(tmp_path / "missing" / "scores.json")


@pytest.mark.parametrize(
    ("labels", "truth", "changes", "words"),
    [
        (TRUTH, TRUTH[:9], {}, "64 x 64 pixels, the truth 9 x 64"),
        (TRUTH, np.zeros((64, 64, 3), int), {}, "no colours"),
        (TRUTH[0], TRUTH[0], {}, "a picture"),
        (TRUTH, TRUTH, {"volume": True}, "a volume"),
        (TRUTH * 0.5, TRUTH, {}, "segmentation must hold one whole number"),
        (TRUTH, np.where(TRUTH, np.nan, 0), {}, "truth must hold .*NaN"),
        (TRUTH, np.full((64, 64), "a"), {}, "whole number"),
        (TRUTH, np.zeros((0, 64)), {}, "no pixels"),
        (TRUTH, TRUTH, {"classes": (0,)}, "above 0"),
        (TRUTH, -1 * TRUTH.astype(int), {}, "negative"),
        (TRUTH, np.zeros_like(TRUTH), {"ignore": 0}, "Every pixel of the truth is 0"),
        (TRUTH, TRUTH, {"pixel_size_nm": -1}, "above 0 nm"),
    ],
    ids=[
        *("shapes", "colours", "line", "no volume", "share", "NaN", "text", "empty", "no class"),
        *("negative", "ignored", "pixel size"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    labels: np.ndarray, truth: np.ndarray, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        evaluate(labels, truth, **changes)


def test_nothing_to_average_is_refused() -> None:
    with pytest.raises(UserError, match="nothing to average"):
        mean([])
    with pytest.raises(UserError, match="do not mix"):
        mean([evaluate(TRUTH, TRUTH), evaluate(TRUTH, TRUTH, pixel_size_nm=2)])


@pytest.mark.data
def test_moving_a_real_truth_by_a_pixel_costs_overlap_but_no_outline(data: Path) -> None:
    truth = read_mask(data / "sem/nasa_super/masks/spot1_0d_0.png")
    found = evaluate(np.roll(truth, 1, 1)[:, 1:], truth[:, 1:])
    assert set(found.iou_per_class) == {0, 1, 2}
    assert found.boundary_f1 == 1
    assert found.boundary_f1_2px == pytest.approx(1, abs=0.001)
    assert found.iou_per_class[2] < found.iou_per_class[1] < 1
    assert found.hausdorff95 == 1
    assert found.fraction_error < 0.005
