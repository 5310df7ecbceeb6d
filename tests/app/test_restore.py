"""The panel Restore: an image and its uncertainty, whatever the person in front of it does."""

from __future__ import annotations

import importlib
import re
import time
from pathlib import Path

import numpy as np
import pytest
from prior_sample import blobs, tiny

from napari_physgen.app.results import KEY
from napari_physgen.app.widgets.restore import Restore
from napari_physgen.io import read_record
from napari_physgen.recipe import Recipe

PLACE = {"scale": (0.08, 0.08), "units": ("um", "um"), "translate": (3, 4)}
TINY = {"steps": 30, "features": 4, "levels": 2, "crop": 32, "batch": 4}


def noisy(image, seed=0):
    """Return an image with Poisson light, gain 2, over an offset of 90."""
    photons = np.random.default_rng(seed).poisson((image - 90) / 2)
    return (90 + 2 * photons).astype(np.float32)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """What learns from the image itself is as small as a preview's network."""
    monkeypatch.setattr("napari_physgen.app.restore_jobs.QUICK", TINY)

    def settings_for_itself(data, settings):
        return tiny(conditional="noisy", steps=settings.learning_steps, seed=settings.seed)

    module = importlib.import_module("napari_physgen.generative.restore")
    monkeypatch.setattr(module, "settings_for_itself", settings_for_itself)


@pytest.fixture
def restore(viewer, opened):
    """The panel on a noisy image with sharp ones beside it."""
    images = blobs(4)
    viewer.add_image(images[1:], name="sharp", scale=(1, 0.08, 0.08), units=("pixel", "um", "um"))
    viewer.add_image(noisy(images[0]), name="cell", **PLACE)
    panel = opened(Restore)
    panel.chooser.choose(viewer.layers["cell"])
    panel.form.put({"learning_steps": 20})
    panel.prior.form.put(TINY)
    return panel


@pytest.fixture
def taught(restore):
    """The panel with a prior learned from the sharp images, for every task."""
    restore.prior.choose("images")
    restore.prior.form.put({"domain": "linear"})
    restore.press("Learn")
    assert restore.errors == []
    return restore


def test_one_click_gives_a_newcomer_image_and_uncertainty(restore, viewer):
    restore.press("Run")
    assert restore.errors == []
    mean, std = viewer.layers["cell restored"], viewer.layers["cell uncertainty"]
    assert mean.data.shape == std.data.shape == (64, 64)
    assert (std.data > 0).all()
    np.testing.assert_allclose(mean.translate, (3, 4))
    np.testing.assert_allclose(mean.scale, (0.08, 0.08))
    assert mean.visible
    assert not std.visible
    assert "grey levels per photon" in restore.noise.text()
    assert restore.views.isVisibleTo(restore)


def test_the_buttons_show_one_layer_each(restore, viewer):
    restore.press("Run")
    restore.views.buttons["uncertainty"].click()
    assert viewer.layers["cell uncertainty"].visible
    assert not viewer.layers["cell restored"].visible
    restore.views.buttons["measured"].click()
    ours = [layer for layer in viewer.layers if KEY in layer.metadata]
    assert not any(layer.visible for layer in ours)
    restore.views.unsure.setChecked(True)
    assert viewer.layers["cell not sure"].visible
    restore.views.buttons["residual"].click()
    assert "left over" in restore.views.caption.text()


def test_value_and_uncertainty_are_told_under_the_cursor(restore, viewer):
    restore.press("Run")
    viewer.cursor.position = viewer.layers["cell"].data_to_world((10, 20))
    restore.views._read()
    value = viewer.layers["cell restored"].data[10, 20]
    assert f"{value:.4g} ±" in restore.views.words.text()


def test_a_prior_of_the_image_is_learned_once(restore, viewer):
    restore.press("Run")
    learned = restore.prior.current.model
    first = viewer.layers["cell restored"].data.copy()
    restore.press("Run")
    assert restore.prior.current.model is learned
    np.testing.assert_array_equal(viewer.layers["cell restored"].data, first)
    assert sum(layer.name.startswith("cell restored") for layer in viewer.layers) == 1
    restore.form.put({"seed": 5})
    assert not restore.prior.current.there


def test_the_same_seed_gives_the_same_pixels_also_from_the_recipe(restore, viewer, tmp_path):
    from napari_physgen.backend import run
    from napari_physgen.recipe import start

    restore.press("Run")
    recipe = Recipe.load(restore.results.save_recipe(tmp_path / "cell.yaml"))
    again = run(start("restore", recipe.parse(), {"image": viewer.layers["cell"].data}))
    np.testing.assert_allclose(again.result.mean, viewer.layers["cell restored"].data, rtol=1e-4)


def test_measure_says_the_noise_in_words_and_fills_the_advanced_fields(restore):
    restore.press("Measure")
    assert "grey levels per photon" in restore.noise.text()
    restore.form._editors["camera_gain"].auto.setChecked(False)
    assert restore.form.values()["camera_gain"] == pytest.approx(2, rel=0.5)


def test_preview_restores_what_is_on_view_and_keeps_no_prior(restore, viewer):
    restore.press("Preview")
    assert restore.errors == []
    assert {"cell restored preview", "cell uncertainty preview"} <= {x.name for x in viewer.layers}
    assert not restore.prior.current.there
    restore.press("Run")
    assert not any(layer.name.endswith("preview") for layer in viewer.layers)


def test_stop_during_learning_keeps_an_image(restore, viewer, qtbot):
    restore.form.put({"learning_steps": 100_000})
    next(button for button in restore.buttons if button.text() == "Run").click()
    qtbot.waitUntil(lambda: "learning" in restore.message.text(), timeout=60000)
    began = time.monotonic()
    restore.stop_button.click()
    restore.wait()
    assert time.monotonic() - began < 10
    assert restore.errors == []
    record = viewer.layers["cell restored"].metadata[KEY]
    assert "stopped at learning" in record["interventions"][0]


def test_a_prior_of_sharp_images_is_said_saved_and_read_again(taught, viewer, tmp_path):
    assert "Learned from images" in taught.prior.words.text()
    assert "Not saved yet" in taught.prior.words.text()
    assert taught.prior.file == "not saved"
    taught.prior.save(tmp_path / "blobs")
    taught.wait()
    assert "Not saved" not in taught.prior.words.text()
    taught.prior.choose("file")
    taught.prior.load(tmp_path / "blobs.safetensors")
    taught.wait()
    taught.press("Run")
    assert taught.errors == []
    settings = viewer.layers["cell restored"].metadata[KEY]["settings"]
    assert settings["model"] == str(tmp_path / "blobs.safetensors")


def test_shipped_priors_are_listed_and_fitted_to_the_grey_levels(opened, viewer, monkeypatch):
    path = Path("/models/fine_fibres.safetensors")
    monkeypatch.setattr("napari_physgen.app.prior_section.shipped", lambda: [path])
    panel = opened(Restore)
    words = [panel.prior.choice.itemText(i) for i in range(panel.prior.choice.count())]
    assert words[-1] == "fine fibres"
    panel.prior.choice.setCurrentIndex(len(words) - 1)
    assert panel.form.values()["brightness"] == "fit"
    assert panel.prior.file == str(path)
    panel.prior.choose("images")
    assert panel.form.values()["brightness"] == "as learned"


def test_pairs_teach_from_two_layers(restore, viewer):
    sharp = viewer.layers["sharp"]
    viewer.add_image(
        np.stack([noisy(image, seed) for seed, image in enumerate(sharp.data)]),
        name="partners",
        scale=sharp.scale,
        units=sharp.units,
    )
    restore.prior.choose("pairs")
    restore.prior.sharp.choose(sharp)
    restore.prior.noisy.choose(viewer.layers["partners"])
    restore.press("Learn")
    restore.press("Run")
    assert restore.errors == []
    assert "pairs" in restore.prior.words.text()
    assert "cell uncertainty" in viewer.layers


def test_samples_come_on_demand(taught, viewer):
    taught.form.put({"steps": 3})
    taught.press("8 samples")
    assert taught.errors == []
    assert viewer.layers["cell samples"].data.shape == (8, 64, 64)
    assert viewer.layers["cell samples"].visible
    taught.press("Run")
    assert "cell samples" not in viewer.layers


def test_samples_are_not_offered_for_what_learned_from_noise_alone(restore):
    assert not restore.samples_button.isEnabled()
    restore.press("Run")
    assert not restore.samples_button.isEnabled()


def test_the_spread_of_a_method_that_is_not_calibrated_is_not_called_uncertainty(taught, viewer):
    taught.form.put({"method": "diffpir", "steps": 3})
    taught.press("Run")
    assert taught.errors == []
    assert "cell sample spread" in viewer.layers
    assert "cell uncertainty" not in viewer.layers
    assert "no uncertainty" in taught.results.summary.text()
    assert "no uncertainty" in taught.views.buttons["sample spread"].toolTip()


def test_a_task_shows_its_own_fields_and_priors(restore):
    restore.form.put({"task": "deconvolve"})
    assert restore.form.matters("blur")
    assert not restore.form.matters("zoom")
    assert restore.prior.kind == "images"
    assert "learn from this image" not in [
        restore.prior.choice.itemText(i) for i in range(restore.prior.choice.count())
    ]
    assert restore.prior.form.values()["domain"] == "linear"
    restore.form.put({"task": "denoise"})
    assert restore.prior.choice.itemText(0) == "learn from this image"


def test_finer_pixels_lie_on_the_image(taught, viewer):
    taught.form.put({"task": "super-resolve", "steps": 2, "pixel_size_nm": None})
    taught.press("Preview")
    assert taught.errors == []
    fine = viewer.layers["cell restored preview"]
    np.testing.assert_allclose(fine.scale, (0.04, 0.04))


def test_gaps_are_filled_where_labels_are_painted(taught, viewer):
    gaps = np.zeros((64, 64), int)
    gaps[20:30, 20:40] = 1
    taught.form.put({"task": "inpaint", "steps": 2})
    taught.press("Preview")
    assert "labels layer" in taught.errors.pop()
    viewer.add_labels(gaps, name="gaps", **PLACE)
    taught.press("Preview")
    assert taught.errors == []
    assert "cell restored preview" in viewer.layers


def test_a_stack_is_restored_plane_by_plane_or_the_one_on_view(taught, viewer):
    stack = np.stack([noisy(image, seed) for seed, image in enumerate(blobs(3, seed=3))])
    layer = viewer.add_image(
        stack,
        name="movie",
        scale=(5, 0.08, 0.08),
        units=("s", "um", "um"),
        axis_labels=("time", "y", "x"),
    )
    taught.chooser.choose(layer)
    taught.press("Run")
    assert taught.errors == []
    restored = viewer.layers["movie restored"]
    assert restored.data.shape == stack.shape
    np.testing.assert_allclose(restored.scale, layer.scale)
    taught.planes.setCurrentIndex(1)
    taught.press("Run")
    assert viewer.layers["movie restored"].data.shape == stack.shape[1:]


def test_unusual_places_are_shown_on_demand(taught, viewer):
    taught.form.put({"anomalies": True})
    taught.press("Run")
    assert taught.errors == []
    assert "cell unusual" in viewer.layers


def test_the_result_is_exported_with_its_record(taught, tmp_path):
    taught.press("Run")
    path = taught.results.export(tmp_path / "cell.ome.tif")
    assert read_record(path).tool == "restore"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: np.where(np.eye(64, dtype=bool), np.nan, data), "NaN"),
        (lambda data: data * 1000, "grey levels"),
        (lambda data: np.full_like(data, 7), "constant|contrast|equal|noise"),
        (lambda data: data[:8, :8], "small|24"),
    ],
)
def test_bad_images_get_a_sentence_and_no_layer_is_lost(taught, viewer, change, words):
    data = change(viewer.layers["cell"].data)
    taught.chooser.choose(viewer.add_image(data.astype(np.float32), name="bad", **PLACE))
    before = [layer.name for layer in viewer.layers]
    taught.press("Run")
    assert len(taught.errors) == 1
    assert "traceback" not in taught.errors[0]
    assert re.search(words, taught.errors[0])
    assert [layer.name for layer in viewer.layers] == before


def test_a_prior_of_another_pixel_size_is_refused_with_a_sentence(taught, viewer):
    taught.form.put({"pixel_size_nm": 200.0})
    taught.press("Run")
    assert "80 nm" in taught.errors.pop()


def test_run_without_a_prior_says_what_to_do(restore):
    restore.prior.choose("images")
    restore.press("Run")
    assert "press Learn" in restore.errors.pop()


def test_no_image_says_what_to_open(opened):
    panel = opened(Restore)
    panel.press("Run")
    assert "There is no image" in panel.errors.pop()


def test_settings_come_back_from_a_result(taught, viewer):
    taught.form.put({"noise_factor": 1.5})
    taught.press("Run")
    taught.form.put({"noise_factor": 1.0})
    taught.results.load_from_layer(viewer.layers["cell restored"])
    assert taught.form.values()["noise_factor"] == 1.5
    assert taught.prior.kind == "images"


def test_the_panel_does_not_freeze_while_it_learns(restore, qtbot):
    restore.form.put({"learning_steps": 100_000})
    next(button for button in restore.buttons if button.text() == "Run").click()
    qtbot.waitUntil(lambda: "learning" in restore.message.text(), timeout=60000)
    gaps, last = [], time.monotonic()
    while len(gaps) < 30:
        qtbot.wait(20)
        gaps.append(time.monotonic() - last)
        last = time.monotonic()
    restore.abandon()
    assert np.median(gaps) < 0.3
