"""The panel Generate: new images, alone or on masks, and what can be done with them."""

from __future__ import annotations

import numpy as np
import pytest
from prior_sample import blobs

from napari_physgen.app.results import KEY
from napari_physgen.app.widgets.generate import Generate
from napari_physgen.io import read_mask, read_picture

TINY = {"steps": 30, "features": 4, "levels": 2, "crop": 32, "batch": 4}
PLACE = {"scale": (1, 0.08, 0.08), "units": ("pixel", "um", "um")}


@pytest.fixture
def generate(viewer, opened):
    """The panel on a stack of images with numbered particles as their masks."""
    images = blobs(3)
    masks = np.where(images > 200, 1 + np.arange(64) // 4, 0)
    viewer.add_image(images, name="alloy", **PLACE)
    viewer.add_labels(masks.astype(np.uint8), name="particles", **PLACE)
    panel = opened(Generate)
    panel.form.put({"count": 2, "size": 32, "steps": 3})
    panel.prior.form.put(TINY)
    return panel


@pytest.fixture
def taught(generate):
    """The panel with a prior of the images."""
    generate.press("Learn")
    assert generate.errors == []
    return generate


@pytest.fixture
def following(generate):
    """The panel with a prior of the images and their masks."""
    generate.prior.choose("masks")
    generate.press("Learn")
    assert generate.errors == []
    return generate


def test_new_images_come_as_a_stack_with_the_pixels_of_the_prior(taught, viewer):
    taught.press("Run")
    assert taught.errors == []
    new = viewer.layers["alloy generated"]
    assert new.data.shape == (2, 32, 32)
    np.testing.assert_allclose(new.scale, (1, 0.08, 0.08))
    assert new.metadata[KEY]["tool"] == "generate"
    assert "2 images" in taught.results.summary.text()


def test_a_seed_repeats_its_images(taught, viewer):
    taught.press("Run")
    taught.press("Run")
    first, second = (layer for layer in viewer.layers if layer.name.startswith("alloy generated"))
    np.testing.assert_array_equal(first.data, second.data)
    assert [first.visible, second.visible].count(True) == 1


def test_numbered_particles_are_one_class(following):
    assert following.prior.current.model.classes == 2
    assert "2 classes" in following.prior.words.text()


def test_images_follow_masks_in_number_and_size(following, viewer):
    following.masks.choose(viewer.layers["particles"])
    assert "as the masks" in following.form._labels["size"].text()
    following.press("Run")
    assert following.errors == []
    assert viewer.layers["alloy generated"].data.shape == (3, 64, 64)
    assert set(np.unique(viewer.layers["alloy masks"].data)) == {0, 1}


def test_a_prior_without_masks_says_so(taught, viewer):
    taught.masks.choose(viewer.layers["particles"])
    before = [layer.name for layer in viewer.layers]
    taught.press("Run")
    assert "knows no masks" in taught.errors.pop()
    assert [layer.name for layer in viewer.layers] == before


def test_run_without_a_prior_says_what_to_do(generate):
    generate.press("Run")
    assert "press Learn" in generate.errors.pop()


def test_masks_of_another_size_get_a_sentence(generate, viewer):
    viewer.add_labels(np.ones((3, 16, 16), int), name="small", **PLACE)
    generate.prior.choose("masks")
    generate.prior.masks.choose(viewer.layers["small"])
    generate.press("Learn")
    assert "same size" in generate.errors.pop()


def test_images_of_different_pixel_sizes_get_a_sentence(generate, viewer):
    place = {"scale": (1, 0.2, 0.2), "units": PLACE["units"]}
    viewer.add_image(blobs(2), name="other", **place)
    generate.press("Learn")
    assert "80 to 200 nm" in generate.errors.pop()


def test_stop_keeps_the_images_that_are_finished(taught, viewer, qtbot, monkeypatch):
    monkeypatch.setattr("napari_physgen.generative.generate.BATCH_PIXELS", 32**2)
    taught.form.put({"count": 1000, "steps": 2})
    next(button for button in taught.buttons if button.text() == "Run").click()
    qtbot.waitUntil(lambda: "image 1" in taught.message.text(), timeout=60000)
    qtbot.waitUntil(lambda: not taught.message.text().startswith("image 1 "), timeout=60000)
    taught.stop_button.click()
    taught.wait()
    assert taught.errors == []
    assert 0 < len(viewer.layers["alloy generated"].data) < 1000


def test_a_data_set_is_a_folder_of_images_and_masks(following, viewer, tmp_path):
    assert not following.folder.button.isEnabled()
    following.masks.choose(viewer.layers["particles"])
    following.press("Run")
    assert following.folder.button.isEnabled()
    following.folder.save(tmp_path / "set")
    following.wait()
    assert following.errors == []
    image, size = read_picture(tmp_path / "set" / "images" / "0003.ome.tif")
    mask = read_mask(tmp_path / "set" / "masks" / "0003.ome.tif")
    np.testing.assert_array_equal(image, viewer.layers["alloy generated"].data[2])
    np.testing.assert_array_equal(mask, viewer.layers["alloy masks"].data[2])
    assert size == pytest.approx(80)


def test_new_images_are_compared_with_real_ones(taught, viewer):
    taught.form.put({"count": 3, "size": 96, "steps": 2})
    taught.press("Run")
    taught.press("Compare")
    assert taught.errors == []
    assert taught.fidelity.report is not None
    assert taught.fidelity.save_button.isEnabled()


def test_comparing_before_there_are_images_says_so(generate):
    generate.press("Compare")
    assert "press Run first" in generate.errors.pop()


def test_a_prior_of_pairs_or_noise_makes_no_images(generate, tmp_path):
    from napari_physgen.backend import run
    from napari_physgen.generative.settings import GenerativeSettings
    from napari_physgen.generative.train import train

    settings = GenerativeSettings(conditional="pairs", **TINY)
    path = tmp_path / "pairs.safetensors"
    run(train(blobs(2), settings, pairs=blobs(2, seed=1))).save(path)
    generate.prior.choose("file")
    generate.prior.load(path)
    generate.wait()
    generate.press("Run")
    assert "only removes noise" in generate.errors.pop()
