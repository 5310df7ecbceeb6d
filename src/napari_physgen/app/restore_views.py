"""What a restoration is worth: its layers at one click each, and value ± uncertainty anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QGridLayout, QLabel, QPushButton, QVBoxLayout
from qtpy.QtWidgets import QWidget as Widget

from napari_physgen.app.listening import listen
from napari_physgen.app.words import Words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.components import ViewerModel
    from napari.layers import Layer

PAUSE = 40  # ms between two looks at the cursor
COLUMNS = 3
MEASURED, RESTORED, UNSURE = "measured", "restored", "not sure"
SPREADS = ("uncertainty", "sample spread")
TIPS = {
    MEASURED: "The image as it was recorded.",
    RESTORED: "The average of all images that explain the data.",
    "uncertainty": "How far each pixel may be off: one standard deviation, in grey levels.",
    "sample spread": "How much the samples differ. This method is not calibrated: it is no "
    "uncertainty.",
    "residual": "What was taken away, in units of the noise: should look like noise and nothing "
    "else.",
    "samples": "Images that explain the data equally well: what changes from one to the next is "
    "not in the data.",
    "unusual": "Where the result is unlike what the prior learned; 1 is usual.",
}


class RestoreViews(Widget):
    """Buttons that each show one layer of the last result.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.source: Layer | None = None
        self.layers: dict[str, Layer] = {}
        self.buttons: dict[str, QPushButton] = {}
        self._group = QButtonGroup(self)
        grid = QGridLayout()
        grid.setSpacing(4)
        for name, tip in TIPS.items():
            button = QPushButton(name)
            button.setCheckable(True)
            button.setToolTip(f"<p>{tip}</p>")
            button.clicked.connect(lambda *_, name=name: self.show_only(name))
            self._group.addButton(button)
            self.buttons[name] = button
        self._grid = grid
        self.unsure = QCheckBox("mark what is not sure")
        self.unsure.setToolTip(
            "<p>Cover the places where the standard deviation is larger than the local contrast: "
            "what is seen there may be made up.</p>"
        )
        self.unsure.toggled.connect(self._mark)
        self.caption, self.words = Words(), Words()
        self._left_over = ""
        title = QLabel("<b>Look at</b>")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(title)
        layout.addLayout(grid)
        for part in (self.caption, self.unsure, self.words):
            layout.addWidget(part)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._read)
        self.hide()
        listen(self, viewer.cursor.events.position, self._moved)
        listen(self, viewer.layers.events.removed, self._removed)

    @staticmethod
    def names() -> tuple[str, ...]:
        """Names of the outputs that a result may have."""
        return tuple(name for name in (*TIPS, UNSURE) if name != MEASURED)

    def follow(
        self,
        source: Layer,
        layers: Mapping[str, Layer],
        first: str = RESTORED,
        left_over: str = "",
    ) -> None:
        """Work with the layers of a result, by the names of its outputs.

        Parameters
        ----------
        source : napari.layers.Layer
        layers : mapping
        first : str
            What to show first.
        left_over : str
            What the residual tells.
        """
        self.source, self.layers, self._left_over = source, dict(layers), left_over
        self._arrange()
        self.words.setText("")
        self.unsure.setChecked(False)
        self.show()
        self.show_only(first if first in layers else next(iter(layers)))

    def show_only(self, name: str) -> None:
        """Show one of the layers, on the source; "measured" is the source itself."""
        if self.source is None:
            return
        for own, layer in self.layers.items():
            if own != UNSURE:
                layer.visible = own == name
        self.source.visible = True
        self.buttons[name].setChecked(True)
        told = {"residual": self._left_over}.get(name) or TIPS[name]
        self.caption.setText(told)
        self.viewer.layers.selection.active = self.layers.get(name, self.source)

    def _arrange(self) -> None:
        """Offer what there is."""
        there = [n for n in TIPS if n == MEASURED or n in self.layers]
        for name, button in self.buttons.items():
            self._grid.removeWidget(button)
            button.setVisible(name in there)
        for place, name in enumerate(there):
            self._grid.addWidget(self.buttons[name], place // COLUMNS, place % COLUMNS)
        self.unsure.setVisible(UNSURE in self.layers)

    def _mark(self, on: bool) -> None:
        if UNSURE in self.layers:
            self.layers[UNSURE].visible = on

    def _removed(self) -> None:
        """Forget layers that were deleted by hand."""
        there = {name: layer for name, layer in self.layers.items() if layer in self.viewer.layers}
        if self.source is not None and self.source not in self.viewer.layers:
            there, self.source = {}, None
        if there.keys() != self.layers.keys():
            self.layers = there
            self._arrange()
            self.setVisible(bool(there))

    def _moved(self) -> None:
        if self.layers and self.isVisible() and not self._timer.isActive():
            self._timer.start(PAUSE)

    def _read(self) -> None:
        """Say value and spread under the cursor."""
        spread = next((name for name in SPREADS if name in self.layers), None)
        if RESTORED not in self.layers or spread is None:
            return
        value, std = (self._under(self.layers[name]) for name in (RESTORED, spread))
        if value is None or std is None:
            return
        unsure = UNSURE in self.layers and self._under(self.layers[UNSURE])
        doubt = ", not sure" if unsure else ""
        self.words.setText(f"Under the cursor: {value:.4g} ± {std:.2g} grey levels{doubt}")

    def _under(self, layer: Layer) -> float | None:
        """Return a layer's value under the cursor, whether it is visible or not."""
        position = np.asarray(self.viewer.cursor.position)
        at = np.rint(layer.world_to_data(position)[-layer.ndim :]).astype(int)
        if (at < 0).any() or (at >= layer.data.shape).any():
            return None
        return float(layer.data[tuple(at)])
