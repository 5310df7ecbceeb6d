"""The image as it sharpens: one layer that follows a running job and becomes its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_physgen.app.results import KEY, above, contrast, make_layer, renew

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_physgen.app.results import Origin
    from napari_physgen.outputs import Output


class LivePreview:
    """One layer that follows a running job, updated in place.

    Every run gets its own number; pictures that arrive for an earlier one are dropped.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    suffix : str
        What follows source and output in the layer's name.
    """

    def __init__(self, viewer: ViewerModel, suffix: str = " (live)") -> None:
        self.viewer = viewer
        self.suffix = suffix
        self.layer: Layer | None = None
        self.run = 0
        self._adapting = False
        self._by_hand = False

    @property
    def looked_at(self) -> bool:
        """Whether the picture is wanted: not closed or hidden by hand."""
        return self.layer is None or (self.layer in self.viewer.layers and self.layer.visible)

    def begin(self, source: Layer, origin: Origin = (0, 0), *, go_on: bool = False) -> int:
        """Start a new run on `source` and return its number.

        Parameters
        ----------
        source : napari.layers.Layer
            Where the pictures belong; need not be in the viewer.
        origin : (float, float)
            Source pixel that is pixel (0, 0) of the pictures.
        go_on : bool
            Keep the layer of the earlier run on view until the first picture of this one.
        """
        if go_on:
            self.run += 1
        else:
            self.clear()
        self.source, self.origin = source, origin
        self._anchored = source in self.viewer.layers
        self._selected = self.viewer.layers.selection.active
        return self.run

    def show(self, outputs: Sequence[Output], run: int) -> None:
        """Show the first output unless it belongs to an earlier run."""
        if run != self.run or not outputs:
            return
        if self._anchored and self.source not in self.viewer.layers:
            return  # closed by hand: there is nothing left to lay a picture on
        output = outputs[0]
        if self.layer is None:
            self.layer = make_layer(output, self.source, origin=self.origin, suffix=self.suffix)
            if output.kind == "image":
                self.layer.events.contrast_limits.connect(self._limits_moved)
            self.viewer.layers.insert(above(self.viewer, self.source), self.layer)
            return
        if self.layer in self.viewer.layers:  # else closed by hand: the run goes on without it
            self._renew(output)

    def fits(self, output: Output) -> bool:
        """Whether the live layer can become the layer of `output`."""
        return (
            self.layer is not None
            and self.layer in self.viewer.layers
            and output.kind == "image"
            and self.layer.ndim == output.data.ndim
        )

    def become(self, output: Output, name: str, record: Mapping[str, Any] | None) -> Layer:
        """Turn the live layer, as the person has set it up, into the result's and let it go."""
        layer = self.layer
        assert layer is not None
        self._renew(output)
        layer.name, layer.metadata, layer.visible = name, {KEY: dict(record or {})}, True
        layer.events.contrast_limits.disconnect(self._limits_moved)
        self.layer = None
        return layer

    def _renew(self, output: Output) -> None:
        assert self.layer is not None
        self._adapting = True
        try:
            renew(self.layer, output, self.source, self.origin)
            if output.kind == "image" and not self._by_hand:
                self.layer.contrast_limits = contrast(output.data)
        finally:
            self._adapting = False

    def clear(self) -> None:
        """Take the live layer away; what arrives later is dropped."""
        self.run += 1
        layer, self.layer, self._by_hand = self.layer, None, False
        if layer is not None and layer in self.viewer.layers:
            chosen = self.viewer.layers.selection.active is layer
            self.viewer.layers.remove(layer)
            if chosen and self._selected in self.viewer.layers:
                self.viewer.layers.selection.active = self._selected

    def _limits_moved(self) -> None:
        self._by_hand = self._by_hand or not self._adapting
