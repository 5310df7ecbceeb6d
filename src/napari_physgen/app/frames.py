"""Find the raw frames of a structured-illumination stack in a layer, and say so in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.frame_counts import FRAMES, layouts
from napari_physgen.app.inputs import LEAST, WHOLE, axis_names, pixels, shown_position
from napari_physgen.errors import UserError
from napari_physgen.sim._arrangement import Arrangement

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
    order : str
        Frame order of what `read_frames` returns, as far as the layer says; "auto": not known.
    words : str
        How the stack was read, e.g. "9 frames = 3 angles x 3 phases, angle slowest".
    place : str
        Position along further axes, e.g. "time 4 of 10"; empty without such axes.
    used : tuple of int
        The axes that run over raw frames; none in a montage.
    picks : tuple of tuples of int
        Where the axes that run over raw frames hold several stacks: the frames of each one.
    along : str
        What these stacks run over.
    shown : int
        Number of the stack in `picks` that the viewer shows.
    tiles : (int, int)
        Rows and columns of a montage.
    """

    index: tuple[int | slice, ...]
    order: str
    words: str
    place: str = ""
    used: tuple[int, ...] = ()
    picks: tuple[tuple[int, ...], ...] = ()
    along: str = "time"
    shown: int = 0
    tiles: tuple[int, int] = (1, 1)


def find_frames(
    layer: Layer,
    angles: int,
    phases: int,
    order: str = "auto",
    point: Sequence[float] | None = None,
) -> Layout:
    """Find the frames of a raw structured-illumination stack in a layer, reading none.

    Axes named angle and phase, or frame, are used where the layer has such labels;
    otherwise the axes whose sizes fit, once or several times. Along all further axes the position
    shown in the viewer is taken.

    Parameters
    ----------
    layer : napari.layers.Layer
    angles, phases : int
        What the stack should contain.
    order : str
        Frame order of the settings; the layer's own axes go before "auto" and the two plain ones.
    point : sequence of float, optional
        Position shown in the viewer, world coordinates (``viewer.dims.point``).

    Raises
    ------
    UserError
        One sentence that says what does not fit and what would.
    """
    shape = pixels(layer).shape
    kind = Arrangement.parse(order)
    tiles = tuple({"angle": angles, "phase": phases}[a] for a in kind.axes) if kind.montage else ()
    used = () if tiles else _frame_axes(layer, shape, angles, phases, bool(kind.widefield))
    names = axis_names(layer)
    position = shown_position(layer, shape, point)
    leading = range(len(shape) - 2)
    places = [
        f"{names[axis] or f'axis {axis + 1}:'} {position[axis] + 1} of {shape[axis]}"
        for axis in leading
        if axis not in used and shape[axis] > 1
    ]
    index = tuple(slice(None) if axis in used else position[axis] for axis in leading)
    if tiles:
        _check_tiles(layer, shape, tiles)
        words = f"a montage of {tiles[0]} x {tiles[1]} frames, {kind.axes[0]}s down the rows"
        place = ", ".join(places)
        return Layout(index, order, _told(words, place), place, tiles=(tiles[0], tiles[1]))
    stored, words = _order(names, shape, used, angles, phases, order)
    picks, shown = _picks([shape[axis] for axis in used], angles, phases, stored), 0
    if picks:
        sizes = [shape[a] for a in used]
        at = int(np.ravel_multi_index([position[a] for a in used], sizes))
        # Frames of several stacks may be mixed: the slider is cut into as many parts.
        shown = at * len(picks) // math.prod(sizes)
        stored = stored if stored == "auto" else kind.plain
        places.append(f"stack {shown + 1} of {len(picks)}")
    place = ", ".join(places)
    along = "z" if "z" in kind.axes else "time"
    return Layout(index, stored, _told(words, place), place, tuple(used), picks, along, shown)


def _told(words: str, place: str) -> str:
    return f"{words}; {place} (the one shown)" if place else words


def read_frames(layer: Layer, layout: Layout, region: Region | None = None) -> NDArray[Any]:
    """Read the frames (frame, y, x) that `find_frames` found, or a part of them.

    A whole montage stays one picture (y, x).

    Parameters
    ----------
    region : (slice, slice), optional
        Part along y and x in pixels of one frame; default everything.

    Raises
    ------
    UserError
        If the frames are too small or hold values that are no intensities.
    """
    montage = layout.tiles != (1, 1)
    wanted = WHOLE if montage else region or WHOLE
    block = np.asarray(pixels(layer)[(*layout.index, *wanted)])
    frames = block.reshape(-1, *block.shape[-2:])
    if layout.picks:
        frames = frames[list(layout.picks[layout.shown])]
    height, width = (n // parts for n, parts in zip(frames.shape[-2:], layout.tiles, strict=True))
    if montage and region not in (None, WHOLE):
        tiles = frames.reshape(layout.tiles[0], height, layout.tiles[1], width).swapaxes(1, 2)
        frames = tiles.reshape(-1, height, width)[(slice(None), *region)]
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
    return frames[0] if montage and frames.shape[-2:] != (height, width) else frames


def within(region: Region, layout: Layout, shape: Sequence[int]) -> Region:
    """Return a region of the layer as one of its frames, which in a montage are smaller."""
    parts = []
    for part, size, count in zip(region, shape[-2:], layout.tiles, strict=True):
        length = min(part.stop - part.start, size // count)
        start = min(part.start, size // count - length)
        parts.append(slice(start, start + length))
    return parts[0], parts[1]


def _frame_axes(
    layer: Layer, shape: Sequence[int], angles: int, phases: int, widefield: bool
) -> list[int]:
    """Return the axes that together run over the raw frames, in stored order."""
    wanted = angles * phases + widefield
    names = axis_names(layer)
    leading = range(len(shape) - 2)
    named = [axis for axis in leading if names[axis] in FRAMES]
    candidates = [named] if named else [[axis] for axis in reversed(leading)]
    if not named:
        candidates += [[axis, axis + 1] for axis in reversed(leading[:-1])]
    for axes in candidates:
        sizes = [shape[axis] for axis in axes]
        pair = len(axes) == 2
        if math.prod(sizes) == wanted and (not pair or set(sizes) == {angles, phases}):
            return axes
    last = named or list(leading[-1:])
    if len(last) == 1 and shape[last[0]] % wanted == 0:  # stacks one after the other
        return last
    raise UserError(_misfit(layer, shape, names, named, angles, phases))


def _picks(
    sizes: Sequence[int], angles: int, phases: int, order: str
) -> tuple[tuple[int, ...], ...]:
    """Return the frames of each stack along the flattened frame axes; none if all are one stack."""
    frames = angles * phases
    kind = Arrangement.parse(order)
    numbers = np.arange(math.prod(sizes))
    if len(numbers) < 2 * frames:
        return ()
    if order not in ("auto", kind.plain):
        counts: Any = SimpleNamespace(angles=angles, phases=phases)
        numbers = kind.frames(numbers[:, None, None], counts)
    return tuple(tuple(int(i) for i in row) for row in numbers.reshape(-1, frames))


def _check_tiles(layer: Layer, shape: Sequence[int], tiles: Sequence[int]) -> None:
    if shape[-2] % tiles[0] or shape[-1] % tiles[1]:
        raise UserError(
            f"'{layer.name}' of {shape[-2]} x {shape[-1]} pixels is no montage of {tiles[0]} x "
            f"{tiles[1]} frames of equal size: check the frame order, angles and phases."
        )


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
    if angles == 1:
        need = f"the chosen light needs {phases}"
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
    words = f"{angles * phases} frames"
    words += f" = {angles} angles x {phases} phases" if angles > 1 else ", all of one angle"
    name = names[used[0]] if len(used) == 1 else ""
    taken = f" (read from the {PLURAL[name]})" if name in PLURAL and order != "auto" else ""
    if angles == 1:
        return order, words + taken
    if order == "auto":
        return order, f"{words}, order found from the data"
    parts = order.split("-")
    told = f"{parts[0]} slowest" if len(parts) == 2 else f"in the order {', '.join(parts)}"
    return order, f"{words}{taken}, {told}"
