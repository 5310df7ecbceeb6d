"""The user's micrographs: planes of layers, read and made ready in the worker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.inputs import pixel_size_nm
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.outputs import Output
    from napari_physgen.segmentation.prepare import Prepared

MOST = 24  # planes of one stack: more teach little and cost time and memory


@dataclass(frozen=True)
class Picture:
    """One micrograph: a plane of a layer.

    Parameters
    ----------
    name : str
    data : array
        Of the whole layer, still lazy.
    index : tuple of int
        Of the plane.
    pixel_size_nm : float or None
    layer : napari.layers.Layer
    """

    name: str
    data: Any
    index: tuple[int, ...]
    pixel_size_nm: float | None
    layer: Layer

    def read(self) -> NDArray[Any]:
        """Return the pixels, (y, x) or (y, x, 3 or 4)."""
        return np.asarray(self.data[self.index])


def planes(layer: Layer, most: int | None = None) -> list[Picture]:
    """Return the planes of an image layer, evenly spaced ones if there are more than `most`.

    Raises
    ------
    UserError
        If the layer holds yes and no only, or its pixels are not square.
    """
    data = whole(layer)
    lead = data.shape[: layer.ndim - 2]
    indices = list(np.ndindex(*lead))
    if most is not None and len(indices) > most:
        indices = [indices[round(i)] for i in np.linspace(0, len(indices) - 1, most)]
    size = pixel_size_nm(layer)
    return [
        Picture(_name(layer, index), data, tuple(map(int, index)), size, layer) for index in indices
    ]


def whole(layer: Layer) -> Any:
    """Return a layer's array at full resolution, still lazy; colours are allowed."""
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    if np.dtype(data.dtype) == bool:
        raise UserError(
            f"'{layer.name}' holds only yes and no (boolean): choose the micrograph itself."
        )
    return data


@dataclass
class Place:
    """Where a prepared picture lies on its image; known once the worker has prepared it."""

    zoom: float = 1.0
    corner: tuple[int, int] = (0, 0)

    def of(self, output: Output) -> Output:
        """Return an output on the prepared picture as one on the image itself."""
        shift = (1 / self.zoom - 1) / 2
        top, left = self.corner
        return replace(output, zoom=self.zoom, offset=(top + shift, left + shift))


class Micrographs:
    """Chosen micrographs; what networks need of them is made once, in the worker.

    Parameters
    ----------
    layers : sequence of napari.layers.Layer

    Raises
    ------
    UserError
        If there are none, or as `planes`.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        if not layers:
            raise UserError(
                "There are no images: open your micrographs and tick them in the list above."
            )
        # Not in the order of the viewer, which nobody repeats in the next session.
        self.layers = tuple(sorted(layers, key=lambda layer: layer.name))
        self.pictures = [picture for layer in self.layers for picture in planes(layer, MOST)]
        self.place = Place()
        self._prepared: Prepared | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells the same choice of images from another one."""
        return tuple((id(p.data), p.name, p.index, p.pixel_size_nm) for p in self.pictures)

    @property
    def sizes(self) -> list[float | None]:
        """Pixel sizes, nm."""
        return [picture.pixel_size_nm for picture in self.pictures]

    @property
    def described(self) -> list[list[Any]]:
        """Names and shapes, as JSON values, by which a project knows its images again."""
        return [[layer.name, list(whole(layer).shape)] for layer in self.layers]

    @property
    def files(self) -> list[list[str]]:
        """The files that each layer came from, as far as it knows."""
        return [_files(layer) for layer in self.layers]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the images; empty before they were looked at."""
        return self._prepared.notes if self._prepared else ()

    def read(self) -> list[NDArray[Any]]:
        """Return the pixels of all images; for the worker."""
        return [picture.read() for picture in self.pictures]

    def prepared(self) -> Prepared:
        """Return the images as networks need them; for the worker."""
        from napari_physgen.segmentation import prepare

        if self._prepared is None:
            names = [picture.name for picture in self.pictures]
            ready = prepare(self.read(), pixel_size_nm=self.sizes, names=names)
            top, _, left, _ = ready.boxes[0]
            self.place.zoom, self.place.corner = ready.zooms[0], (top, left)
            self._prepared = ready
        return self._prepared


def _files(layer: Layer) -> list[str]:
    path = layer.source.path
    return list(layer.metadata.get("files", [str(path)] if path else []))


def _name(layer: Layer, index: tuple[int, ...]) -> str:
    numbers = ", ".join(str(i + 1) for i in index)
    return f"{layer.name} {numbers}".strip()
