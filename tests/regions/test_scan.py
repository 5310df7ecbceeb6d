"""An array becomes a scan, with kind, axes and points with data; or a sentence says why not."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_physgen.errors import UserError
from napari_physgen.regions.scan import Scan, read_scan
from napari_physgen.regions.settings import RegionSettings


def read(data: Any, mask: Any = None, **chosen: Any) -> Scan:
    return read_scan(data, RegionSettings(**chosen), mask)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape)


def counts(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).poisson(3.0, shape)


def waves(side: int = 64) -> np.ndarray:
    wave = np.cos(2 * np.pi * np.arange(side) / 9.0)
    return wave[:, None] + wave + 0.1 * noise(side, side)


@pytest.mark.parametrize(
    ("shape", "kind", "scan"),
    [
        ((40, 40, 64), "spectra", (40, 40)),
        ((64, 40, 40), "spectra", (40, 40)),
        ((64, 40, 30), "spectra", (40, 30)),
        ((40, 30, 64), "spectra", (40, 30)),
        ((3, 40, 30), "channels", (40, 30)),
        ((40, 30, 3), "channels", (40, 30)),
        ((11, 40, 40), "channels", (40, 40)),
        ((12, 40, 40), "spectra", (40, 40)),
        ((10, 12, 5, 6), "diffraction", (10, 12)),
    ],
)
def test_kind_and_signal_axis_follow_from_the_shape(
    shape: tuple[int, ...], kind: str, scan: tuple[int, int]
) -> None:
    read_out = read(noise(*shape))
    assert (read_out.kind, read_out.shape) == (kind, scan)
    assert read_out.values.shape[-2:] == scan


@pytest.mark.parametrize("axis", ["first", "last"])
def test_a_signal_axis_that_is_named_is_taken(axis: str) -> None:
    data = noise(20, 16, 20)
    values = read(data, kind="spectra", signal_axis=axis).values
    np.testing.assert_array_equal(values, data if axis == "first" else data.transpose(2, 0, 1))


def test_values_stay_where_they_were_when_the_signal_moves_to_the_front() -> None:
    spectra, patterns = noise(20, 30, 64), noise(10, 12, 5, 6)
    np.testing.assert_array_equal(read(spectra).values[:, 7, 11], spectra[7, 11])
    np.testing.assert_array_equal(read(patterns).values[:, :, 3, 9], patterns[3, 9])


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((32, 32), "spectra"),
        ((32, 32), "diffraction"),
        ((32, 32, 3), "lattice"),
        ((32, 32, 64), "diffraction"),
        ((16, 16, 4, 4), "spectra"),
        ((16, 16, 4, 4), "channels"),
    ],
)
def test_a_kind_whose_axes_are_missing_is_refused(shape: tuple[int, ...], kind: str) -> None:
    """A single image as spectra is the case of a lost energy axis."""
    with pytest.raises(UserError, match=f"{' x '.join(map(str, shape))}, cannot be {kind}"):
        read(noise(*shape), kind=kind)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (noise(64), "have the shape"),
        (noise(9, 9, 2, 2, 2), "have the shape"),
        (np.full((16, 16), "a"), "no numbers"),
        (noise(7, 64), "7 x 64 points: at least 8 x 8"),
        (noise(64, 5, 5), "5 x 5 points: at least 8 x 8"),
        (np.full((32, 32), 4.0), "same value"),
        (np.ones((3, 32, 32)), "same value"),
        (np.zeros((16, 16, 64), int), "All counts are 0"),
        (np.full((16, 16, 64), np.nan), "No point of the scan holds data"),
    ],
)
def test_data_of_which_no_map_can_be_made_are_refused(data: np.ndarray, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read(data)


def test_a_mask_must_have_the_size_of_the_scan_and_leave_something() -> None:
    data = noise(3, 32, 40)
    with pytest.raises(UserError, match="mask has 40 x 32 pixels, the scan 32 x 40"):
        read(data, np.ones((40, 32)))
    with pytest.raises(UserError, match="No point of the scan holds data"):
        read(data, np.zeros((32, 40)))
    few = np.zeros((32, 40))
    few[3, 4:9] = 1
    with pytest.raises(UserError, match="Only 5 points"):
        read(data, few)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("data", "hole", "kind"),
    [
        (waves(), (5, 9), "lattice"),
        (noise(3, 32, 40), (1, 5, 9), "channels"),
        (counts(32, 40, 64).astype(float), (5, 9, 30), "spectra"),
        (counts(64, 32, 40).astype(float), (30, 5, 9), "spectra"),
        (counts(16, 20, 4, 5).astype(float), (5, 9, 1, 2), "diffraction"),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_points_with_a_value_that_is_not_finite_are_left_out_and_said(
    data: np.ndarray, hole: tuple[int, ...], kind: str, lazy: bool, value: float
) -> None:
    data = data.copy()
    data[hole] = value
    scan = read(da.from_array(data, chunks=8) if lazy else data)
    expected = np.ones(scan.shape, bool)
    expected[5, 9] = False
    assert scan.kind == kind
    np.testing.assert_array_equal(scan.valid, expected)
    assert f"1 of {expected.size} points hold no data" in scan.notes[0]
    assert scan.counts == (kind in ("spectra", "diffraction"))


def test_a_mask_and_missing_points_add_up() -> None:
    data, mask = noise(3, 32, 40), np.ones((32, 40), np.uint8)
    data[0, 2, 3], mask[20:] = np.nan, 0
    valid = read(data, mask).valid
    assert valid.sum() == 20 * 40 - 1
    assert not valid[2, 3]
    assert not valid[20:].any()


def test_an_image_without_a_lattice_becomes_a_channel_and_this_is_said() -> None:
    scan = read(noise(96, 96), kind="lattice")
    assert (scan.kind, scan.lattice, scan.values.shape) == ("channels", None, (1, 96, 96))
    assert "No lattice was found" in scan.notes[0]
    found = read(waves())
    assert (found.kind, found.notes) == ("lattice", ())
    assert found.lattice is not None


@pytest.mark.parametrize("shape", [(16, 16, 64), (12, 12, 5, 5)])
def test_whole_numbers_are_counts_unless_some_are_negative(shape: tuple[int, ...]) -> None:
    plain = counts(*shape)
    assert read(plain).counts
    assert read(plain.astype(np.float32)).counts
    assert not read(plain + 0.5).counts
    scan = read(plain - 1)
    assert not scan.counts
    assert "negative counts (-1)" in scan.notes[0]


@pytest.mark.parametrize(
    "data", [noise(16, 16, 64), noise(12, 12, 4, 4)], ids=["spectra", "diffraction"]
)
def test_complex_data_are_channels_or_refused(data: np.ndarray) -> None:
    image = noise(32, 32) + 1j * noise(32, 32)[::-1]
    scan = read(image)
    assert (scan.kind, scan.names) == ("channels", ("real", "imaginary"))
    np.testing.assert_allclose(scan.values, [image.real, image.imag], rtol=1e-6)
    with pytest.raises(UserError, match="complex"):
        read(data + 1j)
    with pytest.raises(UserError, match="complex"):
        read(image, kind="lattice")


def test_yes_and_no_are_numbers_too() -> None:
    assert read(waves() > 0).kind == "lattice"
    assert read(noise(12, 12, 5, 5) > 0).counts


def test_colours_are_three_channels() -> None:
    colours = np.random.default_rng(2).integers(0, 256, (32, 40, 3)).astype(np.uint8)
    scan = read(colours)
    assert (scan.kind, scan.names, scan.notes) == ("channels", ("value",) * 3, ())


def test_the_height_of_a_pixel_is_in_widths() -> None:
    assert read(waves()).spacing == (1.0, 1.0)
    tall = read(waves(), pixel_size_nm=0.5, pixel_height_nm=1.5)
    assert tall.spacing == (3.0, 1.0)
    assert read(waves(), pixel_height_nm=1.5).spacing == (1.0, 1.0)
