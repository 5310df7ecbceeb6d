"""What I have: the micrographs, ticked or opened from a folder, and where the steps are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_physgen.app.blank import blank
from napari_physgen.app.image_list import ImageList
from napari_physgen.app.job_panel import Task
from napari_physgen.app.labour_free_images import Micrographs, whole
from napari_physgen.app.picture_folder import (
    Again,
    Opened,
    add_again,
    add_folder,
    read_again,
    read_folder,
)
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.project_line import ProjectLine
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from napari_physgen.app.widgets.labour_free import LabourFree
    from napari_physgen.provenance import Record

NONE_YET = (
    "Open micrographs of one material: layers, a stack of pictures or a folder. Or try File > Open "
    "Sample > napari-physgen."
)


class MicrographSection(QWidget):
    """The list of images, the folder to open and the project."""

    def __init__(self, panel: LabourFree) -> None:
        super().__init__()
        self.panel = panel
        self._images: Micrographs | None = None
        self.list = ImageList(panel.viewer, panel.accepts)
        self.list.setToolTip(
            "<p>Tick the micrographs to learn from; the planes of a stack count as images. Five or "
            "more of one material and magnification are best.</p>"
        )
        folder = panel.starter(
            "Open a folder...",
            self._ask_folder,
            "Open all pictures of a folder; those of the same size become one stack.",
        )
        line = QHBoxLayout()
        line.addWidget(QLabel("<b>Images without labels</b>"), 1)
        line.addWidget(folder)
        self.line = ProjectLine()
        self.again_button = panel.starter(
            "Open its images again", self.reopen, "Open the images that its steps were made from."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(line)
        for part in (self.list, self.line, self.again_button):
            layout.addWidget(part)

    def micrographs(self) -> Micrographs:
        """Return the ticked images; raises UserError."""
        images = Micrographs(self.list.layers)
        if self._images is None or self._images.key != images.key:
            self._images = images
        return self._images

    def described(self) -> list[list[Any]]:
        """Return names and shapes of the ticked layers."""
        layers = self.list.layers
        return sorted([layer.name, [int(n) for n in whole(layer).shape]] for layer in layers)

    def words(self) -> str:
        """Say what the images are and what was done to them."""
        if not self.list.layers:
            return NONE_YET
        try:
            images = self.micrographs()
        except UserError as error:
            return str(error)
        count = len(images.pictures)
        sizes = {f"{size:.4g} nm" for size in images.sizes if size}
        of = f" with pixels of {', '.join(sorted(sizes))}" if sizes else ", pixel size unknown"
        notes = "".join(f"<br>{note}" for note in images.notes)
        return f"{count} {'image' if count == 1 else 'images'}{of}.{notes}"

    def open_folder(self, folder: Path) -> None:
        """Open the pictures of a folder as layers."""

        def done(opened: Opened, record: Record | None) -> str:
            layers = add_folder(self.panel.viewer, folder, opened)
            self.list.tick(*layers)
            return " ".join(f"Left out: {words}" for words in opened.failed)

        source, settings = blank(folder.name, 1.0), self.panel.settings()
        task = Task(lambda: read_folder(folder), source, settings, done, tunable=False)
        self.panel.begin(task, "open")

    def reopen(self) -> None:
        """Open the images of the project again."""
        files = self.line.project.files

        def done(found: list[Again], record: Record | None) -> str:
            self.list.tick(*add_again(self.panel.viewer, found))
            return ""

        source, settings = blank("images", 1.0), self.panel.settings()
        task = Task(lambda: read_again(files), source, settings, done, tunable=False)
        self.panel.begin(task, "open")

    def lock(self, running: bool) -> None:
        """Leave the choice open while nothing runs."""
        self.list.setEnabled(not running)
        self.line.button.setEnabled(not running)
        self.again_button.setVisible(not self.list.layers and bool(self.line.project.files))

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a folder", str(output_folder()))
        if folder:
            self.open_folder(Path(folder))
