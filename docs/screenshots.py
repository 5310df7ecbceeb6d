"""Make the pictures of the SIM tutorial by clicking through it.

``xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py [FOLDER]``
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from napari_physgen.app.demo import open_panel, press, screenshot, settle

HERE = Path(__file__).parent


def main(folder: Path = HERE / "images") -> None:
    """Save sim_1_open.png to sim_4_result.png in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    viewer, panel = open_panel()
    viewer.open_sample("napari-physgen", "sim_filaments")
    screenshot(viewer, folder / "sim_1_open.png")

    press(panel, "Estimate")
    viewer.reset_view()
    screenshot(viewer, folder / "sim_2_patterns.png")

    began = time.monotonic()
    press(panel, "Run", until=lambda: panel.live.layer is not None and time.monotonic() - began > 8)
    screenshot(viewer, folder / "sim_3_running.png")
    while panel.runner.running:
        settle(0.1)

    viewer.layers[0].visible = False
    screenshot(viewer, folder / "sim_4_result.png")
    viewer.close()


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
