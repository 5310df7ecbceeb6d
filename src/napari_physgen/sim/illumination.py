"""Illumination that the user brings along: an earlier estimate or known frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.sim.results import Patterns
    from napari_physgen.sim.settings import SimSettings

    Frames = NDArray[np.float32]


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
