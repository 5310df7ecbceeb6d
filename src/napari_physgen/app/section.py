"""A part of a panel that stays closed until somebody needs it."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget


class Section(QWidget):
    """A titled part that opens with a click; what belongs into it goes into `column`."""

    # Not superqt's QCollapsible: it fixes its height when it opens and clips what grows later.

    def __init__(self, title: str, bold: bool = False) -> None:
        super().__init__()
        self.head = QToolButton()
        self.head.setText(title)
        font = self.head.font()
        font.setBold(bold)
        self.head.setFont(font)
        self.head.setCheckable(True)
        self.head.setArrowType(Qt.ArrowType.RightArrow)
        self.head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.head.toggled.connect(self._open)
        self._inner = QWidget()
        self._inner.hide()
        self.column = QVBoxLayout(self._inner)
        self.column.setContentsMargins(0, 2, 0, 6)
        self.column.setSpacing(4)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.head)
        layout.addWidget(self._inner)

    def expand(self) -> None:
        """Open it."""
        self.head.setChecked(True)

    def _open(self, opened: bool) -> None:
        self._inner.setVisible(opened)
        arrow = Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow
        self.head.setArrowType(arrow)
