"""The raw stacks of a file one by one, for what works on single stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.sim._arrangement import Arrangement
from napari_physgen.sim.frame_order import settled
from napari_physgen.sim.illumination import laid_out
from napari_physgen.sim.stacks import Stacks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.backend.job import Job
    from napari_physgen.sim.settings import SimSettings


def single_stacks(
    raw: ArrayLike, settings: SimSettings, axes: Sequence[str] = ()
) -> Job[tuple[list[NDArray[Any]], SimSettings]]:
    """Take apart what `reconstruct` is given (a job).

    Parameters
    ----------
    raw : array
        One stack or a series, in any frame order.
    settings : SimSettings
    axes : sequence of str, optional
        Names of the axes in front.

    Returns
    -------
    stacks : list of arrays
        (frame, y, x) or (angle, phase, y, x), without frames of plain light.
    settings : SimSettings
        With their order: "angle-phase", "phase-angle" or, where it is still open, "auto".

    Raises
    ------
    UserError
        If the array does not divide into stacks.
    """
    settings = laid_out(settings, raw)
    settings, _ = yield from settled(raw, settings)
    stacks = Stacks.of(raw, settings, axes)
    if stacks is not None:
        return [stacks[place] for place in stacks], _in_order(settings, stacks.order)
    array, arrangement = np.asarray(raw), Arrangement.parse(settings.order)
    if arrangement.plain == settings.order:
        return [array], settings
    return [arrangement.frames(array, settings)], _in_order(settings, arrangement.plain)


def _in_order(settings: SimSettings, order: str) -> SimSettings:
    return settings.model_copy(update={"order": order})
