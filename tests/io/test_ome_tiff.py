"""Round trips of OME-TIFF through tifffile, the OME schema, napari-tiff and our own reader."""

from __future__ import annotations

import numpy as np
import ome_types
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_physgen.errors import UserError
from napari_physgen.io import Image, read_record, read_stack, write_ome_tiff
from napari_physgen.outputs import Output
from napari_physgen.provenance import Input, Record

STEP = {"t": (0.5, "s"), "z": (200.0, "nm"), "y": (43.3, "nm"), "x": (43.3, "nanometer")}


def record(**changes):
    raw = Input.of("raw", np.zeros((9, 4, 4), np.uint16), "cell µ.tif")
    values = {"settings": {"na": 1.49, "otf": None}, "seed": 3, "metrics": {"chi2": np.nan}}
    return Record("sim", inputs=(raw,), device="cpu", duration_s=1.5, **(values | changes))


def image(name="SIM", shape=(8, 6), axes=("y", "x"), dtype=np.float32, **changes):
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    return Image(name, data, axes, STEP, **changes)


def validated(path):
    return ome_types.from_tiff(path, validate=True)


@pytest.mark.parametrize(
    ("shape", "axes", "codes"),
    [
        ((8, 6), ("y", "x"), "YX"),
        ((2, 3, 8, 6), ("t", "z", "y", "x"), "TZYX"),
        ((2, 3, 8, 6), ("time", "channel", "row", "column"), "TCYX"),
        ((3, 5, 8, 6), ("angle", "phase", "y", "x"), "APYX"),
        ((2, 3, 5, 8, 6), ("t", "angle", "phase", "y", "x"), "TAPYX"),
        ((2, 3, 5, 8, 6), ("angle", "phase", "z", "y", "x"), "APZYX"),
        ((9, 8, 6), ("frame", "y", "x"), "QYX"),
        ((9, 8, 6), ("-3", "-2", "-1"), "QYX"),
        ((8, 6, 3), ("y", "x", "rgb"), "YXS"),
    ],
)
def test_axes_and_values_survive_and_the_file_is_valid_ome(tmp_path, shape, axes, codes):
    dtype = np.uint8 if "rgb" in axes else np.uint16
    original = image(shape=shape, axes=axes, dtype=dtype)
    path = write_ome_tiff(tmp_path / "a.ome.tif", [original])
    with tifffile.TiffFile(path) as tif:
        assert tif.series[0].axes == codes
        np.testing.assert_array_equal(tif.asarray(), original.data)
    validated(path)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.dictionaries(st.sampled_from("tzc"), st.integers(1, 3)),
    order=st.permutations("tzc"),
    dtype=st.sampled_from(["u1", "i2", "u2", ">u2", "i4", "f4", "f8", "f2", "i8", "?", "c8"]),
)
def test_any_order_of_time_depth_and_channel_round_trips(tmp_path, sizes, order, dtype):
    axes = (*(axis for axis in order if axis in sizes), "y", "x")
    shape = tuple(sizes.get(axis, 4) for axis in axes)
    original = image(shape=shape, axes=axes, dtype=dtype)
    path = write_ome_tiff(tmp_path / "a.ome.tif", [original])
    with tifffile.TiffFile(path) as tif:
        read = tif.asarray()
    np.testing.assert_array_equal(read.reshape(shape), original.data)
    validated(path)


def test_pixel_size_is_written_in_micrometres_for_ome_and_in_centimetres_for_plain_readers(
    tmp_path,
):
    path = write_ome_tiff(
        tmp_path / "a.ome.tif", [image(shape=(2, 3, 8, 6), axes=("t", "z", "y", "x"))]
    )
    pixels = validated(path).images[0].pixels
    assert pixels.physical_size_x == pytest.approx(0.0433)
    assert pixels.physical_size_z == pytest.approx(0.2)
    assert pixels.physical_size_x_unit.value == "µm"
    assert pixels.time_increment == 0.5
    with tifffile.TiffFile(path) as tif:
        tags = tif.pages[0].tags
        count, length = tags["XResolution"].value
        assert length / count * 1e4 == pytest.approx(0.0433, rel=1e-6)
        assert tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
    assert read_stack(path).pixel_size_nm == pytest.approx(43.3)


def test_the_napari_tiff_reader_returns_scale_units_labels_and_channels(tmp_path):
    from napari_tiff.napari_tiff_reader import reader_function

    axes = ("t", "z", "y", "x")
    images = [image(name, (2, 3, 8, 6), axes) for name in ("SIM", "widefield β")]
    path = write_ome_tiff(tmp_path / "a.ome.tif", images)
    data, meta, _ = reader_function(str(path))[0]
    assert meta["name"] == ["SIM", "widefield β"]
    assert data.shape[meta["channel_axis"]] == 2
    assert meta["scale"] == pytest.approx([0.5, 0.2, 0.0433, 0.0433])
    assert meta["units"] == ["s", "µm", "µm", "µm"]
    assert meta["axis_labels"] == "tzyx"


def test_a_length_in_pixels_is_no_physical_size(tmp_path):
    plain = Image("a", np.ones((8, 6)), ("y", "x"), {"y": (1, "pixel"), "x": (1, "pixel")})
    path = write_ome_tiff(tmp_path / "a.ome.tif", [plain])
    assert validated(path).images[0].pixels.physical_size_x is None
    assert read_stack(path).pixel_size_nm is None


def test_an_output_knows_its_pixel_size_and_place_from_the_input():
    """Zoom 2: half the pixel; the centre of pixel (0, 0) lies a quarter raw pixel outside."""
    output = Output("SIM", np.ones((8, 6)), zoom=2)
    original = Image.of(output, 80.0)
    assert original.micrometres("X") == pytest.approx((0.04, -0.02))


def test_the_position_of_the_first_pixel_is_kept(tmp_path):
    shifted = Image.of(Output("SIM", np.ones((8, 6)), zoom=2), 80.0)
    path = write_ome_tiff(tmp_path / "a.ome.tif", [shifted])
    plane = validated(path).images[0].pixels.planes[0]
    assert plane.position_x == pytest.approx(-0.02)


def test_images_of_one_shape_become_channels_and_others_further_images(tmp_path):
    images = [
        image("SIM"),
        image("widefield", (4, 3)),
        image("std"),
        image("regions", dtype=np.int64, kind="labels"),
        image("residual", (4, 3)),
    ]
    path = write_ome_tiff(tmp_path / "a.ome.tif", images)
    ome = validated(path)
    names = [[channel.name for channel in image.pixels.channels] for image in ome.images]
    assert names == [["SIM", "std"], ["widefield", "residual"], ["regions"]]
    with tifffile.TiffFile(path) as tif:
        assert [series.shape for series in tif.series] == [(2, 8, 6), (2, 4, 3), (8, 6)]
        np.testing.assert_array_equal(tif.series[1].asarray()[1], images[4].data)


@pytest.mark.parametrize(
    ("given_type", "largest", "stored"),
    [("i8", 4, "u2"), ("i8", 70000, "u4"), ("u1", 4, "u1"), ("u8", 2**32 - 1, "u4")],
)
def test_labels_take_the_smallest_type_that_others_can_open(tmp_path, given_type, largest, stored):
    labels = np.array([[0, 1], [2, largest]], given_type)
    path = write_ome_tiff(
        tmp_path / "a.ome.tif", [Image("cells", labels, ("y", "x"), kind="labels")]
    )
    read = tifffile.imread(path)
    assert read.dtype == stored
    np.testing.assert_array_equal(read, labels)


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        (np.array([[True, False]]), "u1"),
        (np.array([[0, 2**31 - 1]]), "i4"),
        (np.array([[0, 2**32 - 1]]), "u4"),
        (np.array([[0, 2**40]]), "f8"),
        (np.array([[0.5, 2]], "f2"), "f4"),
    ],
)
def test_pixel_types_that_ome_lacks_are_converted_without_loss(tmp_path, data, stored):
    path = write_ome_tiff(tmp_path / "a.ome.tif", [Image("a", data, ("y", "x"))])
    read = tifffile.imread(path)
    assert read.dtype == stored
    np.testing.assert_array_equal(read, data)


def test_the_record_comes_back_equal(tmp_path):
    made = record(metrics={"chi2": 1.02}, interventions=("stopped at <net> & 3/10",))
    path = write_ome_tiff(tmp_path / "a.ome.tif", [image(record=made)])
    assert read_record(path) == made
    validated(path)


def test_a_file_without_a_record_has_none(tmp_path):
    assert read_record(write_ome_tiff(tmp_path / "a.ome.tif", [image()])) is None


def test_images_of_different_histories_are_not_merged(tmp_path):
    images = [image("a", record=record(seed=1)), image("b", record=record(seed=2))]
    path = write_ome_tiff(tmp_path / "a.ome.tif", images)
    assert len(validated(path).images) == 2
    assert read_record(path).seed == 1


def test_more_than_4_gb_are_written_as_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_physgen.io.ome_tiff._CLASSIC_LIMIT", 100)
    with tifffile.TiffFile(write_ome_tiff(tmp_path / "a.ome.tif", [image()])) as tif:
        assert tif.is_bigtiff


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (Image("a", np.array([["x"]]), ("y", "x")), "convert it to numbers"),
        (Image("a", np.array([[-1]]), ("y", "x"), kind="labels"), "run from -1"),
        (Image("a", np.ones([1] * 7), tuple("abdefyx")), "fewer dimensions"),
    ],
)
def test_what_a_tiff_cannot_hold_is_said_and_nothing_is_written(tmp_path, bad, sentence):
    with pytest.raises(UserError, match=sentence):
        write_ome_tiff(tmp_path / "a.ome.tif", [bad])
    assert not list(tmp_path.iterdir())


def test_an_image_without_pixels_is_refused():
    with pytest.raises(UserError, match="no pixels"):
        image(shape=(0, 6))
