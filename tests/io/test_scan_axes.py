"""Axes are told apart by unit, then name, then length; the signal axis comes first."""

from __future__ import annotations

import numpy as np
import pytest

from napari_physgen.io._scan_axes import Axis, roles
from napari_physgen.io._scan_file import scan_files
from napari_physgen.io._scan_units import pint_unit, quantity

CUBE = np.random.default_rng(0).integers(0, 9, (5, 6, 7)).astype(np.float32)  # (y, x, signal)
X, Y = Axis("x", "nm"), Axis("y", "nm")


def assert_is_cube(scan, signal="energy"):
    """The cube has come with its signal axis first."""
    assert scan.axes == (signal, "y", "x")
    np.testing.assert_array_equal(scan.data, CUBE.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        ("eV", "energy"),
        ("keV", "energy"),
        ("V", "bias"),
        ("kHz", "frequency"),
        ("cm-1", "wavenumber"),
        ("1/cm", "wavenumber"),
        ("cm^-1", "wavenumber"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_unit_finds_the_signal_axis_wherever_it_is(unit, name, place):
    data = np.moveaxis(CUBE, 2, place)
    axes = [Axis(unit="nm"), Axis(unit="nm")]
    axes.insert(place, Axis(unit=unit, start=10))
    (scan,) = scan_files("a", data, axes)
    assert_is_cube(scan, name)
    assert scan.origin[name] == 10


def test_a_wavelength_is_told_from_positions_by_its_name_or_by_its_unit():
    for spectral in (Axis("Wavelength", "nm", 400, 1), Axis("", "nm", 400, 1)):
        um = [Axis("", "um"), Axis("", "um")]
        (scan,) = scan_files("a", np.moveaxis(CUBE, 2, 0), [spectral, *um])
        assert_is_cube(scan, "wavelength")
        assert scan.modality == "CL"
    assert roles([Axis("z", "nm"), Y, X], (3, 9, 9)) == ["frame", "scan", "scan"]


def test_x_before_y_is_turned_by_name():
    (scan,) = scan_files("a", CUBE.transpose(1, 0, 2), [X, Y, Axis("E", "eV")])
    assert_is_cube(scan)


def test_detector_axes_make_4d_stem_scan_first():
    k = [Axis("Qx", "1/nm", step=0.1), Axis("Qy", "1/nm", step=0.1)]
    data = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    (scan,) = scan_files("a", data, [*k, X, Y], "nuclear")
    assert (scan.axes, scan.modality) == (("y", "x", "ky", "kx"), "4D-STEM")
    np.testing.assert_array_equal(scan.data, data.transpose(3, 2, 1, 0))
    assert scan.step["kx"] == (0.1, "1 / nanometer")
    assert scan.signal_axis is None
    (unnamed,) = scan_files("a", np.zeros((16, 17, 20, 20), np.uint8))
    assert (unnamed.axes, unnamed.shape) == (("y", "x", "ky", "kx"), (16, 17, 20, 20))


def test_a_tilt_or_a_time_is_no_signal():
    for unit, name in (("deg", "tilt"), ("s", "t")):
        (scan,) = scan_files("a", CUBE.transpose(2, 0, 1), [Axis("tilt", unit), Y, X])
        assert scan.axes == (name, "y", "x")
        assert scan.signal_axis is None


@pytest.mark.parametrize(
    ("shape", "signal"),
    [((32, 32, 102), 2), ((3, 64, 80), 0), ((60, 80, 1917), 2), ((20, 64, 64), 0), ((8, 8, 9), 2)],
)
def test_without_any_unit_y_and_x_are_the_pair_of_most_similar_length(shape, signal):
    (scan,) = scan_files("a", np.zeros(shape, np.uint8))
    assert scan.axes == ("channel", "y", "x")
    assert scan.shape[0] == shape[signal]
    np.testing.assert_array_equal(scan.signal_values, np.arange(shape[signal]))


def test_units_are_read_in_the_spellings_of_vendors_and_others_become_pixels():
    known = {"µm": "micrometer", "Å": "angstrom", "nm-1": "1 / nanometer", "px": "pixel"}
    known |= {"a.u.": "pixel", "<undefined>": "pixel", "": "pixel", "bananas": "pixel"}
    assert {text: pint_unit(text) for text in known} == known
    assert quantity("$(V/m)^{0.5}$") == "voltage"
    assert quantity("counts") == ""


def test_metres_become_nanometres():
    (scan,) = scan_files("a", CUBE[..., 0], [Axis("y", "m", 1e-6, 2e-9), Axis("x", "m", 0, 2e-9)])
    assert scan.step["y"] == (pytest.approx(2), "nanometer")
    assert scan.origin["y"] == pytest.approx(1000)
    assert scan.pixel_nm == pytest.approx((2, 2))


def test_a_falling_axis_is_turned_round_and_an_uneven_one_counts_channels():
    falling = Axis("", "cm-1", values=np.linspace(900, 300, 7))
    (scan,) = scan_files("a", CUBE, [Y, X, falling])
    np.testing.assert_array_equal(scan.data, CUBE.transpose(2, 0, 1)[::-1])
    assert scan.step["wavenumber"] == (pytest.approx(100), "1 / centimeter")
    assert (scan.origin["wavenumber"], scan.signal_values[0]) == (300, 300)
    sweep = np.array([0, 1, 2, 1, 0, -1, 0.0])
    (scan,) = scan_files("a", CUBE, [Y, X, Axis("DC", "V", values=sweep)])
    assert_is_cube(scan, "bias")
    assert scan.step["bias"] == (1.0, "pixel")
    np.testing.assert_array_equal(scan.signal_values, sweep)
    assert (scan.signal_unit, scan.modality) == ("volt", "I-V")


def test_complex_maps_become_channels_and_complex_spectra_two_measurements():
    (scan,) = scan_files("a", CUBE[..., 0] + 1j * CUBE[..., 1])
    assert (scan.axes, scan.channels) == (("channel", "y", "x"), ("real", "imaginary"))
    np.testing.assert_array_equal(scan.data, CUBE[..., :2].transpose(2, 0, 1))
    real, imaginary = scan_files("a", CUBE - 1j * CUBE, [Y, X, Axis("", "Hz")])
    assert (real.name, imaginary.name) == ("a real", "a imaginary")
    assert_is_cube(real, "frequency")
    np.testing.assert_array_equal(imaginary.data, -real.data)


def test_axes_of_length_one_vanish():
    (scan,) = scan_files("a", CUBE[None, :, None], [Axis("t", "s"), Y, Axis(), X, Axis("", "eV")])
    assert_is_cube(scan)
