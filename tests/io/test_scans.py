"""Vendor files come with the signal axis first, in physical units, big ones lazily."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

import dask.array
import h5py
import numpy as np
import pytest
from vendor_files import write_emd, write_ibw, write_nsid, write_ser, write_sxm, write_usid

from napari_physgen.errors import UserError
from napari_physgen.io.scans import is_mask, read_scans

CUBE = np.random.default_rng(0).integers(0, 9, (5, 6, 7)).astype(np.float32)  # (y, x, signal)
NM = {"y": (2.0, "nanometer"), "x": (2.0, "nanometer")}


def only(path):
    (scan,) = read_scans(path)
    return scan


def assert_is_cube(scan, signal="energy"):
    """The cube has come with its signal axis first."""
    assert scan.axes == (signal, "y", "x")
    np.testing.assert_array_equal(scan.data, CUBE.transpose(2, 0, 1))


# ---- formats ------------------------------------------------------------------------------


def test_nothing_heavy_is_imported_before_a_file_is_read():
    code = (
        "import sys, napari_physgen.io.scans, napari_physgen.app.reader as r\n"
        "assert r.get_reader('a.bcf')\n"
        "bad = {'h5py', 'ncempy', 'rsciio', 'igor2', 'dask', 'torch', 'napari', 'pint'}\n"
        "assert not bad & set(sys.modules), bad & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_arrays_in_npz_come_spectra_first_masks_last_with_their_vectors(tmp_path):
    labels = np.zeros((5, 6), np.uint8)
    energy = 0.5 + 0.1 * np.arange(7)
    np.savez(tmp_path / "a.npz", labels=labels, image=CUBE[..., 0], si=CUBE, energy_keV=energy)
    spectra, image, mask = read_scans(tmp_path / "a.npz")
    assert_is_cube(spectra)
    assert spectra.step["energy"] == (pytest.approx(0.1), "kiloelectron_volt")
    assert (spectra.modality, image.name, mask.name) == ("EDS", "image", "labels")
    assert [is_mask(scan) for scan in (spectra, image, mask)] == [False, False, True]


def test_big_arrays_stay_on_disk(tmp_path):
    shape = (64, 64, 9000)
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, shape).flush()
    scan = only(tmp_path / "a.npy")
    assert scan.shape == (9000, 64, 64)
    assert isinstance(scan.data.base, np.memmap)
    with h5py.File(tmp_path / "a.h5", "w") as file:  # 2 GB of nothing
        file.create_dataset("si/data", (1024, 1024, 2048), np.uint8, chunks=(16, 16, 2048))
    scan = only(tmp_path / "a.h5")
    assert isinstance(scan.data, dask.array.Array)
    assert (scan.name, scan.shape) == ("si", (2048, 1024, 1024))
    assert not np.asarray(scan.data[:, 5, 7]).any()
    (tmp_path / "a.h5").unlink()


def test_nsid_axes_come_from_dimension_scales(tmp_path):
    grid = [(name, "m", "SPATIAL", 2e-9 * np.arange(n)) for name, n in (("y", 5), ("x", 6))]
    loss = ("loss", "eV", "SPECTRAL", 350 + 0.25 * np.arange(7))
    write_nsid(tmp_path / "a.h5", CUBE[..., 0], grid, "haadf")
    write_nsid(tmp_path / "a.h5", CUBE, [*grid, loss])
    spectra, image = read_scans(tmp_path / "a.h5")
    assert_is_cube(spectra)
    assert spectra.step == {"energy": (0.25, "electron_volt")} | {
        axis: (pytest.approx(2), "nanometer") for axis in "yx"
    }
    assert (spectra.origin["energy"], spectra.modality) == (350, "EELS")
    assert (image.name, image.axes, image.modality) == ("haadf", ("y", "x"), "STEM")


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_usid_tables_are_rolled_up(tmp_path, monkeypatch, dtype, lazy):
    for module in ("hdf5", "file"):
        monkeypatch.setattr(f"napari_physgen.io._scan_{module}.LAZY_ABOVE", 0 if lazy else 1e9)
    data = np.arange(5 * 6 * 3 * 7).reshape(5, 6, 3, 7).astype(dtype)
    positions = [("Y", "um", 0.1 * np.arange(5)), ("X", "um", 0.1 * np.arange(6))]
    steps = [("Bias", "V", [-1, 0, 1]), ("Frequency", "Hz", 1000 + 10 * np.arange(7))]
    write_usid(tmp_path / "a.h5", data, positions, steps)
    scan, *imaginary = read_scans(tmp_path / "a.h5")
    assert isinstance(scan.data, np.ndarray) is not lazy
    assert len(imaginary) == (dtype is np.complex64)
    assert scan.axes == ("frequency", "bias", "y", "x")
    np.testing.assert_array_equal(scan.data, data.real.transpose(3, 2, 0, 1))
    assert scan.step["x"] == (pytest.approx(0.1), "micrometer")
    assert scan.origin["frequency"] == 1000


def test_emd_of_berkeley_is_read_with_its_dims(tmp_path):
    dims = [("y", "[nm]", 2 * np.arange(5)), ("x", "[nm]", [0, 2])]
    write_emd(tmp_path / "a.emd", CUBE, [*dims, ("energy", "[eV]", -1 + 0.5 * np.arange(7))])
    scan = only(tmp_path / "a.emd")
    assert_is_cube(scan)
    assert scan.step == {"energy": (0.5, "electron_volt")} | NM
    assert scan.origin["energy"] == -1


def test_4d_stem_of_py4dstem_keeps_its_order_and_its_angstroms(tmp_path):
    data = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    dims = [("Rx", "A", [0, 20]), ("Ry", "A", [0, 20])]
    dims += [("Qx", "A^-1", [0, 0.1]), ("Qy", "A^-1", [0, 0.1])]
    write_emd(tmp_path / "a.emd", data, dims, first=0)
    scan = only(tmp_path / "a.emd")
    assert (scan.axes, scan.modality) == (("y", "x", "ky", "kx"), "4D-STEM")
    np.testing.assert_array_equal(scan.data, data)
    assert scan.pixel_nm == pytest.approx((2, 2))
    assert scan.step["ky"] == (pytest.approx(0.1), "1 / angstrom")


def test_a_map_of_a_frequency_is_no_axis(tmp_path):
    np.savez(tmp_path / "a.npz", frequency=CUBE[..., 0], frequency_vec=CUBE[0])
    assert [scan.name for scan in read_scans(tmp_path / "a.npz")] == ["frequency"]


def test_any_other_hdf5_gives_all_arrays_that_are_no_axis(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan/spectra"] = CUBE
        file["scan/energy_eV"] = 1.0 + np.arange(7)
        file["scan/image"] = CUBE[..., 0]
        file["scan/comment"] = "no numbers"
        file["scan/empty"] = np.zeros((0, 4))
    spectra, image = read_scans(tmp_path / "a.h5")
    assert_is_cube(spectra)
    assert (spectra.name, spectra.origin["energy"], image.name) == ("spectra", 1, "image")


def test_igor_waves_are_channels_with_the_first_line_at_the_bottom(tmp_path):
    pytest.importorskip("igor2")
    channels = ("HeightRetrace", "AmplitudeRetrace", "PhaseRetrace")
    write_ibw(tmp_path / "a.ibw", CUBE[..., :3], channels, pixel_m=2e-9)
    scan = only(tmp_path / "a.ibw")
    assert (scan.axes, scan.channels) == (("channel", "y", "x"), channels)
    np.testing.assert_array_equal(scan.data, CUBE[..., :3].transpose(2, 1, 0)[:, ::-1])
    assert {axis: scan.step[axis] for axis in "yx"} == {
        axis: (pytest.approx(2), "nanometer") for axis in "yx"
    }
    assert scan.modality == "PFM"
    write_ibw(tmp_path / "b.ibw", CUBE[0], tuple("abcdefg"))
    with pytest.raises(UserError, match="curve"):
        read_scans(tmp_path / "b.ibw")


def test_nanonis_lines_back_run_the_same_way_and_scans_upward_start_at_the_bottom(tmp_path):
    planes = CUBE.transpose(2, 0, 1)[:2]
    write_sxm(tmp_path / "a.sxm", planes, pixel_m=2e-9)
    scan = only(tmp_path / "a.sxm")
    assert scan.channels == ("Z forward [m]", "Z backward [m]")
    np.testing.assert_array_equal(scan.data, [planes[0], planes[1][:, ::-1]])
    assert scan.step["x"] == (pytest.approx(2), "nanometer")
    write_sxm(tmp_path / "b.sxm", planes, direction="up")
    np.testing.assert_array_equal(only(tmp_path / "b.sxm").data, scan.data[:, ::-1])


def test_tia_spectrum_images_are_read(tmp_path):
    pytest.importorskip("ncempy")
    write_ser(tmp_path / "a.ser", CUBE, pixel_m=2e-9)
    scan = only(tmp_path / "a.ser")
    assert_is_cube(scan)
    assert scan.step["energy"] == (0.5, "electron_volt")
    assert scan.step["x"] == (pytest.approx(2), "nanometer")
    assert scan.origin["energy"] == 100


def hyperspy_signal(data, axes):
    """What rosettasciio writes: axes are (name, unit, offset, scale, navigate)."""
    keys = ("name", "units", "offset", "scale", "navigate")
    listed = [
        dict(zip(keys, axis, strict=True)) | {"size": n, "_type": "UniformDataAxis"}
        for axis, n in zip(axes, data.shape, strict=True)
    ]
    return {
        "data": data,
        "axes": listed,
        "metadata": {
            "General": {"title": "map"},
            "Signal": {"signal_type": "EDS_TEM"},
            "Acquisition_instrument": {},
        },
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "test", "package_version": "0"},
        "learning_results": {},
        "models": {},
        "tmp_parameters": {},
    }


GRID = [("y", "nm", 0.0, 2.0, True), ("x", "nm", 0.0, 2.0, True)]


@pytest.mark.parametrize("suffix", ["hspy", "nxs"])
def test_signals_of_hyperspy_keep_negative_energies(tmp_path, suffix):
    names = {"nxs": "nexus"}
    rosetta = pytest.importorskip(f"rsciio.{names.get(suffix, suffix)}")
    energy = ("Energy", "keV", -0.47, 0.01, False)
    path = tmp_path / f"a.{suffix}"
    signal = hyperspy_signal(CUBE, [*GRID, energy])
    rosetta.file_writer(str(path), [signal] if suffix == "nxs" else signal)
    scan = only(path)
    assert_is_cube(scan)
    assert scan.step == {"energy": (pytest.approx(0.01), "kiloelectron_volt")} | NM
    assert scan.origin["energy"] == pytest.approx(-0.47)
    if suffix != "nxs":
        assert scan.modality == "EDS"


def test_4d_stem_of_hyperspy_keeps_scan_then_pattern(tmp_path):
    rosetta = pytest.importorskip("rsciio.hspy")
    data = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    k = [("height", "px", 0.0, 1.0, False), ("width", "px", 0.0, 1.0, False)]
    rosetta.file_writer(str(tmp_path / "a.hspy"), hyperspy_signal(data, [*GRID, *k]))
    scan = only(tmp_path / "a.hspy")
    assert (scan.axes, scan.modality) == (("y", "x", "ky", "kx"), "4D-STEM")
    np.testing.assert_array_equal(scan.data, data)


def test_blockfiles_and_ripple_files_are_read_through_rosettasciio(tmp_path):
    blockfile = pytest.importorskip("rsciio.blockfile")
    ripple = pytest.importorskip("rsciio.ripple")
    data = np.arange(2 * 3 * 16 * 16).reshape(2, 3, 16, 16).astype(np.uint8)
    k = [("dy", "cm", 0.0, 0.1, False), ("dx", "cm", 0.0, 0.1, False)]
    signal = hyperspy_signal(data, [*GRID, *k])
    blockfile.file_writer(str(tmp_path / "a.blo"), signal, navigator=None, show_progressbar=False)
    scans = read_scans(tmp_path / "a.blo")
    assert (scans[0].axes, scans[0].modality) == (("y", "x", "ky", "kx"), "4D-STEM")
    np.testing.assert_array_equal(scans[0].data, data)
    energy = ("Energy", "keV", -0.47, 0.01, False)
    signal = hyperspy_signal(CUBE, [*GRID, energy])
    signal["metadata"]["Signal"] = {"signal_type": ""}
    ripple.file_writer(str(tmp_path / "a.rpl"), signal)
    scan = only(tmp_path / "a.rpl")
    assert_is_cube(scan)
    assert scan.origin["energy"] == pytest.approx(-0.47)


@pytest.mark.parametrize("first", ["energy", "map"])
def test_gatan_maps_are_ordered_by_their_units(tmp_path, monkeypatch, first):
    """EELS maps are energy first on disk, cathodoluminescence may be either way."""
    dm = pytest.importorskip("ncempy.io.dm")
    stored = CUBE if first == "map" else CUBE.transpose(2, 0, 1)
    axes = [("nm", 2.0, 0.0)] * 2  # fastest first, as in the file
    axes.insert(0 if first == "map" else 2, ("eV", 0.5, -200.0))

    class Gatan:
        numObjects = 1
        allTags: ClassVar = {".ImageList.1.ImageTags.Meta Data.Signal": "EELS"}
        dataShape: ClassVar = [3]
        xSize, ySize, zSize, zSize2 = ([n] for n in (*stored.shape[::-1], 1))
        scaleUnit, scale, origin = zip(*axes, strict=True)

        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def getMemmap(self, index):
            return stored

    monkeypatch.setattr(dm, "fileDM", Gatan)
    (tmp_path / "a.dm4").touch()
    scan = only(tmp_path / "a.dm4")
    assert_is_cube(scan)
    assert scan.step == {"energy": (0.5, "electron_volt")} | NM
    assert (scan.origin["energy"], scan.modality) == (100, "EELS")


def test_a_single_spectrum_is_given_where_there_is_nothing_else(tmp_path):
    np.savez(tmp_path / "a.npz", spectrum=np.arange(7.0))
    scan = only(tmp_path / "a.npz")
    assert scan.axes == ("channel",)


def test_an_mrc_stack_is_read_without_rosettasciio(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rsciio.mrc", None)
    header = np.zeros(256, "<i4")
    header[:4] = (6, 5, 7, 2)
    header[7:10] = (6, 5, 7)
    header[10:13] = np.array([120, 100, 140], "<f4").view("<i4")  # cell in angstrom
    pixels = CUBE.transpose(2, 0, 1).astype("<f4")
    (tmp_path / "a.mrc").write_bytes(header.tobytes() + pixels.tobytes())
    scan = only(tmp_path / "a.mrc")
    np.testing.assert_array_equal(scan.data, pixels)
    assert scan.axes == ("section", "y", "x")
    assert scan.pixel_nm == pytest.approx((2, 2))


# ---- what cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.bcf", "a.ibw", "a.dm4", "a.ser", "a.wdf"])
def test_a_missing_library_is_named_with_what_to_type(tmp_path, monkeypatch, name):
    blocked = ("rsciio.bruker", "rsciio.renishaw", "rsciio.digitalmicrograph", "rsciio.tia")
    for module in (*blocked, "igor2", "ncempy", "ncempy.io"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=r'pip install "napari-physgen\[formats\]"'):
        read_scans(tmp_path / name)


@pytest.mark.parametrize(
    "suffix", ["npy", "npz", "h5", "hspy", "emd", "dm3", "dm4", "ser", "ibw", "sxm", "bcf", "mrc"]
)
@pytest.mark.parametrize("content", [b"", b"no such thing as a header " * 200])
def test_a_damaged_file_is_said_in_one_sentence(tmp_path, monkeypatch, suffix, content):
    monkeypatch.setitem(sys.modules, "rsciio.mrc", None)  # leaves damaged files open
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_scans(path)
    assert "a." + suffix in str(error.value) or "pip install" in str(error.value)
    assert "\n" not in str(error.value)


def test_files_without_numbers_missing_and_unknown_ones_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["note"] = "hello"
    np.savez(tmp_path / "a.npz", a=np.array("hello"), b=np.array(3.0))
    for name in ("a.h5", "a.npz"):
        with pytest.raises(UserError, match="holds no image"):
            read_scans(tmp_path / name)
    with pytest.raises(UserError, match="no file"):
        read_scans(tmp_path / "b.h5")
    with pytest.raises(UserError, match="unknown format"):
        read_scans(tmp_path / "b.tif")


def test_a_pickle_in_a_numpy_file_is_not_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}, None]), allow_pickle=True)
    with pytest.raises(UserError, match="could not be read"):
        read_scans(tmp_path / "a.npy")


# ---- measured files -----------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "library", "axes", "shape", "step", "modality"),
    [
        ("EELS_STO.dm3", "ncempy", ("energy",), (2048,), (0.25, "electron_volt"), "EELS"),
        ("STO_test_image.hf5", "h5py", ("y", "x"), (470, 453), (0.0145589, "nanometer"), ""),
        ("bfo_iv_final.hf5", "h5py", ("sqrt E", "y", "x"), (53, 50, 50), (1, "pixel"), "I-V"),
        (
            "espm_88.hspy",
            "h5py",
            ("energy", "y", "x"),
            (1917, 80, 80),
            (0.01000468, "kiloelectron_volt"),
            "EDS",
        ),
    ],
)
def test_native_formats_have_the_right_axes(data, file, library, axes, shape, step, modality):
    pytest.importorskip(library)
    scan = only(data / "regions" / "native_formats" / file)
    assert (scan.axes, scan.shape, scan.modality) == (axes, shape, modality)
    assert scan.step[axes[0]] == (pytest.approx(step[0], rel=1e-5), step[1])


@pytest.mark.data
def test_native_formats_have_the_right_positions(data):
    pytest.importorskip("ncempy")
    folder = data / "regions" / "native_formats"
    assert only(folder / "EELS_STO.dm3").origin["energy"] == 350
    iv = only(folder / "bfo_iv_final.hf5")
    assert iv.signal_values[[0, -1]] == pytest.approx([8591.79, 11180.34])
    assert iv.pixel_nm == pytest.approx((0.10204, 0.10204), rel=1e-4)
    with h5py.File(folder / "bfo_iv_final.hf5") as file:  # (x, y, signal) in the file
        raw = file["Measurement_000/Channel_000/IV_BFO/IV_BFO"][()]
    np.testing.assert_array_equal(iv.data, raw.transpose(2, 1, 0))
    eds = only(folder / "espm_88.hspy")
    assert eds.origin["energy"] == pytest.approx(0.83151949728)
    assert eds.pixel_nm == pytest.approx((9.859113, 9.859113))


@pytest.mark.data
def test_velox_spectra_come_before_the_detector_image(data):
    pytest.importorskip("rsciio")
    pytest.importorskip("sparse")
    spectra, image = read_scans(data / "regions" / "native_formats" / "SI_Si.emd")
    assert (spectra.axes, spectra.shape) == (("energy", "y", "x"), (4096, 16, 16))
    assert spectra.step["energy"] == (0.01, "kiloelectron_volt")
    assert spectra.origin["energy"] == -1
    assert spectra.pixel_nm == pytest.approx((5.302415, 5.302415))
    assert (spectra.modality, image.modality, image.shape) == ("EDS", "STEM", (16, 16))


@pytest.mark.data
def test_measured_arrays_are_sorted_by_their_shape(data):
    folder = data / "regions" / "real"
    assert only(folder / "gpim_bepfm_32x32x102.npy").shape == (102, 32, 32)
    assert only(folder / "eds_espm_80x80.npz").shape == (1917, 80, 80)
    assert only(folder / "MoS2_stem_000-2.npy").axes == ("y", "x")


@pytest.mark.data
def test_the_fields_of_a_ckpfm_loop_are_measurements_over_bias(data):
    scans = read_scans(data / "regions" / "real" / "gpim_ckpfm_loop.npz")
    assert [scan.name for scan in scans[:2]] == ["Nd_mat Amplitude [V]", "Nd_mat Frequency [Hz]"]
    assert len(scans) == 7  # five fields, amplitude and phase; no vectors of bias
    assert {(scan.axes[0], scan.shape) for scan in scans} == {("bias", (64, 2, 5, 10, 10))}
    assert np.ptp(scans[0].signal_values) > 1
