"""One step of a workflow: its name, its button, its state and what came out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_physgen.app.words import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

State = Literal["open", "running", "done", "stopped", "old", "left out"]
MARKS: dict[State, tuple[str, str]] = {
    "open": ("○", "not done yet"),
    "running": ("▶", "running"),
    "done": ("✓", "done"),
    "stopped": ("✓", "stopped early and kept"),
    "old": ("↻", "done with other settings or images"),
    "left out": ("–", "not needed"),
}
LONGEST = 110  # characters below a step


class StepRow(QWidget):
    """A line with a mark and buttons, and a sentence below it.

    Parameters
    ----------
    title : str
    tip : str
    buttons : sequence of QPushButton
    """

    def __init__(self, title: str, tip: str, buttons: Sequence[QPushButton]) -> None:
        super().__init__()
        self.state: State = "open"
        self.mark, name = QLabel(), QLabel(f"<b>{title}</b>")
        self.mark.setFixedWidth(self.mark.fontMetrics().horizontalAdvance("▶") + 8)
        name.setToolTip(f"<p>{tip}</p>")
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.mark)
        line.addWidget(name, 1)
        for button in buttons:
            line.addWidget(button)
        self.words = Words()
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(2)
        self.column.addLayout(line)
        self.column.addWidget(self.words)
        self.tell("open")

    def tell(self, state: State, words: str = "") -> None:
        """Show the state and what came out."""
        self.state = state
        mark, meaning = MARKS[state]
        self.mark.setText(mark)
        self.mark.setToolTip(f"<p>{meaning}</p>")
        begins = {
            "old": "with other settings or images: ",
            "stopped": "stopped early: ",
            "left out": meaning,
        }
        self.words.setText(begins.get(state, "") + shortened(words))
        self.words.setToolTip(f"<p>{words}</p>" if words else "")


def shortened(words: str) -> str:
    """Return as much as fits below a step, whole sentences if possible."""
    words = " ".join(words.split())
    if len(words) <= LONGEST:
        return words
    ends = [match.end() for match in re.finditer(r"[.!?;](?= )", words[:LONGEST])]
    if ends and ends[-1] > LONGEST / 2:
        return f"{words[: ends[-1]]} ..."
    return f"{words[:LONGEST].rpartition(' ')[0]} ..."
