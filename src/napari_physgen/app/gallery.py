"""Pictures to choose from, each made by the model that it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPen
from qtpy.QtWidgets import QGridLayout, QSizePolicy, QToolButton, QWidget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtGui import QPaintEvent

THUMBNAILS = Path(__file__).parent / "thumbnails"
SIZE = 64  # shown pixels; the files have more, for screens with finer ones
WIDTH = 85
COLUMNS = 4


def thumbnail(name: str) -> Path:
    """Return the file of a preset's picture."""
    return THUMBNAILS / f"{name}.png"


class Gallery(QWidget):
    """Named thumbnails; a click chooses one.

    Parameters
    ----------
    looks : mapping
        Title and explanation of every picture by its name.
    """

    chosen = Signal(str)

    def __init__(self, looks: Mapping[str, tuple[str, str]]) -> None:
        super().__init__()
        self.buttons: dict[str, QToolButton] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        for index, (name, (title, tip)) in enumerate(looks.items()):
            button = self._button(name, title, tip)
            self.buttons[name] = button
            grid.addWidget(button, *divmod(index, COLUMNS))
        for column in range(COLUMNS):
            grid.setColumnStretch(column, 1)

    def mark(self, name: str | None) -> None:
        """Show one picture, or none, as the chosen one."""
        for own, button in self.buttons.items():
            button.setChecked(own == name)

    def _button(self, name: str, title: str, tip: str) -> QToolButton:
        button = Thumbnail()
        button.setText(title)
        button.setToolTip(f"<p>{tip}</p>")
        button.setIcon(QIcon(str(thumbnail(name))))
        button.setIconSize(QSize(SIZE, SIZE))
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        button.setCheckable(True)
        # All as wide as each other, and wide enough for the dock's title above them.
        button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        words = button.fontMetrics().horizontalAdvance(title)
        button.setMinimumWidth(max(words + 6, WIDTH))
        button.clicked.connect(lambda *_: self._choose(name))
        return button

    def _choose(self, name: str) -> None:
        self.mark(name)
        self.chosen.emit(name)


class Thumbnail(QToolButton):
    """A picture with its name; framed while it is the chosen one."""

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the button, and its frame: napari's themes show no checked tool buttons."""
        super().paintEvent(event)
        if self.isChecked():
            painter = QPainter(self)
            painter.setPen(QPen(QColor(_accent()), 2))
            painter.drawRoundedRect(self.rect().adjusted(1, 1, -1, -1), 3, 3)
            painter.end()


def _accent() -> str:
    """Return the colour that the viewer's theme marks things with."""
    from napari.settings import get_settings
    from napari.utils.theme import get_theme

    return str(get_theme(get_settings().appearance.theme).current.as_hex())
