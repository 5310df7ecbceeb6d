"""Boxes that keep every digit and that scrolling past does not change."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QDoubleSpinBox, QSpinBox, QWidget

if TYPE_CHECKING:
    from qtpy.QtGui import QWheelEvent


class ExactSpinBox(QDoubleSpinBox):
    """A spin box that keeps every digit: 1e-3 and 86.67 stay what they are."""

    def __init__(self) -> None:
        super().__init__()
        # Qt rounds the *value* to `decimals`; the text is ours.
        self.setDecimals(25)
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:
        """Return the shortest text for a number."""
        return f"{value:.10g}"

    def valueFromText(self, text: str | None) -> float:
        """Read a number, also 3e-4 and 86,67."""
        number = (text or "").removesuffix(self.suffix()).strip().replace(",", ".")
        try:
            return float(number)
        except ValueError:
            return self.value()

    def validate(self, text: str | None, position: int) -> Any:
        """Accept numbers in any notation while they are typed."""
        number = (text or "").removesuffix(self.suffix()).strip().replace(",", ".")
        try:
            state = QValidator.State.Acceptable if math.isfinite(float(number)) else None
        except ValueError:
            typing = set(number.lower()) <= set("0123456789.-+e")
            state = QValidator.State.Intermediate if typing else None
        return state or QValidator.State.Invalid, text, position

    def stepBy(self, steps: int) -> None:
        """Step by a tenth of the leading digit, so that 0.001 goes to 0.0011."""
        value = abs(self.value())
        step = 10.0 ** (math.floor(math.log10(value)) - 1) if value else 0.1
        self.setValue(float(f"{self.value() + steps * step:.10g}"))

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Change the value only when the box was clicked before."""
        scroll_past(self, event, super().wheelEvent)


class CalmSpinBox(QSpinBox):
    """A spin box for whole numbers."""

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Change the value only when the box was clicked before."""
        scroll_past(self, event, super().wheelEvent)


class CalmComboBox(QComboBox):
    """A combo box."""

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Change the value only when the box was clicked before."""
        scroll_past(self, event, super().wheelEvent)


def scroll_past(widget: QWidget, event: QWheelEvent | None, use: Any) -> None:
    """Let a wheel turn act on a focused widget only, or scroll what is around it.

    Scrolling through a long form must not change what the mouse passes over.
    """
    if widget.hasFocus():
        use(event)
    elif event is not None:
        event.ignore()
