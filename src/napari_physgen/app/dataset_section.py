"""Make a data set: many samples with their masks, in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog

from napari_physgen.app.blank import blank
from napari_physgen.app.boxes import CalmSpinBox
from napari_physgen.app.job_panel import Task
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.section import Section
from napari_physgen.synthesis.dataset_settings import DatasetSettings

if TYPE_CHECKING:
    from napari_physgen.app.widgets.microstructure import SimulateMicrostructure
    from napari_physgen.backend import Job
    from napari_physgen.provenance import Record


class DatasetSection(Section):
    """How many samples, how different, and the button that asks where to."""

    def __init__(self, panel: SimulateMicrostructure) -> None:
        super().__init__("4 Make a data set", bold=True)
        self.panel = panel
        self.count = _box(1, 1_000_000, 100)
        self.count.setSuffix(" samples")
        self.count.setToolTip("<p>How many samples, each with its own seed.</p>")
        self.spread = _box(0, 100, 20)
        self.spread.setPrefix("± ")
        self.spread.setSuffix(" %")
        self.spread.setToolTip(
            "<p>How far fraction, duration, stress and so on stray from the values above.</p>"
        )
        panel.step(
            self.column,
            "",
            {
                "To a folder...": (
                    self.ask,
                    "Simulate many samples with their masks into a folder. In a folder that "
                    "was begun with the same settings it goes on where it ended.",
                )
            },
            extra=(self.count, self.spread),
        )

    def plan(self) -> DatasetSettings:
        """Return what to make; raises UserError."""
        values = {"simulation": self.panel.settings().model_dump(), "count": self.count.value()}
        return DatasetSettings.parse(values | {"spread": self.spread.value() / 100})

    def ask(self) -> None:
        """Ask for a folder and fill it."""
        self.plan()  # what is wrong is said before anybody looks for a folder
        folder = QFileDialog.getExistingDirectory(self, "Data set", str(output_folder()))
        if folder:
            self.make(Path(folder))

    def make(self, folder: Path) -> None:
        """Simulate many samples into a folder and show the first ones."""
        panel, plan = self.panel, self.plan()
        settings = plan.simulation
        name = f"{panel.name_of(settings)} data set"

        def job() -> Job[Any]:
            from napari_physgen import recipe

            return recipe.start("dataset", plan, {}, folder=folder)

        def done(result: Any, record: Record | None) -> str:
            panel.hide_earlier()
            panel.show_results(task, result.outputs(), record)
            return str(result.summary)

        source = blank(name, settings.pixel_size_nm, ("sample", "y", "x"))
        task = Task(job, source, settings, done, tunable=False)
        panel.launch(task)

    def lock(self, running: bool) -> None:
        """Leave the choice open while nothing runs."""
        for box in (self.count, self.spread):
            box.setEnabled(not running)


def _box(low: int, high: int, start: int) -> CalmSpinBox:
    box = CalmSpinBox()
    box.setRange(low, high)
    box.setValue(start)
    return box
