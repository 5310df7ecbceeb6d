"""End to end in a real window."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from npe2 import PluginManager, PluginManifest

from napari_physgen.app import demo, sample_data
from napari_physgen.recipe import Recipe
from napari_physgen.sim import estimate_patterns as real_estimate
from napari_physgen.sim.settings import SimSettings

pytestmark = pytest.mark.gui


@pytest.fixture
def window(make_napari_viewer, fake_sim, npe2pm):
    manager: PluginManager = npe2pm
    manager.register(PluginManifest.from_distribution("napari-physgen"))
    return make_napari_viewer(show=True)


def dock(window):
    return window.window.add_plugin_dock_widget("napari-physgen", "Reconstruct SIM")[1]


@pytest.mark.parametrize("make", [sample_data.filaments, sample_data.siemens_star])
def test_a_sample_is_a_raw_stack_that_knows_its_microscope(viewer, qtbot, fake_sim, make):
    from napari_physgen.app.widgets.sim import ReconstructSim

    ((data, meta, kind),) = make()
    viewer._add_layer_from_data(data, meta, kind)
    panel = ReconstructSim(viewer)
    qtbot.addWidget(panel)
    values = panel.form.values()
    assert {name: values[name] for name in sample_data.MICROSCOPE} == sample_data.MICROSCOPE
    assert panel.reading.text().startswith("9 frames = 3 angles x 3 phases")


def test_the_patterns_of_a_sample_are_found():
    ((raw, meta, _),) = sample_data.filaments()
    settings = SimSettings(**meta["metadata"]["microscope"])
    job = real_estimate(raw[:, :128, :128], settings)
    from napari_physgen.backend import run

    assert not run(job).verdict.startswith("failed")


def test_the_panel_opens_from_the_menu_and_fits_its_dock(window, add_raw):
    panel = dock(window)
    window.window._qt_window.resize(1200, 800)
    for part in (panel.form.advanced, panel.trained, panel.reports):
        part.expand()
    demo.settle(0.2)
    inner = panel.widget()
    assert inner.minimumSizeHint().width() <= panel.viewport().width()
    assert panel.width() <= 420


def test_closing_the_dock_stops_the_job(window, fake_sim, qtbot):
    window.add_image(np.ones((9, 64, 64)))
    panel = dock(window)
    panel.form.put({"iterations": 3000})
    panel.run()
    qtbot.waitUntil(lambda: panel.live.layer is not None)
    window.window.remove_dock_widget(panel.parent())
    qtbot.waitUntil(lambda: fake_sim.closed == 1, timeout=2000)
    assert len(window.layers) == 1


def test_closing_the_viewer_stops_the_job(window, fake_sim, qtbot):
    window.add_image(np.ones((9, 64, 64)))
    panel = dock(window)
    panel.form.put({"iterations": 3000})
    panel.run()
    qtbot.waitUntil(lambda: panel.live.layer is not None)
    window.close()
    qtbot.waitUntil(lambda: fake_sim.closed == 1, timeout=2000)


def test_preview_takes_what_the_canvas_shows(window, fake_sim, qtbot):
    layer = window.add_image(np.random.default_rng(0).random((9, 512, 512)))
    panel = dock(window)
    window.scene.camera.center = (400, 400)
    window.scene.camera.zoom = 10
    demo.settle(0.2)
    panel.preview()
    qtbot.waitUntil(lambda: not panel.runner.running, timeout=10000)
    shown = window.layers[f"{layer.name} SIM preview"]
    middle = shown.data_to_world(np.array(shown.data.shape) / 2)
    np.testing.assert_allclose(middle, (400, 400), atol=6)


def test_the_demo_saves_result_recipe_and_picture(
    make_napari_viewer, fake_sim, npe2pm, monkeypatch, tmp_path, capsys
):
    npe2pm.register(PluginManifest.from_distribution("napari-physgen"))
    monkeypatch.setattr("napari.Viewer", make_napari_viewer)
    monkeypatch.setattr(demo, "watched", lambda: False)
    demo.main(tmp_path / "demo")
    saved = tifffile.imread(tmp_path / "demo" / "sim.ome.tif", series=0)
    assert saved.shape[-2:] == (demo.SIZE * sample_data.ZOOM,) * 2
    assert Recipe.load(tmp_path / "demo" / "sim.recipe.yaml").tool == "sim"
    assert (tmp_path / "demo" / "viewer.png").stat().st_size > 10_000
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-4:-1]] == ["widefield", "Wiener", "ours"]


def test_the_microstructure_panel_fits_its_dock_with_every_material(window, qtbot):
    from napari_physgen.app.widgets.microstructure import MATERIALS

    window.window._qt_window.resize(1200, 800)
    name = "Simulate microstructure"
    panel = window.window.add_plugin_dock_widget("napari-physgen", name)[1]
    for part in (panel.form.advanced, panel.matching, panel.data_set):
        part.expand()
    for material in MATERIALS:
        panel.form.put({"material": material})
        demo.settle(0.1)
        assert panel.widget().minimumSizeHint().width() <= panel.viewport().width()
    assert panel.width() <= 420


def test_the_sample_of_gamma_prime_lies_under_its_mask(viewer, monkeypatch):
    monkeypatch.setattr(sample_data, "CELLS", 48)
    for data, meta, kind in sample_data.gamma_prime():
        viewer._add_layer_from_data(data, meta, kind)
    image, mask = viewer.layers
    assert image.data.shape == mask.data.shape == (48, 48)
    assert set(np.unique(mask.data)) == {0, 1}
    assert 0.3 < mask.data.mean() < 0.8
    # Bright where the mask says particle: the mask is the field's own.
    assert image.data[mask.data == 1].min() > image.data[mask.data == 0].mean()
    assert image.axis_labels == ("y", "x")
