"""The one declaration behind forms, tooltips, command line help, recipes and docs.

A tool's settings are a frozen pydantic model whose fields are made by
`setting`; whoever builds a form or a table reads them back with `describe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo


class Settings(BaseModel):
    """Base of every tool's settings: frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Validate `values` into settings.

        Raises
        ------
        UserError
            One sentence that names each wrong field and what it may be.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(explain(cls, error)) from None

    def tuned(self, **changes: Any) -> Self:
        """Return a copy with some tunable settings changed.

        Raises
        ------
        UserError
            If a field is unknown, not tunable, or the value is out of bounds.
        """
        for name in changes:
            field = type(self).model_fields.get(name)
            if field is None or not describe(name, field).tunable:
                raise UserError(f"'{name}' cannot be changed while the job runs.")
        return type(self).parse(self.model_dump() | changes)


@dataclass(frozen=True)
class Description:
    """What a form or a table needs to know about one setting."""

    name: str
    title: str
    text: str
    unit: str
    advanced: bool
    tunable: bool
    start: Any
    only: Mapping[str, tuple[str, ...]]


def setting(
    default: Any = ...,
    *,
    title: str,
    description: str,
    unit: str = "",
    advanced: bool = False,
    tunable: bool = False,
    start: Any = None,
    only: Mapping[str, tuple[str, ...]] | None = None,
    **bounds: Any,
) -> Any:
    """Declare a field of a `Settings` model.

    Parameters
    ----------
    default : object
        Default value; left out for a value that the user must give.
    title : str
        Label in forms, in the microscopist's words.
    description : str
        One line for tooltips, command line help and docs.
    unit : str
        Unit shown behind the value ("nm", "px"); empty for a pure number.
    advanced : bool
        Whether forms hide the field in the collapsed section.
    tunable : bool
        Whether a running job takes a new value.
    start : object
        What a form shows first where there is no default.
    only : mapping
        The choices of another field that this one matters for, e.g.
        ``{"material": ("grains",)}``; forms hide it for the others.
    **bounds
        Passed on to `pydantic.Field`: gt, ge, lt, le, multiple_of.
    """
    extra: dict[str, Any] = {
        "unit": unit,
        "advanced": advanced,
        "tunable": tunable,
        "start": start,
        "only": {name: list(choices) for name, choices in (only or {}).items()},
    }
    return Field(default, title=title, description=description, json_schema_extra=extra, **bounds)


def describe(name: str, field: FieldInfo) -> Description:
    """Read back what `setting` declared about the field `name`."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return Description(
        name=name,
        title=field.title or name,
        text=field.description or "",
        unit=str(extra.get("unit", "")),
        advanced=bool(extra.get("advanced", False)),
        tunable=bool(extra.get("tunable", False)),
        start=extra.get("start") if field.is_required() else field.default,
        only=_only(extra.get("only")),
    )


def _only(declared: Any) -> dict[str, tuple[str, ...]]:
    return {name: tuple(choices) for name, choices in (declared or {}).items()}


def explain(model: type[BaseModel], error: ValidationError) -> str:
    """Turn pydantic's report about a settings model into one sentence."""
    parts = []
    for item in error.errors():
        name = str(item["loc"][0]) if item["loc"] else ""
        field = model.model_fields.get(name)
        title = f"{field.title} ({name})" if field and field.title else name
        if item["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields)
            parts.append(f"there is no setting '{name}' (known: {known})")
        elif item["type"] == "missing":
            parts.append(f"{title} is needed")
        elif item["type"] == "value_error":
            parts.append(str(item["ctx"]["error"]))
        else:
            message = item["msg"][0].lower() + item["msg"][1:]
            parts.append(f"{title}: {message}, got {item['input']!r}")
    return "; ".join(parts)[:1].upper() + "; ".join(parts)[1:] + "."
