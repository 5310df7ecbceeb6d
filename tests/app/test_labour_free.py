"""The labour-free panel: from ticked images to labels, in steps or at one go, and back later."""

from __future__ import annotations

import importlib
import json
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_physgen.app import labour_free_project, picture_folder
from napari_physgen.app.labour_free_jobs import portion, stage_of
from napari_physgen.app.step_row import LONGEST, shortened
from napari_physgen.app.widgets.labour_free import LabourFree
from napari_physgen.app.workflow_steps import OWN, PRESETS
from napari_physgen.backend import Progress, Stop, run
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output
from napari_physgen.provenance import Record
from napari_physgen.segmentation.settings import LabourFreeSettings, labour_free_presets
from napari_physgen.synthesis.settings import PhaseFieldSettings

CORE = "napari_physgen.segmentation.labour_free"
SIDE = 96


@dataclass
class FakeLab:
    """The long parts of the workflow replaced by ones that take no time."""

    pause: float = 0.0
    steps: int = 4
    spared: int = 0  # look-alikes that a stop keeps
    done: list[str] = field(default_factory=list)
    real: Any = None

    def look_alike(self, images, settings):
        from napari_physgen.segmentation import LookAlike

        picture = images[0][:64, :64]
        strip = [Output("simulated", picture), Output("real", images[0])]
        count = settings.pictures
        for step in range(self.steps):
            time.sleep(self.pause)
            command = yield Progress(step, self.steps, "rendering", preview=lambda: strip)
            if isinstance(command, Stop) and not self.spared:
                raise UserError("Stopped before the first look-alike; nothing was changed.")
            if isinstance(command, Stop):
                count = self.spared
                break
        self.done.append("look")
        mask = (picture > picture.mean()).astype(np.uint8)
        return LookAlike(
            (picture,) * count,
            (mask,) * count,
            (mask,) * len(images),
            PhaseFieldSettings(),
            20.0,
            f"{count} look-alikes.",
        )

    def train_translation(self, simulated, real, settings, masks=None):
        for step in range(self.steps):
            time.sleep(self.pause)
            yield Progress(step, self.steps, "translation", {"loss": 1 / (step + 1)})
        self.done.append("translation")
        return FakeTranslation()

    def train(self, images, masks, settings, *, real=(), start=None, **about):
        from napari_physgen.segmentation.model import Design, SegmentationModel

        self.real = real
        labels = (real[0] > real[0].mean()).astype(np.uint8)
        shown = [Output("labels", labels, kind="labels", display={"opacity": 0.4})]
        for step in range(self.steps):
            time.sleep(self.pause)
            stopped = yield Progress(
                step,
                self.steps,
                "learning from the look-alikes",
                {"loss": 1 / (step + 1)},
                lambda: shown,
            )
            if isinstance(stopped, Stop):
                break
        self.done.append("model")
        design = Design(2, 4)
        whole = {"steps": settings.steps, "self_training_steps": settings.self_training}
        net = design.build().eval()
        return SegmentationModel(
            net,
            design,
            ("matrix", "particles"),
            about.get("pixel_size_nm"),
            about.get("length"),
            settings.model_dump(mode="json"),
            summary=f"Trained {step + 1} steps.",
            metrics=whole if step + 1 == self.steps else {"steps": 1.0},
        )


class FakeTranslation:
    """A translation that changes nothing."""

    summary = "A translation."
    metrics: ClassVar[dict[str, float]] = {"steps": 1e9}

    def outputs(self):
        names = "simulated", "translated", "real"
        return [Output(name, micrograph(3, 32)) for name in names]

    def translate(self, images, masks=None, seed=0):
        return [image.copy() for image in images]

    def agreement(self, images, masks):
        return [1.0] * len(images)

    def save(self, path):
        path.write_text("a translation")


@pytest.fixture
def lab(monkeypatch):
    fake = FakeLab()
    core = importlib.import_module(CORE)
    for name in ("look_alike", "train_translation", "train"):
        monkeypatch.setattr(core, name, getattr(fake, name))
    load = lambda path: FakeTranslation()  # noqa: E731
    monkeypatch.setattr(core, "load_translation", load)
    monkeypatch.setattr("napari_physgen.synthesis.load_translation", load, raising=False)
    return fake


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path, config):
    """Projects are kept where the test can see them."""
    monkeypatch.setattr(labour_free_project, "_base", lambda: tmp_path / "home")
    monkeypatch.setattr(labour_free_project, "config_dir", lambda: config)
    return tmp_path / "home" / "labour-free"


def micrograph(seed=0, side=SIDE):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 4, mode="wrap")
    grain = np.random.default_rng(seed + 99).normal(0, 6, noise.shape)
    return np.clip(np.where(noise > 0, 90, 160) + grain, 0, 255).astype(np.uint8)


def place(lead=0):
    return {"scale": (1,) * lead + (0.02,) * 2, "units": ("pixel",) * lead + ("um",) * 2}


@pytest.fixture
def make_panel(viewer, qtbot, lab, monkeypatch):
    errors: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_error", errors.append)
    monkeypatch.setattr(
        "napari.utils.notifications.notification_manager.receive_error",
        lambda kind, error, trace: errors.append(repr(error)),
    )
    monkeypatch.setattr("napari_physgen.app.widgets.labour_free.warm_up", lambda: None)
    monkeypatch.setattr("napari_physgen.app.apply_section.warm_up", lambda: None)
    made = []

    def make():
        widget = LabourFree(viewer)
        widget.errors = errors
        qtbot.addWidget(widget)
        widget.wait = lambda: qtbot.waitUntil(lambda: not widget.runner.running, timeout=20000)
        widget.fill({"pictures": 4, "translation": "none"})
        widget.applying.form.put({"flips": False})
        made.append(widget)
        return widget

    yield make
    for widget in made:
        widget.abandon()


@pytest.fixture
def panel(make_panel, viewer):
    """The panel with one micrograph; `panel.errors` are the sentences shown."""
    viewer.add_image(micrograph(), name="alloy", **place())
    return make_panel()


def states(panel):
    rows = [*panel.steps.rows.values(), panel.applying.row]
    return [row.state for row in rows]


def names(panel):
    return [layer.name for layer in panel.viewer.layers]


def trained(panel):
    panel.run_step("look")
    panel.wait()
    panel.run_step("model")
    panel.wait()
    assert panel.errors == []
    return panel


# ---- what I have ----------------------------------------------------------------------------


def test_an_empty_viewer_says_what_to_open(make_panel, lab):
    panel = make_panel()
    assert panel.reading.text().startswith("Open micrographs of one material")
    panel.attempt(panel.run_all)
    assert panel.errors == [
        "There are no images: open your micrographs and tick them in the list above."
    ]
    assert states(panel) == ["open", "left out", "open", "open"]
    assert lab.done == []


def test_ticked_layers_and_the_planes_of_stacks_are_the_images(panel, viewer):
    viewer.add_image(np.stack([micrograph(k) for k in (1, 2)]), name="series", **place(1))
    viewer.add_image(np.dstack([micrograph(3)] * 3), name="in colours", rgb=True, **place())
    viewer.add_image(micrograph() > 100, name="yes and no")
    viewer.add_labels(micrograph() // 100, name="mask")
    assert [layer.name for layer in panel.list.layers] == ["alloy", "series", "in colours"]
    assert panel.reading.text() == "4 images with pixels of 20 nm."
    panel.list.item(0).setCheckState(panel.list.item(0).checkState().__class__.Unchecked)
    assert [picture.name for picture in panel.start.micrographs().pictures] == [
        "in colours",
        "series 1",
        "series 2",
    ]
    viewer.layers.remove("series")
    assert panel.reading.text() == "1 image with pixels of 20 nm."


def test_a_long_stack_gives_no_more_images_than_are_useful(panel, viewer):
    viewer.layers.clear()
    viewer.add_image(np.zeros((200, 8, 8)), name="film")
    pictures = panel.start.micrographs().pictures
    assert len(pictures) == 24
    assert (pictures[0].index, pictures[-1].index) == ((0,), (199,))


def test_a_folder_becomes_stacks_of_equal_pictures_and_names_the_project(panel, tmp_path):
    folder = tmp_path / "creep"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(micrograph(number)).save(folder / f"{number}.png")
    Image.fromarray(micrograph(7, 80)).save(folder / "other.png")
    (folder / "broken.png").write_bytes(b"no picture")
    panel.start.open_folder(folder)
    panel.wait()
    assert names(panel) == ["alloy", "creep", "other"]
    assert panel.viewer.layers["creep"].data.shape == (3, SIDE, SIDE)
    assert [layer.name for layer in panel.list.layers] == ["creep", "other"]
    assert "broken.png" in panel.results.summary.text()
    assert panel.project.folder.name == "creep"


def test_what_was_done_to_the_images_is_said(panel, viewer, monkeypatch):
    viewer.layers["alloy"].scale = (0.04, 0.04)
    viewer.add_image(micrograph(1, 2 * SIDE), name="finer", **place())
    panel.run_step("look")
    panel.wait()
    assert "resampled to 40 nm" in panel.reading.text()


# ---- steps ----------------------------------------------------------------------------------


def test_run_all_labels_the_images_and_keeps_every_step(panel, home):
    panel.run_all()
    panel.wait()
    assert panel.errors == []
    assert states(panel) == ["done", "left out", "done", "done"]
    assert names(panel) == ["alloy", "alloy labels"]
    labels = panel.viewer.layers["alloy labels"]
    assert labels.data.shape == (SIDE, SIDE)
    np.testing.assert_allclose(labels.scale, (0.02, 0.02))
    record = Record.from_dict(labels.metadata["physgen"])
    assert record.tool == "segment"
    assert record.settings["model"] == str(home / "alloy" / "model.safetensors")
    assert record.inputs[0].source == "alloy"
    kept = {path.name for path in (home / "alloy").iterdir()}
    assert {"look.npz", "model.safetensors", "steps.json", "project.json"} <= kept
    assert panel.steps.rows["model"].words.text() == "Trained 4 steps."
    assert panel.results.kept is not None


def test_every_step_works_alone_once_the_one_before_is_there(panel, lab):
    panel.fill({"translation": "cyclegan"})
    open_ = lambda: [button.isEnabled() for button in panel.steps.buttons.values()]  # noqa: E731
    assert open_() == [True, False, False]
    for step, after in (
        ("look", [True, True, False]),
        ("translation", [True, True, True]),
        ("model", [True, True, True]),
    ):
        panel.steps.buttons[step].click()
        panel.wait()
        assert lab.done[-1] == step
        assert open_() == after
    assert lab.done == ["look", "translation", "model"]
    assert states(panel) == ["done", "done", "done", "open"]
    panel.applying.apply()
    panel.wait()
    assert states(panel)[-1] == "done"
    assert panel.errors == []


def test_a_new_panel_reads_the_finished_steps_instead_of_doing_them_again(
    panel, make_panel, lab, viewer
):
    panel.run_all()
    panel.wait()
    lab.done.clear()
    again = make_panel()
    assert states(again) == ["done", "left out", "done", "open"]
    assert again.steps.rows["look"].words.text() == "4 look-alikes."
    again.run_all()
    again.wait()
    assert again.errors == []
    assert lab.done == []
    assert states(again)[-1] == "done"


def test_the_last_project_is_there_without_any_image_open(panel, make_panel, viewer):
    trained(panel)
    viewer.layers.clear()
    again = make_panel()
    assert again.project.folder == panel.project.folder
    assert states(again) == ["done", "left out", "done", "open"]
    assert again.current.there


def test_the_images_of_a_project_are_opened_again(panel, make_panel, viewer, tmp_path):
    folder = tmp_path / "creep"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(micrograph(number)).save(folder / f"{number}.png")
    viewer.layers.clear()
    panel.start.open_folder(folder)
    panel.wait()
    assert panel.start.again_button.isHidden()
    trained(panel)
    viewer.layers.clear()
    again = make_panel()
    assert not again.start.again_button.isHidden()
    again.start.reopen()
    again.wait()
    assert names(again) == ["creep"]
    assert again.start.again_button.isHidden()
    assert states(again)[:3] == ["done", "left out", "done"]


def test_other_settings_and_other_images_make_a_step_old(panel, viewer):
    trained(panel)
    panel.fill({"training_steps": 7})
    assert states(panel)[:3] == ["done", "left out", "old"]
    panel.fill({"particles": "dark"})
    assert states(panel)[:3] == ["old", "left out", "old"]
    panel.fill({"training_steps": LabourFreeSettings().training_steps, "particles": "auto"})
    assert states(panel)[:3] == ["done", "left out", "done"]
    viewer.add_image(micrograph(5), name="second", **place())
    assert states(panel)[:3] == ["old", "left out", "old"]
    assert "other settings" in panel.steps.rows["look"].words.text()


def test_images_of_another_name_get_a_project_of_their_own(panel, viewer, home, tmp_path):
    trained(panel)
    assert panel.project.folder == home / "alloy"
    viewer.layers.clear()
    viewer.add_image(micrograph(4), name="steel", **place())
    assert panel.project.folder == home / "steel"
    assert states(panel)[0] == "open"
    panel.line.choose(tmp_path / "mine")
    viewer.layers["steel"].name = "iron"
    assert panel.project.folder == tmp_path / "mine"


def test_a_preset_fills_the_form_and_an_edited_one_is_no_preset(panel):
    panel.fill(labour_free_presets["translated"].model_dump())
    assert panel.steps.preset.currentText() == PRESETS["translated"]
    panel.steps.preset.setCurrentIndex(0)
    panel.steps.preset.activated.emit(0)
    assert panel.settings().translation == labour_free_presets["quick"].translation == "none"
    assert states(panel)[1] == "left out"
    panel.fill({"training_steps": 3})
    assert panel.steps.preset.currentText() == OWN
    assert "training_steps" in panel.form._editors
    assert not panel.form.advanced.head.isChecked()


def test_live_pictures_are_in_the_strip_and_live_labels_on_the_image(panel, lab, qtbot):
    lab.steps, lab.pause = 400, 0.005
    image = panel.viewer.layers["alloy"]
    panel.run_all()
    qtbot.waitUntil(lambda: panel.strip.shown("simulated"), timeout=10000)
    assert panel.strip.shown("real")
    assert not panel.strip.shown("translated")
    assert states(panel)[0] == "running"
    qtbot.waitUntil(lambda: panel.live.layer is not None, timeout=10000)
    assert states(panel) == ["done", "left out", "running", "open"]
    live = panel.live.layer
    assert live.name == "alloy labels (live)"
    np.testing.assert_allclose(live.scale, image.scale)
    np.testing.assert_allclose(live.translate, image.translate)
    assert "% of all" in panel.message.text()
    qtbot.waitUntil(lambda: len(panel.curves_plot.points.get("loss", ([],))[0]) > 3)
    panel.stop()
    panel.wait()
    assert names(panel) == ["alloy"]


def test_no_other_image_covers_the_live_labels(panel, lab, qtbot, viewer):
    viewer.add_image(micrograph(1), name="on top", **place())
    panel.run_step("look")
    panel.wait()
    lab.steps, lab.pause = 400, 0.005
    panel.run_step("model")
    qtbot.waitUntil(lambda: panel.live.layer is not None, timeout=10000)
    assert [layer.name for layer in viewer.layers if layer.visible] == [
        "alloy",
        "alloy labels (live)",
    ]
    panel.stop()
    panel.wait()
    assert [layer.name for layer in viewer.layers if layer.visible] == ["alloy", "on top"]


def test_the_order_of_the_layers_changes_no_step(panel, viewer, lab):
    viewer.add_image(micrograph(1), name="another", **place())
    trained(panel)
    lab.done.clear()
    viewer.layers.move(0, 2)
    assert states(panel)[:3] == ["done", "left out", "done"]
    panel.run_all()
    panel.wait()
    assert lab.done == []


def test_live_labels_lie_where_the_prepared_image_lies(panel, lab, qtbot, viewer):
    """Resampled to coarser pixels by preparation: the labels are as large as the image."""
    viewer.layers.clear()
    viewer.add_image(micrograph(0, 2 * SIDE), name="a fine one", **place())
    viewer.add_image(micrograph(1), name="b coarse", scale=(0.04, 0.04), units=("um", "um"))
    panel.run_step("look")
    panel.wait()
    lab.steps, lab.pause = 400, 0.005
    panel.run_step("model")
    qtbot.waitUntil(lambda: panel.live.layer is not None, timeout=10000)
    live = panel.live.layer
    assert live.data.shape == (SIDE, SIDE)
    np.testing.assert_allclose(live.scale, (0.04, 0.04))
    np.testing.assert_allclose(live.translate, (0.01, 0.01))


def test_stop_during_the_training_keeps_the_model(panel, lab, qtbot):
    panel.run_step("look")
    panel.wait()
    lab.steps, lab.pause = 1000, 0.005
    panel.run_all()
    qtbot.waitUntil(lambda: "learning" in panel.message.text(), timeout=10000)
    panel.stop()
    panel.wait()
    assert panel.errors == []
    assert panel.current.there
    assert states(panel)[:3] == ["done", "left out", "stopped"]
    assert panel.applying.row.words.text() == "Stopped before the first image was labelled."


def test_stop_before_the_first_look_alike_says_so_and_changes_nothing(panel, lab, qtbot):
    lab.steps, lab.pause = 1000, 0.005
    panel.run_step("look")
    qtbot.waitUntil(lambda: "rendering" in panel.message.text(), timeout=10000)
    panel.stop()
    panel.wait()
    assert panel.errors == ["Stopped before the first look-alike; nothing was changed."]
    assert states(panel)[0] == "open"
    assert names(panel) == ["alloy"]


def test_look_alikes_that_were_stopped_early_are_gone_on_with(panel, lab, qtbot):
    lab.steps, lab.pause, lab.spared = 1000, 0.005, 2
    panel.run_step("look")
    qtbot.waitUntil(lambda: "rendering" in panel.message.text(), timeout=10000)
    panel.stop()
    panel.wait()
    assert panel.errors == []
    assert states(panel)[0] == "stopped"
    assert panel.steps.rows["look"].words.text() == "stopped early: 2 look-alikes."
    lab.steps, lab.pause = 4, 0
    panel.run_step("model")
    panel.wait()
    assert lab.done == ["look", "model"]
    panel.run_all()  # does it again, as a whole
    panel.wait()
    assert lab.done == ["look", "model", "look", "model"]
    assert states(panel) == ["done", "left out", "done", "done"]


def test_the_panel_knows_the_files_of_the_workflow():
    core = importlib.import_module(CORE)
    files = {"look": core.LOOK, "translation": core.TRANSLATION, "model": core.MODEL}
    assert files == labour_free_project.FILES
    assert core.STOPPED == labour_free_project.STOPPED


def test_the_bar_of_run_all_runs_once_from_start_to_end(panel):
    def inner():
        for step in range(5):
            yield Progress(step, 5, "x")
        return "end"

    seen = []
    assert run(portion(inner(), 0.2, 0.7), lambda p: seen.append(p.step)) == "end"
    assert seen == [200, 300, 400, 500, 600]
    stages = ["trial 1 of at most 2", "translation", "translating the look-alikes", "labelling"]
    assert [stage_of(s) for s in stages] == ["look", "translation", "model", "apply"]


def test_long_sentences_are_shortened_at_the_end_of_one():
    words = "One thing is this. " * 20
    assert shortened(words).endswith("this. ...")
    assert len(shortened(words)) <= LONGEST + 4
    assert shortened("Short.") == "Short."


# ---- apply ----------------------------------------------------------------------------------


def test_stacks_are_labelled_plane_by_plane_with_one_table(panel, viewer):
    trained(panel)
    series = viewer.add_image(
        np.stack([micrograph(k) for k in range(3)]),
        name="series",
        scale=(5, 0.02, 0.02),
        units=("s", "um", "um"),
        axis_labels=("time", "y", "x"),
    )
    panel.applying.images.choose(series)
    panel.applying.form.put({"particles": True})
    panel.applying.sure.setChecked(True)
    panel.applying.apply()
    panel.wait()
    assert panel.errors == []
    labels = viewer.layers["series labels"]
    assert labels.data.shape == (3, SIDE, SIDE)
    np.testing.assert_allclose(labels.scale, (5, 0.02, 0.02))
    particles = viewer.layers["series particles"]
    table = particles.features
    assert set(np.unique(particles.data)) == {0, *table["index"]}
    for plane in range(3):
        inside = set(np.unique(particles.data[plane])) - {0}
        assert inside == set(table["index"][table["plane"] == plane + 1])
    assert {"area_nm2", "equivalent_diameter_nm", "aspect", "orientation_deg"} <= set(table)
    doubt = viewer.layers["series uncertainty"]
    assert not doubt.visible
    assert 0 <= doubt.data.min() <= doubt.data.max() <= 1
    assert viewer.layers["series probability of particles"].data.shape == (3, SIDE, SIDE)
    assert viewer.layers.selection.active is labels
    assert Record.from_dict(labels.metadata["physgen"]).inputs[2].source == "series"


def test_the_model_stays_at_hand_for_other_images_without_one(panel, viewer):
    trained(panel)
    viewer.layers.clear()
    viewer.add_image(micrograph(4), name="steel", **place())
    assert states(panel)[0] == "open"
    assert panel.model_bar.words.text() == "In use: alloy/model.safetensors"
    panel.applying.apply()
    panel.wait()
    assert panel.errors == []
    assert "steel labels" in names(panel)


def test_settings_are_taken_from_labels_and_from_a_recipe(panel, viewer, tmp_path):
    trained(panel)
    panel.fill({"training_steps": 9})
    panel.results.save_recipe(tmp_path / "mine.yaml")
    panel.applying.form.put({"smallest": 5})
    panel.applying.apply()
    panel.wait()
    panel.fill({"training_steps": 10})
    panel.applying.form.put({"smallest": 0})
    panel.results.load_from_file(tmp_path / "mine.yaml")
    panel.results.load_from_layer(viewer.layers["alloy labels"])
    assert panel.settings().training_steps == 9
    assert panel.applying.settings().smallest == 5


def test_labels_of_a_stack_are_those_of_its_planes(panel, viewer):
    trained(panel)
    data = np.stack([micrograph(k) for k in range(2)])
    viewer.layers.clear()
    viewer.add_image(data, name="series", **place(1))
    viewer.add_image(data[1], name="second", **place())
    viewer.add_image(np.dstack([data[1]] * 3), name="colours", rgb=True, **place())
    panel.applying.apply()
    panel.wait()
    assert panel.errors == []
    second = viewer.layers["second labels"].data
    np.testing.assert_array_equal(viewer.layers["series labels"].data[1], second)
    assert np.mean(viewer.layers["colours labels"].data == second) > 0.99


def test_labels_are_renewed_but_painted_ones_stay(panel, viewer):
    trained(panel)
    for _ in range(2):
        panel.applying.apply()
        panel.wait()
    assert names(panel) == ["alloy", "alloy labels"]
    viewer.layers["alloy labels"].data[:9, :9] ^= 1
    painted = viewer.layers["alloy labels"].data.copy()
    panel.applying.apply()
    panel.wait()
    assert names(panel) == ["alloy", "alloy labels (corrected)", "alloy labels"]
    np.testing.assert_array_equal(viewer.layers["alloy labels (corrected)"].data, painted)


def test_a_folder_is_labelled_into_files_and_one_bad_picture_does_not_end_it(panel, tmp_path):
    trained(panel)
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(micrograph(1)).save(folder / "a.png")
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(folder / "flat.png")
    tifffile.imwrite(
        folder / "z.ome.tif",
        np.stack([micrograph(2), micrograph(3)]),
        metadata={"axes": "TYX", "PhysicalSizeX": 0.02, "PhysicalSizeXUnit": "um"},
    )
    panel.applying.apply_to(folder)
    panel.wait()
    assert panel.errors == []
    written = sorted(path.name for path in folder.glob("*_labels.ome.tif"))
    assert written == ["a_labels.ome.tif", "z_labels.ome.tif"]
    with tifffile.TiffFile(folder / "z_labels.ome.tif") as tif:
        assert tif.series[0].shape == (2, SIDE, SIDE)
        assert 'PhysicalSizeX="0.02"' in tif.ome_metadata
    words = panel.results.summary.text()
    assert words.startswith("2 pictures labelled")
    assert "flat.png" in words
    panel.applying.apply_to(folder)  # what was written before is no picture
    panel.wait()
    assert panel.results.summary.text().startswith("2 pictures labelled")


def test_a_folder_without_pictures_is_refused(panel, tmp_path):
    trained(panel)
    panel.applying.apply_to(tmp_path)
    panel.wait()
    assert panel.errors[0].startswith("There are no pictures in")
    with pytest.raises(UserError, match="no pictures"):
        run(picture_folder.read_folder(tmp_path))


# ---- judge, correct, keep -------------------------------------------------------------------


def test_scores_are_shown_and_saved(panel, viewer, tmp_path):
    trained(panel)
    panel.applying.apply()
    panel.wait()
    labels = viewer.layers["alloy labels"]
    labels.data = (micrograph() < 125).astype(np.uint8)
    viewer.add_labels((micrograph() < 125).astype(np.uint8), name="truth", **place())
    panel.scoring.run()
    panel.wait()
    assert panel.errors == []
    table = panel.scoring.table
    rows = {table.item(i, 0).text(): table.item(i, 1).text() for i in range(table.rowCount())}
    assert rows["IoU"] == "1"
    assert rows["Dice"] == "1"
    panel.scoring.save(tmp_path / "scores")
    assert json.loads((tmp_path / "scores.json").read_text())["iou"] == 1


def test_the_model_learns_from_corrections_and_the_project_keeps_it(
    panel, make_panel, viewer, monkeypatch
):
    module = importlib.import_module("napari_physgen.segmentation.train")
    gentle = module.fine_tuned
    few = {"steps": 2, "crop": 32, "batch": 2}
    monkeypatch.setattr(module, "fine_tuned", lambda s: gentle(s).model_copy(update=few))
    trained(panel)
    before = [p.clone() for p in panel.current.model.net.parameters()]
    panel.applying.apply()
    panel.wait()
    labels = viewer.layers["alloy labels"]
    labels.data = (micrograph() < 125).astype(np.uint8)
    panel.correcting.labels.choose(labels)
    assert panel.correcting.images.layer is viewer.layers["alloy"]
    panel.correcting.learn()
    panel.wait()
    assert panel.errors == []
    after = list(panel.current.model.net.parameters())
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    assert panel.current.path.name == "corrected.safetensors"
    assert make_panel().current.path == panel.current.path


def test_strokes_teach_only_where_something_is_painted(panel, viewer, monkeypatch):
    given = {}

    def train(images, masks, settings, **about):
        given["mask"] = masks[0]
        yield Progress(0, 1, "learning")
        return about["start"]

    trained(panel)
    module = importlib.import_module("napari_physgen.segmentation.train")
    monkeypatch.setattr("napari_physgen.segmentation.train", train)
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    strokes = np.zeros((SIDE, SIDE), np.uint8)
    strokes[:4], strokes[-4:] = 1, 2
    panel.correcting.labels.choose(viewer.add_labels(strokes, name="strokes", **place()))
    panel.correcting.strokes.setChecked(True)
    panel.correcting.learn()
    panel.wait()
    assert panel.errors == []
    np.testing.assert_array_equal(given["mask"], strokes.astype(int) - 1)


def test_a_model_is_saved_loaded_and_exported(panel, make_panel, viewer, tmp_path, home):
    trained(panel)
    panel.model_bar.save(tmp_path / "mine")
    panel.wait()
    panel.model_bar.export(tmp_path / "mine")
    panel.wait()
    assert panel.errors == []
    assert (tmp_path / "mine.safetensors").is_file()
    assert (tmp_path / "mine.zip").is_file()
    viewer.layers.clear()
    viewer.add_image(micrograph(8), name="fresh", **place())
    other = make_panel()
    assert not other.current.there
    other.model_bar.load(tmp_path / "mine.safetensors")
    other.wait()
    assert other.model_bar.words.text().endswith("/mine.safetensors")
    assert other.results.summary.text().startswith("The model finds particles.")
    other.applying.apply()
    other.wait()
    assert other.errors == []
    assert "fresh labels" in names(other)


def test_look_alikes_are_compared_with_the_images(panel, lab, monkeypatch, tmp_path):
    from napari_physgen import synthesis
    from napari_physgen.synthesis.fidelity_settings import FidelitySettings

    trained(panel)
    panel.line.choose(panel.project.folder)
    panel.viewer.layers.clear()
    for number in range(4):
        panel.viewer.add_image(micrograph(number, 160), name=f"alloy {number}", **place())
    real = synthesis.fidelity
    given = {}

    def small(real_images, synthetic, simulated, settings):
        given.update(patch=settings.patch, simulated=simulated)
        again = [micrograph(k + 20, 160) for k in range(4)]
        return real(real_images, again, None, FidelitySettings(patch=40, patches=12))

    monkeypatch.setitem(vars(synthesis), "fidelity", small)
    panel.fidelity.compare()
    panel.wait()
    assert panel.errors == []
    assert given == {"patch": 32, "simulated": None}
    assert "classifier" in panel.fidelity.words.text()
    assert len(panel.fidelity.plots.plots) == 2
    panel.fidelity.save(tmp_path / "page")
    panel.wait()
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda p: p.applying.apply(), "There is no model yet"),
        (lambda p: p.model_bar.load(p.project.folder / "none.safetensors"), "none.safetensors"),
        (lambda p: p.attempt(p.fidelity.compare), "There are no look-alikes yet"),
        (lambda p: p.attempt(p.scoring.run), "There are no labels to score"),
        (lambda p: p.attempt(p.correcting.learn), "There is nothing to learn from"),
    ],
)
def test_what_cannot_be_done_yet_says_what_to_do_first(panel, act, said):
    act(panel)
    panel.wait()
    assert len(panel.errors) == 1
    assert said in panel.errors[0]
    assert names(panel) == ["alloy"]


def test_a_truth_of_another_picture_is_refused_in_one_sentence(panel, viewer):
    trained(panel)
    panel.applying.apply()
    panel.wait()
    viewer.add_labels(np.zeros((20, 20), np.uint8), name="truth")
    panel.scoring.run()
    panel.wait()
    assert "choose the truth of the same picture" in panel.errors[0]
    assert panel.scoring.table.isHidden()


def test_a_folder_that_cannot_be_made_is_said(panel, tmp_path):
    (tmp_path / "file").write_text("")
    panel.line.choose(tmp_path / "file" / "project")
    panel.attempt(panel.run_all)
    assert "cannot be made" in panel.errors[0]


def test_the_sample_has_micrographs_and_a_hidden_truth():
    from napari_physgen.app.sample_data import unlabelled

    (images, meta, _), (truth, hidden, kind) = unlabelled()
    assert images.shape == truth.shape == (3, 256, 256)
    assert (kind, hidden["visible"]) == ("labels", False)
    assert images[truth == 1].mean() < images[truth == 0].mean() - 30
    assert meta["scale"] == hidden["scale"]


@pytest.mark.gui
def test_the_panel_opens_from_the_menu_and_fits_its_dock(make_napari_viewer, npe2pm, home):
    from npe2 import PluginManifest

    from napari_physgen.app import demo

    npe2pm.register(PluginManifest.from_distribution("napari-physgen"))
    window = make_napari_viewer(show=True)
    _, panel = window.window.add_plugin_dock_widget("napari-physgen", "Labour-free segmentation")
    window.add_image(micrograph(), name="an alloy with a long name, 750 degrees, 150 hours")
    window.window._qt_window.resize(1200, 800)
    panel.strip.show_pictures([Output("real", micrograph())])
    for section in (panel.form.advanced, panel.fidelity, panel.scoring, panel.correcting):
        section.expand()
    demo.settle(0.3)
    inner = panel.widget()
    assert inner.minimumSizeHint().width() <= panel.viewport().width()
    assert panel.width() <= 420
