"""The window and the command line are two doors to the same job."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_physgen.app import sample_data
from napari_physgen.app.widgets.sim import ReconstructSim
from napari_physgen.cli import main


@pytest.fixture
def small_stack():
    """Simulated frames of 64 x 64 px with their layer arguments."""
    (raw, meta, _), _ = sample_data.raw_filaments("cell", photons=300, size=64)
    return raw, meta


def test_the_command_line_repeats_the_pixels_of_the_window(viewer, qtbot, small_stack, tmp_path):
    raw, meta = small_stack
    viewer.add_image(raw, **meta)
    panel = ReconstructSim(viewer)
    qtbot.addWidget(panel)
    panel.form.put({"method": "variational", "iterations": 20, "device": "cpu"})
    for press in (panel.estimate, panel.run):
        press()
        qtbot.waitUntil(lambda: not panel.runner.running, timeout=60000)
    recipe = panel.results.save_recipe(tmp_path / "cell.yaml")
    tifffile.imwrite(tmp_path / "cell.tif", raw)
    main(["run", str(recipe), str(tmp_path / "cell.tif"), "-o", str(tmp_path)])
    shown = viewer.layers["cell SIM"].data
    saved = tifffile.imread(tmp_path / "cell_sim.ome.tif", series=0)
    np.testing.assert_array_equal(saved[0], shown)
