"""Step 4: apply the model to layers or to a folder."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QCheckBox, QFileDialog, QVBoxLayout, QWidget

from napari_physgen.app.apply_folder import FolderReport, apply_to_folder
from napari_physgen.app.apply_job import Labelled, Subject, apply_all
from napari_physgen.app.blank import blank
from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.fidelity_plots import SizeHistogram
from napari_physgen.app.form import SettingsForm
from napari_physgen.app.job_panel import Task, breathe
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.result_bar import Kept
from napari_physgen.app.results import add_results, warm_up
from napari_physgen.app.section import Section
from napari_physgen.app.step_row import StepRow
from napari_physgen.errors import UserError
from napari_physgen.segmentation.settings import PredictSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer

    from napari_physgen.app.widgets.labour_free import LabourFree
    from napari_physgen.backend import Job
    from napari_physgen.provenance import Record
    from napari_physgen.segmentation import SegmentationModel

    Apply = Callable[[SegmentationModel], Job[list[Labelled]]]

ALL = "all images ticked above"
COMPUTING = ("device", "precision")


class ApplySection(QWidget):
    """What to label, how, and the buttons."""

    def __init__(self, panel: LabourFree) -> None:
        super().__init__()
        self.panel = panel
        self.images = LayerChooser(panel.viewer, panel.accepts, none=ALL)
        self.images.setToolTip(
            "<p>What to label: one layer, or all images. Time-lapses and z-stacks are labelled "
            "plane by plane.</p>"
        )
        self.row = StepRow(
            "4  Apply",
            "Label images with the model: those it was made for, or others of the same kind.",
            [
                panel.starter("Apply", self.apply, "Label the layers chosen below."),
                panel.starter(
                    "Folder...",
                    self.ask,
                    "Label all pictures of a folder, into files NAME_labels.ome.tif beside them.",
                ),
            ],
        )
        self.form = SettingsForm(PredictSettings, hidden=(*COMPUTING, "model"))
        self.sure = QCheckBox("Show how sure it is")
        self.sure.setToolTip(
            "<p>Also make layers of the uncertainty and of the probability of each class; they "
            "are hidden at first.</p>"
        )
        self.options = Section("How to apply it")
        self.options.column.addWidget(self.form)
        self.options.column.addWidget(self.sure)
        self.histogram = SizeHistogram()
        self._sums: dict[int, int] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.row, self.images, self.options):
            layout.addWidget(part)

    def settings(self, path: Path | None = None) -> PredictSettings:
        """Return how to apply the model in a file, for the record; raises UserError."""
        values = self.form.values()
        values |= {name: self.panel.form.values()[name] for name in COMPUTING}
        path = path or self.panel.current.path
        settings: PredictSettings = PredictSettings.parse(values | {"model": str(path or "")})
        return settings

    def subjects(self) -> list[Subject]:
        """Return what is chosen; raises UserError for nothing."""
        layer = self.images.layer
        layers = self.panel.list.layers if layer is None else [layer]
        if not layers:
            raise UserError("There is no image to label: open one and tick it in the list above.")
        return [Subject.of(layer) for layer in layers]

    def job(self, subjects: Sequence[Subject], path: Path | None = None) -> Apply:
        """Return how a model is applied; parsed now, run in the worker."""
        settings, sure = self.settings(path), self.sure.isChecked()

        def start(model: SegmentationModel) -> Job[list[Labelled]]:
            return apply_all(model, subjects, settings, sure)

        return start

    def apply(self) -> None:
        """Label the chosen layers."""
        subjects, model = self.subjects(), self.panel.current
        start = self.job(subjects)

        def job() -> Job[list[Labelled]]:
            warm_up()
            return start(model.get())

        def done(found: list[Labelled], record: Record | None) -> str:
            return self.present(found)

        source = subjects[0].layer
        assert source is not None
        self.panel.launch(Task(job, source, self.settings(), done, tunable=False))

    def present(self, found: Sequence[Labelled]) -> str:
        """Make layers of what was found; returns a summary."""
        if not found:
            self.row.tell("open", "Stopped before the first image was labelled.")
            return ""
        for item in found:
            self._add(item)
        self.histogram.draw(found[-1].sizes, found[-1].unit)
        last = found[-1]
        size = last.subject.pixel_size_nm
        self.panel.results.keep(Kept(last.subject.name, last.outputs, size, last.record))
        many = f"{len(found)} layers labelled. " if len(found) > 1 else ""
        summary = many + " ".join(item.summary for item in found)
        self.row.tell("done", summary)
        return summary

    def _add(self, item: Labelled) -> None:
        """Show what was found in one layer in place of what was found there before."""
        source = item.subject.layer
        assert source is not None
        viewer = self.panel.viewer
        names = [output.name for output in item.outputs]
        for layer in viewer.layers:
            if layer.name == f"{source.name} {names[0]}" and self._painted(layer):
                layer.name += " (corrected)"  # the user's work stays
        add_results(
            viewer,
            item.outputs,
            source,
            record=item.record.to_dict(),
            renewed=names,
            breathe=breathe,
        )
        for output in item.outputs:
            layer = viewer.layers[f"{source.name} {output.name}"]
            if "features" in output.display:
                layer.features = output.display["features"]
            if output.kind == "labels":
                self._sums[id(layer)] = _sum(layer)
        viewer.layers.selection.active = viewer.layers[f"{source.name} {names[0]}"]

    def _painted(self, layer: Layer) -> bool:
        """Whether somebody has changed labels that were made here."""
        return id(layer) in self._sums and self._sums[id(layer)] != _sum(layer)

    def ask(self) -> None:
        """Ask for a folder and label its pictures."""
        folder = QFileDialog.getExistingDirectory(self, "Label a folder", str(output_folder()))
        if folder:
            self.apply_to(Path(folder))

    def apply_to(self, folder: Path) -> None:
        """Label the pictures of a folder."""
        settings, model = self.settings(), self.panel.current

        def done(report: FolderReport, record: Record | None) -> str:
            self.row.tell("done" if report.done else "open", report.summary)
            return report.summary

        self.panel.launch(
            Task(
                lambda: apply_to_folder(model.get, folder, settings),
                blank(folder.name, 1.0),
                settings,
                done,
                tunable=False,
            )
        )

    def lock(self, running: bool) -> None:
        """Leave the choice open while nothing runs."""
        for part in (self.images, self.form, self.sure):
            part.setEnabled(not running)


def _sum(layer: Layer) -> int:
    return zlib.crc32(np.ascontiguousarray(layer.data).data)
