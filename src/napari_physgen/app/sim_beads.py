"""A measured OTF from a layer with beads, as a line of the SIM panel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QWidget

from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.editors import NumberEditor
from napari_physgen.app.inputs import pixels
from napari_physgen.app.job_panel import Task
from napari_physgen.app.labour_free_jobs import once
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.result_bar import file_stem
from napari_physgen.errors import UserError
from napari_physgen.sim.beads import BeadSettings

if TYPE_CHECKING:
    from napari_physgen.app.widgets.sim import ReconstructSim
    from napari_physgen.provenance import Record
    from napari_physgen.sim.beads import BeadOtf

SHARED = ("na", "wavelength_nm", "pixel_size_nm")


class BeadLine(QWidget):
    """Which layer shows beads, how large they are, and the button."""

    def __init__(self, panel: ReconstructSim) -> None:
        super().__init__()
        self.panel = panel
        self.layers = LayerChooser(panel.viewer, panel.accepts, none="no layer")
        self.layers.setToolTip("<p>Image of small fluorescent beads, or a stack in focus.</p>")
        self.diameter = NumberEditor(float, "nm", 0, 500)
        self.diameter.put(BeadSettings.model_fields["bead_diameter_nm"].default)
        self.diameter.setToolTip("<p>Diameter of the beads.</p>")
        self.button = panel.starter(
            "OTF from beads...",
            self._ask,
            "Measure the OTF in the layer with beads, save it as a file, and use it.",
        )
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(4)
        grid.addWidget(QLabel("Beads"), 0, 0)
        grid.addWidget(self.layers, 0, 1)
        grid.addWidget(QLabel("Diameter"), 1, 0)
        grid.addWidget(self.diameter, 1, 1)
        grid.addWidget(self.button, 2, 1)
        grid.setColumnMinimumWidth(0, panel.form.title_width)
        grid.setColumnStretch(1, 1)

    def measure(self, path: Path) -> None:
        """Measure the OTF, save it as `path` and use it."""
        layer = self.layers.layer
        if layer is None:
            raise UserError("Choose the layer with the beads first: Beads, above the button.")
        values = {name: self.panel.form.values()[name] for name in SHARED}
        settings: BeadSettings = BeadSettings.parse(
            values | {"bead_diameter_nm": self.diameter.get()}
        )
        data = pixels(layer)
        target = path if path.suffix.lower() in (".tif", ".tiff") else Path(f"{path}.tif")

        def work() -> BeadOtf:
            from napari_physgen.io import write_otf
            from napari_physgen.sim.beads import otf_from_beads

            found = otf_from_beads(np.asarray(data).reshape(-1, *data.shape[-2:]), settings)
            write_otf(target, found.profile, found.step, found.error)
            return found

        def done(found: BeadOtf, record: Record | None) -> str:
            self.panel.form.put({"otf": target})
            return f"{found.summary} Saved as {target.name} and in use."

        job = Task(lambda: once("measuring the OTF", work), layer, settings, done, tunable=False)
        self.panel.launch(job)

    def _ask(self) -> None:
        layer = self.layers.layer
        name = "OTF" if layer is None else f"{file_stem(layer.name)} OTF"
        start = str(output_folder() / f"{name}.tif")
        path, _ = QFileDialog.getSaveFileName(self, "Save the OTF", start, "TIFF (*.tif)")
        if path:
            self.measure(Path(path))
