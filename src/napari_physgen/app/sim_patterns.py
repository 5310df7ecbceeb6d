"""The spectrum of an estimate beside its source: look at it, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_physgen.app.results import KEY
from napari_physgen.app.side_view import SideView

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_physgen.sim.results import Patterns

# What the patterns depend on; a change of anything else keeps an estimate valid.
OPTICS = (
    "na",
    "wavelength_nm",
    "pixel_size_nm",
    "pattern",
    "angles",
    "phases",
    "order",
    "excitation_nm",
    "excitation_na",
    "otf",
    "otf_damping",
    "camera_offset",
    "camera_gain",
)


class PatternView:
    """Shows the layers of an estimate and hides them again."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.side = SideView(viewer)

    def look(self, source: Layer, patterns: Patterns) -> None:
        """Bring the spectrum into view."""
        pictures = self._beside(source, patterns)
        for layer in pictures:
            layer.visible = True
        if pictures:
            self.viewer.layers.selection.active = source
            self.side.look([source, *pictures])

    def back(self, source: Layer, patterns: Patterns | None) -> None:
        """Hide the spectrum and return to the source, where the image will be."""
        if patterns is not None:
            for layer in self._beside(source, patterns):
                layer.visible = False
        self.side.back()

    def _beside(self, source: Layer, patterns: Patterns) -> list[Layer]:
        """Return the spectrum and its circles, which lie beside the source."""
        names = {
            f"{source.name} {output.name}"
            for output in patterns.outputs()
            if output.offset is not None
        }
        return [x for x in self.viewer.layers if x.name in names and KEY in x.metadata]


def names_of(patterns: Patterns) -> set[str]:
    """Return the names of what is shown of an estimate."""
    return {output.name for output in patterns.outputs()}
