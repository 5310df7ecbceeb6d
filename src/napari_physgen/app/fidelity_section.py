"""How real do the look-alikes look: plots, a sentence and a page to save."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_physgen.app.fidelity_plots import FidelityPlots
from napari_physgen.app.job_panel import Task
from napari_physgen.app.labour_free_jobs import fidelity_job
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.section import Section
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer

    from napari_physgen.backend import Job
    from napari_physgen.provenance import Record
    from napari_physgen.synthesis.fidelity_results import Fidelity


class FidelitySection(Section):
    """The button, the plots and the page."""

    about: ClassVar[str] = (
        "Measure how well a classifier tells the look-alikes from your images, and where they "
        "differ. Takes about a minute."
    )

    def __init__(self, panel: Any) -> None:
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
            {"Compare": (self.compare, self.about)},
            extra=(self.save_button,),
        )
        self.plots = FidelityPlots()
        self.column.addWidget(self.plots)

    def comparison(self) -> tuple[Callable[[], Job[Fidelity]], Layer]:
        """Return the job that compares and a layer of the images; raises UserError."""
        panel = self.panel
        images, project = panel.start.micrographs(), panel.project
        if not project.has("look"):
            raise UserError("There are no look-alikes yet: press Simulate or Run all first.")
        settings = panel.settings()
        translated = settings.translation != "none" and project.has("translation")
        folder = project.folder
        return lambda: fidelity_job(images, folder, translated), images.layers[0]

    def compare(self) -> None:
        """Compare the look-alikes of the project with the images."""
        job, source = self.comparison()

        def done(report: Fidelity, record: Record | None) -> str:
            self.report = report
            self.save_button.setEnabled(True)
            sentences = re.split(r"(?<=\.) (?=[A-Z])", report.summary)
            self.words.setText(" ".join(sentences[:2]))
            self.words.setToolTip(f"<p>{report.summary}</p>")
            self.plots.draw(report)
            return ""

        self.panel.launch(Task(job, source, self.panel.settings(), done, tunable=False))

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
