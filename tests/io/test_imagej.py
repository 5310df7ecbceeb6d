"""What ImageJ and Fiji need: TZCYX, three pixel types, an ASCII unit."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_physgen.errors import UserError
from napari_physgen.io import Image, read_record, read_stack, write_imagej_tiff
from napari_physgen.provenance import Input, Record

STEP = {"t": (2, "min"), "z": (0.2, "µm"), "y": (0.0433, "µm"), "x": (0.0433, "µm")}


def image(shape=(8, 6), axes=("y", "x"), dtype=np.float32, name="SIM", **changes):
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    return Image(name, data, axes, STEP, **changes)


def opened(path):
    with tifffile.TiffFile(path) as tif:
        return tif.series[0].axes, tif.asarray(), tif.imagej_metadata


def test_pixel_size_depth_and_interval_are_in_um_and_s(tmp_path):
    original = image((2, 3, 8, 6), ("t", "z", "y", "x"))
    path = write_imagej_tiff(tmp_path / "a.tif", [original])
    axes, data, meta = opened(path)
    assert axes == "TZYX"
    np.testing.assert_array_equal(data, original.data)
    assert (meta["unit"], meta["spacing"], meta["finterval"]) == ("um", 0.2, 120)
    assert read_stack(path).pixel_size_nm == pytest.approx(43.3)


def test_the_napari_tiff_reader_returns_scale_and_units(tmp_path):
    from napari_tiff.napari_tiff_reader import reader_function

    path = write_imagej_tiff(tmp_path / "a.tif", [image((3, 8, 6), ("z", "y", "x"))])
    _, meta, _ = reader_function(str(path))[0]
    assert meta["scale"] == pytest.approx((0.2, 0.0433, 0.0433))
    assert meta["units"] == ("um", "um", "um")


def test_axes_in_another_order_are_transposed(tmp_path):
    original = image((2, 3, 8, 6), ("c", "z", "y", "x"))
    axes, data, _ = opened(write_imagej_tiff(tmp_path / "a.tif", [original]))
    assert axes == "ZCYX"
    np.testing.assert_array_equal(data, original.data.transpose(1, 0, 2, 3))


def test_axes_that_imagej_lacks_are_joined_into_slices(tmp_path):
    original = image((2, 3, 5, 8, 6), ("t", "angle", "phase", "y", "x"))
    axes, data, _ = opened(write_imagej_tiff(tmp_path / "a.tif", [original]))
    assert axes == "TZYX"
    np.testing.assert_array_equal(data, original.data.reshape(2, 15, 8, 6))


def test_axes_that_imagej_lacks_are_joined_into_time_where_there_is_depth(tmp_path):
    original = image((3, 4, 5, 8, 6), ("angle", "z", "phase", "y", "x"))
    axes, data, _ = opened(write_imagej_tiff(tmp_path / "a.tif", [original]))
    assert axes == "TZYX"
    expected = original.data.transpose(0, 2, 1, 3, 4).reshape(15, 4, 8, 6)
    np.testing.assert_array_equal(data, expected)


def test_images_of_one_shape_become_named_channels(tmp_path):
    images = [image(name="SIM"), image(name="std", dtype=np.uint16)]
    axes, data, meta = opened(write_imagej_tiff(tmp_path / "a.tif", images))
    assert axes == "CYX"
    assert data.dtype == np.float32
    assert meta["Labels"] == ["SIM", "std"]


@pytest.mark.parametrize(
    ("data", "stored", "factor"),
    [
        (np.array([[True, False]]), "u1", 255),
        (np.array([[0, 65535]]), "u2", 1),
        (np.array([[0, 70000]]), "f4", 1),
        (np.array([[-1, 5]], "i2"), "f4", 1),
        (np.array([[0.5, 2]], "f8"), "f4", 1),
        (np.array([[0.5, 2]], "f2"), "f4", 1),
        (np.array([[1, 2]], ">u2"), "u2", 1),
    ],
)
def test_pixel_types_become_one_of_the_three_that_imagej_opens(tmp_path, data, stored, factor):
    path = write_imagej_tiff(tmp_path / "a.tif", [Image("a", data, ("y", "x"))])
    read = tifffile.imread(path)
    assert read.dtype == stored
    np.testing.assert_array_equal(read, data * factor)


def test_colour_images_stay_colour(tmp_path):
    original = image((8, 6, 3), ("y", "x", "rgb"), np.uint8)
    axes, data, _ = opened(write_imagej_tiff(tmp_path / "a.tif", [original]))
    assert axes == "YXS"
    np.testing.assert_array_equal(data, original.data)


def test_the_record_is_what_show_info_shows(tmp_path):
    raw = Input.of("raw", np.zeros((9, 4, 4)), "cell µ.tif")
    made = Record("sim", {"na": 1.49}, 0, (raw,), "cpu", 1.0)
    path = write_imagej_tiff(tmp_path / "a.tif", [image(record=made)])
    assert read_record(path) == made


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ([], "no image"),
        ([image((8, 6)), image((4, 3))], "one shape"),
        ([image(dtype=np.complex64)], "complex"),
        ([image((2, 3, 3, 8, 6), ("t", "z", "angle", "y", "x"))], "more axes"),
        ([image((8, 6, 3), ("y", "x", "rgb"))], "8 bit"),
        ([Image("a", np.array([[0, 2**24 + 1]]), ("y", "x"), kind="labels")], "tell apart"),
    ],
)
def test_what_imagej_cannot_hold_is_said_and_nothing_is_written(tmp_path, images, sentence):
    with pytest.raises(UserError, match=sentence):
        write_imagej_tiff(tmp_path / "a.tif", images)
    assert not list(tmp_path.iterdir())


def test_more_than_4_gb_are_sent_to_ome(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_physgen.io.imagej._CLASSIC_LIMIT", 100)
    with pytest.raises(UserError, match="4 GB"):
        write_imagej_tiff(tmp_path / "a.tif", [image()])
