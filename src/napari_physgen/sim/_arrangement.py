"""In which order microscopes write raw frames, and how to sort them.

An order is named by what it runs over, slowest first:

====================================  ====================================  =====================
order                                 written as                            known from
====================================  ====================================  =====================
angle-phase                           planes, in each angles, then phases   fairSIM's PAZ, BioSR
phase-angle                           planes, in each phases, then angles
angle-z-phase                         angles, planes, phases                DeltaVision OMX (PZA)
phase-angle-z                         phases, angles, planes                Zeiss Elyra (ZAP)
phase-z-angle, angle-phase-z          the two that are left
widefield-angle-phase and three more  one more frame of plain light         FlexSIM's wap, apw, ...
montage-angle-phase                   one picture with a row per angle      FlexSIM's axp
montage-phase-angle                   one picture with a row per phase      FlexSIM's pxa
====================================  ====================================  =====================

The letters of fairSIM go from fast to slow. "z" stands for whatever is repeated, also for time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Self, TypeVar, cast

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_physgen.sim.settings import SimSettings

    Array = TypeVar("Array", bound=NDArray[np.generic])


@dataclass(frozen=True)
class Arrangement:
    """One frame order, taken apart.

    Parameters
    ----------
    axes : tuple of str
        "angle", "phase" and perhaps "z", slowest first; planes are slowest where there is no "z".
    montage : bool
        Whether the frames lie side by side in one picture, the first axis down the rows.
    widefield : {"", "first", "last"}
        Where one more frame of plain light is.
    """

    axes: tuple[str, ...]
    montage: bool = False
    widefield: str = ""

    @classmethod
    def parse(cls, order: str) -> Self:
        """Take the name of an order apart."""
        words = order.split("-")
        place = {0: "first", len(words) - 1: "last"}
        widefield = place[words.index("widefield")] if "widefield" in words else ""
        axes = tuple(word for word in words if word not in ("widefield", "montage"))
        return cls(axes, "montage" in words, widefield)

    @property
    def plain(self) -> str:
        """The order of the frames of one plane: "angle-phase" or "phase-angle"."""
        return "-".join(axis for axis in self.axes if axis != "z")

    def frames(self, raw: Array, settings: SimSettings) -> Array:
        """Return the frames (..., frame, y, x) of each plane in their `plain` order.

        Raises
        ------
        UserError
            If the array does not divide into such frames.
        """
        sizes = {"angle": settings.angles, "phase": settings.phases}
        cut = self._tiles if self.montage else self._sequence
        return cut(raw, sizes)

    def _tiles(self, raw: Array, sizes: dict[str, int]) -> Array:
        rows, columns = (sizes[axis] for axis in self.axes)
        *leading, height, width = raw.shape
        if height % rows or width % columns:
            raise UserError(
                f"A picture of {height} x {width} pixels is no montage of {rows} x {columns} "
                "frames of equal size: check the frame order and the numbers of angles and phases."
            )
        y, x = height // rows, width // columns
        tiles = raw.reshape(*leading, rows, y, columns, x).swapaxes(-3, -2)
        return cast("Array", tiles.reshape(*leading, rows * columns, y, x))

    def _sequence(self, raw: Array, sizes: dict[str, int]) -> Array:
        each = sizes["angle"] * sizes["phase"] + bool(self.widefield)
        *shape, height, width = raw.shape
        used = running_axes(shape, each)
        if used is None:
            raise UserError(
                f"{prod(shape)} frames are no multiple of {each}, the frames of one image in the "
                "chosen frame order: check the order and the numbers of angles and phases."
            )
        leading, planes = shape[: len(shape) - used], prod(shape[len(shape) - used :]) // each
        if self.widefield:
            blocks = raw.reshape(*leading, planes, each, height, width)
            keep = slice(1, None) if self.widefield == "first" else slice(None, -1)
            blocks = blocks[..., keep, :, :]
        else:
            axes = self.axes if "z" in self.axes else ("z", *self.axes)
            order = raw.reshape(
                *leading, *((sizes | {"z": planes})[a] for a in axes), height, width
            )
            # Moving one axis to the front leaves the other two in their order.
            at = len(leading) + axes.index("z")
            front = [*range(len(leading)), at]
            rest = [axis for axis in range(order.ndim) if axis not in front]
            blocks = order.transpose(*front, *rest)
        count = sizes["angle"] * sizes["phase"]
        inner = () if planes == 1 else (planes,)
        return cast("Array", blocks.reshape(*leading, *inner, count, height, width))


def running_axes(shape: list[int], each: int) -> int | None:
    """Return how many of the last axes it takes to run over multiples of `each` frames."""
    for used in range(1, len(shape) + 1):
        if prod(shape[len(shape) - used :]) % each == 0:
            return used
    return None


def arrange(raw: Array, order: str, settings: SimSettings) -> Array:
    """Sort raw frames by angle.

    Parameters
    ----------
    raw : array
        (..., y, x), as recorded; also a lazy one.
    order : str
        Any of the settings' frame orders except "auto".
    settings : SimSettings
        Numbers of angles and phases.

    Returns
    -------
    array
        (..., frame, y, x), the angle slowest, then the phase. In front of them what does not
        run over frames: further axes, then planes where there is more than one.

    Raises
    ------
    UserError
        If the array does not divide into such frames.
    """
    arrangement = Arrangement.parse(order)
    frames = arrangement.frames(raw, settings)
    if arrangement.plain == "angle-phase":
        return frames
    *leading, _, height, width = frames.shape
    pairs = frames.reshape(*leading, settings.phases, settings.angles, height, width)
    return cast("Array", pairs.swapaxes(-4, -3).reshape(frames.shape))
