"""Recipe files: a tool, its settings and the version that wrote them, as YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from napari_physgen import __version__
from napari_physgen.errors import UserError
from napari_physgen.io.atomic import replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


def write_recipe(
    path: str | os.PathLike[str],
    tool: str,
    settings: Mapping[str, Any],
    version: str = __version__,
) -> Path:
    """Write a recipe, whole or not at all; raises UserError where that cannot be done."""
    text = yaml.safe_dump(
        {"tool": tool, "version": version, "settings": dict(settings)},
        sort_keys=False,
        allow_unicode=True,
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def read_values(path: str | os.PathLike[str]) -> Any:
    """Return what a YAML or JSON file holds.

    Raises
    ------
    UserError
        If it is missing, unreadable or neither.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except FileNotFoundError:
        raise UserError(f"There is no recipe {path}.") from None
    except (OSError, UnicodeDecodeError):
        raise UserError(f"The recipe {path} cannot be read.") from None
    except (yaml.YAMLError, json.JSONDecodeError):
        raise UserError(f"{path.name} is no recipe: it is not valid YAML or JSON.") from None
