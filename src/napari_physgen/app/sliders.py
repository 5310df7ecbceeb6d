"""A number with a slider: move and look; type where it must be exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QSizePolicy, QSlider

from napari_physgen.app.boxes import scroll_past
from napari_physgen.app.editors import Editor, NumberEditor

if TYPE_CHECKING:
    from qtpy.QtGui import QWheelEvent

STEPS = 200


@dataclass(frozen=True)
class Span:
    """What a slider spans.

    Parameters
    ----------
    low, high : float
        Values at its ends; the box beside it may go beyond.
    log : bool
        Whether equal ways are equal ratios.
    """

    low: float
    high: float
    log: bool = False

    def value(self, step: int) -> float:
        """Return the number at a step, with no more digits than the step tells apart."""
        share = step / STEPS
        if self.log:
            exact = self.low * (self.high / self.low) ** share
        else:
            exact = self.low + (self.high - self.low) * share
        return float(f"{exact:.2g}") if self.log else round(exact, self._decimals)

    def step(self, value: float) -> int:
        """Return the step next to a number."""
        inside = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return round(share * STEPS)

    @property
    def _decimals(self) -> int:
        return max(0, math.ceil(-math.log10((self.high - self.low) / STEPS)))


class SlidingEditor(Editor):
    """A number editor with a slider in front of its box.

    Parameters
    ----------
    editor : NumberEditor
        The box, which has the last word.
    span : Span
    """

    def __init__(self, editor: NumberEditor, span: Span) -> None:
        self.editor, self.span = editor, span
        self.box = editor.box
        self.slider = CalmSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.slider.setMinimumWidth(60)
        self._sliding = False
        super().__init__(self.slider, editor)
        self.slider.valueChanged.connect(self._slid)
        editor.edited.connect(self._typed)

    def get(self) -> Any:
        """Return the number."""
        return self.editor.get()

    def put(self, value: Any) -> None:
        """Show a number."""
        self.editor.put(value)
        self._follow()

    def _slid(self, step: int) -> None:
        number = type(self.box.value())(self.span.value(step))
        # The rounded number may belong to a neighbouring step: the hand on the slider wins.
        self._sliding = True
        try:
            self.editor.put(number)
        finally:
            self._sliding = False

    def _typed(self) -> None:
        if not self._sliding:
            self._follow()
        self.edited.emit()

    def _follow(self) -> None:
        with QSignalBlocker(self.slider):
            self.slider.setValue(self.span.step(self.box.value()))


class CalmSlider(QSlider):
    """A slider that scrolling past does not move."""

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Change the value only when the slider was clicked before."""
        scroll_past(self, event, super().wheelEvent)
