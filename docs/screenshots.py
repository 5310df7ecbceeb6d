"""Make the pictures of the SIM tutorial by clicking through it.

``xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py [FOLDER]``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from napari_physgen.app.demo import open_panel, press, screenshot, settle

if TYPE_CHECKING:
    import napari

    from napari_physgen.app.widgets.sim import ReconstructSim

HERE = Path(__file__).parent


def main(folder: Path = HERE / "images") -> None:
    """Save sim_1_open.png to sim_4_result.png in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    viewer, panel = open_panel()
    viewer.open_sample("napari-physgen", "sim_filaments")
    picture(viewer, folder / "sim_1_open.png")

    press(panel, "Estimate")
    picture(viewer, folder / "sim_2_patterns.png")

    press(panel, "Run", until=lambda: sharpening(panel))
    picture(viewer, folder / "sim_3_running.png")
    while panel.runner.running:
        settle(0.1)

    picture(viewer, folder / "sim_4_result.png")
    viewer.close()


def sharpening(panel: ReconstructSim) -> bool:
    """Whether the variational image and its curve have something to show."""
    return "variational" in panel.message.text() and panel.bar.value() >= 80


def picture(viewer: napari.Viewer, path: Path) -> None:
    """Save the window with 256 colours: a third of the size, no difference to the eye."""
    screenshot(viewer, path)
    image = Image.open(path).convert("RGB")
    image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
