"""The list of images to work on: tick layers, or open a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_physgen.app.inputs import pixel_size_nm
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer

ROWS = 4


class ImageList(QListWidget):
    """Tick some of the viewer's layers; follows additions, removals and new names.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    accepts : callable
        Which layers are offered.
    ticks : callable
        Which of them are ticked when they are new.
    """

    changed = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        accepts: Callable[[Layer], bool],
        ticks: Callable[[Layer], bool] = lambda layer: True,
    ) -> None:
        super().__init__()
        self.viewer = viewer
        self.accepts = accepts
        self.ticks = ticks
        self._layers: list[Layer] = []
        self._unticked: list[Layer] = []
        self.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFixedHeight(self.fontMetrics().height() * ROWS + 32)
        for event in ("inserted", "removed", "reordered"):
            getattr(viewer.layers.events, event).connect(self.refresh)
        self.itemChanged.connect(self._ticked)
        self.refresh()

    @property
    def layers(self) -> list[Layer]:
        """The ticked layers, from bottom to top."""
        return [layer for layer in self._layers if layer not in self._unticked]

    def tick(self, *layers: Layer) -> None:
        """Tick these layers and no others."""
        self._unticked = [layer for layer in self._layers if layer not in layers]
        self.refresh()
        self.changed.emit()

    def sizeHint(self) -> QSize:
        """Ask for no more width than any list has."""
        return QSize(100, super().sizeHint().height())

    def refresh(self) -> None:
        """Offer the layers that are there now."""
        before = self.layers
        for layer in self._layers:
            layer.events.name.disconnect(self.refresh)
        known = self._layers
        self._layers = [layer for layer in self.viewer.layers if self.accepts(layer)]
        new = [layer for layer in self._layers if layer not in known and not self.ticks(layer)]
        self._unticked = [layer for layer in [*self._unticked, *new] if layer in self._layers]
        with QSignalBlocker(self):
            self.clear()
            for layer in self._layers:
                layer.events.name.connect(self.refresh)
                item = QListWidgetItem(f"{layer.name}   {described(layer)}")
                item.setToolTip(item.text())
                ticked = layer not in self._unticked
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
                state = Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked
                item.setCheckState(state)
                self.addItem(item)
        if self.layers != before:
            self.changed.emit()

    def _ticked(self, item: QListWidgetItem) -> None:
        layer = self._layers[self.row(item)]
        self._unticked = [other for other in self._unticked if other is not layer]
        if item.checkState() != Qt.CheckState.Checked:
            self._unticked.append(layer)
        self.changed.emit()


def described(layer: Layer) -> str:
    """Return how large a layer's images are and how many, e.g. "3 of 512 x 512 px, 20 nm"."""
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    *lead, height, width = data.shape[: layer.ndim]
    count = 1
    for length in lead:
        count *= length
    try:
        size = pixel_size_nm(layer)
    except UserError:
        size = None
    many = f"{count} of " if lead else ""
    return f"{many}{width} x {height} px" + (f", {size:.4g} nm" if size else "")
