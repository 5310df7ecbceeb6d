"""Info bars, frames and annotations are found, and nothing is found in plain micrographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_bars import (
    Box,
    as_jpeg,
    dark_table,
    dotted_strip,
    label_box,
    micrograph,
    scale_bar,
    smaller,
    two_colours,
    white_strip,
)
from scipy.ndimage import gaussian_filter
from skimage.io import imread

from napari_physgen.segmentation._banner import find_banner

Draw = Callable[[np.ndarray], np.ndarray]
STRIPS = (dark_table, white_strip, dotted_strip, two_colours)
STORED: dict[str, tuple[Draw, float]] = {
    "as it is": (lambda picture: picture, 1.0),
    "JPEG 90": (lambda picture: as_jpeg(picture, 90), 1.0),
    "JPEG 75": (lambda picture: as_jpeg(picture, 75), 1.0),
    "made smaller": (lambda picture: smaller(picture, 0.7), 0.7),
}


def nothing(picture: np.ndarray) -> bool:
    found = find_banner(picture)
    return not found.cut and not found.rectangles


def covers(found: tuple[Box, ...], wanted: Box, slack: float = 2) -> bool:
    return any(
        box[0] <= wanted[0] + slack
        and box[1] >= wanted[1] - slack
        and box[2] <= wanted[2] + slack
        and box[3] >= wanted[3] - slack
        for box in found
    )


@pytest.mark.parametrize("draw", STRIPS)
@pytest.mark.parametrize("stored", STORED)
def test_info_bars_of_any_style_are_cut_off_at_their_first_row(draw: Draw, stored: str) -> None:
    store, zoom = STORED[stored]
    for shape in ((384, 512), (701, 900)):
        found = find_banner(store(draw(micrograph(shape))))
        wanted = (0, zoom * shape[0], 0, zoom * shape[1])
        assert found.box == pytest.approx(wanted, abs=2.5)
        assert found.rectangles == ()


@pytest.mark.parametrize("draw", STRIPS)
def test_a_bar_at_the_top_and_a_frame_around_everything_are_cut_off(draw: Draw) -> None:
    picture = micrograph()
    below = draw(picture)
    bar = below[len(picture) :]
    found = find_banner(np.pad(np.concatenate([bar, picture]), 5, constant_values=255))
    assert found.cut == {"top": 5 + len(bar), "bottom": 5, "left": 5, "right": 5}


def test_a_bar_is_found_in_16_bits_and_in_floats() -> None:
    drawn = dark_table(micrograph())
    for other in (drawn.astype(np.uint16) * 257, drawn.astype(np.float32) / 255 - 3):
        assert find_banner(other).box == (0, 384, 0, 512)


def test_a_grey_bar_is_found_under_a_picture_of_the_same_grey() -> None:
    assert find_banner(dark_table(micrograph(), level=115)).box == (0, 384, 0, 512)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize(
    ("ink", "caps"), [(255, False), (0, False), (255, True)], ids=["white", "black", "with caps"]
)
def test_scale_bars_and_their_text_are_found(stored: str, ink: int, caps: bool) -> None:
    store, zoom = STORED[stored]
    drawn, place = scale_bar(micrograph((480, 640)), ink, caps)
    found = find_banner(store(drawn))
    y0, y1, x0, x1 = (zoom * edge for edge in place)
    assert not found.cut
    assert covers(found.rectangles, (y0, y1, x0, x1))  # type: ignore[arg-type]
    assert sum((b - a) * (d - c) for a, b, c, d in found.rectangles) < 0.06 * found.box[1] ** 2


@pytest.mark.parametrize("stored", STORED)
def test_a_label_box_is_found_whole(stored: str) -> None:
    store, zoom = STORED[stored]
    drawn, place = label_box(micrograph((480, 640)))
    found = find_banner(store(drawn))
    y0, y1, x0, x1 = (zoom * edge for edge in place)
    assert not found.cut
    assert covers(found.rectangles, (y0, y1, x0, x1), slack=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(8))
def test_pores_and_bright_inclusions_are_no_annotations(seed: int) -> None:
    picture = micrograph(seed=seed)
    assert nothing(picture)
    assert nothing(np.clip(2.0 * picture - 100, 0, 255))
    assert nothing(gaussian_filter(picture.astype(float), 1.5))


def test_pictures_without_noise_are_left_alone() -> None:
    """Two grey levels and no noise, as simulations are: discs, upright squares, layers."""
    y, x = np.indices((256, 256))
    discs = ((y % 64 - 32) ** 2 + (x % 64 - 32) ** 2 < 400).astype(float)
    squares = ((y % 40 < 30) & (x % 40 < 30)).astype(float)
    denuded = discs * (y < 220)
    waves = (np.sin(x / 9 + 2 * np.sin(y / 23)) + np.sin(y / 11) > 0.3).astype(float)
    for picture in (discs, squares, waves, waves.T):
        assert nothing(picture)
        assert nothing(gaussian_filter(picture, 1))
    assert nothing(denuded)


def test_a_noisy_layer_with_a_straight_edge_is_no_bar() -> None:
    random = np.random.default_rng(0)
    picture = micrograph().astype(float)
    for noise in (1.0, 3.0, 10.0):
        layer = picture.copy()
        layer[-60:] = 60 + noise * random.standard_normal((60, 512))
        assert nothing(np.clip(layer, 0, 255).astype(np.uint8))


def test_a_flat_picture_has_no_bar() -> None:
    assert nothing(np.full((100, 100), 7, np.uint8))


@pytest.mark.data
def test_no_real_micrograph_without_a_bar_is_cropped(data: Path) -> None:
    """None of the 21 has a bar; nor have they turned, smaller or as JPEG."""
    for path in sorted((data / "sem").glob("*/images/*.png")):
        picture = imread(path)
        for seen in (picture, picture.T, as_jpeg(picture, 75), smaller(picture, 0.7)):
            assert nothing(seen), path.name


@pytest.mark.data
def test_bars_on_real_micrographs_are_cut_off(data: Path) -> None:
    for path in sorted((data / "sem").glob("*/images/*.png"))[::3]:
        picture = imread(path)
        for draw in STRIPS:
            found = find_banner(draw(picture))
            assert found.box == pytest.approx((0, *picture.shape[:1], 0, picture.shape[1]), abs=1)
