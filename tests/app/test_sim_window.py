"""Everything that the SIM panel can do, by its buttons, on small simulated stacks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from napari.layers._source import layer_source

from napari_physgen.app import sim_samples
from napari_physgen.app.frames import find_frames, read_frames
from napari_physgen.app.sim_series import Growing, SeriesAxes, read_series
from napari_physgen.app.widgets.sim import ReconstructSim
from napari_physgen.sim import SimSettings, simulate
from napari_physgen.sim.frame_order import arrange

pytestmark = pytest.mark.gui

QUICK = {"method": "wiener"}


@pytest.fixture
def sim(opened):
    panel = opened(ReconstructSim)
    panel.form.put(QUICK)
    return panel


@pytest.fixture(scope="module")
def movie():
    """Three time points of 9 x 64 x 64, from the sample."""
    ((data, meta, _),) = sim_samples.time_lapse()
    return data[:3, :, :64, :64], meta


@pytest.fixture
def lapse(viewer, movie):
    data, meta = movie
    return viewer.add_image(data, **meta)


def names(panel):
    return [layer.name for layer in panel.viewer.layers]


# ---- what kind of light -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (sim_samples.three_beam, "15 frames = 3 angles x 5 phases"),
        (sim_samples.hexagonal, "7 frames, all of one angle"),
        (sim_samples.saturated, "25 frames = 5 angles x 5 phases"),
        (sim_samples.speckle, "60 frames, all of one angle"),
        (sim_samples.plasmonic, "24 frames, all of one angle"),
        (sim_samples.time_lapse, "9 frames = 3 angles x 3 phases"),
    ],
)
def test_each_sample_says_what_light_it_was_recorded_with(sim, make, words):
    layers = make()
    for data in layers:
        sim.viewer._add_layer_from_data(*data)
    told = layers[-1][1]["metadata"]["microscope"]
    values = sim.form.values()
    assert {name: values[name] for name in told} == told
    assert sim.reading.text().startswith(words)
    assert sim.settings().pattern == told["pattern"]
    assert sim.light.isVisibleTo(sim) == (told["pattern"] == "given")


@pytest.mark.parametrize(
    ("shape", "pattern", "layout"),
    [
        ((15, 64, 64), "three-beam", (3, 5)),
        ((7, 64, 64), "hexagonal", (1, 7)),
        ((25, 64, 64), "saturated", (5, 5)),
        ((24, 64, 64), "given", (1, 24)),
    ],
)
def test_choosing_the_light_brings_angles_and_phases_that_fit(sim, add_raw, shape, pattern, layout):
    add_raw(shape)
    sim.form.put({"pattern": pattern})
    values = sim.form.values()
    assert (values["angles"], values["phases"]) == layout


def test_known_light_is_taken_from_its_layer(sim):
    for data, meta, kind in sim_samples.plasmonic():
        half = data[..., : data.shape[-2] // 2, : data.shape[-1] // 2]
        sim.viewer._add_layer_from_data(half, meta, kind)
    assert sim.light.layers.layer is sim.viewer.layers["plasmonic light"]
    sim.press("Estimate")
    assert "nothing to estimate" in sim.verdict.text()
    sim.form.put({"method": "variational", "iterations": 10})
    sim.press("Preview")
    sim.press("Run")
    assert sim.errors == []
    assert sim.viewer.layers["plasmonic filaments SIM"].data.shape == (128, 128)


def test_known_light_that_is_missing_or_does_not_fit_is_a_sentence(sim, add_raw):
    add_raw((24, 64, 64))
    sim.form.put({"pattern": "given", "method": "variational"})
    sim.press("Run")
    assert "Choose the layer with the known light" in sim.errors[-1]
    sim.light.layers.choose(add_raw((9, 64, 64), name="light"))
    sim.press("Run")
    assert "'light' has 9 frames, but the raw stack has 24" in sim.errors[-1]


# ---- time, planes, channels ---------------------------------------------------------------


def test_all_time_points_become_layers_along_the_sources_own_time(sim, lapse, viewer):
    sim.extent.box.setCurrentIndex(1)
    assert sim.extent.box.currentText() == "all 3 time points"
    sim.press("Run")
    assert sim.errors == []
    image = viewer.layers["time-lapse filaments SIM"]
    assert image.data.shape == (3, 1, 128, 128)
    assert image.axis_labels == ("time", "frame", "y", "x")
    assert image.scale[0] == lapse.scale[0]
    for step in range(3):
        # Whatever raw frame the slider is at, the image of its time point is shown.
        world = lapse.data_to_world((step, 7, 0, 0))
        assert tuple(np.round(image.world_to_data(world))[:2]) == (step, 0)
    saved = sim.results.kept.images()[0]
    assert (saved.axes, saved.seconds()[0]) == (("time", "y", "x"), sim_samples.STEP)
    sim.press("Report")
    assert sim.reports.report["held-out misfit"].value > 0
    assert sim.errors == []


def test_a_stopped_time_lapse_keeps_the_images_that_are_finished(sim, lapse, viewer, qtbot):
    sim.form.put({"method": "variational", "iterations": 30})
    sim.extent.box.setCurrentIndex(1)
    sim.run()
    qtbot.waitUntil(lambda: sim.growing is not None and sim.growing.done >= 1, timeout=60000)
    sim.stop()
    sim.wait()
    assert sim.errors == []
    assert len(viewer.layers["time-lapse filaments SIM"].data) in (1, 2)
    assert "Stopped early" in sim.results.summary.text()
    viewer.dims.set_point(0, 4)  # the last time point
    sim.press("Report")
    assert sim.errors == ["This stack was not reconstructed: move the slider to one that was."]


def test_a_single_stack_offers_no_choice(sim, add_raw):
    add_raw()
    assert sim.extent.box.count() == 1
    assert not sim.extent.box.isEnabled()


@pytest.mark.parametrize("order", ["angle-z-phase", "widefield-angle-phase", "phase-angle-z"])
def test_stacks_one_after_the_other_are_read_in_every_order(viewer, order):
    count = 20 if "widefield" in order else 18
    data = np.random.default_rng(0).integers(0, 9, (count, 64, 64))
    layer = viewer.add_image(data)
    settings = SimSettings(na=1.2, wavelength_nm=525, pixel_size_nm=80, order=order)
    layout = find_frames(layer, 3, 3, order, (13, 0, 0))
    stacks = arrange(data, order, settings)
    expected = stacks if layout.order == "angle-phase" else _phase_slowest(stacks)
    np.testing.assert_array_equal(read_series(layer, layout), expected)
    np.testing.assert_array_equal(read_frames(layer, layout), expected[layout.shown])
    assert layout.shown == 1
    things = "z planes" if "z" in order else "time points"
    assert SeriesAxes.of(layer, layout).words == f"all 2 {things}"


def _phase_slowest(stacks):
    return stacks.reshape(-1, 3, 3, 64, 64).swapaxes(1, 2).reshape(stacks.shape)


def test_images_of_stacks_one_after_the_other_cover_their_frames(viewer):
    layer = viewer.add_image(np.zeros((18, 64, 64)), scale=(2, 1, 1), translate=(5, 0, 0))
    growing = Growing(layer, find_frames(layer, 3, 3))
    np.testing.assert_allclose(growing.place.data_to_world((0, 0, 0))[0], 5 + 2 * 4)
    np.testing.assert_allclose(growing.place.data_to_world((1, 0, 0))[0], 5 + 2 * 13)


def test_a_folder_is_reconstructed_and_a_bad_file_does_not_stop_it(sim, movie, tmp_path):
    tifffile.imwrite(tmp_path / "cell.tif", movie[0][0])
    tifffile.imwrite(tmp_path / "short.tif", movie[0][0][:4], photometric="minisblack")
    sim.form.put({"na": 1.4, "pixel_size_nm": 80})
    sim.extent.run_folder(tmp_path)
    sim.wait()
    assert "1 of 2 files are done" in sim.results.summary.text()
    assert "short.tif" in sim.results.summary.text()
    assert (tmp_path / "cell_sim.ome.tif").exists()


def test_an_empty_folder_is_a_sentence(sim, tmp_path):
    sim.attempt(lambda: sim.extent.run_folder(tmp_path))
    assert "has no raw stack" in sim.errors[-1]


# ---- can it be trusted --------------------------------------------------------------------


def test_check_lists_verdicts_and_the_report_is_saved(sim, viewer, movie, tmp_path):
    sim.attempt(lambda: sim.reports.save(tmp_path / "early.json"))
    assert sim.errors.pop() == "There is no report yet: press Check or Report first."
    sim.press("Report")
    assert sim.errors.pop() == "There is no image to report on yet: press Run first."
    viewer.add_image(movie[0][0], name="cell", metadata=movie[1]["metadata"])
    sim.form.put({"pixel_size_nm": 80})
    sim.press("Check")
    assert sim.errors == []
    shown = [sim.reports.grid.itemAt(i).widget().text() for i in range(sim.reports.grid.count())]
    assert len(shown) == 2 * len(sim.reports.report.checks)
    assert all(
        any(word in line for word in ("good", "fair", "poor", "unknown")) for line in shown[::2]
    )
    assert not viewer.layers["cell modulation contrast"].visible
    sim.reports.save(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] in ("good", "fair", "poor")
    sim.attempt(lambda: sim.reports.save(tmp_path / "report.doc"))
    assert ".html, .png or .json" in sim.errors[-1]


# ---- how it was recorded ------------------------------------------------------------------


def test_the_frame_order_is_found_and_all_scores_are_told(sim, viewer, movie):
    data, meta = movie
    shuffled = data[0].reshape(3, 3, 64, 64).swapaxes(0, 1).reshape(9, 64, 64)
    viewer.add_image(shuffled, name="cell", metadata=meta["metadata"])
    sim.form.put({"pixel_size_nm": 80})
    sim.press("Find order")
    assert sim.form.values()["order"] == "phase-angle"
    assert "(found)" in sim.form._labels["order"].text()
    assert "phase slowest" in sim.verdict.text()
    assert "angle slowest" in sim.verdict.toolTip()


def test_a_montage_is_previewed_and_reconstructed(sim, viewer, movie):
    tiles = movie[0][0].reshape(3, 3, 64, 64).swapaxes(1, 2).reshape(192, 192)
    viewer.add_image(tiles, name="cell", metadata=movie[1]["metadata"])
    sim.form.put({"pixel_size_nm": 80, "order": "montage-angle-phase"})
    assert "montage of 3 x 3" in sim.reading.text()
    sim.press("Preview")
    sim.press("Run")
    assert sim.errors == []
    assert viewer.layers["cell SIM"].data.shape == (128, 128)
    assert viewer.layers["cell SIM preview"].data.shape == (128, 128)


def test_values_from_a_file_are_marked_until_they_are_changed(sim, viewer, movie, tmp_path):
    path = tmp_path / "cell.ome.tif"
    pixels = {"axes": "TYX", "PhysicalSizeX": 0.08, "PhysicalSizeXUnit": "um"}
    tifffile.imwrite(path, movie[0][0], metadata=pixels)
    with layer_source(path=str(path)):
        viewer.add_image(movie[0][0])
    label = sim.form._labels["pixel_size_nm"]
    assert sim.form.values()["pixel_size_nm"] == pytest.approx(80)
    assert "(from file)" in label.text()
    assert "Read from the file: OME" in sim.reading.text()
    sim.form.put({"pixel_size_nm": 85})
    assert "(from" not in label.text()
    assert "The file says otherwise: pixel size 80 nm" in sim.reading.text()


def test_beads_become_an_otf_file_that_is_used(sim, viewer, tmp_path):
    settings = SimSettings(
        na=1.2, wavelength_nm=525, pixel_size_nm=80, pattern="given", angles=1, phases=1
    )
    points = np.zeros((400, 400), np.float32)
    points[60::80, 60::80] = 1
    flat = np.ones((1, 400, 400), np.float32)
    beads = viewer.add_image(simulate(points, settings, 20, 0, patterns=flat)[0], name="beads")
    sim.form.put({"na": 1.2, "wavelength_nm": 525, "pixel_size_nm": 80})
    line = sim.beads
    sim.attempt(lambda: line.measure(tmp_path / "otf"))
    assert "Choose the layer with the beads" in sim.errors.pop()
    line.layers.choose(beads)
    line.measure(tmp_path / "otf")
    sim.wait()
    assert sim.errors == []
    assert sim.form.values()["otf"] == tmp_path / "otf.tif"
    assert "OTF of" in sim.results.summary.text()


# ---- a network that learned before --------------------------------------------------------


def test_a_network_is_trained_on_the_layer_saved_and_used(sim, viewer, movie, tmp_path):
    viewer.add_image(movie[0][:1], **movie[1])
    sim.trained.form.put({"start": "nothing", "learning_steps": 2})
    sim.trained.train(tmp_path / "mine")
    sim.wait()
    assert sim.errors == []
    values = sim.form.values()
    assert (values["method"], values["model"]) == ("trained", tmp_path / "mine.safetensors")
    assert "In use: mine.safetensors" in sim.trained.words.text()
    assert "photons per pixel" in sim.trained.words.text()
    sim.press("Run")
    assert sim.errors == []
    assert "Trained network" in sim.results.summary.text()


def test_a_file_that_is_no_network_is_a_sentence(sim, lapse, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    sim.trained.load(tmp_path / "bad.safetensors")
    sim.wait()
    assert "bad.safetensors is damaged" in sim.errors[-1]
