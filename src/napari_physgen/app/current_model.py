"""The model that the panel works with: just trained, loaded from a file, or of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_physgen.segmentation import SegmentationModel


class CurrentModel:
    """A model, read from its file when somebody needs it."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self._model: SegmentationModel | None = None

    @property
    def there(self) -> bool:
        """Whether there is a model."""
        return self._model is not None or self.path is not None

    @property
    def model(self) -> SegmentationModel | None:
        """The model, if it is in memory already."""
        return self._model

    def set(self, model: SegmentationModel | None, path: Path | None = None) -> None:
        """Take another model, or the one in a file."""
        self._model, self.path = model, path

    def get(self) -> SegmentationModel:
        """Return the model; for the worker, which may read and load torch.

        Raises
        ------
        UserError
            If there is none, or its file cannot be read.
        """
        from napari_physgen.segmentation import load

        if self._model is None:
            if self.path is None:
                raise UserError("There is no model yet: press Train or Run all, or load one.")
            self._model = load(self.path)
        return self._model
