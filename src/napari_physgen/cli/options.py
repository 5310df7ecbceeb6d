"""Options that several commands share."""

from __future__ import annotations

from copy import copy
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Optional

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, create_model

Folder = Annotated[
    Path, Parameter(name=["--out", "-o"], help="Folder for the results, made if missing.")
]
ImageJ = Annotated[
    bool, Parameter(negative="", help="Also save the main image as a TIFF for ImageJ and Fiji.")
]
Partners = Annotated[list[Path] | None, Parameter(negative="", consume_multiple=True)]


@cache
def partial(model: type[BaseModel], *left_out: str) -> type[BaseModel]:
    """Return a model with the same fields, none of which must be given or checked.

    What somebody gave is then known, and goes on top of a preset before anything is checked.
    """
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name not in left_out:
            plain = copy(field)
            plain.default, plain.default_factory, plain.metadata = None, None, []
            fields[name] = (Optional[field.annotation], plain)  # noqa: UP045 - built at run time
    config = ConfigDict(frozen=True, extra="forbid")
    made: type[BaseModel] = create_model(model.__name__, __config__=config, **fields)
    return made


def given(options: BaseModel | None) -> dict[str, Any]:
    """Return the options that were on the command line."""
    return options.model_dump(exclude_unset=True) if options else {}
