"""The model that the panel works with: just trained, loaded from a file, or of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

M = TypeVar("M")


class CurrentModel(Generic[M]):
    """A model, read from its file when somebody needs it.

    Parameters
    ----------
    load : callable
        Reads a file; called in the worker.
    none : str
        What to say while there is no model.
    """

    def __init__(self, load: Callable[[Path], M], none: str) -> None:
        self.path: Path | None = None
        self._load = load
        self._none = none
        self._model: M | None = None

    @property
    def there(self) -> bool:
        """Whether there is a model."""
        return self._model is not None or self.path is not None

    @property
    def model(self) -> M | None:
        """The model, if it is in memory already."""
        return self._model

    def set(self, model: M | None, path: Path | None = None) -> None:
        """Take another model, or the one in a file."""
        self._model, self.path = model, path

    def get(self) -> M:
        """Return the model; for the worker, which may read and load torch.

        Raises
        ------
        UserError
            If there is none, or its file cannot be read.
        """
        if self._model is None:
            if self.path is None:
                raise UserError(self._none)
            self._model = self._load(self.path)
        return self._model
