"""Walls are where regions are equally probable, as long as they are, and there once."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_physgen.regions.boundaries import Walls, trace_walls

SIDE = 201


def place(shape: tuple[int, int] = (SIDE, SIDE)) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of the pixels, from the middle of the map."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return y - (shape[0] - 1) / 2, x - (shape[1] - 1) / 2


def hard(labels: np.ndarray, regions: int = 0) -> np.ndarray:
    return np.stack([labels == k + 1 for k in range(regions or labels.max())]).astype(np.float32)


def traced(labels: np.ndarray, pixel_nm: tuple[float, float] | None = None) -> Walls:
    labels = labels.astype(np.uint8)
    return trace_walls(hard(labels), labels, pixel_nm)


def sectors(count: int, shape: tuple[int, int] = (SIDE, SIDE)) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and smooth probabilities of regions that meet in one point."""
    y, x = place(shape)
    turn = 2 * math.pi * np.arange(count) / count + 0.2
    along = np.cos(turn)[:, None, None] * (x - 0.3) + np.sin(turn)[:, None, None] * (y + 0.2)
    weight = np.exp(along - along.max(0))
    return (along.argmax(0) + 1).astype(np.uint8), weight / weight.sum(0)


def smooth_regions(side: int, count: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    fields = np.stack(
        [gaussian_filter(rng.standard_normal((side, side)), scale) for _ in range(count)]
    )
    weight = np.exp(3 * fields / fields.std()).astype(np.float32)
    return (fields.argmax(0) + 1).astype(np.uint8), weight / weight.sum(0)


@pytest.mark.parametrize("width", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("angle", np.linspace(0, math.pi, 25))
def test_straight_walls_have_their_length_within_one_percent_at_all_angles(
    angle: float, width: float
) -> None:
    """From frame to frame, of hard labels (`width` 0) too, where the staircase adds up to 8 %."""
    y, x = place()
    across = x * math.cos(angle) + y * math.sin(angle) + 0.137
    labels = np.where(across > 0, 1, 2).astype(np.uint8)
    first = 1 / (1 + np.exp(-across / width)) if width else (across > 0).astype(float)
    walls = trace_walls(np.stack([first, 1 - first]), labels)
    expected = SIDE / max(abs(math.cos(angle)), abs(math.sin(angle)))
    assert len(walls.lines) == 1
    assert not walls.lines[0].closed
    assert walls.length == pytest.approx(expected, rel=0.01)
    points = walls.lines[0].points[6:-6] - (SIDE - 1) / 2
    distance = points @ [math.sin(angle), math.cos(angle)] + 0.137
    assert np.abs(distance).max() < (0.08 if width else 0.4)


@pytest.mark.parametrize(("radius", "within"), [(80.0, 0.01), (20.0, 0.01), (8.0, 0.02)])
def test_disc_of_hard_labels_keeps_its_circumference(radius: float, within: float) -> None:
    y, x = place()
    walls = traced(np.where(np.hypot(y - 0.3, x + 0.4) < radius, 1, 2))
    assert [line.closed for line in walls.lines] == [True]
    assert walls.lines[0].points[0] == pytest.approx(walls.lines[0].points[-1], abs=1e-4)
    assert walls.length == pytest.approx(2 * math.pi * radius, rel=within)
    assert len(walls.junctions) == 0


def test_lengths_are_physical_on_pixels_that_are_not_square() -> None:
    """A circle of 40 nm in pixels of 0.5 x 1 nm is an ellipse on the grid."""
    y, x = place()
    walls = traced(np.where(np.hypot(0.5 * y, x) < 40, 1, 2), (0.5, 1.0))
    assert walls.unit == "nm"
    assert walls.length == pytest.approx(2 * math.pi * 40, rel=0.01)
    assert walls.lines[0].length == pytest.approx(walls.length)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_sectors_meet_in_one_junction_and_every_wall_is_there_once(count: int) -> None:
    labels, probabilities = sectors(count)
    walls = trace_walls(probabilities, labels)
    assert walls.junctions == pytest.approx(np.array([[99.8, 100.3]]), abs=0.7)
    long = [line for line in walls.lines if line.length > 5]
    neighbours = {tuple(sorted((k + 1, (k + 1) % count + 1))) for k in range(count)}
    assert {line.pair for line in long} == neighbours
    assert len(long) == count
    for line in long:
        ends = np.hypot(*(line.points[[0, -1]] - [99.8, 100.3]).T)
        assert ends.min() < 1.5
        assert ends.max() > 95


def test_walls_run_where_the_two_regions_are_equally_probable_within_a_tenth_of_a_pixel() -> None:
    labels, probabilities = smooth_regions(150, 3, 12)
    lead = {
        (a, b): probabilities[a - 1] - probabilities[b - 1] for a, b in ((1, 2), (1, 3), (2, 3))
    }
    distance = []
    for line in trace_walls(probabilities, labels).lines:
        inner = line.points[5:-5].T
        slope = np.hypot(
            *(map_coordinates(part, inner, order=1) for part in np.gradient(lead[line.pair]))
        )
        distance.append(np.abs(map_coordinates(lead[line.pair], inner, order=1)) / slope)
    assert np.quantile(np.concatenate(distance), 0.9) < 0.1


def test_interfaces_add_up_and_name_every_pair_once() -> None:
    labels, probabilities = smooth_regions(150, 4, 12)
    walls = trace_walls(probabilities, labels, (2.0, 2.0))
    pairs = [interface.pair for interface in walls.interfaces]
    assert len(set(pairs)) == len(pairs)
    assert all(a < b for a, b in pairs)
    assert sum(interface.length for interface in walls.interfaces) == pytest.approx(walls.length)
    lengths = [interface.length for interface in walls.interfaces]
    assert lengths == sorted(lengths, reverse=True)
    assert sum(len(interface.lines) for interface in walls.interfaces) == len(walls.lines)
    assert len(walls.junctions) > 3


def test_there_are_no_walls_against_missing_data() -> None:
    y, x = place((90, 120))
    labels = np.where(x > 0, 1, 2)
    labels[np.hypot(y, x) < 20] = 0
    walls = traced(labels)
    assert len(walls.lines) == 2
    assert walls.length == pytest.approx(90 - 40, abs=2)
    assert all(np.abs(line.points[:, 1] - 59.5).max() < 0.6 for line in walls.lines)


def test_map_of_one_region_has_no_walls() -> None:
    walls = traced(np.ones((20, 30), int))
    assert walls.lines == ()
    assert walls.length == 0
    assert walls.junctions.shape == (0, 2)
    vectors, pairs = walls.segments()
    assert vectors.shape == (0, 2, 2)
    assert pairs.shape == (0, 2)


def test_map_without_data_has_no_walls() -> None:
    assert trace_walls(np.zeros((2, 8, 9)), np.zeros((8, 9), np.uint8)).lines == ()


@pytest.mark.parametrize(
    ("likelier", "apart"), [(0.9, {(-1, 1), (1, -1)}), (0.6, {(-1, -1), (1, 1)})]
)
def test_corners_of_the_region_that_is_likelier_in_the_middle_are_joined(
    likelier: float, apart: set[tuple[int, int]]
) -> None:
    """Four quarters, two of each region: walls cut off the corners (`apart`) of the other one."""
    labels = np.array([[1, 1, 2, 2]] * 2 + [[2, 2, 1, 1]] * 2, np.uint8)
    first = np.where(labels == 1, likelier, 0.25)
    walls = trace_walls(np.stack([first, 1 - first]), labels)
    assert len(walls.junctions) == 0
    assert len(walls.lines) == 2
    assert {tuple(np.sign(line.points[[0, -1]].mean(0) - 1.5)) for line in walls.lines} == apart


def test_segments_of_the_vectors_layer_follow_the_lines() -> None:
    labels, probabilities = smooth_regions(80, 3, 10)
    walls = trace_walls(probabilities, labels)
    vectors, pairs = walls.segments()
    assert vectors.dtype == np.float32
    assert len(vectors) == len(pairs) == sum(len(line.points) - 1 for line in walls.lines)
    assert np.hypot(*vectors[:, 1].T).sum() == pytest.approx(walls.length, rel=1e-4)
    assert tuple(pairs[0]) == walls.lines[0].pair


def test_map_of_a_thousand_pixels_a_side_takes_less_than_two_seconds() -> None:
    labels, probabilities = smooth_regions(1024, 6, 20)
    start = time.process_time()
    walls = trace_walls(probabilities, labels)
    assert len(walls.lines) > 500
    assert time.process_time() - start < 2
