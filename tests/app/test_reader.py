"""Files that are dropped on the viewer become layers in physical units."""

from __future__ import annotations

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import tifffile
from vendor_files import write_ibw, write_nsid

from napari_physgen.app.inputs import acquisition
from napari_physgen.app.reader import MOST, get_reader
from napari_physgen.app.results import KEY
from napari_physgen.errors import UserError

CUBE = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)  # (y, x, energy)


@pytest.fixture
def opened(viewer):
    """Open a file in the viewer; gives the layers from bottom to top."""

    def open_file(path):
        for data, meta, kind in get_reader(str(path))(str(path)):
            viewer._add_layer_from_data(data, meta, kind)
        return list(viewer.layers)

    return open_file


def write_map(path, energies):
    grid = [(name, "um", "SPATIAL", 0.1 * np.arange(n)) for name, n in (("y", 5), ("x", 6))]
    write_nsid(path, CUBE, [*grid, ("loss", "eV", "SPECTRAL", energies)])


@pytest.mark.parametrize("name", ["a.tif", "a.csv", "a.txt", "a.raw", "a.png", "a", "a.zarr"])
def test_files_of_others_are_left_to_others(name):
    assert get_reader(name) is None


def test_several_files_as_one_stack_are_left_to_others():
    assert get_reader(["a.npy", "b.npy"]) is None


def test_a_spectrum_image_has_its_energies_on_the_slider(opened, tmp_path):
    write_map(tmp_path / "a.h5", -0.5 + 0.25 * np.arange(7))
    (layer,) = opened(tmp_path / "a.h5")
    assert (layer.name, tuple(layer.axis_labels)) == ("a", ("energy", "y", "x"))
    np.testing.assert_array_equal(layer.data, CUBE.transpose(2, 0, 1))
    np.testing.assert_allclose(layer.scale, (0.25, 0.1, 0.1))
    np.testing.assert_allclose(layer.translate, (-0.5, 0, 0))
    assert [str(unit) for unit in layer.units] == ["electron_volt", "micrometer", "micrometer"]
    known = layer.metadata[KEY]
    assert (known["signal_axis"], known["units"]) == (0, "electron_volt")
    assert known["modality"] == "EELS"
    np.testing.assert_allclose(known["values"], -0.5 + 0.25 * np.arange(7))


def test_uneven_energies_are_kept_beside_the_layer(opened, tmp_path):
    write_map(tmp_path / "a.h5", np.arange(7) ** 2)
    (layer,) = opened(tmp_path / "a.h5")
    assert (layer.scale[0], str(layer.units[0])) == (1, "pixel")
    np.testing.assert_array_equal(layer.metadata[KEY]["values"], np.arange(7) ** 2)
    assert layer.metadata[KEY]["units"] == "electron_volt"


def test_all_arrays_of_a_file_become_layers_with_masks_as_labels(opened, tmp_path):
    truth = np.arange(30, dtype=np.uint8).reshape(5, 6)
    np.savez(tmp_path / "a.npz", truth=truth, image=CUBE[..., 0], spectra=CUBE)
    spectra, image, labels = opened(tmp_path / "a.npz")
    assert [x.name for x in (spectra, image, labels)] == ["a spectra", "a image", "a truth"]
    assert [x.visible for x in (spectra, image, labels)] == [True, False, True]
    assert type(labels).__name__ == "Labels"
    np.testing.assert_array_equal(labels.data, truth)
    assert KEY in spectra.metadata
    assert KEY not in image.metadata
    assert KEY not in labels.metadata


def test_a_file_of_very_many_arrays_does_not_flood_the_viewer(opened, tmp_path):
    np.savez(tmp_path / "a.npz", **{f"image {k}": CUBE[..., 0] for k in range(MOST + 5)})
    assert len(opened(tmp_path / "a.npz")) == MOST


def test_channels_say_what_they_are(opened, tmp_path):
    pytest.importorskip("igor2")
    names = ("HeightRetrace", "AmplitudeRetrace", "PhaseRetrace")
    write_ibw(tmp_path / "a.ibw", CUBE[..., :3], names)
    (layer,) = opened(tmp_path / "a.ibw")
    assert layer.metadata[KEY]["names"] == names
    assert layer.metadata[KEY]["channels"] == "value, amplitude, phase in degrees"


def test_a_single_spectrum_is_a_scan_of_one_point(opened, tmp_path):
    np.savez(tmp_path / "a.npz", counts=np.arange(7.0))
    (layer,) = opened(tmp_path / "a.npz")
    assert layer.data.shape == (7, 1, 1)
    assert tuple(layer.axis_labels) == ("channel", "y", "x")


def test_4d_stem_shows_patterns_with_sliders_for_the_scan(opened, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["patterns"] = np.zeros((16, 17, 20, 20), np.uint8)
    (layer,) = opened(tmp_path / "a.h5")
    assert tuple(layer.axis_labels) == ("y", "x", "ky", "kx")
    assert layer.metadata[KEY]["modality"] == "4D-STEM"
    assert layer.metadata[KEY]["signal_axis"] is None


def test_a_big_map_is_shown_without_being_read(opened, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:  # 2 GB of nothing
        file.create_dataset("map", (1024, 1024, 2048), np.uint8, chunks=(64, 64, 64))
    (layer,) = opened(tmp_path / "a.h5")
    assert layer.data.shape == (2048, 1024, 1024)
    assert not isinstance(layer.data, np.ndarray)


def test_a_damaged_file_is_said_in_one_sentence(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"nothing")
    with pytest.raises(UserError, match="could not be read"):
        get_reader(str(tmp_path / "a.h5"))(str(tmp_path / "a.h5"))


@pytest.mark.data
def test_measured_files_open(opened, data):
    folder = data / "regions"
    opened(folder / "native_formats" / "bfo_iv_final.hf5")
    opened(folder / "native_formats" / "espm_88.hspy")
    layers = opened(folder / "synthetic" / "pfm.npz")
    assert [layer.ndim for layer in layers] == [3, 3, 3, 2]
    assert [str(unit) for unit in layers[1].units[1:]] == ["micrometer"] * 2


def test_what_a_dv_header_says_of_the_microscope_is_kept_with_its_place(opened, tmp_path):
    head = np.zeros(512, "<i2")
    head[:8] = np.array([6, 8, 9, 6], "<i4").view("<i2")
    head[20:26] = np.array([0.08, 0.08, 0.125], "<f4").view("<i2")
    head[48] = -16224
    head[98:100] = 1, 525
    (tmp_path / "a.mrc").write_bytes(head.tobytes() + np.arange(432, dtype="<u2").tobytes())
    (layer,) = opened(tmp_path / "a.mrc")
    assert layer.metadata["microscope"] == {"wavelength_nm": 525}
    assert layer.metadata["microscope_sources"] == {"wavelength_nm": "DV header"}


def test_the_file_of_a_layer_is_asked_again(tmp_path):
    resolution = (1 / 0.08, 1 / 0.08)
    metadata = {"unit": "um", "Info": "LensNA = 1.4\n"}
    path = tmp_path / "a.tif"
    pixels = np.zeros((8, 8), np.uint16)
    tifffile.imwrite(path, pixels, imagej=True, resolution=resolution, metadata=metadata)

    def found(path):
        return acquisition(SimpleNamespace(source=SimpleNamespace(path=path))).found

    assert str(found(str(path))["na"]) == "1.4 (from file: ImageJ Info)"
    assert found(None) == found(str(tmp_path / "absent.tif")) == {}
