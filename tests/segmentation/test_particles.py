"""Particle tables against drawn discs, ellipses and boxes."""

from __future__ import annotations

import csv
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_physgen.errors import UserError
from napari_physgen.segmentation.particles import particles

if TYPE_CHECKING:
    from pathlib import Path


def turned(
    size: int, angle: float, centre: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across an axis at an angle (deg, from x towards y)."""
    at = centre or (size / 2, size / 2)
    y, x = np.mgrid[:size, :size]
    t = np.radians(angle)
    dy, dx = y - at[0], x - at[1]
    return dx * np.cos(t) + dy * np.sin(t), dy * np.cos(t) - dx * np.sin(t)


def ellipse(size: int, a: float, b: float, angle: float = 0) -> np.ndarray:
    u, v = turned(size, angle)
    return (u / a) ** 2 + (v / b) ** 2 <= 1


def disc(size: int, radius: float, centre: tuple[float, float]) -> np.ndarray:
    return np.hypot(*turned(size, 0, centre)) <= radius


def box(size: int, a: float, b: float, angle: float) -> np.ndarray:
    u, v = turned(size, angle)
    return (abs(u) <= a) & (abs(v) <= b)


@pytest.mark.parametrize("angle", [-75, -30, 0, 20, 45, 89])
def test_an_ellipse_is_measured(angle: float) -> None:
    table = particles(ellipse(200, 60, 20, angle)).table
    assert table["area_px2"] == pytest.approx([np.pi * 1200], rel=0.01)
    assert table["equivalent_diameter_px"] == pytest.approx([np.sqrt(4 * 1200)], rel=0.005)
    assert table["long_axis_px"] == pytest.approx([120], rel=0.01)
    assert table["short_axis_px"] == pytest.approx([40], rel=0.01)
    assert table["aspect"] == pytest.approx([3], rel=0.01)
    assert table["orientation_deg"] == pytest.approx([angle], abs=0.5)
    assert [table["centroid_y_px"][0], table["centroid_x_px"][0]] == pytest.approx([100, 100])


def test_scikit_image_measures_the_same() -> None:
    from skimage.measure import regionprops_table

    field = gaussian_filter(np.random.default_rng(0).standard_normal((200, 240)), 4)
    found = particles(field > 0.02, separate="touching", smallest=1)
    names = ("area", "axis_major_length", "axis_minor_length", "orientation", "centroid")
    expected = regionprops_table(found.instances, properties=names)
    table = found.table
    assert len(found) > 20
    assert table["area_px2"] == pytest.approx(expected["area"])
    # Its pixels are points, ours small squares.
    for ours, theirs in (("long", "major"), ("short", "minor")):
        with_squares = np.sqrt(expected[f"axis_{theirs}_length"] ** 2 + 16 / 12)
        assert table[f"{ours}_axis_px"] == pytest.approx(with_squares)
    assert table["centroid_y_px"] == pytest.approx(expected["centroid-0"])
    assert table["centroid_x_px"] == pytest.approx(expected["centroid-1"])
    # Theirs is counted from y towards x.
    difference = np.asarray(table["orientation_deg"]) + np.degrees(expected["orientation"]) - 90
    clear = np.asarray(table["aspect"]) > 1.05
    assert np.sin(np.radians(difference[clear])) == pytest.approx(0, abs=1e-6)


def test_lengths_are_in_nm_where_the_pixel_size_is_known() -> None:
    mask = ellipse(100, 30, 10)
    in_px, in_nm = particles(mask).table, particles(mask, pixel_size_nm=5).table
    assert in_nm["area_nm2"] == pytest.approx(25 * in_px["area_px2"])
    for name in ("equivalent_diameter", "long_axis", "short_axis", "centroid_x"):
        assert in_nm[f"{name}_nm"] == pytest.approx(5 * in_px[f"{name}_px"])
    assert in_nm["aspect"] == pytest.approx(in_px["aspect"])
    stretched = particles(mask, pixel_size_nm=(15, 5)).table
    assert stretched["aspect"] == pytest.approx([1], rel=0.02)


@pytest.mark.parametrize("radius", [8, 12, 25])
@pytest.mark.parametrize("angle", [0, 30, 45])
def test_two_overlapping_discs_are_split_once(radius: float, angle: float) -> None:
    step = 0.85 * radius * np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    pair = disc(128, radius, tuple(64 - step)) | disc(128, radius, tuple(64 + step))
    assert len(particles(pair, separate="touching")) == 1
    found = particles(pair)
    assert len(found) == 2
    assert found.table["area_px2"] == pytest.approx([pair.sum() / 2] * 2, rel=0.06)
    assert (found.instances > 0).sum() == pair.sum()


@pytest.mark.parametrize("angle", range(0, 91, 15))
def test_squares_and_rafts_stay_whole(angle: int) -> None:
    for a, b in ((4, 4), (7, 7), (15, 15), (30, 30), (12, 4), (40, 8)):
        assert len(particles(box(128, a, b, angle))) == 1


@pytest.mark.parametrize("neck", [0.05, 0.5, 0.8, 1.0])
def test_cutting_only_refines_what_hangs_together(neck: float) -> None:
    mask = gaussian_filter(np.random.default_rng(1).standard_normal((150, 150)), 3) > 0
    parts = particles(mask, separate="touching", smallest=1).instances
    cut = particles(mask, neck=neck, smallest=1).instances
    assert ((cut > 0) == mask).all()
    pairs = np.unique(np.stack([cut[mask], parts[mask]]), axis=1)
    assert pairs.shape[1] == cut.max() >= parts.max()


def test_a_narrower_neck_is_asked_of_a_smaller_number() -> None:
    mask = gaussian_filter(np.random.default_rng(1).standard_normal((200, 200)), 3) > 0
    counts = [len(particles(mask, neck=neck)) for neck in (0.3, 0.6, 0.9)]
    assert counts[0] < counts[1] < counts[2]


def test_splitting_does_not_depend_on_the_scale() -> None:
    for radius in (10, 20, 40):
        pairs = [
            disc(256, radius, (128, 100)) | disc(256, radius, (128, 100 + apart * radius))
            for apart in (1.0, 1.75)
        ]
        assert [len(particles(pair)) for pair in pairs] == [1, 2]


def test_particles_of_different_classes_never_join() -> None:
    labels = np.zeros((60, 60), np.uint8)
    labels[10:30, 10:30], labels[10:30, 30:50], labels[40:50, 40:50] = 1, 2, 2
    found = particles(labels)
    assert found.table["class"].tolist() == [1, 2, 2]
    assert found.table["area_px2"].tolist() == [400, 400, 100]
    assert len(particles(labels, classes=(2,))) == 2
    assert not particles(labels, classes=(2,)).instances[labels == 1].any()


def test_the_table_follows_the_numbers_in_the_picture() -> None:
    mask = gaussian_filter(np.random.default_rng(2).standard_normal((150, 150)), 3) > 0.03
    found = particles(mask)
    numbers = np.unique(found.instances)
    assert numbers.tolist() == [0, *found.table["index"]]
    assert np.bincount(found.instances.ravel())[1:].tolist() == found.table["area_px2"].tolist()
    assert {len(column) for column in found.table.values()} == {len(found)}
    (output,) = found.outputs()
    assert (output.kind, output.axes, output.data.dtype) == ("labels", ("y", "x"), np.uint32)


def test_specks_and_particles_at_the_edge_can_be_dropped() -> None:
    mask = np.zeros((60, 60), bool)
    mask[0:10, 20:30] = mask[30:40, 30:40] = mask[50, 50:53] = True
    found = particles(mask)
    assert len(found) == 2
    assert found.table["touches_edge"].tolist() == [True, False]
    assert len(particles(mask, smallest=3)) == 3
    whole = particles(mask, edge=False)
    assert whole.table["area_px2"].tolist() == [100]
    assert not whole.instances[:10].any()


def test_histograms_weigh_by_number_and_by_area_and_leave_out_the_edge() -> None:
    mask = np.zeros((200, 200), bool)
    for x in (20, 50, 80):
        mask |= disc(200, 5, (30, x))
    mask |= disc(200, 20, (120, 100)) | disc(200, 20, (199, 30))
    found = particles(mask, pixel_size_nm=2)
    sizes = found.histogram(bins=[0, 40, 100])
    assert sizes.unit == "nm"
    assert sizes.number == pytest.approx([0.75, 0.25])
    assert sizes.area == pytest.approx([75 / 475, 400 / 475], abs=0.01)
    assert found.diameters == pytest.approx([20, 20, 20, 80], rel=0.02)
    assert found.metrics["median_diameter_nm"] == pytest.approx(20, rel=0.02)
    assert found.metrics["area_weighted_diameter_nm"] == pytest.approx(80, rel=0.02)
    assert found.histogram().number.sum() == pytest.approx(1)
    assert "5 particles (1 cut by the edge)" in found.summary


def test_no_particles_are_an_empty_table() -> None:
    found = particles(np.zeros((20, 20), np.uint8))
    assert len(found) == 0
    assert all(len(column) == 0 for column in found.table.values())
    assert found.histogram().number.sum() == 0
    assert found.summary == "No particles."
    assert len(particles(np.ones((20, 20), np.uint8))) == 1


def test_a_ball_and_an_ellipsoid_in_a_volume() -> None:
    z, y, x = np.mgrid[:44, :60, :90].astype(float)
    lying = ((z - 22) / 8) ** 2 + ((y - 30) / 20) ** 2 + ((x - 30) / 10) ** 2 <= 1
    ball = (z - 22) ** 2 + (y - 30) ** 2 + (x - 70) ** 2 <= 15**2
    found = particles(lying | ball, pixel_size_nm=3)
    table = found.table
    assert table["volume_nm3"] == pytest.approx(
        27 * 4 / 3 * np.pi * np.array([15**3, 1600]), rel=0.01
    )
    assert table["equivalent_diameter_nm"][0] == pytest.approx(90, rel=0.01)
    assert table["aspect"] == pytest.approx([1, 2.5], rel=0.02)
    assert abs(table["orientation_deg"][1]) == pytest.approx(90)
    assert table["elevation_deg"][1] == pytest.approx(0, abs=1e-6)
    assert table["centroid_z_nm"] == pytest.approx([66, 66])
    assert found.outputs()[0].axes == ("z", "y", "x")
    flat = particles(ball, pixel_size_nm=(1, 3, 3)).table
    assert flat["aspect"] == pytest.approx([3], rel=0.02)


def test_a_long_axis_out_of_the_plane_has_an_elevation() -> None:
    z, y, x = np.mgrid[:61, :41, :61] - np.array([30, 20, 30])[:, None, None, None]
    for angle in (-60, 30):
        t = np.radians(angle)
        along, across = x * np.cos(t) + z * np.sin(t), z * np.cos(t) - x * np.sin(t)
        needle = (along / 25) ** 2 + (across / 7) ** 2 + (y / 7) ** 2 <= 1
        assert particles(needle).table["elevation_deg"] == pytest.approx([angle], abs=0.5)


def test_touching_balls_are_split_in_a_volume() -> None:
    z, y, x = np.mgrid[:32, :32, :52] - np.array([16, 16, 0])[:, None, None, None]
    pair = (z**2 + y**2 + (x - 16) ** 2 <= 100) | (z**2 + y**2 + (x - 34) ** 2 <= 100)
    assert len(particles(pair, separate="touching")) == 1
    assert len(particles(pair)) == 2


def test_labels_that_number_particles_are_taken_as_they_are() -> None:
    numbers = np.zeros((40, 40), np.uint32)
    numbers[5:15, 5:15], numbers[15:25, 5:15], numbers[30:32, 30:31] = 7, 900, 12
    found = particles(numbers, separate="numbered")
    assert found.table["area_px2"].tolist() == [100, 100]
    assert found.table["index"].tolist() == [1, 2]
    grains = np.repeat(np.arange(1, 5), 10)[:, None] * np.ones((1, 9), int)
    assert len(particles(grains, separate="numbered")) == 4


def test_the_table_is_saved_as_csv(tmp_path: Path) -> None:
    found = particles(ellipse(60, 20, 10), pixel_size_nm=2)
    found.save_csv(tmp_path / "particles.csv")
    with (tmp_path / "particles.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == list(found.table)
    assert float(row["area_nm2"]) == found.table["area_nm2"][0]
    assert (row["index"], row["touches_edge"]) == ("1", "False")
    with pytest.raises(UserError, match="folder"):
        found.save_csv(tmp_path / "missing" / "particles.csv")


def test_thousands_of_particles_take_seconds() -> None:
    """2 s of processor time were asked for 1024^2 pixels with 2000 particles."""
    y, x = np.mgrid[:1024, :1024]
    mask = np.hypot(y % 23 - 11.5, x % 23 - 11.5) < 9 + 2.9 * ((y // 23 + x // 23) % 2)
    particles(mask[:64, :64])
    start = time.process_time()
    found = particles(mask)
    assert len(found) > 1900
    assert time.process_time() - start < 4


@pytest.mark.parametrize(
    ("labels", "changes", "words"),
    [
        (np.full((9, 9), 0.5), {}, "whole number"),
        (np.full((9, 9), np.nan), {}, "NaN"),
        (np.zeros((0, 9)), {}, "no pixels"),
        (np.zeros((2, 2, 9, 9), int), {}, "time point"),
        (np.arange(81).reshape(9, 9), {}, "numbered"),
        (np.ones((9, 9), int), {"pixel_size_nm": 0}, "above 0 nm"),
        (np.ones((9, 9), int), {"pixel_size_nm": (1, 2, 3)}, "2 axes"),
        (np.ones((9, 9), int), {"separate": "guess"}, "watershed"),
        (np.ones((9, 9), int), {"separate": "numbered", "classes": (1,)}, "no classes"),
    ],
    ids=["share", "NaN", "empty", "4-D", "numbers", "size", "sizes", "separation", "classes"],
)
def test_labels_that_cannot_be_counted_are_refused(
    labels: np.ndarray, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        particles(labels, **changes)
