"""Where a result belongs that was made from nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer


def blank(
    name: str,
    pixel_size_nm: float,
    axes: Sequence[str] = ("time", "y", "x"),
    times: Sequence[float] = (),
    time_unit: str = "pixel",
) -> Layer:
    """Return an empty image layer for the results of a simulation to be placed on.

    It never enters the viewer.

    Parameters
    ----------
    name : str
        What the names of the results begin with.
    pixel_size_nm : float
        Size of one cell, nm; cells are squares or cubes.
    axes : sequence of str
        Axes of the largest result.
    times : sequence of float
        Equally spaced positions along the first axis; 0, 1, 2 ... where left out.
    time_unit : str
        Unit of the positions; "pixel" for none.
    """
    from napari.layers import Image

    step = times[1] - times[0] if len(times) > 1 else 1.0
    spatial = [axis in "zyx" for axis in axes]
    scale = [pixel_size_nm if cell else step for cell in spatial]
    return Image(
        np.zeros((1,) * len(axes), np.uint8),
        name=name,
        scale=scale,
        translate=[times[0] if len(times) and not cell else 0.0 for cell in spatial],
        units=["nm" if cell else time_unit for cell in spatial],
        axis_labels=axes,
        contrast_limits=(0, 1),
    )
