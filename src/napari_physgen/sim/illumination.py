"""Illumination that the user brings along: an earlier estimate or known frames."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.errors import UserError
from napari_physgen.io import read_stack
from napari_physgen.sim.results import Patterns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.sim.settings import SimSettings

    Frames = NDArray[np.float32]

FEWEST = 50
"""Frames of unknown speckle below which the mean of the patterns is too uneven to tell light from
object."""


def check_patterns(patterns: Patterns, settings: SimSettings) -> None:
    """Raise UserError if an estimate is not one of stacks laid out as the settings say."""
    if patterns.phases.shape != (settings.angles, settings.phases):
        angles, phases = patterns.phases.shape
        raise UserError(
            f"The patterns are those of {angles} angles x {phases} phases, but the settings say "
            f"{settings.angles} x {settings.phases}: estimate the patterns again."
        )


def known_illumination(
    frames: ArrayLike, shape: tuple[int, int], order: str, settings: SimSettings
) -> Frames:
    """Return known illumination (frame, y, x), angle slowest, on the result's grid, mean 1.

    Raises
    ------
    UserError
        If their number or size does not fit the raw frames.
    """
    array = np.asarray(frames, np.float32)
    fine = shape[0] * settings.zoom, shape[1] * settings.zoom
    if array.ndim == 4:
        array = array.reshape(-1, *array.shape[2:])
    if array.ndim != 3 or len(array) != settings.frames or array.shape[1:] not in (shape, fine):
        raise UserError(
            f"The illumination has the shape {array.shape}, but {settings.frames} frames of "
            f"{fine[0]} x {fine[1]} pixels (the result) or {shape[0]} x {shape[1]} (the raw "
            "frames) are needed."
        )
    if not np.isfinite(array).all() or array.min() < 0 or array.max() <= 0:
        raise UserError("The illumination must be finite and 0 or more everywhere.")
    if order == "phase-angle":
        array = array.reshape(settings.phases, settings.angles, *array.shape[1:])
        array = array.swapaxes(0, 1).reshape(settings.frames, *array.shape[2:])
    if array.shape[1:] != fine:
        tensor = torch.from_numpy(array)[None]
        array = torch.nn.functional.interpolate(tensor, size=fine, mode="bilinear")[0].numpy()
    return np.asarray(array / array.mean())


def laid_out(
    settings: SimSettings, raw: ArrayLike, light: Patterns | ArrayLike | None = None
) -> SimSettings:
    """Return the settings with a layout that fits a stack (frame, y, x) of known or random light.

    Where each frame has its own pattern, angles and phases only say which frames share a gain.
    Frames that do not fill them count as one group. Several times as many frames as there are of
    known `light` (frame, y, x) are a series, whose stacks have as many.

    Raises
    ------
    UserError
        If there are too few frames to tell random light from the sample.
    """
    shape = np.shape(raw)
    if settings.pattern not in ("given", "speckle") or len(shape) != 3:
        return settings
    count = shape[0]
    if settings.pattern == "speckle" and count < FEWEST:
        raise UserError(
            f"Unknown speckle takes {FEWEST} frames or more to be told from the sample, but the "
            f"stack has {count}: record more, or give the light of each frame (pattern 'given')."
        )
    known: tuple[int, ...] = ()
    if settings.pattern == "given" and not (light is None or isinstance(light, Patterns)):
        known = np.shape(light)[:-2]
    if known and min(known) > 0 and count % prod(known) == 0:
        count = prod(known)
    if settings.pattern == "given" and settings.frames == count:
        return settings
    layout = {"angles": 1, "phases": count, "order": "angle-phase"}
    return settings.model_copy(update=layout)


def read_illumination(settings: SimSettings) -> NDArray[np.generic]:
    """Return the frames of known light that the settings name.

    Raises
    ------
    UserError
        If no file is named or it cannot be read.
    """
    if settings.illumination is None:
        raise UserError(
            "The pattern is 'given', but no illumination was: choose the layer or the file with "
            "the light of each frame."
        )
    return read_stack(settings.illumination).data


def flat_light(settings: SimSettings, shape: tuple[int, int]) -> Frames:
    """Return even light (frame, y, x): what is known of speckle."""
    return np.ones((settings.frames, *shape), np.float32)
