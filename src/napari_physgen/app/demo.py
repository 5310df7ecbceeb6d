"""The tour: napari with the SIM panel, driven by its own buttons, and what it is worth."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import napari

    from napari_physgen.app.job_panel import JobPanel
    from napari_physgen.app.widgets.sim import ReconstructSim

SIZE = 160  # raw pixels along y and x: all stages in two minutes on two cores


def main(folder: str | Path = "demo") -> None:
    """Reconstruct a simulated raw stack in the viewer and save what came out.

    Leaves sim.ome.tif, sim.recipe.yaml and viewer.png in `folder` and prints how close
    widefield, Wiener and our reconstruction come to the known truth. With somebody
    watching, the viewer stays open.
    """
    import napari

    from napari_physgen.app.sample_data import raw_filaments

    began = time.monotonic()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    viewer, panel = open_panel()
    sample, truth = raw_filaments("filaments", photons=300, size=SIZE)
    (raw,) = viewer._add_layer_from_data(*sample)
    panel.chooser.choose(raw)
    press(panel, "Estimate")
    say(f"patterns: {panel.verdict.text()}")
    press(panel, "Run")
    say(f"result:   {panel.results.summary.text()}")
    panel.results.export(folder / "sim.ome.tif")
    panel.results.save_recipe(folder / "sim.recipe.yaml")
    viewer.reset_view(layers=[raw])
    screenshot(viewer, folder / "viewer.png")
    say(table(panel, truth))
    took = time.monotonic() - began
    say(f"saved sim.ome.tif, sim.recipe.yaml and viewer.png in {folder} after {took:.0f} s")
    if watched():
        napari.run()
    else:
        viewer.close()


def open_panel(name: str = "Reconstruct SIM") -> tuple[napari.Viewer, Any]:
    """Return a viewer of 1600 x 1000 pixels with a panel docked."""
    import napari

    viewer = napari.Viewer()
    viewer.window.resize(1600, 1000)
    _, panel = viewer.window.add_plugin_dock_widget("napari-physgen", name)
    # The tour shows the tool as it comes, not as it was used last.
    panel.form.set_value(panel.model.parse({**panel.form.values(), **_defaults(panel)}))
    settle()
    return viewer, panel


def press(panel: JobPanel, text: str, until: Any = None) -> None:
    """Click a button and wait for the end of its job, or until `until()` is true.

    Raises
    ------
    RuntimeError
        If the job failed.
    """
    from qtpy.QtCore import QEventLoop

    button = next(button for button in panel.buttons if button.text() == text)
    ends: list[Any] = []
    panel.runner.ended.connect(ends.append)
    button.click()
    if not panel.runner.running and not ends:
        raise RuntimeError(panel.message.text())
    loop = QEventLoop()
    while panel.runner.running and not (until and until()):
        loop.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 50)
        time.sleep(0.005)
    panel.runner.ended.disconnect(ends.append)
    if ends and ends[0].error is not None:
        raise ends[0].error


def settle(seconds: float = 0.5) -> None:
    """Let the window draw."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def screenshot(viewer: napari.Viewer, path: Path) -> None:
    """Save a picture of the whole window."""
    settle()
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)


def table(panel: ReconstructSim, truth: np.ndarray) -> str:
    """Return PSNR and SSIM against the truth, after an affine fit of the grey values."""
    from napari_physgen.metrics.image import compare

    kept = panel.results.kept
    assert kept is not None
    images = {output.name: output.data for output in kept.outputs}
    lines = [f"{'':10} {'PSNR / dB':>10} {'SSIM':>6}"]
    for name, title in (("widefield", "widefield"), ("Wiener", "Wiener"), ("SIM", "ours")):
        if name in images:
            scores = compare(on_grid_of(truth, images[name]), truth)
            lines.append(f"{title:10} {scores.psnr:10.2f} {scores.ssim:6.3f}")
    return "\n".join(lines)


def on_grid_of(truth: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return the image with as many pixels as the truth, over the same field."""
    if image.shape == truth.shape:
        return image
    from scipy.ndimage import zoom

    factors = [ours / theirs for ours, theirs in zip(truth.shape, image.shape, strict=True)]
    # grid_mode: the fields of view coincide, not the centres of the corner pixels.
    return np.asarray(zoom(image, factors, order=3, mode="nearest", grid_mode=True))


def say(text: str) -> None:
    """Write a line to the terminal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def watched() -> bool:
    """Whether there is a real display with somebody in front of it."""
    virtual = os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal")
    return not virtual and "xvfb-run" not in os.environ.get("XAUTHORITY", "")


def _defaults(panel: JobPanel) -> dict[str, Any]:
    fields = panel.model.model_fields.items()
    return {name: field.default for name, field in fields if not field.is_required()}


if __name__ == "__main__":
    main()
