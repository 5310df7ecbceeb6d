"""How real do the look-alikes look: plots, a sentence and a page to save."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_physgen.app.fidelity_plots import FidelityPlots
from napari_physgen.app.job_panel import Task
from napari_physgen.app.labour_free_jobs import fidelity_job
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.section import Section
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from napari_physgen.app.widgets.labour_free import LabourFree
    from napari_physgen.provenance import Record
    from napari_physgen.synthesis.fidelity_results import Fidelity


class FidelitySection(Section):
    """The button, the plots and the page."""

    def __init__(self, panel: LabourFree) -> None:
        super().__init__("How real do they look?", bold=True)
        self.panel = panel
        self.report: Fidelity | None = None
        self.save_button = QPushButton("Save report...")
        self.save_button.setToolTip("<p>Save the comparison as a page for the browser.</p>")
        self.save_button.clicked.connect(lambda *_: panel.attempt(self.ask))
        self.save_button.setEnabled(False)
        self.words = panel.step(
            self.column,
            "",
            {
                "Compare": (
                    self.compare,
                    "Measure how well a classifier tells the look-alikes from your images, and "
                    "where they differ. Takes about a minute.",
                )
            },
            extra=(self.save_button,),
        )
        self.plots = FidelityPlots()
        self.column.addWidget(self.plots)

    def compare(self) -> None:
        """Compare the look-alikes of the project with the images."""
        panel = self.panel
        images, project = panel.start.micrographs(), panel.project
        if not project.has("look"):
            raise UserError("There are no look-alikes yet: press Simulate or Run all first.")
        settings = panel.settings()
        translated = settings.translation != "none" and project.has("translation")

        def done(report: Fidelity, record: Record | None) -> str:
            self.report = report
            self.save_button.setEnabled(True)
            sentences = re.split(r"(?<=\.) (?=[A-Z])", report.summary)
            self.words.setText(" ".join(sentences[:2]))
            self.words.setToolTip(f"<p>{report.summary}</p>")
            self.plots.draw(report)
            return ""

        folder = project.folder
        panel.launch(
            Task(
                lambda: fidelity_job(images, folder, translated),
                images.layers[0],
                settings,
                done,
                tunable=False,
            )
        )

    def ask(self) -> None:
        """Ask where to save the page."""
        start = str(output_folder() / "fidelity.html")
        name, _ = QFileDialog.getSaveFileName(self, "Save report", start, "Page (*.html)")
        if name:
            self.save(Path(name))

    def save(self, path: Path) -> None:
        """Write the page; raises UserError without a comparison."""
        report = self.report
        if report is None:
            raise UserError("There is nothing to save yet: press Compare first.")
        target = path if path.suffix else path.with_suffix(".html")
        self.panel.do("writing the report", lambda: report.save_page(target), f"Saved {target}")

    def lock(self, running: bool) -> None:
        """Leave the page open while nothing runs."""
        self.save_button.setEnabled(not running and self.report is not None)
