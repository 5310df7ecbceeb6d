"""Find the raw frames of a structured-illumination stack in a layer, and say so in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.inputs import LEAST, WHOLE, axis_names, pixels, shown_position
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.app.inputs import Region

PLURAL = {"time": "time points", "z": "z planes"}


@dataclass(frozen=True)
class Layout:
    """Where in a layer the raw frames of one reconstruction are.

    Parameters
    ----------
    index : tuple
        Index of the leading axes of the layer's data.
    order : {"auto", "angle-phase", "phase-angle"}
        Which index is slow, as far as the layer says.
    words : str
        How the stack was read, e.g. "9 frames = 3 angles x 3 phases, angle slowest".
    place : str
        Position along further axes, e.g. "time 4 of 10"; empty without such axes.
    """

    index: tuple[int | slice, ...]
    order: str
    words: str
    place: str = ""


def find_frames(
    layer: Layer,
    angles: int,
    phases: int,
    order: str = "auto",
    point: Sequence[float] | None = None,
) -> Layout:
    """Find the frames of a raw structured-illumination stack in a layer, reading none.

    Axes named angle and phase, or frame, are used where the layer has such labels;
    otherwise the axes whose sizes fit. Along all further axes the position shown in
    the viewer is taken.

    Parameters
    ----------
    layer : napari.layers.Layer
    angles, phases : int
        What the stack should contain.
    order : {"auto", "angle-phase", "phase-angle"}
        Which index is slow where the layer does not say.
    point : sequence of float, optional
        Position shown in the viewer, world coordinates (``viewer.dims.point``).

    Raises
    ------
    UserError
        One sentence that says what does not fit and what would.
    """
    shape = pixels(layer).shape
    used = _frame_axes(layer, shape, angles, phases)
    names = axis_names(layer)
    position = shown_position(layer, shape, point)
    leading = range(len(shape) - 2)
    index = tuple(slice(None) if axis in used else position[axis] for axis in leading)
    stored, words = _order(names, shape, used, angles, phases, order)
    place = ", ".join(
        f"{names[axis] or f'axis {axis + 1}'} {position[axis] + 1} of {shape[axis]}"
        for axis in leading
        if axis not in used and shape[axis] > 1
    )
    words += f"; {place} (the one shown)" if place else ""
    return Layout(index, stored, words, place)


def read_frames(layer: Layer, layout: Layout, region: Region | None = None) -> NDArray[Any]:
    """Read the frames (frame, y, x) that `find_frames` found, or a part of them.

    Parameters
    ----------
    region : (slice, slice), optional
        Part along y and x in pixels; default everything.

    Raises
    ------
    UserError
        If the frames are too small or hold values that are no intensities.
    """
    block = np.asarray(pixels(layer)[(*layout.index, *(region or WHOLE))])
    frames = block.reshape(-1, *block.shape[-2:])
    height, width = frames.shape[-2:]
    if min(height, width) < LEAST:
        raise UserError(
            f"'{layer.name}' has frames of {height} x {width} pixels: at least "
            f"{LEAST} x {LEAST} are needed to find the pattern."
        )
    if frames.dtype.kind == "f" and not np.isfinite(frames).all():
        raise UserError(
            f"'{layer.name}' contains missing or infinite values (NaN): fill or crop them first."
        )
    return frames


def guess_layout(layer: Layer) -> tuple[int, int] | None:
    """Return the (angles, phases) that the layer itself suggests, None if it does not."""
    try:
        shape = pixels(layer).shape
    except UserError:
        return None
    sizes = dict(zip(axis_names(layer), shape, strict=True))
    if "angle" in sizes and "phase" in sizes:
        return sizes["angle"], sizes["phase"]
    if len(shape) < 3:
        return None
    fits = layouts(sizes.get("frame", shape[-3]))
    if len(shape) > 3 and "frame" not in sizes:
        fits += [pair for pair in layouts(shape[-4] * shape[-3]) if pair == shape[-4:-2]]
    return fits[0] if fits else None


def layouts(frames: int) -> list[tuple[int, int]]:
    """Return the (angles, phases) that make a number of frames."""
    sizes = sorted(range(2, 10), key=lambda a: a != 3)  # three angles are the usual case
    return [(a, frames // a) for a in sizes if frames % a == 0 and 3 <= frames // a <= 15]


def _frame_axes(layer: Layer, shape: Sequence[int], angles: int, phases: int) -> list[int]:
    """Return the axes that together run over the raw frames, in stored order."""
    wanted = angles * phases
    names = axis_names(layer)
    leading = range(len(shape) - 2)
    named = [axis for axis in leading if names[axis] in ("angle", "phase", "frame")]
    candidates = [named] if named else [[axis] for axis in reversed(leading)]
    if not named:
        candidates += [[axis, axis + 1] for axis in reversed(leading[:-1])]
    for axes in candidates:
        sizes = [shape[axis] for axis in axes]
        pair = len(axes) == 2
        if math.prod(sizes) == wanted and (not pair or set(sizes) == {angles, phases}):
            return axes
    raise UserError(_misfit(layer, shape, names, named, angles, phases))


def _misfit(
    layer: Layer,
    shape: Sequence[int],
    names: Sequence[str],
    named: Sequence[int],
    angles: int,
    phases: int,
) -> str:
    """Say what the layer holds, what is needed and which numbers would fit."""
    need = f"{angles} angles x {phases} phases are {angles * phases} frames"
    if len(shape) < 3:
        return (
            f"'{layer.name}' is a single image, but {need}: choose the raw stack, "
            "or join its frames with Layers > Images to Stack."
        )
    axes = list(named) or [len(shape) - 3]
    found = math.prod(shape[axis] for axis in axes)
    fits = " or ".join(f"{a} angles x {p} phases" for a, p in layouts(found))
    things = PLURAL.get(names[axes[0]], "frames") if len(axes) == 1 else "frames"
    has = f"'{layer.name}' has {found} {things}, but {need}"
    if fits:
        return f"{has}: set {fits}, or choose another layer."
    return f"{has}, and no other layout fits {found}: is a frame missing, or a channel added?"


def _order(
    names: Sequence[str],
    shape: Sequence[int],
    used: Sequence[int],
    angles: int,
    phases: int,
    order: str,
) -> tuple[str, str]:
    """Return the frame order and the sentence that tells it."""
    if len(used) == 2:
        first, second = (names[axis] for axis in used)
        if "phase" in (first, second) or "angle" in (first, second):
            order = "phase-angle" if first == "phase" or second == "angle" else "angle-phase"
        elif angles != phases:
            order = "angle-phase" if shape[used[0]] == angles else "phase-angle"
    words = f"{angles * phases} frames = {angles} angles x {phases} phases"
    if order == "auto":
        return order, f"{words}, order found from the data"
    name = names[used[0]] if len(used) == 1 else ""
    taken = f" (read from the {PLURAL[name]})" if name in PLURAL else ""
    return order, f"{words}{taken}, {order.split('-')[0]} slowest"
