"""Find out in which order the raw frames were written: the patterns tell.

All orders that fit the shape of the array are tried; `_order_score` says what is expected of the
right one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from napari_physgen.backend.job import Progress
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output
from napari_physgen.sim._arrangement import Arrangement, arrange, running_axes
from napari_physgen.sim._order_score import Score, score
from napari_physgen.sim.ingest import SMALLEST
from napari_physgen.sim.settings import Order
from napari_physgen.sim.spectrum import log_spectrum

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.backend.job import Job
    from napari_physgen.sim.settings import SimSettings

    Frames = NDArray[np.generic]

__all__ = ["FrameOrder", "Scored", "arrange", "candidates", "find_order", "settled"]

SIDE = 192
"""Pixels along y and x that are looked at: enough for faint patterns, a tenth of a second."""

CLEAR = 15.0
"""Evidence (-ln p) by which the best order must lead to be called clear."""

MARGIN = 0.15
"""The lead in parts of the best score that it takes as well: bright frames score in the thousands.
Right orders of simulated series lead by 0.3 and more."""

LIKELY = 5.0
"""The same to be called likely."""


@dataclass(frozen=True)
class Scored:
    """One order that the frames could be in.

    Parameters
    ----------
    order : str
    score : Score
        How well the frames fit it; `score.total` is what is compared.
    planes : int
        Planes or time points that the array then holds.
    """

    order: str
    score: Score
    planes: int


@dataclass(frozen=True)
class FrameOrder:
    """The order that the raw frames are in, and how sure that is.

    Parameters
    ----------
    order : str
        The best one; `arrange` sorts by it.
    table : tuple of Scored
        All that were tried, best first.
    confidence : str
        "clear", "likely: ..." or "not clear: ..." with what to do.
    spectra : numpy.ndarray
        (angle, y, x), log power of what differs between the phases of each angle.
    """

    order: str
    table: tuple[Scored, ...]
    confidence: str
    spectra: NDArray[np.float32] = field(repr=False)

    @property
    def metrics(self) -> Mapping[str, float]:
        """The score of each order that was tried."""
        return {entry.order: entry.score.total for entry in self.table}

    @property
    def summary(self) -> str:
        """The order with its confidence and the next best one, in one line."""
        first, *others = self.table
        told = f"Frame order {self.order} ({self.confidence}): score {first.score.total:.0f}"
        if others:
            told += f", next {others[0].order} with {others[0].score.total:.0f}"
        return f"{told}."

    def outputs(self) -> list[Output]:
        """Spectra to look at: in the right order each angle shows one pair of bright spots."""
        hints = {"colormap": "magma"}
        return [
            Output(
                "spectrum of each angle",
                self.spectra,
                axes=("angle", "y", "x"),
                display=hints,
                export=False,
            )
        ]


def candidates(shape: Sequence[int], settings: SimSettings) -> list[str]:
    """Return the frame orders that an array of this shape could be in, the usual ones first.

    Parameters
    ----------
    shape : sequence of int
        (..., y, x).
    settings : SimSettings
        Numbers of angles and phases.
    """
    *leading, height, width = shape
    fitting = []
    for order in get_args(Order)[1:]:
        parts = Arrangement.parse(order)
        if parts.montage:
            rows, columns = (getattr(settings, f"{axis}s") for axis in parts.axes)
            fits = height % rows == width % columns == 0
            fits &= min(height // rows, width // columns) >= SMALLEST
        else:
            each = settings.frames + bool(parts.widefield)
            used = running_axes(leading, each)
            fits = used is not None
            if used is not None and "z" in parts.axes:
                fits = prod(leading[len(leading) - used :]) > each
        if fits:
            fitting.append(order)
    return fitting


def find_order(raw: Frames, settings: SimSettings) -> Job[FrameOrder]:
    """Find the order of raw frames by trying all that fit (a job).

    Parameters
    ----------
    raw : array
        (..., y, x), as recorded. Of each order the two planes in the middle are looked at, at most
        `SIDE` x `SIDE` pixels around their brightest part.
    settings : SimSettings
        The microscope and the numbers of angles and phases; its order does not matter.

    Raises
    ------
    UserError
        If no order fits the shape of the array.
    """
    names = candidates(raw.shape, settings)
    if settings.angles < 2 or settings.pattern in ("given", "speckle", "hexagonal"):
        raise UserError(
            "With one angle, or with light that is no stripes, no order is to be found."
        )
    if not names:
        size = " x ".join(str(n) for n in raw.shape)
        raise UserError(
            f"An array of {size} holds no {settings.angles} angles x {settings.phases} phases in "
            "any known frame order: check these numbers."
        )
    table, looks = [], {}
    for number, order in enumerate(names):
        yield Progress(number, len(names), f"trying the frame order {order}")
        frames, plain, planes = _look(raw, order, settings)
        looks[order] = frames
        table.append(Scored(order, score(frames, plain, settings), planes))
    table.sort(key=lambda entry: -entry.score.total)
    best = table[0].order
    spectra = np.stack([log_spectrum(frames[None]) for frames in looks[best]])
    return FrameOrder(best, tuple(table), _confidence(table, settings.angles), spectra)


def settled(raw: ArrayLike, settings: SimSettings) -> Job[tuple[SimSettings, str]]:
    """Replace the order "auto" where angle and phase are not all that is open (a job).

    Which of these two is slower in one stack is left to the estimate of the patterns, which
    knows more. An order that is not clear is not taken.

    Returns
    -------
    settings : SimSettings
    words : str
        What was found, empty if nothing was open.
    """
    array: Any = raw if hasattr(raw, "shape") else np.asarray(raw)
    striped = settings.pattern not in ("given", "speckle", "hexagonal") and settings.angles > 1
    names = candidates(array.shape, settings) if settings.order == "auto" and striped else []
    sequences = [name for name in names if "montage" not in name]
    if not names or set(sequences) == {"angle-phase", "phase-angle"}:
        return settings, ""
    found = yield from find_order(array, settings)
    if found.confidence.startswith("not clear"):
        return settings, ""
    return settings.model_copy(update={"order": found.order}), found.summary


def _look(
    raw: Frames, order: str, settings: SimSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, int]:
    """Return the brightest part of the mean of the middle plane and the one before it.

    A wrong order may put pure patterns into each plane, but then it gives one angle different
    patterns in different planes: their mean shows it.

    Returns
    -------
    frames : numpy.ndarray
        (angle, phase, y, x).
    plain : numpy.ndarray or None
        (y, x), the same part of the frame of plain light.
    planes : int
        Number of planes.
    """
    frames = arrange(raw, order, settings)
    planes = frames.reshape(-1, *frames.shape[-3:])
    middle = slice(max(len(planes) // 2 - 1, 0), len(planes) // 2 + 1)
    plane = np.asarray(planes[middle], np.float32).mean(axis=0)
    cut = []
    for axis, size in enumerate(plane.shape[1:]):
        profile = plane.mean(axis=(0, 2 - axis))
        light = np.convolve(profile - profile.min(), np.ones(min(SIDE, size)), "valid")
        start = int(np.argmax(light))
        cut.append(slice(start, start + SIDE))
    part = plane[:, cut[0], cut[1]]
    plain = None
    if place := Arrangement.parse(order).widefield:
        blocks = raw.reshape(-1, settings.frames + 1, *raw.shape[-2:])
        each = blocks[middle, 0 if place == "first" else -1]
        plain = np.asarray(each[:, cut[0], cut[1]], np.float32).mean(axis=0)
    return part.reshape(settings.angles, settings.phases, *part.shape[1:]), plain, len(planes)


def _confidence(table: list[Scored], angles: int) -> str:
    best = table[0].score
    lead = best.total - (table[1].score.total if len(table) > 1 else 0.0)
    if lead >= max(CLEAR, MARGIN * best.total) and best.patterns == angles:
        return "clear"
    if lead >= LIKELY:
        return f"likely: {best.patterns} of {angles} patterns stand out"
    return (
        "not clear: no order shows the patterns; choose it by hand, or check NA, wavelength, pixel "
        "size and the numbers of angles and phases"
    )
