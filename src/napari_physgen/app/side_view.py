"""Look at a picture beside the sample for a moment, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer


class SideView:
    """Zooms out to what lies beside the sample and returns to where the person looked.

    Whoever moves the view in between stays where they are.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self._before: tuple[Any, float] | None = None
        self._after: tuple[Any, float] | None = None

    def look(self, layers: Sequence[Layer]) -> None:
        """Fit the view to `layers`."""
        if not self._looking():
            self._before = self._camera()
        self.viewer.reset_view(layers=layers)
        self._after = self._camera()

    def back(self) -> None:
        """Return to the view before `look`, if it still shows what `look` chose."""
        if self._looking() and self._before is not None:
            self.viewer.scene.camera.center, self.viewer.scene.camera.zoom = self._before
        self._after = None

    def _looking(self) -> bool:
        if self._after is None:
            return False
        (center, zoom), (there, as_large) = self._camera(), self._after
        return zoom == as_large and np.array_equal(center, there)

    def _camera(self) -> tuple[Any, float]:
        return tuple(self.viewer.scene.camera.center), float(self.viewer.scene.camera.zoom)
