"""How real do generated images look, compared with layers of the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.fidelity_section import FidelitySection
from napari_physgen.app.inputs import is_grey
from napari_physgen.app.prior_source import parts
from napari_physgen.app.results import is_result
from napari_physgen.backend.job import Progress
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.app.widgets.generate import Generate
    from napari_physgen.backend import Job
    from napari_physgen.synthesis.fidelity_results import Fidelity


class GeneratedFidelity(FidelitySection):
    """The comparison of the last images with those of a layer."""

    about: ClassVar[str] = (
        "Measure how well a classifier tells the new images from real ones, and where they differ. "
        "Takes about a minute."
    )

    def __init__(self, panel: Generate) -> None:
        super().__init__(panel)
        self.real = LayerChooser(panel.viewer, _real)
        self.real.setToolTip("<p>Real images to compare with.</p>")
        self.column.insertWidget(0, self.real)

    def comparison(self) -> tuple[Callable[[], Job[Fidelity]], Layer]:
        """Return the job that compares and the layer of the real images; raises UserError."""
        made, layer = self.panel.made, self.real.layer
        if made is None:
            raise UserError("There are no new images yet: press Run first.")
        if layer is None:
            raise UserError("There are no real images to compare with: open some.")
        return lambda: _compared(layer, made.images), layer

    def lock(self, running: bool) -> None:
        """Leave the choice open while nothing runs."""
        super().lock(running)
        self.real.setEnabled(not running)


def _compared(layer: Layer, made: NDArray[np.float32]) -> Job[Fidelity]:
    from napari_physgen.synthesis import fidelity
    from napari_physgen.synthesis.fidelity_settings import FidelitySettings

    yield Progress(0, 1, "looking at the images")
    real = parts(layer, volumes=False)
    new = list(made.reshape(-1, *made.shape[-2:]))
    smallest = min(min(image.shape) for image in (*real, *new))
    # Half an image at most, so that every image gives several patches.
    patch = min(128, max(32, smallest // 2))
    return (yield from fidelity(real, new, None, FidelitySettings(patch=patch)))


def _real(layer: Layer) -> bool:
    from napari.layers import Image

    return isinstance(layer, Image) and is_grey(layer) and not is_result(layer)
