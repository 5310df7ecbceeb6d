"""Lines of words in a panel."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel


class Words(QLabel):
    """A wrapped line that can be copied and takes no room while it is empty."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setText(text)

    def setText(self, text: str | None) -> None:
        """Show `text`, or nothing at all."""
        super().setText(text)
        self.setVisible(bool(text))


def duration(seconds: float) -> str:
    """Return "12 s" or "3 min 20 s"."""
    if seconds < 60:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
