"""Save, load and hand on the model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_physgen.app.blank import blank
from napari_physgen.app.job_panel import Task
from napari_physgen.app.labour_free_jobs import once
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.words import Words

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_physgen.app.widgets.labour_free import LabourFree
    from napari_physgen.provenance import Record
    from napari_physgen.segmentation import SegmentationModel

MODEL = "Model (*.safetensors)"
PACKAGE = "BioImage.IO package (*.zip)"


class ModelBar(QWidget):
    """Three buttons and which model is in use."""

    def __init__(self, panel: LabourFree) -> None:
        super().__init__()
        self.panel = panel
        self.save_button = panel.starter(
            "Save...", lambda: self._ask_file("Save model", MODEL, self.save), "Save the model."
        )
        self.load_button = panel.starter(
            "Load...", self._ask_load, "Use a model that was saved before; then only apply it."
        )
        self.export_button = panel.starter(
            "Export...",
            lambda: self._ask_file("Export model", PACKAGE, self.export),
            "Write a BioImage.IO package, which Fiji, ilastik and others can run.",
        )
        title = QLabel("<b>Model</b>")
        title.setToolTip("<p>The trained network with all that is needed to use it again.</p>")
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(title, 1)
        for button in (self.save_button, self.load_button, self.export_button):
            line.addWidget(button)
        self.words = Words()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(line)
        layout.addWidget(self.words)

    def save(self, path: Path) -> None:
        """Save the model."""
        model = self.panel.current
        target = path if path.suffix == ".safetensors" else Path(f"{path}.safetensors")
        self.panel.do("saving the model", lambda: model.get().save(target), f"Saved {target}")

    def load(self, path: Path) -> None:
        """Use the model in a file."""
        from_file = _loader(path)

        def done(model: SegmentationModel, record: Record | None) -> str:
            self.panel.use(model, path)
            return f"The model finds {', '.join(model.classes[1:])}. {model.summary}"

        self.panel.begin(
            Task(
                lambda: once("reading the model", from_file),
                blank(path.stem, 1.0),
                self.panel.settings(),
                done,
                tunable=False,
            ),
            "load",
        )

    def export(self, path: Path) -> None:
        """Write a BioImage.IO package."""
        model = self.panel.current
        target = path if path.suffix == ".zip" else Path(f"{path}.zip")
        name = self.panel.project.folder.name
        self.panel.do(
            "writing the package", lambda: package(model.get(), target, name), f"Saved {target}"
        )

    def _ask_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load model", str(output_folder()), MODEL)
        if name:
            self.load(Path(name))

    def _ask_file(self, title: str, kind: str, action: Callable[[Path], None]) -> None:
        start = str(output_folder() / self.panel.project.folder.name)
        name, _ = QFileDialog.getSaveFileName(self, title, start, kind)
        if name:
            action(Path(name))

    def lock(self, running: bool) -> None:
        """Close what needs a model while there is none."""
        current, project = self.panel.current, self.panel.project
        for button in (self.save_button, self.export_button):
            button.setEnabled(not running and current.there)
        path = current.path
        elsewhere = path is not None and path.parent != project.folder
        self.words.setText(f"In use: {path.parent.name}/{path.name}" if path and elsewhere else "")


def package(model: SegmentationModel, path: Path, name: str) -> Path:
    """Write a model as a BioImage.IO package."""
    from napari_physgen.segmentation.bioimageio import export_bioimageio

    plain = re.sub(r"[^A-Za-z0-9_+\-() ]+", " ", f"Labels of {name}").strip()
    return export_bioimageio(
        model.net,
        path,
        name=plain[:128],
        description=f"Labels {' and '.join(model.classes[1:])} on micrographs; trained without "
        "labels made by hand.",
        classes=model.classes,
        pixel_size_nm=model.pixel_size_nm,
        documentation=model.summary,
        record=model.header(),
    )


def _loader(path: Path) -> Callable[[], SegmentationModel]:
    def load_it() -> SegmentationModel:
        from napari_physgen.segmentation import load

        return load(path)

    return load_it
