"""A layer is read as its labels and sizes say, and what does not fit is said in words."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
from napari.layers import Image

from napari_physgen.app.frame_counts import guess_layout
from napari_physgen.app.frames import find_frames, read_frames
from napari_physgen.app.inputs import axis_names, is_grey, pixel_size_nm, pixels, visible_region
from napari_physgen.errors import UserError

NOISE = np.random.default_rng(0).poisson(9, (15, 64, 72)).astype(np.uint16)


def layer(shape=(9, 64, 64), labels=None, **arguments):
    return Image(np.zeros(shape, np.uint16), name="cell", axis_labels=labels, **arguments)


@pytest.mark.parametrize(
    ("shape", "labels", "layout", "words"),
    [
        ((9, 64, 64), None, (3, 3), "9 frames = 3 angles x 3 phases, order found from the data"),
        ((3, 5, 64, 64), None, (3, 5), "15 frames = 3 angles x 5 phases, angle slowest"),
        ((5, 3, 64, 64), None, (3, 5), "15 frames = 3 angles x 5 phases, phase slowest"),
        (
            (3, 3, 64, 64),
            ("phase", "angle", "y", "x"),
            (3, 3),
            "9 frames = 3 angles x 3 phases, phase slowest",
        ),
        (
            (3, 3, 64, 64),
            ("A", "P", "Y", "X"),
            (3, 3),
            "9 frames = 3 angles x 3 phases, angle slowest",
        ),
        (
            (4, 9, 64, 64),
            ("t", "frame", "y", "x"),
            (3, 3),
            "9 frames = 3 angles x 3 phases, order found from the data; "
            "time 1 of 4 (the one shown)",
        ),
        (
            (9, 9, 64, 64),
            ("frame", "z", "y", "x"),
            (3, 3),
            "9 frames = 3 angles x 3 phases, order found from the data; z 1 of 9 (the one shown)",
        ),
    ],
)
def test_the_reading_of_a_stack_is_said_in_words(shape, labels, layout, words):
    assert find_frames(layer(shape, labels), *layout).words == words


def test_a_stack_of_z_planes_is_taken_as_frames_and_that_is_said():
    found = find_frames(layer((9, 64, 64), ("z", "y", "x")), 3, 3, "angle-phase")
    assert found.words == "9 frames = 3 angles x 3 phases (read from the z planes), angle slowest"


def test_the_order_given_by_the_user_counts_where_the_layer_is_silent():
    assert find_frames(layer(), 3, 3, "phase-angle").order == "phase-angle"


def test_along_further_axes_the_shown_position_is_read():
    movie = np.stack([NOISE[:9], NOISE[:9] + 7, NOISE[:9] + 40])
    image = Image(movie, scale=(2, 1, 1, 1), translate=(10, 0, 0, 0))
    found = find_frames(image, 3, 3, point=(12.1, 0, 0, 0))
    np.testing.assert_array_equal(read_frames(image, found), movie[1])


def test_separate_angle_and_phase_axes_are_joined_in_stored_order():
    image = Image(NOISE.reshape(3, 5, 64, 72))
    np.testing.assert_array_equal(read_frames(image, find_frames(image, 3, 5)), NOISE)


def test_only_the_needed_part_of_a_lazy_stack_is_read():
    read = set()

    def block(block_info=None):
        read.add(block_info[None]["chunk-location"][0])
        return np.ones((1, 9, 64, 64), np.uint16)

    lazy = dask.array.map_blocks(
        block, chunks=((1,) * 4, (9,), (64,), (64,)), dtype=np.uint16, meta=np.empty(0, np.uint16)
    )
    image = Image(lazy, contrast_limits=(0, 1), multiscale=False, cache=False)
    read.clear()  # napari read the first time point for its thumbnail
    found = find_frames(image, 3, 3, point=(2, 0, 0, 0))
    assert not read
    assert read_frames(image, found).shape == (9, 64, 64)
    assert read == {2}


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (Image(np.zeros((64, 64, 3), np.uint8), rgb=True, name="photo"), "colour .RGB. picture"),
        (Image(np.zeros((9, 64, 64), bool), name="mask"), "yes and no"),
        (Image(np.zeros((64, 64)), name="one"), "'one' is a single image"),
        (
            Image(np.zeros((15, 64, 64)), name="cell"),
            "'cell' has 15 frames, but 3 angles x 3 phases are 9 frames: "
            "set 3 angles x 5 phases or 5 angles x 3 phases",
        ),
        (Image(np.zeros((8, 64, 64)), name="cell"), "set 2 angles x 4 phases"),
        (Image(np.zeros((7, 64, 64)), name="cell"), "no other layout fits 7"),
    ],
)
def test_a_layer_that_is_no_raw_stack_gets_a_sentence(image, sentence):
    with pytest.raises(UserError, match=sentence):
        find_frames(image, 3, 3)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (np.full((9, 64, 64), np.nan), "NaN"),
        (np.zeros((9, 40, 64)), "40 x 64 pixels: at least 64 x 64"),
    ],
)
def test_pixels_that_are_no_intensities_get_a_sentence(data, sentence):
    image = Image(data, contrast_limits=(0, 1))
    with pytest.raises(UserError, match=sentence):
        read_frames(image, find_frames(image, 3, 3))


@pytest.mark.parametrize(
    ("unit", "scale", "nanometres"),
    [("um", 0.08667, 86.67), ("nm", 65, 65), ("mm", 6.5e-5, 65), ("pixel", 1, None)],
)
def test_the_pixel_size_is_read_in_any_unit_of_length(unit, scale, nanometres):
    image = layer(scale=(1, scale, scale), units=("pixel", unit, unit))
    assert pixel_size_nm(image) == nanometres


def test_pixels_that_are_not_square_get_a_sentence():
    with pytest.raises(UserError, match="80 x 65 nm: they must be square"):
        pixel_size_nm(layer(scale=(1, 0.08, 0.065), units=("pixel", "um", "um")))


def test_default_labels_are_no_names():
    assert axis_names(layer((2, 9, 64, 64))) == ("", "", "y", "x")
    assert axis_names(layer((9, 64, 64), ("T", "Y", "X"))) == ("time", "y", "x")


@pytest.mark.parametrize(
    ("shape", "labels", "layout"),
    [
        ((5, 3, 64, 64), ("phase", "angle", "y", "x"), (3, 5)),
        ((15, 64, 64), None, (3, 5)),
        ((9, 64, 64), None, (3, 3)),
        ((7, 64, 64), None, None),
        ((64, 64), None, None),
    ],
)
def test_the_layer_itself_suggests_angles_and_phases(shape, labels, layout):
    assert guess_layout(layer(shape, labels)) == layout


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ([[0, 0], [0, 0]], ((0, 0), (256, 256))),  # never drawn: the middle
        ([[100, 200], [163, 299]], None),
        ([[-50, -50], [30, 2000]], None),
        ([[-50, -50], [2000, 2000]], None),
    ],
)
def test_the_visible_region_lies_inside_and_is_quick_to_compute(corners, expected):
    image = layer((9, 512, 600))
    image.corner_pixels = np.array([[0, *corners[0]], [8, *corners[1]]])
    region = visible_region(image)
    for cut, length in zip(region, (512, 600), strict=True):
        assert 0 <= cut.start < cut.stop <= length
        assert 64 <= cut.stop - cut.start <= 256
        assert (cut.stop - cut.start) % 8 == 0
    if expected:
        assert tuple(cut.stop - cut.start for cut in region) == expected[1]


def test_the_visible_region_follows_the_view():
    image = layer((9, 512, 600))
    image.corner_pixels = np.array([[0, 100, 200], [8, 179, 327]])
    assert visible_region(image) == (slice(100, 180), slice(200, 328))


def test_a_picture_painted_in_one_hue_counts_as_grey():
    grey = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    yellow = Image(np.dstack([grey, grey, 0 * grey]), rgb=True, name="nuclei")
    assert is_grey(yellow)
    np.testing.assert_array_equal(pixels(yellow), grey)
    assert not is_grey(Image(np.dstack([grey, grey.T, grey]), rgb=True, name="photo"))
