"""The quality report in the SIM panel: check before, report after, save."""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QGridLayout, QHBoxLayout, QLabel, QWidget

from napari_physgen.app.frames import find_frames, read_frames
from napari_physgen.app.job_panel import Task
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.result_bar import file_stem
from napari_physgen.app.section import Section
from napari_physgen.app.sim_series import SeriesAxes
from napari_physgen.app.words import Words
from napari_physgen.backend.job import Stop
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

    from napari_physgen.app.widgets.sim import ReconstructSim
    from napari_physgen.backend import Command, Job
    from napari_physgen.provenance import Record
    from napari_physgen.sim._report_check import Check
    from napari_physgen.sim._report_results import QualityReport
    from napari_physgen.sim.results import Reconstruction
    from napari_physgen.sim.series import Series
    from napari_physgen.sim.settings import SimSettings

# Readable on napari's dark and light theme; the words say the same.
COLOURS = {"good": "#4caf50", "fair": "#e08e0b", "poor": "#ef5350", "unknown": "#8a97a3"}
OWN = ("residual",)
"""Maps that are layers of the result already."""

KINDS = "Page (*.html);;Picture (*.png);;Data (*.json)"


@dataclass(frozen=True)
class Judged:
    """A reconstruction and all that is needed to judge it.

    Parameters
    ----------
    layer : napari.layers.Layer
    point : tuple of float
        Position of the sliders when it was made.
    order : str
        Frame order of the settings then.
    settings : SimSettings
    result : Reconstruction or None
        Perhaps a series.
    """

    layer: Layer
    point: tuple[float, ...]
    order: str
    settings: SimSettings
    result: Reconstruction | None = None

    @classmethod
    def of(cls, panel: ReconstructSim, layer: Layer, settings: SimSettings) -> Judged:
        """Note what is about to be reconstructed."""
        point = tuple(panel.viewer.dims.point)
        return cls(layer, point, panel.form.values()["order"], settings)

    def with_result(self, result: Reconstruction) -> Judged:
        """Return it with what came out."""
        return replace(self, result=result)

    def stack(self, point: Sequence[float]) -> tuple[Any, SimSettings, Reconstruction]:
        """Return raw frames, settings and image of the stack; of a series, of that at `point`.

        Raises
        ------
        UserError
            If the sliders are at a stack that was not reconstructed.
        """
        from napari_physgen.sim.series import Series

        result, settings = self.result, self.settings
        assert result is not None
        series = isinstance(result, Series)
        where = point if series else self.point
        layout = find_frames(self.layer, settings.angles, settings.phases, self.order, where)
        if isinstance(result, Series):
            axes = SeriesAxes.of(self.layer, layout)
            place = [int(layout.index[axis]) for axis in axes.axes]  # type: ignore[arg-type]
            place += [layout.shown] * (len(axes.shape) - len(place))
            result = one_of(result, int(np.ravel_multi_index(place, axes.shape)))
        settings = settings.model_copy(update={"order": layout.order})
        return read_frames(self.layer, layout), settings, result


def one_of(series: Series, number: int) -> Reconstruction:
    """Return one stack of a series as a reconstruction; raises UserError if it is not there."""
    from napari_physgen.sim.results import Reconstruction

    if number >= len(series.points):
        raise UserError("This stack was not reconstructed: move the slider to one that was.")
    point = series.points[number]
    images: dict[str, Any] = {}
    for name in ("image", "std", "widefield", "wiener", "residual"):
        data = getattr(series, name)
        images[name] = None if data is None else data.reshape(-1, *data.shape[-2:])[number]
    return Reconstruction(**images, chi2=point.chi2, patterns=point.patterns, stage=point.stage)


class ReportSection(Section):
    """The list of checks and the buttons below it."""

    def __init__(self, panel: ReconstructSim) -> None:
        super().__init__("Quality report")
        self.panel = panel
        self.report: QualityReport | None = None
        self._name = "SIM"
        self.report_button = panel.starter(
            "Report",
            panel.report,
            "Check the frames and the image: what supports it and what speaks against it.",
        )
        self.save_button = panel.starter(
            "Save report...",
            self._ask_save,
            "Save the report with its pictures as a page (HTML), a picture or data (JSON).",
        )
        self.words = Words("Check looks at the raw frames, Report at the image too.")
        self.list = QWidget()
        self.grid = QGridLayout(self.list)
        self.grid.setContentsMargins(0, 0, 0, 0)
        self.grid.setHorizontalSpacing(8)
        self.grid.setVerticalSpacing(3)
        self.grid.setColumnStretch(1, 1)
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.report_button)
        line.addWidget(self.save_button)
        self.column.addWidget(self.words)
        self.column.addWidget(self.list)
        self.column.addLayout(line)

    def check(
        self,
        layer: Layer,
        frames: Any,
        settings: SimSettings,
        patterns: Any,
        result: Reconstruction | None = None,
    ) -> None:
        """Check a stack, and its reconstruction if there is one."""

        def job() -> Job[QualityReport | None]:
            from napari_physgen.sim.report import check

            return _unseen(check(frames, settings, patterns, result))

        def done(report: QualityReport, record: Record | None) -> str:
            self.show_report(report, layer.name)
            maps = [output for output in report.outputs() if output.name not in OWN]
            self.panel.show_results(task, maps, None, renewed={output.name for output in maps})
            self.panel.viewer.layers.selection.active = layer
            return ""

        task = Task(job, layer, settings, done, tunable=False)
        self.panel.launch(task)

    def judge(self, judged: Judged) -> None:
        """Check a reconstruction with its frames."""
        frames, settings, result = judged.stack(self.panel.viewer.dims.point)
        self.check(judged.layer, frames, settings, None, result)

    def show_report(self, report: QualityReport, name: str) -> None:
        """List the checks, the doubtful ones first."""
        self.report, self._name = report, name
        self.words.setText(report.summary)
        while item := self.grid.takeAt(0):
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        rank = ("poor", "fair", "unknown", "good")
        for row, check in enumerate(sorted(report.checks, key=lambda c: rank.index(c.verdict))):
            verdict, words = _lines(check)
            self.grid.addWidget(verdict, row, 0, Qt.AlignmentFlag.AlignTop)
            self.grid.addWidget(words, row, 1)
        self.expand()

    def save(self, path: Path) -> Path:
        """Save the report as .html, .png or .json."""
        return self.needed().write(path)

    def needed(self) -> QualityReport:
        """Return the report; raises UserError if there is none."""
        if self.report is None:
            raise UserError("There is no report yet: press Check or Report first.")
        return self.report

    def _ask_save(self) -> None:
        self.needed()
        start = output_folder() / f"{file_stem(self._name)} report.html"
        name, kind = QFileDialog.getSaveFileName(self, "Save report", str(start), KINDS)
        if name:
            path = Path(name)
            ending = kind[kind.index("*") + 1 : -1]
            path = self.save(path if path.suffix else path.with_suffix(ending))
            self.panel.message.setText(f"saved {path}")


def _unseen(job: Job[QualityReport]) -> Job[QualityReport | None]:
    """Run a job without its pictures, which are images of half of the light; None at `Stop`."""
    command: Command | None = None
    try:
        while not isinstance(command, Stop):
            command = yield replace(job.send(None), preview=None)
    except StopIteration as end:
        report: QualityReport = end.value
        return report
    finally:
        job.close()
    return None


def _lines(check: Check) -> tuple[QLabel, Words]:
    """Return the verdict and what was found; advice only where it is needed."""
    verdict = QLabel(f"<b style='color:{COLOURS[check.verdict]}'>{check.verdict}</b>")
    text = f"<b>{html.escape(check.name)}</b>"
    if check.verdict in ("fair", "poor"):
        text += f"<br>{html.escape(check.words)}"
        if check.advice:
            text += f"<br><i>{html.escape(check.advice)}</i>"
    words = Words(text)
    tip = " ".join(part for part in (check.words, check.advice) if part)
    limits = f"<p>{html.escape(check.limits)}</p>" if check.limits else ""
    for part in (verdict, words):
        part.setToolTip(f"<p>{html.escape(tip)}</p>{limits}")
    return verdict, words
