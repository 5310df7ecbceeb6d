"""The panel runs jobs without freezing, listens while they run and loses nothing."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QTimer

from napari_physgen.app.sim_words import OUTDATED
from napari_physgen.app.widgets.sim import ReconstructSim
from napari_physgen.backend import Stop, Tune
from napari_physgen.errors import UserError
from napari_physgen.io import read_record
from napari_physgen.provenance import Record
from napari_physgen.recipe import Recipe
from napari_physgen.sim.settings import SimSettings


def names(panel):
    return [layer.name for layer in panel.viewer.layers]


def start_and_wait_for_picture(panel, qtbot, **settings):
    panel.form.put({"iterations": 3000} | settings)
    panel.run()
    qtbot.waitUntil(lambda: panel.live.layer is not None, timeout=10000)


def test_run_puts_the_results_above_their_source_with_a_record(panel, fake_sim):
    panel.run()
    panel.wait()
    assert panel.errors == []
    assert names(panel) == [
        "cell",
        "cell spectrum",
        "cell residual",
        "cell widefield",
        "cell Wiener",
        "cell SIM",
    ]
    result = panel.viewer.layers["cell SIM"]
    np.testing.assert_allclose(result.scale, (0.04, 0.04))
    record = Record.from_dict(result.metadata["physgen"])
    assert record.inputs[0].source == "cell"
    assert SimSettings.parse(dict(record.settings)) == panel.settings()
    assert "All is well." in panel.results.summary.text()


def test_the_source_is_never_changed(panel):
    raw = panel.viewer.layers["cell"]
    before, pixels = raw.as_layer_data_tuple()[1], raw.data.copy()
    panel.run()
    panel.wait()
    np.testing.assert_array_equal(raw.data, pixels)
    after = raw.as_layer_data_tuple()[1]
    np.testing.assert_equal(after["scale"], before["scale"])
    assert after["metadata"] == before["metadata"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("The stack is saturated: lower the exposure."), "The stack is saturated"),
        (RuntimeError("CUDA out of memory"), "CUDA out of memory"),
    ],
)
def test_a_failing_job_leaves_all_layers_as_they_were(panel, fake_sim, monkeypatch, error, told):
    reported = []
    monkeypatch.setattr(
        "napari.utils.notifications.notification_manager.receive_error",
        lambda kind, error, trace: reported.append(error),
    )
    before = list(panel.viewer.layers), panel.viewer.layers.selection.active
    fake_sim.fails = error
    panel.run()
    panel.wait()
    assert (list(panel.viewer.layers), panel.viewer.layers.selection.active) == before
    assert told in panel.message.text()
    # A sentence for the user, or the traceback for a report; never both.
    assert panel.errors == ([str(error)] if isinstance(error, UserError) else [])
    assert reported == ([] if isinstance(error, UserError) else [error])
    assert all(button.isEnabled() for button in panel._starters)


def longest_gap(qtbot, milliseconds):
    """Return the longest time, s, that a 10 ms timer had to wait for the event loop."""
    beats = [time.perf_counter()]
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start(10)
    qtbot.wait(milliseconds)
    timer.stop()
    return np.diff(beats).max()


def test_the_window_never_freezes_and_stop_is_quick(panel, fake_sim, qtbot):
    """Issue 2: largest gap of the event loop <= 200 ms, Stop to result <= 1 s."""
    fake_sim.pause = 0.0  # thousands of reports a second
    start_and_wait_for_picture(panel, qtbot, iterations=5000)
    fake_sim.pause = 0.0005
    # A gap made by us is there every time, one made by a busy machine is not.
    assert min(longest_gap(qtbot, 500) for _ in range(3)) <= 0.2
    assert panel.runner.running
    asked = time.perf_counter()
    panel.stop()
    panel.wait()
    assert time.perf_counter() - asked <= 1
    assert "cell SIM" in names(panel)


def test_stop_keeps_the_result_so_far_also_while_paused(panel, fake_sim, qtbot):
    start_and_wait_for_picture(panel, qtbot)
    panel.toggle_pause()
    assert panel.pause_button.text() == "Go on"
    panel.stop()
    panel.wait()
    assert fake_sim.heard == [Stop()]
    assert "cell SIM" in names(panel)
    assert "cell SIM (live)" not in names(panel)


def test_a_paused_job_takes_no_step(panel, fake_sim, qtbot):
    start_and_wait_for_picture(panel, qtbot)
    panel.toggle_pause()
    qtbot.wait(150)
    at = panel.bar.value()
    qtbot.wait(300)
    assert panel.bar.value() == at
    panel.toggle_pause()
    qtbot.waitUntil(lambda: panel.bar.value() > at)


def test_a_tunable_field_reaches_the_running_job_and_its_record(panel, fake_sim, qtbot):
    start_and_wait_for_picture(panel, qtbot)
    panel.form.put({"regularisation": 0.25})
    qtbot.waitUntil(lambda: len(fake_sim.heard) > 0)
    panel.stop()
    panel.wait()
    heard = {k: v for c in fake_sim.heard if isinstance(c, Tune) for k, v in c.changes.items()}
    assert heard == {"regularisation": 0.25}
    record = panel.viewer.layers["cell SIM"].metadata["physgen"]
    assert record["settings"]["regularisation"] == 0.25
    assert record["interventions"]


def test_live_pictures_come_at_most_ten_times_a_second(panel, fake_sim, qtbot):
    fake_sim.pause = 0.001
    start_and_wait_for_picture(panel, qtbot)
    qtbot.wait(1000)
    panel.stop()
    panel.wait()
    assert len(fake_sim.previews) >= 3
    assert np.diff(fake_sim.previews).min() >= 0.095


def test_no_picture_is_made_while_the_live_layer_is_hidden(panel, fake_sim, qtbot):
    start_and_wait_for_picture(panel, qtbot)
    panel.live.layer.visible = False
    qtbot.wait(300)
    made = len(fake_sim.previews)
    qtbot.wait(300)
    assert len(fake_sim.previews) == made
    panel.live.layer.visible = True
    qtbot.waitUntil(lambda: len(fake_sim.previews) > made)


def test_all_figures_reach_the_curve_though_reports_are_thinned(panel, fake_sim):
    fake_sim.pause = 0.001
    panel.form.put({"iterations": 500})
    panel.run()
    panel.wait()
    steps, values = panel.curves_plot.points["held-out"]
    assert steps[:300] == list(range(300))
    assert values[:2] == [2, 1.5]


@pytest.mark.parametrize("how", ["close", "undock"])
def test_closing_the_panel_stops_the_job(panel, fake_sim, qtbot, how):
    start_and_wait_for_picture(panel, qtbot)
    if how == "close":
        panel.close()
    else:  # as napari does it
        panel.setParent(type(panel)(panel.viewer))
        panel.setParent(None)
    qtbot.waitUntil(lambda: fake_sim.closed == 1, timeout=1000)
    assert not panel.runner.running
    assert names(panel) == ["cell"]


def test_removing_the_source_while_it_is_worked_on_harms_nothing(panel, qtbot):
    start_and_wait_for_picture(panel, qtbot)
    panel.viewer.layers.remove("cell")
    qtbot.wait(150)
    panel.stop()
    panel.wait()
    assert "cell SIM" in names(panel)
    assert panel.errors == []


def test_known_patterns_are_passed_on_until_the_microscope_changes(panel, fake_sim):
    panel.estimate()
    panel.wait()
    assert "good; period" in panel.verdict.text()
    assert names(panel) == ["cell", "cell spectrum"]
    panel.form.put({"iterations": 11})
    panel.run()
    panel.wait()
    assert fake_sim.given is not None
    assert names(panel).count("cell spectrum") == 1
    panel.form.put({"na": 1.1})
    assert panel.verdict.text() == OUTDATED
    panel.run()
    panel.wait()
    assert fake_sim.given is None


def test_estimate_shows_the_spectrum_and_run_returns_to_the_sample(panel, fake_sim):
    view = panel.viewer.scene.camera
    view.center, view.zoom = (0, 2.5, 2.8), 60
    before = view.center, view.zoom
    panel.estimate()
    panel.wait()
    assert (view.center, view.zoom) != before
    assert panel.viewer.layers["cell spectrum"].visible
    panel.run()
    assert not panel.viewer.layers["cell spectrum"].visible
    panel.wait()
    assert (view.center, view.zoom) == before
    shown = [layer.name for layer in panel.viewer.layers if layer.visible]
    assert shown == ["cell", "cell SIM"]


def test_a_view_chosen_since_the_estimate_is_kept(panel, fake_sim):
    panel.estimate()
    panel.wait()
    view = panel.viewer.scene.camera
    view.zoom = chosen = 33.0
    panel.run()
    panel.wait()
    assert view.zoom == chosen


def test_the_image_of_a_second_run_lies_above_all_earlier_ones(panel, fake_sim):
    panel.preview()
    panel.wait()
    for _ in range(2):
        panel.run()
        panel.wait()
    assert names(panel)[-1] == "cell SIM [1]"
    assert not panel.viewer.layers["cell SIM preview"].visible


def test_the_live_layer_becomes_the_result_with_the_contrast_set_by_hand(panel, fake_sim, qtbot):
    start_and_wait_for_picture(panel, qtbot)
    live = panel.live.layer
    live.contrast_limits = (3, 99)
    live.colormap = "viridis"
    panel.stop()
    panel.wait()
    assert panel.viewer.layers["cell SIM"] is live
    assert live.contrast_limits == [3, 99]
    assert live.colormap.name == "viridis"
    assert live.metadata["physgen"]["tool"] == "sim"
    np.testing.assert_allclose(live.translate, (-0.02, -0.02))


def test_preview_works_on_the_visible_part_with_the_same_patterns(panel, fake_sim, add_raw):
    layer = add_raw((9, 200, 220), name="big")
    panel.chooser.choose(layer)
    panel.estimate()
    panel.wait()
    layer.corner_pixels = np.array([[0, 40, 100], [8, 119, 195]])
    for _ in range(2):  # a second preview replaces the first
        panel.preview()
        panel.wait()
    shown = panel.viewer.layers["big SIM preview"]
    assert shown.data.shape == (160, 192)
    # Its first pixel lies a quarter of a raw pixel before raw pixel (40, 100).
    np.testing.assert_allclose(shown.translate, np.array([39.75, 99.75]) * 0.08)
    whole = panel.pattern_step.patterns.illumination((200, 220))
    part = fake_sim.given.illumination((80, 96))
    np.testing.assert_allclose(part, whole[:, 40:120, 100:196], atol=1e-4)
    assert "big SIM preview [1]" not in names(panel)


def test_a_new_layer_fills_in_what_it_knows(panel, add_raw):
    known = {"na": 1.3, "wavelength_nm": 600.0}
    layer = add_raw((3, 5, 64, 64), name="star", metadata={"microscope": known})
    panel.chooser.choose(layer)
    values = panel.form.values()
    assert values["pixel_size_nm"] == 80
    assert (values["na"], values["wavelength_nm"]) == (1.3, 600)
    assert (values["angles"], values["phases"]) == (3, 5)
    assert "from layer" in panel.form._labels["pixel_size_nm"].text()
    assert panel.reading.text() == "15 frames = 3 angles x 5 phases, angle slowest"


def test_the_pixel_size_typed_by_the_user_is_not_from_the_layer(panel):
    panel.form.put({"pixel_size_nm": 70.0})
    assert "from layer" not in panel.form._labels["pixel_size_nm"].text()
    assert panel.settings().pixel_size_nm == 70


def test_the_chooser_follows_the_viewer(panel, add_raw):
    layer = add_raw(name="second")
    panel.viewer.add_labels(np.zeros((9, 9), int))
    assert [panel.chooser.itemText(i) for i in range(panel.chooser.count())] == ["cell", "second"]
    layer.name = "renamed"
    assert panel.chooser.itemText(1) == "renamed"
    panel.chooser.choose(layer)
    panel.viewer.layers.remove("cell")
    assert panel.chooser.layer is layer
    panel.viewer.layers.clear()
    assert panel.chooser.layer is None
    panel.attempt(panel.run)
    assert "There is no image to work on" in panel.errors[0]


@pytest.mark.parametrize(
    ("data", "arguments", "sentence"),
    [
        (np.zeros((64, 64, 3), np.uint8), {"rgb": True}, "colour (RGB)"),
        (np.zeros((9, 64, 64), bool), {}, "boolean"),
        (np.zeros((7, 64, 64)), {}, "7 frames"),
    ],
)
@pytest.mark.parametrize("action", ["estimate", "preview", "run"])
def test_a_wrong_layer_gets_one_sentence_and_starts_nothing(
    panel, data, arguments, sentence, action
):
    layer = panel.viewer.add_image(data, name="wrong", **arguments)
    panel.chooser.choose(layer)
    panel.attempt(getattr(panel, action))
    assert len(panel.errors) == 1
    assert sentence in panel.errors[0]
    assert not panel.runner.running
    assert names(panel) == ["cell", "wrong"]


def test_a_wrong_setting_gets_one_sentence_and_starts_nothing(panel):
    panel.form.put({"pixel_size_nm": 400.0})
    panel.attempt(panel.run)
    assert "too coarse" in panel.errors[0]
    assert not panel.runner.running


def test_settings_are_restored_from_a_layer_a_recipe_and_an_exported_file(panel, tmp_path):
    panel.form.put({"regularisation": 1e-3, "seed": 7, "camera_gain": 2.2})
    panel.run()
    panel.wait()
    wanted = panel.settings()
    recipe = panel.results.save_recipe(tmp_path / "a.yaml")
    exported = panel.results.export(tmp_path / "a.ome.tif")
    ways = [
        lambda: panel.results.load_from_layer(panel.viewer.layers["cell SIM"]),
        lambda: panel.results.load_from_file(recipe),
        lambda: panel.results.load_from_file(exported),
    ]
    for way in ways:
        panel.form.set_value(SimSettings(na=1, wavelength_nm=700, pixel_size_nm=90))
        way()
        assert panel.settings() == wanted
    assert Recipe.load(recipe).parse() == wanted


def test_loading_from_a_layer_without_record_says_what_to_do(panel):
    panel.viewer.layers.selection.active = panel.viewer.layers["cell"]
    panel.attempt(panel.results.load_from_layer)
    assert panel.errors == ["Select a layer made by napari-physgen in the layer list first."]


def test_export_keeps_the_pixel_size_and_the_record(panel, tmp_path):
    panel.run()
    panel.wait()
    path = panel.results.export(tmp_path / "sim.tif", imagej=True)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_imagej
        size, _ = tif.pages[0].tags["XResolution"].value, 0
        assert size[1] / size[0] == pytest.approx(0.04, rel=1e-4)
    assert read_record(path).tool == "sim"


def test_export_before_a_result_says_so(panel):
    panel.attempt(panel.results._ask_export)
    assert panel.errors == ["There is no result to export yet: press Run first."]


def test_the_settings_of_the_last_session_come_back(panel, viewer, qtbot, config):
    panel.form.put({"regularisation": 1e-3, "seed": 5})
    panel.run()
    panel.wait()
    again = ReconstructSim(viewer)
    qtbot.addWidget(again)
    # Results are not offered as raw stacks.
    assert again.chooser.layer is viewer.layers["cell"]
    assert again.settings() == panel.settings()


def test_a_damaged_memory_of_the_last_session_is_ignored(viewer, qtbot, config):
    config.mkdir()
    (config / "sim.yaml").write_text("tool: sim\nsettings: {nonsense: 1}")
    panel = ReconstructSim(viewer)
    qtbot.addWidget(panel)
    assert panel.form.values()["seed"] == 0
