"""The microstructure panel: from a look to a live sample, an image, a match and a data set."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_physgen import recipe, synthesis
from napari_physgen.app import sketch
from napari_physgen.app.gallery import thumbnail
from napari_physgen.app.widgets.microstructure import LOOKS, SimulateMicrostructure
from napari_physgen.backend import Progress, Stop, Tune
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output
from napari_physgen.provenance import Record
from napari_physgen.synthesis.presets import presets
from napari_physgen.synthesis.results import Microstructure
from napari_physgen.synthesis.settings import NATURAL, PhaseFieldSettings


@dataclass
class FakeLab:
    """Jobs with the contract of the phase-field lab; the value of a picture is its seed."""

    pause: float = 0.004
    steps: int = 20
    fails: Exception | None = None
    heard: list[Any] = field(default_factory=list)
    started: list[PhaseFieldSettings] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    closed: int = 0

    def simulate(self, settings):
        self.started.append(settings)
        shape, step = settings.shape, 0
        picture = np.full(shape, settings.seed, np.float32)
        axes = ("z", "y", "x")[-len(shape) :]
        try:
            for step in range(1, self.steps + 1):
                time.sleep(self.pause)
                if self.fails and step == 3:
                    raise self.fails
                command = yield Progress(
                    round(1000 * step / self.steps),
                    1000,
                    "simulating",
                    {
                        "time": settings.duration * step / self.steps,
                        "free energy": 1 / step,
                        "length": 20.0,
                    },
                    lambda: [Output("field", picture, axes=axes)],
                )
                if command is not None:
                    self.heard.append(command)
                if isinstance(command, Tune):
                    settings = settings.tuned(**command.changes)
                if isinstance(command, Stop):
                    break
        finally:
            self.closed += 1
        movie = {}
        if settings.frames:
            times = np.linspace(0, settings.duration, settings.frames + 1)
            movie = {"movie": np.stack([picture] * len(times)), "movie_times": tuple(times)}
        grains = settings.material == "grains"
        labels = (np.indices(shape).sum(0) % 2).astype(np.uint8)
        return Microstructure(
            picture,
            labels,
            np.array([(i, 1 / (1 + i)) for i in np.linspace(0, settings.duration, 30)]),
            settings,
            boundaries=labels if grains else None,
            summary="50 % second phase.",
            metrics={"fraction": 0.5},
            device="cpu",
            **movie,
        )

    def calibrate(self, images, labels=None, *, pixel_size_nm=None, settings=None):
        self.given = {"images": images, "labels": labels, "pixel_size_nm": pixel_size_nm}
        self.given["settings"] = settings
        if np.ptp(images[0]) == 0:
            raise UserError("The image has no texture: choose another one.")
        picture = [Output("field", np.zeros((40, 40)))]
        yield Progress(1, 1, "matching", {}, lambda: picture)
        x = np.linspace(0.1, 1, 20)
        matched = presets["rafted"].model_copy(update={"pixel_size_nm": 7.5, "fraction": 0.55})
        return SimpleNamespace(
            settings=matched,
            summary="Spacing 210 nm; distance 0.02 instead of 0.10.",
            unit="nm" if pixel_size_nm else "px",
            outputs=lambda: [
                Output("simulated", np.zeros((40, 40)), zoom=2),
                Output("simulated labels", np.zeros((40, 40), np.uint8), kind="labels", zoom=2),
                Output("phases", np.ones(images[0].shape, np.uint8), kind="labels"),
            ],
            curves={"spectrum": (x, x, x**2), "correlation": (x, 1 - x, 1 - x**2)},
            metrics={},
        )

    def fill(self, settings, folder):
        self.given = {"plan": settings, "folder": folder}
        yield Progress(1, settings.count, "simulating samples")
        stack = np.zeros((settings.count, 32, 32), np.float32)
        axes = ("sample", "y", "x")
        outputs = [Output("fields", stack, axes=axes)]
        outputs.append(Output("labels", stack.astype(np.uint8), kind="labels", axes=axes))
        return SimpleNamespace(outputs=lambda: outputs, summary="3 samples.", metrics={})


@pytest.fixture
def lab(monkeypatch):
    """The phase-field lab replaced by one that takes no time."""
    fake = FakeLab()
    for name, function in (("simulate", fake.simulate), ("dataset", fake.fill)):
        tool = recipe.TOOLS[name]
        made = SimpleNamespace(
            settings_class=tool.settings_class, job_function=lambda f=function: f, folder=True
        )
        monkeypatch.setitem(recipe.TOOLS, name, made)
    for name in ("simulate", "calibrate"):
        # Not setattr: it would look for the real one first, which loads torch.
        monkeypatch.setitem(vars(synthesis), name, getattr(fake, name))
    for module in ("match_section", "widgets.microstructure"):
        monkeypatch.setattr(f"napari_physgen.app.{module}.warm_up", lambda: None)
    return fake


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Samples evolve as fast as they can."""
    monkeypatch.setattr(sketch, "SECONDS", 0.0)
    monkeypatch.setattr(sketch, "HOLD", 0.05)


@pytest.fixture
def panel(viewer, qtbot, lab, monkeypatch):
    """The panel on an empty viewer; `panel.errors` are the sentences shown."""
    errors: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_error", errors.append)
    widget = SimulateMicrostructure(viewer)
    widget.errors = errors
    qtbot.addWidget(widget)
    widget.wait = lambda: qtbot.waitUntil(lambda: not widget.runner.running, timeout=10000)
    widget.form.put({"size": 32, "pixel_size_nm": 5.0, "seed": 3})
    yield widget
    widget.abandon()


def names(panel):
    return [layer.name for layer in panel.viewer.layers]


def shown(panel):
    return {name for name, editor in panel.form._editors.items() if not editor.isHidden()}


def preview_of(panel, qtbot, seed):
    """Wait until the live preview shows the sample of a seed."""
    qtbot.waitUntil(
        lambda: panel.sketch.live.layer is not None and panel.sketch.live.layer.data.max() == seed,
        timeout=5000,
    )


# ---- looks and form -------------------------------------------------------------------------


@pytest.mark.parametrize("name", presets)
def test_every_preset_has_a_picture_a_title_and_a_tooltip(panel, name):
    assert thumbnail(name).is_file()
    assert name in LOOKS
    assert not panel.gallery.buttons[name].icon().isNull()


@pytest.mark.parametrize("name", presets)
def test_a_click_on_a_picture_fills_the_form_and_keeps_size_and_seed(panel, name):
    panel.gallery.buttons[name].click()
    wanted = {"size": 32, "pixel_size_nm": 5.0, "seed": 3}
    assert panel.settings() == presets[name].model_copy(update=wanted)
    assert [n for n, button in panel.gallery.buttons.items() if button.isChecked()] == [name]


def test_an_edited_look_is_no_longer_marked_and_a_new_seed_changes_no_look(panel):
    panel.gallery.buttons["rafted"].click()
    panel.form.put({"seed": 9, "size": 64})
    assert panel.gallery.buttons["rafted"].isChecked()
    panel.form.put({"load": 0.4})
    assert not panel.gallery.buttons["rafted"].isChecked()


@pytest.mark.parametrize(
    ("material", "there", "away"),
    [
        ("spinodal", {"fraction", "temperature"}, {"nuclei", "grains", "undercooling"}),
        ("precipitates", {"nuclei", "load"}, {"grains", "seeds"}),
        ("grains", {"grains"}, {"fraction", "load", "orientation_deg", "undercooling"}),
        ("dendrite", {"undercooling", "seeds"}, {"fraction", "mobility", "grains"}),
    ],
)
def test_only_what_matters_for_the_material_is_shown(panel, material, there, away):
    panel.form.put({"material": material})
    assert there <= shown(panel)
    assert not away & shown(panel)
    assert {"size", "pixel_size_nm", "duration", "seed"} <= shown(panel)
    for name in away:
        assert panel.form._labels[name].isHidden()


def test_another_material_by_hand_comes_with_its_natural_units(panel):
    panel.form.put({"material": "grains"})
    assert panel.settings().mobility == PhaseFieldSettings(material="grains").mobility
    panel.form.put({"mobility": 3.0})
    assert panel.settings().mobility == 3
    for material in ("dendrite", "spinodal", "grains", "precipitates"):
        panel.form.put({"material": material})
        natural = PhaseFieldSettings(material=material)
        for name in {name for values in NATURAL.values() for name in values}:
            assert panel.form.values()[name] == getattr(natural, name)


def test_a_slider_moves_its_number_and_follows_it(panel):
    editor = panel.form._editors["fraction"]
    editor.slider.setValue(100)
    assert panel.settings().fraction == pytest.approx(0.5)
    editor.box.setValue(0.95)
    assert editor.slider.value() == editor.slider.maximum()
    editor.box.setValue(0.97)  # beyond the slider
    assert panel.settings().fraction == 0.97


# ---- live preview ---------------------------------------------------------------------------


def test_the_live_preview_shows_a_small_sample_again_and_again(panel, lab, qtbot):
    panel.form.put({"size": 512})
    panel.trial_button.click()
    preview_of(panel, qtbot, 3)
    assert panel.sketch.live.layer.data.shape == (128, 128)
    np.testing.assert_allclose(panel.sketch.live.layer.scale, (5, 5))
    assert [str(unit) for unit in panel.sketch.live.layer.units] == ["nanometer"] * 2
    qtbot.waitUntil(lambda: len(lab.started) >= 3, timeout=5000)
    assert "spacing 100 nm" in panel.trial.text()
    panel.trial_button.click()
    assert names(panel) == []
    assert panel.trial.text() == ""
    assert panel.errors == []


def test_a_tunable_field_reaches_the_evolving_sample(panel, lab, qtbot):
    lab.steps = 3000
    panel.trial_button.click()
    preview_of(panel, qtbot, 3)
    panel.form.put({"load": 0.5})
    qtbot.waitUntil(lambda: lab.heard == [Tune(load=0.5)], timeout=5000)
    assert len(lab.started) == 1


def test_what_was_tuned_holds_in_the_next_round(panel, lab, qtbot):
    lab.steps = 50
    panel.trial_button.click()
    preview_of(panel, qtbot, 3)
    panel.form.put({"load": 0.5})
    qtbot.waitUntil(lambda: len(lab.started) >= 3, timeout=5000)
    assert lab.started[-1].load == 0.5


def test_any_other_field_starts_the_sample_again_in_the_same_layer(panel, lab, qtbot):
    lab.steps = 3000
    panel.trial_button.click()
    preview_of(panel, qtbot, 3)
    layer = panel.sketch.live.layer
    for seed in (4, 5, 6):  # a moving slider
        panel.form.put({"seed": seed})
    preview_of(panel, qtbot, 6)
    assert panel.sketch.live.layer is layer
    assert [settings.seed for settings in lab.started] == [3, 6]
    qtbot.waitUntil(lambda: lab.closed == 1, timeout=5000)


def test_pictures_of_an_earlier_sample_are_dropped(panel, lab, qtbot):
    lab.steps = 3000
    panel.trial_button.click()
    preview_of(panel, qtbot, 3)
    early = panel.sketch._run
    panel.form.put({"seed": 4})
    preview_of(panel, qtbot, 4)
    panel.sketch.live.show([Output("sample", np.full((32, 32), 99.0))], early)
    assert panel.sketch.live.layer.data.max() == 4


def test_a_preset_starts_the_live_preview_again_once(panel, lab, qtbot):
    lab.steps = 3000
    panel.trial_button.click()
    preview_of(panel, qtbot, 3)
    panel.gallery.buttons["grains"].click()
    qtbot.waitUntil(lambda: len(lab.started) > 1)
    qtbot.wait(300)
    assert [settings.material for settings in lab.started] == ["precipitates", "grains"]
    assert lab.heard == []


def test_the_preview_pauses_and_goes_on(panel, lab, qtbot):
    lab.steps = 3000
    panel.trial_button.click()
    preview_of(panel, qtbot, 3)
    panel.hold_button.click()
    assert panel.hold_button.text() == "Go on"
    qtbot.wait(200)
    at = panel.trial.text()
    qtbot.wait(300)
    assert panel.trial.text() == at
    panel.hold_button.click()
    qtbot.waitUntil(lambda: panel.trial.text() != at)


def test_an_impossible_slider_position_is_said_while_the_last_sample_goes_on(panel, lab, qtbot):
    lab.steps = 3000
    panel.trial_button.click()
    preview_of(panel, qtbot, 3)
    panel.hold_button.click()  # so that the sentence stays
    panel.form.put({"gradient_energy": 0.01})
    qtbot.wait(50)
    assert "too coarse a grid" in panel.trial.text()
    assert panel.sketch.on
    assert panel.errors == []


def test_a_preview_that_fails_says_why_and_takes_its_layer_away(panel, lab, qtbot):
    lab.fails = UserError("The time step became too small: lower the mobility.")
    panel.trial_button.click()
    qtbot.waitUntil(lambda: not panel.sketch.on, timeout=5000)
    assert panel.trial.text() == "The time step became too small: lower the mobility."
    assert not panel.trial_button.isChecked()
    assert names(panel) == []


def test_closing_the_layer_or_the_panel_ends_the_preview(panel, lab, qtbot):
    lab.steps = 3000
    panel.trial_button.click()
    preview_of(panel, qtbot, 3)
    panel.viewer.layers.clear()
    qtbot.waitUntil(lambda: not panel.sketch.on, timeout=5000)
    panel.trial_button.click()
    preview_of(panel, qtbot, 3)
    panel.close()
    assert names(panel) == []
    qtbot.waitUntil(lambda: lab.closed == 2, timeout=5000)


def test_the_real_lab_shows_a_sample_at_many_stages_and_listens_in_between():
    """A spinodal sample of 128 x 128 cells takes a few hundred time steps, reported in batches."""
    settings = sketch.small(presets["spinodal"])
    job, seen, spread = sketch.looping(settings), [], []
    progress = next(job)
    while not seen or progress.step >= seen[-1]:  # until the next round begins
        seen.append(progress.step)
        if progress.preview is not None:
            (output,) = progress.preview()
            assert output.data.shape == (128, 128)
            spread.append(float(np.ptp(output.data)))
        progress = job.send(Tune(load=0.1) if len(seen) == 5 else None)
    job.close()
    assert len(set(seen)) >= 30
    assert seen[-1] == 1000
    assert spread[0] < spread[-1]  # phases have separated


# ---- image ----------------------------------------------------------------------------------


def test_run_shows_the_labels_over_the_field_with_a_record(panel, lab):
    panel.gallery.buttons["gamma_prime"].click()
    panel.run()
    panel.wait()
    assert panel.errors == []
    assert names(panel) == ["Gamma prime field", "Gamma prime labels"]
    field_layer = panel.viewer.layers["Gamma prime field"]
    assert panel.viewer.layers.selection.active is field_layer
    np.testing.assert_allclose(field_layer.scale, (5, 5))
    assert field_layer.axis_labels == ("y", "x")
    record = Record.from_dict(field_layer.metadata["physgen"])
    assert PhaseFieldSettings.parse(dict(record.settings)) == panel.settings()
    assert record.inputs == ()
    assert "50 % second phase" in panel.results.summary.text()


def test_the_live_picture_becomes_the_field(panel, lab, qtbot):
    lab.steps = 3000
    panel.run()
    qtbot.waitUntil(lambda: panel.live.layer is not None)
    live = panel.live.layer
    panel.stop()
    panel.wait()
    assert panel.viewer.layers["Gamma prime field" if panel._look() else names(panel)[0]] is live
    assert names(panel)[1].endswith("labels")
    assert lab.heard == [Stop()]


def test_a_tuned_run_remembers_what_was_tuned(panel, lab, qtbot):
    lab.steps = 3000
    panel.run()
    qtbot.waitUntil(lambda: panel.live.layer is not None)
    panel.form.put({"load": 0.3})
    qtbot.waitUntil(lambda: Tune(load=0.3) in lab.heard)
    panel.stop()
    panel.wait()
    record = panel.viewer.layers[0].metadata["physgen"]
    assert record["settings"]["load"] == 0.3
    assert record["interventions"]


def test_run_ends_the_live_preview(panel, lab, qtbot):
    panel.trial_button.click()
    preview_of(panel, qtbot, 3)
    panel.run()
    assert not panel.sketch.on
    panel.wait()
    assert len(names(panel)) == 2


def test_the_energy_is_drawn_over_the_time_of_the_material(panel, lab, qtbot):
    panel.form.put({"duration": 200.0})
    lab.steps, lab.pause = 40, 0.02
    panel.run()
    qtbot.waitUntil(lambda: len(panel.curves_plot.points.get("free energy", ((),))[0]) > 3)
    times, energies = panel.curves_plot.points["free energy"]
    assert times[:3] == pytest.approx([5, 10, 15])
    assert energies[:2] == [1, 0.5]
    panel.wait()  # then the whole curve, without its start at 0, which has no logarithm
    times, energies = panel.curves_plot.points["free energy"]
    assert (len(times), times[-1]) == (29, 200)
    assert energies[-1] == pytest.approx(1 / 201)


def test_grain_boundaries_and_a_second_sample_hide_what_was_there(panel, lab):
    panel.gallery.buttons["grains"].click()
    for _ in range(2):
        panel.run()
        panel.wait()
    visible = [layer.name for layer in panel.viewer.layers if layer.visible]
    assert names(panel)[:3] == ["Grains field", "Grains boundaries", "Grains labels"]
    assert visible == ["Grains field [1]", "Grains labels [1]"]


def test_a_time_lapse_lies_on_its_time_axis_and_is_shown_at_its_end(panel, lab):
    panel.viewer.add_image(np.zeros((900, 8, 8)), name="longer")
    panel.form.put({"frames": 4, "duration": 200.0})
    panel.run()
    panel.wait()
    movie = next(layer for layer in panel.viewer.layers if layer.name.endswith("time-lapse"))
    assert movie.visible
    assert movie.axis_labels == ("time", "y", "x")
    np.testing.assert_allclose(movie.scale, (50, 5, 5))
    assert [str(unit) for unit in movie.units] == ["pixel", "nanometer", "nanometer"]
    assert panel.viewer.dims.point[0] == 200


def test_calibrated_times_are_in_seconds(panel, lab):
    panel.form.put({"frames": 4, "duration": 200.0, "time_unit_s": 36.0})
    panel.run()
    panel.wait()
    movie = next(layer for layer in panel.viewer.layers if layer.ndim == 3)
    assert movie.scale[0] == 1800
    assert str(movie.units[0]) == "second"


def test_a_solid_has_cubes_for_cells(panel, lab, tmp_path):
    panel.form.put({"depth": 8, "frames": 2})
    panel.run()
    panel.wait()
    by_dimension = {layer.ndim: layer for layer in panel.viewer.layers}
    np.testing.assert_allclose(by_dimension[3].scale, (5, 5, 5))
    assert by_dimension[3].axis_labels == ("z", "y", "x")
    assert by_dimension[4].axis_labels == ("time", "z", "y", "x")
    np.testing.assert_allclose(by_dimension[4].scale[1:], (5, 5, 5))
    with tifffile.TiffFile(panel.results.export(tmp_path / "solid.ome.tif")) as tif:
        assert 'PhysicalSizeZ="0.005"' in tif.ome_metadata


def test_export_and_recipe_bring_the_settings_back(panel, lab, tmp_path):
    panel.gallery.buttons["spinodal"].click()
    panel.form.put({"mobility": 7.0})
    panel.run()
    panel.wait()
    wanted = panel.settings()
    exported = panel.results.export(tmp_path / "a.ome.tif")
    saved = panel.results.save_recipe(tmp_path / "a.yaml")
    with tifffile.TiffFile(exported) as tif:
        assert 'PhysicalSizeX="0.005"' in tif.ome_metadata
    for way in (
        lambda: panel.results.load_from_file(exported),
        lambda: panel.results.load_from_file(saved),
        lambda: panel.results.load_from_layer(panel.viewer.layers[0]),
    ):
        panel.gallery.buttons["dendrite"].click()
        way()
        assert panel.settings() == wanted


@pytest.mark.parametrize(
    "values", [{"gradient_energy": 0.01}, {"material": "dendrite", "depth": 9}]
)
@pytest.mark.parametrize("action", ["run", "toggle_sketch", "data_set.ask"])
def test_a_wrong_setting_gets_one_sentence_and_starts_nothing(panel, lab, values, action):
    panel.form.put(values)
    panel.attempt(attrgetter(action)(panel))
    assert len(panel.errors) == 1
    assert not panel.runner.running
    assert not panel.sketch.on
    assert lab.started == []
    assert names(panel) == []


def test_a_failing_run_leaves_all_layers_as_they_were(panel, lab, add_raw):
    add_raw()
    lab.fails = UserError("There is not enough memory for this sample: make it smaller.")
    panel.run()
    panel.wait()
    assert panel.errors == [str(lab.fails)]
    assert names(panel) == ["cell"]
    assert panel.gallery.isEnabled()


# ---- match and data set ---------------------------------------------------------------------


def test_match_gives_the_micrograph_its_strokes_and_pixel_size_and_fills_the_form(
    panel, lab, viewer
):
    image = np.random.default_rng(0).random((64, 80)).astype(np.float32)
    viewer.add_image(image, name="sem", scale=(0.01, 0.01), units=("um", "um"))
    strokes = np.zeros((64, 80), np.uint8)
    strokes[:5], strokes[-5:] = 1, 2
    panel.matching.masks.choose(viewer.add_labels(strokes, scale=(0.01, 0.01), units=("um", "um")))
    panel.matching.match()
    panel.wait()
    assert panel.errors == []
    np.testing.assert_array_equal(lab.given["images"][0], image)
    np.testing.assert_array_equal(lab.given["labels"][0], strokes)
    assert lab.given["pixel_size_nm"] == 10
    settings = panel.settings()
    assert (settings.load, settings.fraction, settings.pixel_size_nm) == (
        presets["rafted"].load,
        0.55,
        7.5,
    )
    assert (settings.size, settings.seed) == (32, 3)
    assert "Spacing 210 nm" in panel.matching.words.text()
    assert not panel.matching.comparison.isHidden()
    assert set(panel.matching.comparison.plots) == {"spectrum", "correlation"}


def test_a_match_lies_beside_its_micrograph_and_a_second_one_takes_its_place(panel, lab, viewer):
    image = np.random.default_rng(0).random((64, 100))
    viewer.add_image(image, name="sem", scale=(0.01, 0.01), units=("um", "um"))
    panel.matching.form.put({"particles": "dark"})
    for _ in range(2):
        panel.matching.match()
        panel.wait()
    assert lab.given["settings"].particles == "dark"
    assert sorted(names(panel)) == ["sem", "sem phases", "sem simulated", "sem simulated labels"]
    simulated = viewer.layers["sem simulated"]
    np.testing.assert_allclose(simulated.scale, (0.005, 0.005))
    assert simulated.translate[1] > 0.01 * 100
    np.testing.assert_allclose(viewer.layers["sem simulated labels"].translate, simulated.translate)
    np.testing.assert_allclose(viewer.layers["sem phases"].translate, (0, 0))
    assert panel.matching.images.count() == 1
    np.testing.assert_allclose(  # per um
        panel.matching.comparison.plots["spectrum"].listDataItems()[0].getData()[0][0], 100
    )


def test_match_takes_the_plane_on_view_and_no_mask_unless_chosen(panel, lab, viewer):
    stack = np.random.default_rng(0).random((4, 64, 64))
    viewer.add_image(stack, name="slices")
    viewer.add_labels(np.zeros((64, 64), np.uint8))
    viewer.dims.set_point(0, 2)
    panel.matching.match()
    panel.wait()
    np.testing.assert_array_equal(lab.given["images"][0], stack[2])
    assert lab.given["labels"] is None
    assert lab.given["pixel_size_nm"] is None


def test_match_without_or_with_a_flat_micrograph_says_so_and_keeps_the_form(panel, lab, viewer):
    before = panel.settings()
    panel.attempt(panel.matching.match)
    viewer.add_image(np.ones((64, 64)), name="flat")
    panel.matching.match()
    panel.wait()
    assert "open a micrograph" in panel.errors[0]
    assert "no texture" in panel.errors[1]
    assert panel.settings() == before
    assert names(panel) == ["flat"]


def test_our_own_samples_are_not_offered_as_micrographs(panel, lab):
    panel.run()
    panel.wait()
    assert panel.matching.images.count() == 0
    assert panel.matching.masks.count() == 1


def test_sliders_do_not_disturb_a_match(panel, lab, viewer, add_raw):
    add_raw()
    panel.matching.match()
    assert not panel.form.isEnabled()
    panel.wait()
    assert panel.form.isEnabled()


def test_a_data_set_goes_to_the_folder_and_comes_back_as_layers(panel, lab, tmp_path):
    panel.data_set.count.setValue(3)
    panel.data_set.spread.setValue(10)
    panel.data_set.make(tmp_path)
    panel.wait()
    assert panel.errors == []
    plan = lab.given["plan"]
    assert (plan.count, plan.spread, lab.given["folder"]) == (3, 0.1, tmp_path)
    assert plan.simulation == panel.settings()
    fields, labels = panel.viewer.layers
    assert fields.axis_labels == ("sample", "y", "x")
    np.testing.assert_allclose(fields.scale, (1, 5, 5))
    assert labels.visible


def test_the_settings_of_the_last_session_come_back(panel, viewer, qtbot, lab):
    panel.gallery.buttons["rafted"].click()
    panel.run()
    panel.wait()
    again = SimulateMicrostructure(viewer)
    qtbot.addWidget(again)
    assert again.settings() == panel.settings()
    assert again.gallery.buttons["rafted"].isChecked()
