"""One editor per kind of setting: numbers, choices, switches, files, and 'auto'.

Every editor is a widget with ``get() -> value``, ``put(value)`` and an ``edited``
signal that speaks only when the value changed.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from napari_physgen.app.boxes import CalmComboBox, CalmSpinBox, ExactSpinBox
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

MOST = 2**31 - 1
AUTO = Literal["auto"]


class Editor(QWidget):
    """Base of the editors: one value in, one value out."""

    edited = Signal()

    def __init__(self, *parts: QWidget) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in parts:
            layout.addWidget(part)
        layout.setStretch(len(parts) - 1, 1)
        self.setFocusProxy(parts[-1])

    def get(self) -> Any:
        """Return the value; raise UserError if the text means nothing."""
        raise NotImplementedError

    def put(self, value: Any) -> None:
        """Show `value`."""
        raise NotImplementedError


class NumberEditor(Editor):
    """A float or an int within bounds, with its unit behind."""

    def __init__(self, kind: type, unit: str, low: float | None, high: float | None) -> None:
        self.box: Any = CalmSpinBox() if kind is int else ExactSpinBox()
        self.box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.box.setKeyboardTracking(False)
        most = MOST if kind is int else 1e12
        self.box.setRange(
            kind(-most if low is None else max(low, -most)),
            kind(most if high is None else min(high, most)),
        )
        # A spin box is by default as wide as its widest value, 1e12 with 25 digits.
        self.box.setMinimumWidth(self.box.fontMetrics().horizontalAdvance("000000") + 40)
        self.box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        if unit:
            self.box.setSuffix(f" {unit}")
        super().__init__(self.box)
        self.box.valueChanged.connect(lambda _: self.edited.emit())

    def get(self) -> Any:
        """Return the number."""
        # Text still being typed counts; text that only shows fewer digits does not.
        if self.box.cleanText() != self.box.textFromValue(self.box.value()):
            self.box.interpretText()
        return self.box.value()

    def put(self, value: Any) -> None:
        """Show a number."""
        self.box.setValue(value)


class ChoiceEditor(Editor):
    """One of a few words."""

    def __init__(self, choices: tuple[Any, ...], words: Mapping[str, str] | None = None) -> None:
        self.choices = choices
        words = words or {}
        self.box = CalmComboBox()
        self.box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.box.addItems([words.get(choice, str(choice)) for choice in choices])
        self.box.setMinimumContentsLength(6)
        self.box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        # The list may be wider than the box.
        if (offered := self.box.view()) is not None:
            offered.setMinimumWidth(offered.sizeHintForColumn(0) + 32)
        super().__init__(self.box)
        self.box.currentIndexChanged.connect(lambda _: self.edited.emit())

    def get(self) -> Any:
        """Return the value."""
        return self.choices[self.box.currentIndex()]

    def put(self, value: Any) -> None:
        """Show a value."""
        self.box.setCurrentIndex(self.choices.index(value))


class SwitchEditor(Editor):
    """Yes or no."""

    def __init__(self) -> None:
        self.box = QCheckBox()
        super().__init__(self.box)
        self.box.toggled.connect(lambda _: self.edited.emit())

    def get(self) -> bool:
        """Return the value."""
        return self.box.isChecked()

    def put(self, value: Any) -> None:
        """Show a value."""
        self.box.setChecked(bool(value))


class TextEditor(Editor):
    """Free text; anything but a string is written as YAML (``[1, 2, 3]``)."""

    def __init__(self, literal: bool = False) -> None:
        self.literal = literal
        self.line = QLineEdit()
        super().__init__(self.line)
        self.line.editingFinished.connect(self.edited.emit)

    def get(self) -> Any:
        """Return the value."""
        if self.literal:
            return self.line.text()
        try:
            return yaml.safe_load(self.line.text())
        except yaml.YAMLError:
            raise UserError(
                f"'{self.line.text()}' cannot be read: write numbers as [1, 2, 3]."
            ) from None

    def put(self, value: Any) -> None:
        """Show a value."""
        text = value if self.literal else yaml.safe_dump(value, default_flow_style=True).strip()
        self.line.setText(text.removesuffix("\n..."))


class FileEditor(Editor):
    """A file, chosen or typed; empty means none."""

    def __init__(self) -> None:
        self.line = QLineEdit()
        self.line.setPlaceholderText("none")
        self.line.setClearButtonEnabled(True)
        button = QToolButton()
        button.setText("...")
        button.clicked.connect(self._choose)
        super().__init__(self.line, button)
        self.line.textChanged.connect(lambda _: self.edited.emit())

    def get(self) -> Path | None:
        """Return the value."""
        text = self.line.text().strip()
        return Path(text) if text else None

    def put(self, value: Any) -> None:
        """Show a value."""
        self.line.setText("" if value is None else str(value))

    def _choose(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Choose a file", self.line.text())
        if name:
            self.line.setText(name)


class OptionalEditor(Editor):
    """A value, or `none` behind a tick at 'auto'."""

    def __init__(self, editor: Editor, none: str | None = None) -> None:
        self.editor = editor
        self.none = none
        self.auto = QCheckBox("auto")
        super().__init__(self.auto, editor)
        self.auto.toggled.connect(self._toggle)
        editor.edited.connect(self.edited.emit)
        self.auto.setChecked(True)

    def _toggle(self, auto: bool) -> None:
        # Hidden rather than greyed: the number behind "auto" would be read as the one in use.
        self.editor.setVisible(not auto)
        self.edited.emit()

    def get(self) -> Any:
        """Return the value."""
        return self.none if self.auto.isChecked() else self.editor.get()

    def put(self, value: Any) -> None:
        """Show a value."""
        if value != self.none:
            self.editor.put(value)
        self.auto.setChecked(value == self.none)


def make_editor(field: FieldInfo, unit: str = "", words: Mapping[str, str] | None = None) -> Editor:
    """Return the editor for a pydantic field; `words` for its choices."""
    kind: Any = field.annotation
    optional, none = False, None
    if get_origin(kind) in (Union, types.UnionType):
        members = [member for member in get_args(kind) if member not in (type(None), AUTO)]
        optional = len(members) < len(get_args(kind))
        none = "auto" if AUTO in get_args(kind) else None
        kind = members[0] if len(members) == 1 else None
    if get_origin(kind) is Annotated:  # bounds of the number alone
        kind, field, *_ = get_args(kind)
    editor = _plain_editor(kind, field, unit, words)
    if not optional or isinstance(editor, FileEditor):  # an empty file name already says "none"
        return editor
    return OptionalEditor(editor, none)


def _plain_editor(
    kind: Any, field: FieldInfo, unit: str, words: Mapping[str, str] | None
) -> Editor:
    if kind is bool:
        return SwitchEditor()
    if kind in (int, float):
        return NumberEditor(kind, unit, *_bounds(kind, field))
    if get_origin(kind) is Literal:
        return ChoiceEditor(get_args(kind), words)
    if kind is Path:
        return FileEditor()
    return TextEditor(literal=kind is str)


def _bounds(kind: type, field: FieldInfo) -> tuple[float | None, float | None]:
    """Return the closed interval of allowed values; open ends move in by the least step."""
    low: float | None = None
    high: float | None = None
    for rule in field.metadata:
        if (value := getattr(rule, "ge", None)) is not None:
            low = value
        if (value := getattr(rule, "gt", None)) is not None:
            low = value + (1 if kind is int else 1e-12)
        if (value := getattr(rule, "le", None)) is not None:
            high = value
        if (value := getattr(rule, "lt", None)) is not None:
            high = value - (1 if kind is int else 1e-12)
    return low, high
