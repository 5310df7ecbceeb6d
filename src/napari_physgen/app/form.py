"""A form made from any `Settings` model.

Titles, units, bounds, tooltips and the advanced section come from the one
declaration in the model; a tool only says which fields share a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_physgen.app.editors import Editor, NumberEditor, make_editor
from napari_physgen.app.section import Section
from napari_physgen.app.sliders import SlidingEditor, Span
from napari_physgen.settings import Description, Settings, describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtGui import QShowEvent

Row = tuple[str, tuple[str, ...]]


class SettingsForm(QWidget):
    """Edit the settings of one tool.

    Parameters
    ----------
    model : type of Settings
        The model to edit.
    rows : sequence of (title, field names)
        Lines at the top that hold several fields, e.g.
        ``("Microscope", ("na", "wavelength_nm"))``. Fields named nowhere follow on
        their own lines, advanced ones in a collapsed section.
    hidden : sequence of str
        Fields that are not shown and keep their default or the last value put.
    choices : mapping
        Words for the choices of a field, e.g. ``{"order": {"auto": "find out"}}``.
    sliders : mapping
        Numbers that get a slider beside their box, with the range that it spans; the box takes
        every allowed number.
    tucked : sequence of str
        Fields that are in the advanced section although they are not advanced.

    A field that matters only for some choices of another one (``setting(..., only=...)``) is
    shown with these choices alone; hidden or not, it keeps its value.
    """

    changed = Signal(str)

    def __init__(
        self,
        model: type[Settings],
        rows: Sequence[Row] = (),
        hidden: Sequence[str] = (),
        choices: Mapping[str, Mapping[str, str]] | None = None,
        sliders: Mapping[str, Span] | None = None,
        tucked: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self._about: dict[str, Description] = {}
        self._editors: dict[str, Editor] = {}
        self._labels: dict[str, QLabel] = {}
        self._kept: dict[str, Any] = {}
        self._grids: list[QGridLayout] = []
        self._tabled: list[str] = []
        for name, field in model.model_fields.items():
            about = describe(name, field)
            self._about[name] = about
            if name in hidden:
                if not field.is_required():
                    self._kept[name] = field.default
                continue
            editor = make_editor(field, about.unit, (choices or {}).get(name))
            if sliders and name in sliders and isinstance(editor, NumberEditor):
                editor = SlidingEditor(editor, sliders[name])
            if about.start is not None or not field.is_required():
                editor.put(about.start)
            editor.setToolTip(self._tip(about))
            editor.edited.connect(lambda name=name: self._tell(name))
            self._editors[name] = editor
        self._deciding = {name for about in self._about.values() for name in about.only}
        self._tucked = set(tucked)
        self._arrange(rows)
        self._show_what_matters()

    def values(self) -> dict[str, Any]:
        """Return the raw values by name, not yet validated."""
        return self._kept | {name: editor.get() for name, editor in self._editors.items()}

    def value(self) -> Settings:
        """Return validated settings.

        Raises
        ------
        UserError
            A sentence that names each wrong field.
        """
        return self.model.parse(self.values())

    def set_value(self, settings: Settings) -> None:
        """Show `settings`."""
        self.put(settings.model_dump())

    def put(self, values: Mapping[str, Any]) -> None:
        """Show some values by name; names that the form does not know are ignored."""
        for name, value in values.items():
            if name in self._editors:
                self._editors[name].put(value)
            elif name in self._about:
                self._kept[name] = value

    def remark(self, name: str, text: str = "") -> None:
        """Write a short remark, e.g. where the value comes from, next to a field's title."""
        about, label = self._about[name], self._labels.get(name)
        if label is not None:
            label.setText(f"{about.title} <small>{text}</small>" if text else about.title)

    def lock(self, running: bool) -> None:
        """While a job runs leave only the tunable fields open."""
        for name, editor in self._editors.items():
            editor.setEnabled(not running or self._about[name].tunable)

    def tunable(self, name: str) -> bool:
        """Whether a running job takes a new value of the field."""
        return self._about[name].tunable

    def matters(self, name: str) -> bool:
        """Whether a field means anything for what is chosen now."""
        chosen = {on: self._editors[on].get() for on in self._deciding & set(self._editors)}
        chosen = self._kept | chosen
        return all(chosen[on] in values for on, values in self._about[name].only.items())

    def showEvent(self, event: QShowEvent | None) -> None:
        """Align the tables, now that the viewer's fonts are known."""
        self._align()
        super().showEvent(event)

    def _tell(self, name: str) -> None:
        if name in self._deciding:
            self._show_what_matters()
        self.changed.emit(name)

    def _show_what_matters(self) -> None:
        """Show the fields that matter for what is chosen now, and hide lines left empty."""
        for name, editor in self._editors.items():
            matters = self.matters(name)
            editor.setVisible(matters)
            self._labels[name].setVisible(matters)
        for line, names in self._lines:
            line.setHidden(all(self._editors[name].isHidden() for name in names))

    def _arrange(self, rows: Sequence[Row]) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        placed = {name for _, names in rows for name in names}
        loose = [name for name in self._editors if name not in placed]
        advanced = [n for n in loose if self._about[n].advanced or n in self._tucked]
        plain = [name for name in loose if name not in advanced]
        self._lines: list[tuple[QWidget, Sequence[str]]] = []
        for title, names in rows:
            line = self._line(title, [n for n in names if n in self._editors])
            self._lines.append((line, [n for n in names if n in self._editors]))
            layout.addWidget(line)
        if plain:
            layout.addWidget(self._table(plain))
        if advanced:
            self.advanced = Section("Advanced")
            self.advanced.column.addWidget(self._table(advanced))
            layout.addWidget(self.advanced)
            self._lines.append((self.advanced, advanced))
        self._align()

    def _line(self, title: str, names: Sequence[str]) -> QWidget:
        """Return one titled line with the fields side by side, each under its own title."""
        line = QWidget()
        grid = QGridLayout(line)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(1)
        grid.addWidget(QLabel(f"<b>{title}</b>"), 0, 0, 1, len(names))
        for column, name in enumerate(names):
            grid.addWidget(self._label(name), 1, column)
            grid.addWidget(self._editors[name], 2, column)
            grid.setColumnStretch(column, 1)
        return line

    def _table(self, names: Sequence[str]) -> QWidget:
        """Return a two-column table of titles and editors."""
        table = QWidget()
        grid = QGridLayout(table)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        self._grids.append(grid)
        self._tabled += names
        for row, name in enumerate(names):
            grid.addWidget(self._label(name), row, 0)
            grid.addWidget(self._editors[name], row, 1)
        return table

    @property
    def title_width(self) -> int:
        """Width of the column of titles in the tables, those hidden now included, px."""
        return max((self._labels[name].sizeHint().width() for name in self._tabled), default=0)

    def _align(self) -> None:
        """Give all tables the same column of titles."""
        for grid in self._grids:
            grid.setColumnMinimumWidth(0, self.title_width)

    def _label(self, name: str) -> QLabel:
        about = self._about[name]
        label = QLabel(about.title)
        label.setToolTip(self._tip(about))
        label.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self._labels[name] = label
        return label

    @staticmethod
    def _tip(about: Description) -> str:
        extra = " Can be changed while the job runs." if about.tunable else ""
        return f"<p>{about.text}{extra}</p>"
