"""A combo box of the viewer's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer


class LayerChooser(QComboBox):
    """Choose one of the viewer's layers; follows additions, removals and new names.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    accepts : callable
        Which layers are offered.
    none : str
        Words for no layer at all, if that is a choice; then it is the first one.
    """

    chosen = Signal(object)

    def __init__(
        self, viewer: ViewerModel, accepts: Callable[[Layer], bool], none: str = ""
    ) -> None:
        super().__init__()
        self.viewer = viewer
        self.accepts = accepts
        self._none = [none] if none else []
        self._layers: list[Layer] = []
        self._shown: Layer | None = None
        # Long layer names must not widen the dock.
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        for event in ("inserted", "removed", "reordered"):
            getattr(viewer.layers.events, event).connect(self.refresh)
        self.currentIndexChanged.connect(self._tell)
        self.refresh()

    @property
    def layer(self) -> Layer | None:
        """The chosen layer."""
        index = self.currentIndex() - len(self._none)
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def choose(self, layer: Layer) -> None:
        """Choose `layer`, if it is offered."""
        if layer in self._layers:
            self.setCurrentIndex(self._layers.index(layer) + len(self._none))

    def refresh(self) -> None:
        """Offer the layers that are there now, and keep the choice if it is still there."""
        kept = self.layer
        for layer in self._layers:
            layer.events.name.disconnect(self.refresh)
        self._layers = [layer for layer in self.viewer.layers if self.accepts(layer)]
        for layer in self._layers:
            layer.events.name.connect(self.refresh)
        with QSignalBlocker(self):
            self.clear()
            self.addItems([*self._none, *(layer.name for layer in self._layers)])
            if kept in self._layers:
                self.setCurrentIndex(self._layers.index(kept) + len(self._none))
            elif self._layers and not self._none:
                self.setCurrentIndex(self._first())
        self._tell()

    def _first(self) -> int:
        active = self.viewer.layers.selection.active
        return self._layers.index(active) if active in self._layers else len(self._layers) - 1

    def _tell(self) -> None:
        if self.layer is not self._shown:
            self._shown = self.layer
            self.chosen.emit(self.layer)
