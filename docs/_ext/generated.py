"""Directives for what the code already says: tables of settings and command line help."""

from __future__ import annotations

import importlib
import io
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import annotated_types
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from napari_physgen.settings import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo
    from sphinx.application import Sphinx

    from napari_physgen.settings import Description, Settings

COLUMNS = ("Setting", "Name in files", "Unit", "Values", "Default", "While running", "What it is")
WIDTHS = (13, 15, 7, 15, 11, 9, 30)
BOUNDS = (
    (annotated_types.Gt, "gt", "> {:g}"),
    (annotated_types.Ge, "ge", "≥ {:g}"),
    (annotated_types.Lt, "lt", "< {:g}"),
    (annotated_types.Le, "le", "≤ {:g}"),
)
KINDS = {
    "int": "whole number",
    "float": "number",
    "str": "text",
    "bool": "yes or no",
    "dict": "lowest and highest value by name",
    "PhaseFieldSettings": "the settings above",
}


def rows(model: type[Settings], advanced: bool | None = None) -> list[tuple[str, ...]]:
    """Return one row per setting that the model adds to those of its base, in Markdown.

    `advanced` keeps only these or only the others.
    """
    found = []
    for name in own_fields(model):
        field = model.model_fields[name]
        about = describe(name, field)
        if advanced is None or about.advanced is advanced:
            tunable = "can change" if about.tunable else ""
            cells = (_values(field), _default(field), tunable, about.text + _only(about))
            found.append((about.title, f"`{name}`", about.unit, *cells))
    return found


def own_fields(model: type[Settings]) -> list[str]:
    """Return the settings that are not those of a base."""
    return [name for name in model.model_fields if name in model.__annotations__]


def _only(about: Description) -> str:
    """Return for which choices of another setting this one matters."""
    return "".join(f" *For {', '.join(choices)}.*" for choices in about.only.values())


def preset_rows() -> list[tuple[str, str, str]]:
    """Return name, material and what differs from the defaults of every preset, in Markdown."""
    from napari_physgen.synthesis import PhaseFieldSettings, presets

    found = []
    for name, settings in presets.items():
        plain = PhaseFieldSettings(material=settings.material)
        differs = [
            f"`{key}` {value:g}"
            for key, value in settings.model_dump().items()
            if value != getattr(plain, key)
        ]
        found.append((f"`{name}`", settings.material, ", ".join(differs)))
    return found


def _values(field: FieldInfo) -> str:
    """Return the choices, or the kind of value and its bounds."""
    annotation = field.annotation
    parts = (annotation,) if get_origin(annotation) in (dict, Literal) else get_args(annotation)
    kinds = [kind for kind in parts or (annotation,) if kind is not NoneType]
    names = [name for kind in kinds for name in _names(kind)]
    last = " or ".join(names) if len(kinds) > 1 else ", ".join(names)
    return ", ".join([last, *_bounds(field.metadata)])


def _names(kind: Any) -> list[str]:
    """Return choices as they are, or what kind of value it is with bounds of its own."""
    if get_origin(kind) is Literal:
        return [f"`{choice}`" for choice in get_args(kind)]
    own = [item for info in getattr(kind, "__metadata__", ()) for item in info.metadata]
    plain = get_args(kind)[0] if own else kind
    return [", ".join([KINDS.get(plain.__name__, "file"), *_bounds(own)])]


def _bounds(metadata: Sequence[Any]) -> list[str]:
    return [
        text.format(getattr(item, key))
        for item in metadata
        for kind, key, text in BOUNDS
        if isinstance(item, kind)
    ]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*must be given*"
    value = field.get_default(call_default_factory=True)
    return "*empty*" if value is None or value == {} else f"`{value}`"


def help_text(*command: str, width: int = 88) -> str:
    """Return what ``napari-physgen COMMAND --help`` prints."""
    from rich.console import Console

    from napari_physgen.cli import app

    page = io.StringIO()
    app.help_print(list(command), console=Console(file=page, width=width, no_color=True))
    return "\n".join(line.rstrip() for line in page.getvalue().strip().splitlines())


class SettingsTable(SphinxDirective):
    """``{settings-table} module:Model`` with ``:advanced: yes | no`` to show a part."""

    required_arguments = 1
    option_spec = {"advanced": lambda word: {"yes": True, "no": False}[word]}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].partition(":")
        model = getattr(importlib.import_module(module), name)
        return [self._table([COLUMNS, *rows(model, self.options.get("advanced"))], WIDTHS)]

    def _table(self, lines: Sequence[tuple[str, ...]], widths: tuple[int, ...]) -> nodes.Node:
        group = nodes.tgroup("", *(nodes.colspec(colwidth=w) for w in widths), cols=len(widths))
        group += nodes.thead("", self._row(lines[0]))
        group += nodes.tbody("", *(self._row(line) for line in lines[1:]))
        return nodes.table("", group, classes=["settings"])

    def _row(self, cells: tuple[str, ...]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", *self._parsed(cell)) for cell in cells))

    def _parsed(self, markdown: str) -> list[nodes.Node]:
        parent = nodes.Element()
        self.state.nested_parse(StringList([markdown], self.get_source_info()[0]), 0, parent)
        return list(parent.children)


class PresetsTable(SettingsTable):
    """``{presets-table}``: every preset and what it sets."""

    required_arguments = 0

    def run(self) -> list[nodes.Node]:
        lines = [("Preset", "Material", "Sets"), *preset_rows()]
        return [self._table(lines, (15, 15, 70))]


class CommandHelp(SphinxDirective):
    """``{command-help} sim``: the help page of a command, of all of them without argument."""

    optional_arguments = 2

    def run(self) -> list[nodes.Node]:
        text = help_text(*self.arguments)
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("settings-table", SettingsTable)
    app.add_directive("presets-table", PresetsTable)
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
