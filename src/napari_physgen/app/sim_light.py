"""Known light: which layer shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.inputs import WHOLE, pixels
from napari_physgen.app.results import is_result
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.app.inputs import Region
    from napari_physgen.app.widgets.sim import ReconstructSim

FILE = "the file in Advanced"
MARK = "illumination"


class LightChooser(QWidget):
    """A chooser of the layer with the light of each frame, on view for known light only."""

    def __init__(self, panel: ReconstructSim) -> None:
        super().__init__()
        self.panel = panel
        self.layers = LayerChooser(panel.viewer, self._accepts, none=FILE)
        self.layers.setToolTip(
            "<p>Layer with the light of each raw frame, in the same order, on the pixels of the "
            "raw frames or of the result.</p>"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(QLabel("<b>Illumination</b>"))
        layout.addWidget(self.layers)
        panel.viewer.layers.events.inserted.connect(self.propose)

    def propose(self) -> None:
        """Choose the layer that says of itself that it is the light, if nobody has chosen."""
        if self.layers.layer is None:
            for layer in self.panel.viewer.layers:
                if is_light(layer):
                    self.layers.choose(layer)

    def read(self, frames: NDArray[Any], region: Region = WHOLE) -> NDArray[Any] | None:
        """Return the light (frame, y, x) of raw frames, None for that in the file.

        Raises
        ------
        UserError
            If there is neither, or they do not fit.
        """
        layer = self.layers.layer
        values = self.panel.form.values()
        if layer is None:
            if values["illumination"] is None:
                raise UserError(
                    "Choose the layer with the known light under Illumination, or its file in the "
                    "advanced settings."
                )
            return None
        data = pixels(layer)
        if data.ndim < 3 or int(np.prod(data.shape[:-2])) != len(frames):
            count = int(np.prod(data.shape[:-2]))
            raise UserError(
                f"'{layer.name}' has {count} frames, but the raw stack has {len(frames)}: choose "
                "the layer with the light of each raw frame."
            )
        fine = 1
        if region != WHOLE:
            raw = pixels(self.panel.source()).shape
            fine = round(data.shape[-1] / raw[-1])
            region = (_finer(region[0], fine), _finer(region[1], fine))
        light = np.asarray(data[(..., *region)])
        return light.reshape(-1, *light.shape[-2:])

    def _accepts(self, layer: Layer) -> bool:
        from napari.layers import Image

        return isinstance(layer, Image) and not is_result(layer) and layer.ndim > 2


def is_light(layer: Layer) -> bool:
    """Whether a layer says of itself that it is the light, not the sample."""
    return bool(layer.metadata.get(MARK))


def _finer(part: slice, fine: int) -> slice:
    return slice(part.start * fine, part.stop * fine)
