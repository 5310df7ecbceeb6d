"""The line that says where the steps are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from napari_physgen.app.labour_free_project import (
    Project,
    default_folder,
    last_folder,
    remember_folder,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from qtpy.QtGui import QResizeEvent

    from napari_physgen.app.labour_free_images import Micrographs


class ProjectLine(QWidget):
    """Shows the project and asks for another one.

    A project follows the images: whoever ticks images of another name gets another folder, unless
    the folder was chosen by hand.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        last = last_folder()
        self.project = Project(last or default_folder("images"))
        self._chosen = False
        title = QLabel("<b>Kept in</b>")
        self.label = QLabel()
        self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.button = QPushButton("Change...")
        self.button.setToolTip(
            "<p>Keep the steps in another folder, or go on with those in it.</p>"
        )
        self.button.clicked.connect(lambda *_: self._ask())
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        line.addWidget(title)
        line.addWidget(self.label, 1)
        line.addWidget(self.button)
        self._show()

    def follow(self, images: Sequence[Sequence[Any]]) -> None:
        """Go to the project of other images; without any, stay."""
        if not images or self._chosen:
            return
        own = {name for name, _ in self.project.images}
        if own & {name for name, _ in images}:
            return
        self._open(default_folder(str(images[0][0])))

    def choose(self, folder: Path) -> None:
        """Go to a folder and stay there."""
        self._chosen = True
        self._open(folder)

    def begin(self, images: Micrographs) -> None:
        """Keep in mind that this project is worked on, with these images."""
        self.project.begin(images.described, images.files)
        remember_folder(self.project.folder)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Show as much of the path as fits."""
        super().resizeEvent(event)
        self._show()

    def _open(self, folder: Path) -> None:
        if folder != self.project.folder:
            self.project = Project(folder)
            self._show()
            self.changed.emit()

    def _ask(self) -> None:
        start = self.project.folder
        while not start.is_dir():
            start = start.parent
        folder = QFileDialog.getExistingDirectory(self, "Where to keep the steps", str(start))
        if folder:
            self.choose(Path(folder))

    def _show(self) -> None:
        path = str(self.project.folder)
        width = max(self.label.width() - 8, 60)  # the theme pads labels
        mode = Qt.TextElideMode.ElideLeft
        self.label.setText(self.label.fontMetrics().elidedText(path, mode, width))
        self.label.setToolTip(
            f"<p>{path}: finished steps are kept here, so that you can close napari and go on "
            "later.</p>"
        )
