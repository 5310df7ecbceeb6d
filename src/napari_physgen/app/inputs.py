"""What a layer says of itself: axes, pixel size, pixels, visible part. Nothing here needs Qt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.io.acquisition import Acquisition

LONG = {
    "a": "angle",
    "p": "phase",
    "t": "time",
    "c": "channel",
    "i": "frame",
    "f": "frame",
    "orientation": "angle",
    "direction": "angle",
    "shift": "phase",
    "step": "phase",
    "frames": "frame",
    "angles": "angle",
    "phases": "phase",
    "ch": "channel",
    "channels": "channel",
}
LEAST = 64
LOOKS = 128  # pixels along each axis that tell grey pictures from colours
Region = tuple[slice, slice]
WHOLE: Region = (slice(None), slice(None))


def axis_names(layer: Layer) -> tuple[str, ...]:
    """Return one name per axis of the layer's data, "" where the layer does not say.

    The last two are always taken as y and x.
    """
    names = []
    for label in layer.axis_labels:
        word = label.strip().lower()
        # Defaults are '-3' (napari >= 0.9) or 'axis -3'.
        known = not word.removeprefix("axis").strip().lstrip("-").isdigit()
        names.append(LONG.get(word, word) if known else "")
    return (*names[:-2], "y", "x")


def acquisition(layer: Layer) -> Acquisition:
    """Return what the file of a layer says of the microscope, each value with its source.

    Empty for layers without a file, and for files that say nothing or cannot be read again. Axes of
    the layer tell its pixel size better: somebody may have corrected it.
    """
    from napari_physgen.io.acquisition import Acquisition, read_acquisition

    path = layer.source.path
    if not path:
        return Acquisition()
    try:
        return read_acquisition(path)
    except UserError:
        return Acquisition()


def pixel_size_nm(layer: Layer) -> float | None:
    """Return the pixel size along y and x in nm, None if the layer has no length unit.

    Raises
    ------
    UserError
        If the pixels are not square.
    """
    sizes = []
    for scale, unit in zip(layer.scale[-2:], layer.units[-2:], strict=True):
        if not unit.is_compatible_with("meter"):
            return None
        sizes.append(float((abs(scale) * unit).to("nanometer").magnitude))
    if not math.isclose(sizes[0], sizes[1], rel_tol=0.01):
        raise UserError(
            f"'{layer.name}' has pixels of {sizes[0]:.4g} x {sizes[1]:.4g} nm: they must be "
            "square, correct the layer's scale."
        )
    return float(f"{sizes[1]:.10g}")


def pixels(layer: Layer) -> Any:
    """Return the layer's array at full resolution, still lazy.

    A picture of one hue, as microscope software paints grey images, counts as grey.

    Raises
    ------
    UserError
        If the layer holds colours or yes/no values instead of intensities.
    """
    if not is_grey(layer):
        raise UserError(
            f"'{layer.name}' is a colour (RGB) picture: choose the grey-scale camera data, "
            "or split the layer with Layers > Split RGB."
        )
    data = _whole(layer)
    if np.dtype(data.dtype) == bool:
        raise UserError(
            f"'{layer.name}' holds only yes and no (boolean): choose the camera data instead."
        )
    return data[..., _hue(data)] if getattr(layer, "rgb", False) else data


def is_grey(layer: Layer) -> bool:
    """Whether a layer has no colours, or one hue only."""
    return not getattr(layer, "rgb", False) or _hue(_whole(layer)) is not None


def _hue(data: Any) -> int | None:
    """Return the first channel with light if all others are equal to it or dark, else None."""
    places = tuple(slice(None, None, max(n // LOOKS, 1)) for n in data.shape[:-1])
    channels = np.moveaxis(np.asarray(data[places]), -1, 0)[:3]
    lit = [i for i, channel in enumerate(channels) if channel.any()]
    same = lit and all((channels[i] == channels[lit[0]]).all() for i in lit)
    return lit[0] if same else None


def _whole(layer: Layer) -> Any:
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def shown_position(layer: Layer, shape: Sequence[int], point: Sequence[float] | None) -> list[int]:
    """Return the index along each axis that the viewer shows at `point`, world coordinates."""
    if point is None or len(shape) < 3:
        return [0] * len(shape)
    shown = np.asarray(layer.world_to_data(tuple(point)), float)[-len(shape) :]
    return [int(np.clip(round(at), 0, size - 1)) for at, size in zip(shown, shape, strict=True)]


def shown_plane(layer: Layer, point: Sequence[float] | None = None) -> NDArray[Any]:
    """Return the (y, x) plane that the viewer shows at `point`; raises UserError as `pixels`."""
    data = pixels(layer)
    index = shown_position(layer, data.shape, point)[:-2]
    return np.asarray(data[tuple(index)])


def visible_region(layer: Layer, most: int = 256, least: int = LEAST, multiple: int = 8) -> Region:
    """Return the part of the layer that the canvas shows, for a quick preview.

    At most `most` pixels around the middle of the view, at least `least`, with
    side lengths that FFTs and networks like.
    """
    corners = np.asarray(layer.corner_pixels)[:, -2:]
    shape = pixels(layer).shape[-2:]
    slices = []
    for axis, length in enumerate(shape):
        first, last = int(corners[0, axis]), int(corners[1, axis]) + 1
        if last - first < 2:  # never drawn
            first, last = 0, length
        first, last = max(first, 0), min(last, length)
        wanted = min(max(last - first, least), most, length)
        size = max(wanted // multiple * multiple, min(least, length))
        start = min(max((first + last - size) // 2, 0), length - size)
        slices.append(slice(start, start + size))
    return slices[0], slices[1]
