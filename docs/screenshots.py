"""Make the pictures of the tutorials by clicking through them.

``xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py [FOLDER [TOUR ...]]``
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_physgen.app.demo import open_panel, press, screenshot, settle
from napari_physgen.backend import run
from napari_physgen.segmentation import labour_free_presets
from napari_physgen.synthesis import presets, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari

    from napari_physgen.app.widgets.labour_free import LabourFree
    from napari_physgen.app.widgets.sim import ReconstructSim

HERE = Path(__file__).parent

# Two minutes of one core in place of the preset "quick".
SHORT = {
    "trials": 2,
    "simulations": 2,
    "pictures": 24,
    "training_steps": 120,
    "self_training": 10,
}

# One short training in place of two long ones.
BRIEF = {"members": 1, "network_steps": 100}

# Half a minute of one core in place of the default network.
SMALL = {"features": 8, "levels": 3, "batch": 8, "crop": 48, "steps": 250}


def main(
    folder: Path = HERE / "images",
    tours: Sequence[str] = (
        "sim",
        "sim_series",
        "microstructure",
        "labour_free",
        "regions",
        "restore",
        "generate",
    ),
) -> None:
    """Save the pictures of some tutorials in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {
        "sim": sim,
        "sim_series": sim_series,
        "microstructure": microstructure,
        "labour_free": labour_free,
        "regions": regions,
        "restore": restore,
        "generate": generate,
    }
    for name in tours:
        known[name](folder)


def sim(folder: Path) -> None:
    """Save sim_1_open.png to sim_5_report.png."""
    viewer, panel = open_panel()
    viewer.open_sample("napari-physgen", "sim_filaments")
    picture(viewer, folder / "sim_1_open.png")

    press(panel, "Estimate")
    picture(viewer, folder / "sim_2_patterns.png")

    panel.form.put(BRIEF)
    press(panel, "Run", until=lambda: sharpening(panel))
    picture(viewer, folder / "sim_3_running.png")
    while panel.runner.running:
        settle(0.1)

    picture(viewer, folder / "sim_4_result.png")

    press(panel, "Report")
    panel.verticalScrollBar().setValue(panel.verticalScrollBar().maximum())
    picture(viewer, folder / "sim_5_report.png")
    viewer.close()


def sim_series(folder: Path) -> None:
    """Save sim_6_time_lapse.png."""
    viewer, panel = open_panel()
    viewer.open_sample("napari-physgen", "sim_time_lapse")
    panel.form.put({"method": "variational"})
    panel.extent.box.setCurrentIndex(1)
    press(panel, "Run", until=lambda: panel.growing is not None and panel.growing.done == 3)
    settle(3)
    picture(viewer, folder / "sim_6_time_lapse.png")
    while panel.runner.running:
        settle(0.1)
    viewer.close()


def microstructure(folder: Path) -> None:
    """Save microstructure_1_try.png to microstructure_3_match.png."""
    viewer, panel = open_panel("Simulate microstructure")
    panel.choose_look("rafted")
    panel.trial_button.click()
    settle(8)
    picture(viewer, folder / "microstructure_1_try.png")
    panel.trial_button.click()

    panel.choose_look("gamma_prime")
    press(panel, "Run")
    viewer.reset_view()
    picture(viewer, folder / "microstructure_2_image.png")

    viewer.layers.clear()
    micrograph = viewer.add_image(etched(), name="etched", scale=(12, 12), units=("nm", "nm"))
    viewer.reset_view()
    panel.matching.images.choose(micrograph)
    panel.matching.expand()
    press(panel, "Match")
    panel.verticalScrollBar().setValue(panel.verticalScrollBar().maximum())
    picture(viewer, folder / "microstructure_3_match.png")
    viewer.close()


def labour_free(folder: Path) -> None:
    """Save labour_free_1_open.png to labour_free_4_real.png."""
    viewer, panel = open_panel("Labour-free segmentation")
    viewer.open_sample("napari-physgen", "unlabelled")
    viewer.dims.set_current_step(0, 0)  # the plane that live labels belong to
    panel.line.choose(Path(tempfile.mkdtemp()) / "gamma prime")
    viewer.reset_view()
    picture(viewer, folder / "labour_free_1_open.png")

    panel.fill(labour_free_presets["quick"].model_dump() | SHORT)
    press(panel, "Run all", until=lambda: learning(panel))
    picture(viewer, folder / "labour_free_2_running.png")
    while panel.runner.running:
        settle(0.5)
    picture(viewer, folder / "labour_free_3_labels.png")

    panel.fidelity.expand()
    press(panel, "Compare")
    settle()
    panel.verticalScrollBar().setValue(panel.verticalScrollBar().maximum())
    picture(viewer, folder / "labour_free_4_real.png")
    viewer.close()


def regions(folder: Path) -> None:
    """Save regions_1_open.png to regions_4_lattice.png."""
    viewer, panel = open_panel("Map regions")
    viewer.open_sample("napari-physgen", "eds_map")
    picture(viewer, folder / "regions_1_open.png")

    press(panel, "Quick map")
    hover(viewer, "EDS map regions", (40, 40))
    picture(viewer, folder / "regions_2_quick.png")

    press(panel, "Run")
    panel.review.tables.expand()
    settle()
    panel.verticalScrollBar().setValue(panel.verticalScrollBar().maximum())
    picture(viewer, folder / "regions_3_map.png")

    viewer.layers.clear()
    viewer.open_sample("napari-physgen", "ferroelectric_domains")
    viewer.reset_view()
    press(panel, "Run")
    hover(viewer, "ferroelectric domains regions", (128, 96))
    picture(viewer, folder / "regions_4_lattice.png")
    viewer.close()


def restore(folder: Path) -> None:
    """Save restore_1_open.png to restore_4_uncertainty.png."""
    viewer, panel = open_panel("Restore")
    viewer.open_sample("napari-physgen", "noisy_micrograph")
    noisy = viewer.layers["noisy filaments"]
    panel.chooser.choose(noisy)
    panel.prior.choose("noisy")
    viewer.reset_view()
    picture(viewer, folder / "restore_1_open.png")

    press(panel, "Preview")
    picture(viewer, folder / "restore_2_preview.png")

    viewer.open_sample("napari-physgen", "sharp_micrographs")
    viewer.layers.move(viewer.layers.index(noisy), len(viewer.layers))
    panel.prior.choose("images")
    panel.prior.form.put(SMALL)
    press(panel, "Learn", until=lambda: panel.bar.value() >= 0.8 * panel.bar.maximum())
    picture(viewer, folder / "restore_3_learning.png")
    while panel.runner.running:
        settle(0.1)

    press(panel, "Run")
    panel.views.buttons["uncertainty"].click()
    panel.views.unsure.setChecked(True)
    hover(viewer, "noisy filaments", (160, 111))
    panel.verticalScrollBar().setValue(panel.verticalScrollBar().maximum())
    picture(viewer, folder / "restore_4_uncertainty.png")
    viewer.close()


def generate(folder: Path) -> None:
    """Save generate_1_learning.png to generate_3_masks.png."""
    viewer, panel = open_panel("Generate")
    viewer.open_sample("napari-physgen", "unlabelled")
    panel.prior.choose("masks")
    panel.prior.form.put(SMALL)
    press(panel, "Learn", until=lambda: panel.bar.value() >= 0.8 * panel.bar.maximum())
    picture(viewer, folder / "generate_1_learning.png")
    while panel.runner.running:
        settle(0.1)

    panel.masks.choose(viewer.layers["gamma prime truth"])
    press(panel, "Run", until=lambda: panel.bar.value() >= 0.8 * panel.bar.maximum())
    picture(viewer, folder / "generate_2_forming.png")
    while panel.runner.running:
        settle(0.1)
    panel.fidelity.expand()
    picture(viewer, folder / "generate_3_masks.png")
    viewer.close()


def hover(viewer: napari.Viewer, layer: str, pixel: tuple[int, int]) -> None:
    """Put the cursor over a pixel of a layer."""
    world = viewer.layers[layer].data_to_world(pixel)
    viewer.cursor.position = (*(0,) * (viewer.dims.ndim - 2), *world)
    settle()


def etched() -> np.ndarray:
    """Return what a micrograph may look like: bright rims, shading, blur and noise."""
    settings = presets["gamma_prime"].model_copy(update={"seed": 7, "fraction": 0.55})
    phase = run(simulate(settings)).field
    y, x = np.indices(phase.shape) / len(phase)
    rims = np.hypot(*np.gradient(gaussian_filter(phase, 1.5)))
    noise = np.random.default_rng(0).normal(0, 0.04, phase.shape)
    return gaussian_filter(0.5 * phase + 3 * rims + 0.3 * x * y, 0.7) + noise


def sharpening(panel: ReconstructSim) -> bool:
    """Whether the variational image and its curve have something to show."""
    return "variational" in panel.message.text() and panel.bar.value() >= 80


def learning(panel: LabourFree) -> bool:
    """Whether the network has learned enough to have something to show."""
    return "learning" in panel.message.text() and panel.bar.value() >= 0.6 * panel.bar.maximum()


def picture(viewer: napari.Viewer, path: Path) -> None:
    """Save the window with 256 colours: a third of the size, no difference to the eye."""
    screenshot(viewer, path)
    image = Image.open(path).convert("RGB")
    image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]), *[sys.argv[2:]] * bool(sys.argv[2:]))
