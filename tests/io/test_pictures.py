"""Pictures and masks come as arrays (y, x), whatever program saved them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_physgen.errors import UserError
from napari_physgen.io import read_mask, read_picture

GREY = np.random.default_rng(0).integers(0, 255, (5, 7), dtype=np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.npy"])
def test_grey_pictures_keep_their_values(tmp_path, name):
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, GREY)
    elif name.endswith(".tif"):
        tifffile.imwrite(path, GREY)
    else:
        Image.fromarray(GREY).save(path)
    data, pixel_size = read_picture(path)
    np.testing.assert_array_equal(data, GREY)
    assert pixel_size is None
    np.testing.assert_array_equal(read_mask(path), GREY)


def test_sixteen_bits_survive_in_a_png(tmp_path):
    deep = GREY.astype(np.uint16) * 250
    Image.fromarray(deep).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png")[0], deep)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_grey_saved_as_colours_is_grey_again(tmp_path, name):
    same = np.repeat(GREY[..., None], 3, -1)
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, same, photometric="rgb")
    else:
        Image.fromarray(same).save(tmp_path / name)
    np.testing.assert_array_equal(read_picture(tmp_path / name)[0], GREY)
    np.testing.assert_array_equal(read_mask(tmp_path / name), GREY)


def test_colours_become_their_luminance_and_transparency_is_left_out(tmp_path):
    colours = np.zeros((2, 2, 4), np.uint8)
    colours[..., 1], colours[..., 3] = 100, 10
    Image.fromarray(colours, "RGBA").save(tmp_path / "a.png")
    np.testing.assert_allclose(read_picture(tmp_path / "a.png")[0], 71.52)
    with pytest.raises(UserError, match="mask in colours"):
        read_mask(tmp_path / "a.png")


def test_a_painted_mask_keeps_its_numbers(tmp_path):
    numbers = np.array([[0, 1], [2, 1]], np.uint8)
    picture = Image.fromarray(numbers, "P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), numbers)


def test_the_pixel_size_of_a_tiff_is_found(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        GREY,
        metadata={"axes": "YX", "PhysicalSizeX": 0.02, "PhysicalSizeXUnit": "µm"},
    )
    assert read_picture(tmp_path / "a.ome.tif")[1] == pytest.approx(20)


def test_what_is_no_picture_is_said(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([GREY, GREY]), photometric="minisblack")
    np.save(tmp_path / "half.npy", GREY + 0.5)
    for call, name, words in (
        (read_picture, "a.png", "may be damaged"),
        (read_picture, "absent.png", "no file"),
        (read_picture, "stack.tif", "2 pictures"),
        (read_picture, "a.xyz", "unknown format"),
        (read_mask, "half.npy", "not whole numbers"),
    ):
        with pytest.raises(UserError, match=words):
            call(tmp_path / name)
