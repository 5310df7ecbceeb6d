"""How many raw frames a layer has, and which angles and phases make that number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_physgen.app.inputs import axis_names, pixels
from napari_physgen.errors import UserError
from napari_physgen.sim.settings import LAYOUT

if TYPE_CHECKING:
    from napari.layers import Layer

FRAMES = ("angle", "phase", "frame")
"""Names of axes that run over raw frames."""


def frame_count(layer: Layer) -> int:
    """Return how many raw frames there seem to be in a layer, all stacks of its frame axis."""
    shape, names = pixels(layer).shape, axis_names(layer)
    named = [n for n, name in zip(shape, names, strict=True) if name in FRAMES]
    return math.prod(named) if named else shape[-3] if len(shape) > 2 else 1


def guess_layout(layer: Layer, pattern: str = "stripes") -> tuple[int, int] | None:
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
    fits = layouts(sizes.get("frame", shape[-3]), pattern)
    if len(shape) > 3 and "frame" not in sizes:
        fits += [pair for pair in layouts(shape[-4] * shape[-3], pattern) if pair == shape[-4:-2]]
    return fits[0] if fits else None


def layouts(frames: int, pattern: str = "stripes") -> list[tuple[int, int]]:
    """Return the (angles, phases) that make a number of frames, the likeliest first."""
    if pattern in ("hexagonal", "given", "speckle"):
        return [(1, frames)] if frames >= LAYOUT[pattern][1] else []
    angles, phases = LAYOUT[pattern]
    usual = 5 if pattern == "saturated" else 3
    sizes = sorted(range(angles, 10), key=lambda a: a != usual)
    return [(a, frames // a) for a in sizes if frames % a == 0 and phases <= frames // a <= 15]
