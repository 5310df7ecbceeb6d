"""The finished steps of a project, in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_physgen.errors import UserError
from napari_physgen.io.atomic import replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

R = TypeVar("R")

STOPPED = "stopped early"  # the key of a step that is of use, but not done


class Store:
    """The finished steps of one project, each with the key of what it was made from.

    Parameters
    ----------
    folder : path-like or None
        None keeps nothing.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self.folder = None if folder is None else Path(folder)

    def read(self, name: str, key: str, reader: Callable[[Path], R]) -> R | None:
        """Return a finished step, None if there is none of this key."""
        if self.folder is None or not (self.folder / name).exists():
            return None
        return reader(self.folder / name) if self._keys().get(name) == key else None

    def write(self, name: str, key: str, writer: Callable[[Path], None]) -> None:
        """Keep a finished step."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"The folder {self.folder} cannot be made: choose another.") from error
        writer(self.folder / name)
        keys = self._keys() | {name: key}
        with replacing(self.folder / "steps.json") as part:
            part.write_text(json.dumps(keys), encoding="utf-8")

    def finished(self) -> set[str]:
        """Return the names of the steps that are there, of whatever key."""
        if self.folder is None:
            return set()
        return {name for name in self._keys() if (self.folder / name).exists()}

    def _keys(self) -> dict[str, str]:
        assert self.folder is not None
        try:
            keys = json.loads((self.folder / "steps.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return keys if isinstance(keys, dict) else {}
