"""Score labels against a truth drawn by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
)

from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.inputs import pixel_size_nm
from napari_physgen.app.job_panel import Task
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.results import KEY
from napari_physgen.app.section import Section
from napari_physgen.backend.job import Progress
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

    from napari_physgen.app.widgets.labour_free import LabourFree
    from napari_physgen.backend import Job
    from napari_physgen.provenance import Record
    from napari_physgen.segmentation.scores import Evaluation, Row


class ScoreSection(Section):
    """Choosers of labels and truth, and the table."""

    def __init__(self, panel: LabourFree) -> None:
        super().__init__("Score against a truth", bold=True)
        self.panel = panel
        self.score: Evaluation | None = None
        self.found = LayerChooser(panel.viewer, is_result)
        self.truth = LayerChooser(panel.viewer, is_drawn)
        self.found.setToolTip("<p>The labels that the model made.</p>")
        self.truth.setToolTip(
            "<p>A label layer of the same picture: 0 the matrix, 1 the particles (2 the fine "
            "ones). It only scores; nothing is learned from it.</p>"
        )
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        for row, (title, chooser) in enumerate((("Labels", self.found), ("Truth", self.truth))):
            grid.addWidget(QLabel(title), row, 0)
            grid.addWidget(chooser, row, 1)
        self.column.addLayout(grid)
        self.save_button = QPushButton("Save JSON...")
        self.save_button.setToolTip("<p>Save all scores as a file that programs can read.</p>")
        self.save_button.clicked.connect(lambda *_: panel.attempt(self.ask))
        self.save_button.setEnabled(False)
        self.words = panel.step(
            self.column,
            "",
            {"Score": (self.run, "Compare the labels with the truth.")},
            extra=(self.save_button,),
        )
        self.table = ScoreTable()
        self.column.addWidget(self.table)

    def run(self) -> None:
        """Score the chosen labels."""
        found, truth = self.found.layer, self.truth.layer
        if found is None:
            raise UserError("There are no labels to score: press Apply first.")
        if truth is None:
            raise UserError("There is no truth: open a mask, or draw one in a new label layer.")
        arrays, size = (found.data, truth.data), pixel_size_nm(found)

        def job() -> Job[Evaluation]:
            return scored(*arrays, size)

        def done(score: Evaluation, record: Record | None) -> str:
            self.score = score
            self.words.setText(" ".join([score.summary, *score.notes]))
            self.table.fill(score.rows())
            return ""

        self.panel.launch(Task(job, found, self.panel.settings(), done, tunable=False))

    def ask(self) -> None:
        """Ask where to save the scores."""
        start = str(output_folder() / "scores.json")
        name, _ = QFileDialog.getSaveFileName(self, "Save scores", start, "JSON (*.json)")
        if name:
            self.save(Path(name))

    def save(self, path: Path) -> None:
        """Write the scores; raises UserError without any or where they cannot be written."""
        if self.score is None:
            raise UserError("There are no scores yet: press Score first.")
        path = path if path.suffix else path.with_suffix(".json")
        self.score.save(path)
        self.panel.message.setText(f"saved {path}")

    def lock(self, running: bool) -> None:
        """Leave the choice open while nothing runs."""
        for part in (self.found, self.truth):
            part.setEnabled(not running)
        self.save_button.setEnabled(not running and self.score is not None)


class ScoreTable(QTableWidget):
    """Scores with their values; what they say is in the tooltips."""

    def __init__(self) -> None:
        super().__init__(0, 2)
        self.setHorizontalHeaderLabels(["score", "value"])
        header, side = self.horizontalHeader(), self.verticalHeader()
        assert header is not None
        assert side is not None
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        side.hide()
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.hide()

    def fill(self, rows: Sequence[Row]) -> None:
        """Show the scores that have a value."""
        shown = [row for row in rows if not math.isnan(row.value)]
        self.setRowCount(len(shown))
        for number, row in enumerate(shown):
            cells = row.name, f"{row.value:.4g} {row.unit}".strip()
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                item.setToolTip(f"<p>{row.explanation}</p>")
                if column:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.setItem(number, column, item)
        lines = sum(self.rowHeight(line) for line in range(self.rowCount()))
        header = self.horizontalHeader()
        assert header is not None
        self.setFixedHeight(lines + header.sizeHint().height() + 4)
        self.show()


def scored(labels: Any, truth: Any, size: float | None) -> Job[Evaluation]:
    """Score labels (a job)."""
    from napari_physgen.segmentation import evaluate

    yield Progress(0, 1, "scoring")
    return evaluate(np.asarray(labels), np.asarray(truth), pixel_size_nm=size)


def is_result(layer: Layer) -> bool:
    """Whether a layer holds labels that were made here."""
    from napari.layers import Labels

    return isinstance(layer, Labels) and KEY in layer.metadata


def is_drawn(layer: Layer) -> bool:
    """Whether a layer holds labels from elsewhere."""
    from napari.layers import Labels

    return isinstance(layer, Labels) and KEY not in layer.metadata
