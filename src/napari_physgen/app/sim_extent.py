"""How much the SIM panel reconstructs: the stack on view, all of a layer, or all of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QSizePolicy, QWidget

from napari_physgen.app.blank import blank
from napari_physgen.app.boxes import CalmComboBox
from napari_physgen.app.job_panel import Task
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.sim_check import Judged
from napari_physgen.app.sim_series import Growing, read_series
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from napari_physgen.app.sim_series import SeriesAxes
    from napari_physgen.app.widgets.sim import ReconstructSim
    from napari_physgen.backend import Job
    from napari_physgen.batch import Batch
    from napari_physgen.provenance import Record
    from napari_physgen.sim.results import Reconstruction

SHOWN = "the stack on view"


class ExtentLine(QWidget):
    """A choice between the stack on view and all of the layer, and the button for a folder."""

    def __init__(self, panel: ReconstructSim) -> None:
        super().__init__()
        self.panel = panel
        self.box = CalmComboBox()
        self.box.addItem(SHOWN)
        self.box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.box.setMinimumContentsLength(10)
        self.box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.box.setToolTip(
            "<p>What Run reconstructs. Of a time-lapse the patterns are found once; each image "
            "begins where the one before ended, and those that are finished stay when you stop.</p>"
        )
        self.folder_button = panel.starter(
            "Folder...",
            self._ask,
            "Reconstruct all raw stacks of a folder with these settings, into files "
            "NAME_sim.ome.tif beside them.",
        )
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        line.addWidget(QLabel("Run on"))
        line.addWidget(self.box, 1)
        line.addWidget(self.folder_button)

    @property
    def all(self) -> bool:
        """Whether all of the layer is wanted."""
        return self.box.currentIndex() > 0

    def describe(self, series: SeriesAxes | None) -> None:
        """Offer what a layer has."""
        words = series.words if series is not None and len(series) > 1 else ""
        offered = [self.box.itemText(i) for i in range(1, self.box.count())]
        if offered != ([words] if words else []):
            chosen = self.all and bool(words)
            while self.box.count() > 1:
                self.box.removeItem(1)
            if words:
                self.box.addItem(words)
            self.box.setCurrentIndex(int(chosen))
        self.box.setEnabled(bool(words))

    def run_layer(self) -> None:
        """Reconstruct all stacks of the layer; their images grow along its axes."""
        panel = self.panel
        layer, frames, settings, layout = panel.read()
        judged, growing = Judged.of(panel, layer, settings), Growing(layer, layout)
        names = growing.axes.names
        light = panel.known_light(settings, frames)
        if "channel" in names and settings.pattern != "given":
            light = None  # each channel has patterns of its own

        def done(result: Reconstruction, record: Record | None) -> str:
            panel.show_results(task, growing.placed(result.outputs()), record)
            return panel.finish(layer.name, result, settings, record, judged, growing.steps)

        extras = {"patterns": light, "axes": names, "sink": growing.sink}
        job = panel.job_of(layer, read_series(layer, layout), settings, **extras)
        task = Task(lambda: growing.watched(job()), growing.place, settings, done)
        panel.look_at(layer)
        panel.launch(task)
        panel.growing = growing

    def run_folder(self, folder: Path) -> None:
        """Reconstruct the raw stacks of a folder."""
        from napari_physgen.batch import stacks_in

        panel = self.panel
        settings = panel.settings()
        if settings.pattern == "given" and settings.illumination is None:
            raise UserError(
                "For a folder the known light must be a file: choose it in the advanced settings."
            )
        paths = stacks_in([folder], panel.tool)

        def job() -> Job[Batch]:
            from napari_physgen.batch import process_files

            return process_files(panel.tool, settings, paths, folder)

        def done(batch: Batch, record: Record | None) -> str:
            return f"{batch.summary} Saved as NAME_sim.ome.tif in {folder}."

        panel.launch(Task(job, blank(folder.name, 1.0), settings, done, tunable=False))

    def _ask(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self, "Reconstruct a folder", str(output_folder())
        )
        if folder:
            self.run_folder(Path(folder))
