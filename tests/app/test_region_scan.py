"""Which axes of a layer run over the sample, which over the signal, and how it is said."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_physgen.app.region_axes import find_scan, read_mask
from napari_physgen.app.results import KEY
from napari_physgen.app.sample_data import eds_map, ferroelectric_domains, pfm_domains, two_phases
from napari_physgen.errors import UserError


def layer(shape, **arguments):
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Image(data, name="scan", **arguments)


def nanometres(*lead):
    """Return scale and units of pixels of 2 nm behind leading axes (scale, unit)."""
    return {
        "scale": (*(size for size, _ in lead), 2, 2),
        "units": (*(unit for _, unit in lead), "nm", "nm"),
    }


def test_a_single_image_is_read_as_one():
    scan = find_scan(layer((64, 96), **nanometres()))
    assert (scan.form, scan.shape, scan.steps) == ("image", (64, 96), (2, 2))
    assert scan.words() == "An image of 64 x 96 pixels, pixels of 2 nm."
    assert scan.place is scan.layer


def test_a_few_planes_are_channels():
    scan = find_scan(layer((3, 64, 96)))
    assert (scan.form, scan.signal) == ("channels", "first")
    assert scan.words() == "3 channels of 64 x 96 pixels, pixel size unknown."


def test_many_planes_are_spectra_with_the_axis_that_the_layer_says():
    source = layer((200, 20, 30), axis_labels=("energy", "y", "x"), **nanometres((0.01, "keV")))
    source.translate = (0.5, 0, 0)
    scan = find_scan(source)
    assert scan.form == "spectra"
    assert scan.words() == (
        "20 x 30 spectra of 200 energies, 0.5 to 2.49 keV, read as counts, pixels of 2 nm."
    )


def test_the_reader_of_a_file_has_the_last_word_on_the_signal():
    known = {"signal_axis": "bias", "values": np.linspace(-5, 5, 20), "units": "volt"}
    source = layer((4, 20, 16, 16), axis_labels=("time", "bias", "y", "x"), metadata={KEY: known})
    scan = find_scan(source, point=(2, 0, 0, 0))
    assert "20 bias steps, -5 to 5 V" in scan.words()
    assert "time 3 of 4 (the one shown)" in scan.words()
    np.testing.assert_array_equal(scan.data, source.data[2])


def test_values_with_fractions_or_signs_are_no_counts():
    counts = layer((20, 20, 30))
    assert find_scan(counts).counted()
    for wrong in (counts.data + 0.5, counts.data - 1e6):
        assert not find_scan(Image(wrong)).counted()
    assert "counts" not in find_scan(Image(counts.data + 0.5)).words()


@pytest.mark.parametrize("shape", [(32, 32, 102), (20, 30, 200)])
def test_an_unnamed_cube_with_the_spectra_behind_is_read_so(shape):
    scan = find_scan(layer(shape))
    assert (scan.signal, scan.shape) == ("last", shape[:2])
    assert scan.place is not scan.layer
    assert scan.place.name == "scan"
    first = find_scan(layer(shape), signal_axis="first")
    assert (first.signal, first.shape) == ("first", shape[1:])


def test_the_map_of_a_scan_lies_on_its_own_axes():
    source = layer((20, 30, 200), scale=(3, 2, 0.01), units=("nm", "nm", "keV"))
    scan = find_scan(source, signal_axis="last")
    assert scan.steps == (3, 2)
    assert scan.unit == "keV"
    np.testing.assert_allclose(scan.place.scale, (3, 2))
    assert "pixels of 3 x 2 nm" in scan.words()


def test_time_and_z_are_looped_over_and_not_taken_for_channels():
    scan = find_scan(layer((5, 64, 64), axis_labels=("t", "y", "x")), point=(3, 0, 0))
    assert scan.form == "image"
    assert scan.words().endswith("time 4 of 5 (the one shown).")


def test_four_axes_without_names_are_diffraction_patterns():
    scan = find_scan(layer((12, 14, 16, 18)))
    assert (scan.form, scan.shape) == ("diffraction", (12, 14))
    assert scan.words().startswith("12 x 14 diffraction patterns of 16 x 18 pixels")
    channels = find_scan(layer((12, 14, 16, 18)), kind="spectra")
    assert (channels.form, channels.shape) == ("spectra", (16, 18))


@pytest.mark.parametrize("form", ["image", "first", "last", "diffraction"])
def test_what_is_around_a_pixel_has_the_signal_first(form):
    shape = {"image": (20, 30), "first": (40, 20, 30), "last": (20, 30, 70)}
    scan = find_scan(layer(shape.get(form, (20, 30, 8, 9))), signal_axis="auto")
    block = scan.around(0, 29, reach=1)
    assert block.shape[-2:] == (2, 2)
    whole = {
        "image": scan.data,
        "first": scan.data,
        "last": np.moveaxis(scan.data, -1, 0),
    }.get(form, np.moveaxis(scan.data, (0, 1), (-2, -1)))
    np.testing.assert_array_equal(block, whole[..., :2, -2:])
    np.testing.assert_allclose(scan.mean(), whole.reshape(-1, 20, 30).mean(0), rtol=1e-5)


def test_nothing_is_read_before_it_is_needed():
    import dask.array

    def fail(block):
        raise AssertionError("read too early")

    data = dask.array.zeros((50, 32, 32), chunks=(50, 8, 8)).map_blocks(fail, dtype=float)
    source = Image(np.zeros((50, 32, 32)), name="scan")
    source._data = data
    assert "50 channels" in find_scan(source).words()


@pytest.mark.parametrize(
    ("source", "settings", "words"),
    [
        (layer((4, 300)), {}, "too small"),
        (layer((64, 64)), {"kind": "diffraction"}, "needs four"),
        (Image(np.zeros((64, 64, 3), np.uint8), name="photo", rgb=True), {}, "colour"),
    ],
)
def test_what_cannot_be_mapped_gets_a_sentence(source, settings, words):
    with pytest.raises(UserError, match=words):
        find_scan(source, **settings)


def test_a_mask_must_fit_and_hold_something():
    scan = find_scan(layer((3, 64, 96)))
    inside = np.zeros((64, 96), np.uint8)
    with pytest.raises(UserError, match="is empty"):
        read_mask(Labels(inside, name="mask"), scan)
    inside[:9] = 3
    np.testing.assert_array_equal(read_mask(Labels(inside, name="mask"), scan), inside > 0)
    with pytest.raises(UserError, match="64 x 90 pixels, but the scan 64 x 96"):
        read_mask(Labels(inside[:, :90], name="mask"), scan)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (two_phases, "An image of 256 x 256 pixels, pixels of 0.03 nm."),
        (ferroelectric_domains, "An image of 256 x 256 pixels, pixels of 0.03 nm."),
        (pfm_domains, "3 channels of 256 x 256 pixels, pixels of 5 nm."),
        (
            eds_map,
            "96 x 96 spectra of 256 energies, 0.1 to 2.65 keV, read as counts, pixels of 2 nm.",
        ),
    ],
)
def test_samples_are_read_as_what_they_are(sample, words):
    (data, meta, _), (truth, hidden, kind) = sample()
    scan = find_scan(Image(data, **meta))
    assert scan.words().startswith(words)
    assert kind == "labels"
    assert truth.shape == scan.shape
    assert not hidden["visible"]
