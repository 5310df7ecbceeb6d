"""Raw stacks and OTFs of many formats; what cannot be read is said in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_physgen.errors import UserError
from napari_physgen.io import Image, Stack, read_otf, read_record, read_stack, write_ome_tiff

FRAMES = np.arange(9 * 8 * 6, dtype=np.uint16).reshape(9, 8, 6)


def write_mrc(path, data, mode, *, dv=False, spacing=0.0626, order="<", extended=0):
    header = bytearray(1024)
    shape = data.shape[::-1] + (1,) * (3 - data.ndim)
    header[0:16] = np.array([*shape, mode], f"{order}i4").tobytes()
    intervals = (1, 1, 1) if dv else shape
    header[28:40] = np.array(intervals, f"{order}i4").tobytes()
    cell = spacing if dv else spacing * 1e4 * shape[0]
    header[40:44] = np.array(cell, f"{order}f4").tobytes()
    header[92:96] = np.array(extended, f"{order}i4").tobytes()
    if dv:
        header[96:98] = np.array(-16224, f"{order}i2").tobytes()
    pixels = data.astype(data.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(bytes(header) + bytes(extended) + pixels)


def test_a_plain_tiff_is_a_stack_of_frames_of_unknown_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, photometric="minisblack")
    stack = read_stack(tmp_path / "a.tif")
    assert stack.axes == ("frame", "y", "x")
    assert stack.pixel_size_nm is None
    np.testing.assert_array_equal(stack.data, FRAMES)


@pytest.mark.parametrize("unit", ["um", "\\u00B5m", "micron", "nm"])
def test_the_unit_of_an_imagej_tiff_is_understood(tmp_path, unit):
    scale = 1000 if unit == "nm" else 1
    resolution = (1 / (0.08667 * scale),) * 2
    metadata = {"unit": unit}
    tifffile.imwrite(
        tmp_path / "a.tif", FRAMES, imagej=True, resolution=resolution, metadata=metadata
    )
    assert read_stack(tmp_path / "a.tif").pixel_size_nm == pytest.approx(86.67, rel=1e-5)


def test_a_print_resolution_is_no_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, resolution=(72, 72), resolutionunit="INCH")
    assert read_stack(tmp_path / "a.tif").pixel_size_nm is None
    metadata = {"unit": "inch"}
    tifffile.imwrite(
        tmp_path / "b.tif", FRAMES, imagej=True, resolution=(72, 72), metadata=metadata
    )
    assert read_stack(tmp_path / "b.tif").pixel_size_nm is None


def test_named_axes_come_back_by_name(tmp_path):
    raw = Image("a", FRAMES.reshape(3, 3, 8, 6), ("angle", "phase", "y", "x"))
    write_ome_tiff(tmp_path / "a.ome.tif", [raw])
    assert read_stack(tmp_path / "a.ome.tif").axes == ("angle", "phase", "y", "x")


def test_a_numpy_file_is_read(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES)
    np.testing.assert_array_equal(read_stack(tmp_path / "a.npy").data, FRAMES)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dv", [False, True])
@pytest.mark.parametrize(("mode", "dtype"), [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2")])
def test_mrc_and_dv_files_give_pixels_and_pixel_size(tmp_path, mode, dtype, dv, order):
    data = (FRAMES % 100).astype(dtype)
    write_mrc(tmp_path / "a.mrc", data, mode, dv=dv, order=order, extended=64)
    stack = read_stack(tmp_path / "a.mrc")
    np.testing.assert_array_equal(stack.data, data)
    assert stack.data.dtype == np.dtype(dtype)
    assert stack.pixel_size_nm == pytest.approx(62.6, rel=1e-5)


def test_a_radial_otf_keeps_its_frequency_step(tmp_path):
    profile = np.linspace(1, 0, 20).astype(np.complex64)
    write_mrc(tmp_path / "otf.mrc", profile, 4, dv=True, spacing=0.0312)
    values, step, _ = read_otf(tmp_path / "otf.mrc")
    np.testing.assert_array_equal(values, profile)
    assert step == pytest.approx(0.0312)


def test_an_otf_plane_may_be_a_tiff_without_step(tmp_path):
    tifffile.imwrite(tmp_path / "otf.tif", np.ones((16, 16), np.float32))
    values, step, _ = read_otf(tmp_path / "otf.tif")
    assert values.shape == (16, 16)
    assert step is None


def test_a_stack_is_no_otf(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES)
    with pytest.raises(UserError, match="profile or a plane"):
        read_otf(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("axes", "shape", "leading"),
    [
        (("y", "x"), (8, 6), ()),
        (("z", "y", "x"), (9, 8, 6), ()),
        (("t", "z", "y", "x"), (2, 9, 8, 6), ("t",)),
        (("angle", "phase", "y", "x"), (3, 3, 8, 6), ()),
        (("angle", "t", "phase", "y", "x"), (3, 2, 3, 8, 6), ("t",)),
        (("frame", "c", "y", "x"), (9, 2, 8, 6), ("c",)),
    ],
)
def test_time_and_channels_are_looped_over_and_frames_are_not(axes, shape, leading):
    stack = Stack(np.arange(np.prod(shape)).reshape(shape), axes, None)
    blocks = list(stack.blocks())
    assert stack.leading == leading
    assert len(blocks) == int(np.prod(stack.leading_shape))
    first = stack.data[tuple(0 if axis in leading else slice(None) for axis in axes)]
    np.testing.assert_array_equal(blocks[0], first.reshape(-1, 8, 6))


def test_colour_pictures_are_refused():
    with pytest.raises(UserError, match="colour"):
        list(Stack(np.ones((8, 6, 3)), ("y", "x", "rgb"), None).blocks())


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.mrc"])
def test_a_missing_file_is_said(tmp_path, name):
    with pytest.raises(UserError, match="no file"):
        read_stack(tmp_path / name)


def test_an_unknown_format_is_said(tmp_path):
    with pytest.raises(UserError, match=r"unknown format.*\.tif"):
        read_stack(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.mrc"])
@pytest.mark.parametrize("content", [b"", b"II", b"not an image" * 200])
def test_a_file_that_is_something_else_is_said(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        read_stack(tmp_path / name)


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["plain", "imagej", "ome"])
def test_a_tiff_that_ends_too_early_is_said(tmp_path, kind, keep):
    path = tmp_path / "a.tif"
    frames = np.random.default_rng(0).integers(0, 4000, (9, 32, 32)).astype(np.uint16)
    if kind == "ome":
        write_ome_tiff(path, [Image("a", frames, ("z", "y", "x"))])
    else:
        tifffile.imwrite(path, frames, imagej=kind == "imagej", photometric="minisblack")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UserError, match=r"a\.tif"):
        read_stack(path)


def test_a_damaged_tiff_is_said_by_the_record_reader_too(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0garbage")
    with pytest.raises(UserError, match="damaged"):
        read_record(tmp_path / "a.tif")


def test_a_truncated_mrc_is_said(tmp_path):
    write_mrc(tmp_path / "a.mrc", FRAMES, 6)
    content = (tmp_path / "a.mrc").read_bytes()
    (tmp_path / "a.mrc").write_bytes(content[:-10])
    with pytest.raises(UserError, match="too early"):
        read_stack(tmp_path / "a.mrc")


@pytest.mark.data
def test_measured_otfs_fall_from_one_at_the_centre_with_the_step_of_the_readme(data):
    files = sorted((data / "sim/tirf_rdl_microtubules").glob("*_OTF2d.mrc"))
    assert files
    for file in files:
        values, step, _ = read_otf(file)
        assert values.shape == (257,)
        assert values.dtype == np.complex64
        assert step == pytest.approx(0.0312, abs=1e-4)
        assert np.abs(values).argmax() < 3


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "pixel"),
    [
        ("tirf_rzcao_microtubules/rzcao_TIRF_MT_raw9_APyx.tif", 86.67),
        ("tirf_rdl_microtubules/rDL_TIRF_MT_raw9_APyx.tif", 62.6),
        ("biosr_mt_levels/BioSR_MT_cell001_level09_crop007_raw9.tif", None),
    ],
)
def test_measured_stacks_have_nine_frames_and_their_pixel_size(data, name, pixel):
    stack = read_stack(data / "sim" / name)
    (frames,) = stack.blocks()
    assert len(frames) == 9
    assert stack.pixel_size_nm == (pixel and pytest.approx(pixel, rel=1e-3))
