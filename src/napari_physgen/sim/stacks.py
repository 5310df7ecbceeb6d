"""A series as raw stacks, one by one, and the arrays that their images go into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.sim._arrangement import Arrangement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.outputs import Output
    from napari_physgen.sim.settings import SimSettings

Sink = Callable[[Sequence["Output"], Mapping[str, int]], "list[NDArray[Any]]"]
"""``sink(first, sizes)``: arrays for the outputs like those of the first stack.

In front of the axes of the outputs they have those of the series: `sizes` by their names. They are
filled one stack at a time.
"""

WORDS = {"t": "time", "z": "plane", "c": "channel"}
USUAL = ("t", "z", "c")
"""Names of axes that nobody named, as many as there are."""

REPEATED = ("z", "t")
"""What a frame order repeats, if the other axes do not have it."""

CHANNELS = ("c", "channel")


def in_memory(first: Sequence[Output], sizes: Mapping[str, int]) -> list[NDArray[Any]]:
    """Return arrays in memory; see `Sink`."""
    shape = tuple(sizes.values())
    return [np.zeros((*shape, *output.data.shape), output.data.dtype) for output in first]


@dataclass(frozen=True)
class Stacks:
    """Raw stacks along further axes.

    Parameters
    ----------
    raw : array
        (..., frame, y, x) or (..., angle, phase, y, x), also a lazy one.
    shape : tuple of int
        Sizes of the axes in front.
    axes : tuple of str
        Their names.
    order : str
        Frame order of each stack.
    """

    raw: Any
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    order: str

    @classmethod
    def of(cls, raw: ArrayLike, settings: SimSettings, axes: Sequence[str] = ()) -> Self | None:
        """Find the axes in front of the stacks; None for one stack, or what is none.

        Four axes are one stack if the first two have as many entries as there are angles and
        phases. Several times as many frames as a stack has are stacks one after the other; an
        order with planes gives them an axis behind those that `axes` names.
        """
        array: Any = raw if hasattr(raw, "ndim") and hasattr(raw, "shape") else np.asarray(raw)
        arrangement = Arrangement.parse(settings.order)
        order: str = settings.order
        if order not in ("auto", arrangement.plain):
            frames = arrangement.frames(array, settings)
            order = arrangement.plain
        else:
            frames = _unrolled(array, settings)
        pair = tuple(frames.shape[-4:-2])
        both = (settings.angles, settings.phases)
        shape = tuple(frames.shape[: -4 if pair in (both, both[::-1]) else -3])
        if not shape:
            return None
        names = tuple(axes) or USUAL[: len(shape)]
        if order != settings.order and len(names) == len(shape) - 1:
            names += (next(name for name in (*REPEATED, "frame") if name not in names),)
        if len(names) != len(shape):
            raise UserError(
                f"The series has {len(shape)} axes in front of its frames, but {len(names)} "
                f"names ({', '.join(names)}) were given."
            )
        return cls(frames, shape, names, order)

    def __len__(self) -> int:
        return prod(self.shape)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Yield the places of the stacks, the last axis fastest."""
        yield from np.ndindex(*self.shape)

    def __getitem__(self, place: tuple[int, ...]) -> NDArray[Any]:
        """Read one stack."""
        return np.asarray(self.raw[place])

    def label(self, place: tuple[int, ...]) -> str:
        """Name a place: "time 4 of 20"."""
        return self._named(place, self.axes)

    def channel_label(self, place: tuple[int, ...]) -> str:
        """Name the channel of a place: "channel 1 of 2", "the series" if there are no channels."""
        return self._named(place, CHANNELS) or "the series"

    def _named(self, place: tuple[int, ...], axes: Sequence[str]) -> str:
        parts = zip(self.axes, place, self.shape, strict=True)
        named = ((WORDS.get(axis, axis), i + 1, n) for axis, i, n in parts if axis in axes)
        return ", ".join(f"{word} {number} of {n}" for word, number, n in named)

    def channel(self, place: tuple[int, ...]) -> tuple[int, ...]:
        """Return what tells apart stacks that have no patterns in common."""
        return tuple(i for axis, i in zip(self.axes, place, strict=True) if axis in CHANNELS)


def _unrolled(array: Any, settings: SimSettings) -> Any:
    """Return (time * frame, y, x) as (time, frame, y, x), anything else as it is."""
    if array.ndim != 3 or len(array) == settings.frames or len(array) % settings.frames:
        return array
    return array.reshape(-1, settings.frames, *array.shape[1:])
