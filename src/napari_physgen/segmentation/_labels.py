"""Labels as they come: whole numbers per pixel, and pixel sizes per axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

# More values than this are numbers of particles or grey levels, not classes.
MOST_CLASSES = 32


def as_labels(labels: ArrayLike, name: str) -> NDArray[np.integer]:
    """Return labels as whole numbers.

    Parameters
    ----------
    labels : array
        Any shape; bool, integers, or floats that are whole.
    name : str
        What the user calls them ("truth").

    Raises
    ------
    UserError
        If they are empty, not numbers or not whole.
    """
    array = np.asarray(labels)
    if array.size == 0:
        raise UserError(f"The {name} has no pixels: choose another layer.")
    if array.dtype == bool:
        return array.astype(np.uint8)
    if np.issubdtype(array.dtype, np.integer):
        return array
    whole = np.issubdtype(array.dtype, np.floating) and bool((array == np.rint(array)).all())
    if not whole or not np.isfinite(array).all():
        raise UserError(
            f"The {name} must hold one whole number (class) per pixel, not {_found(array)}: "
            "choose a labels layer or threshold the image."
        )
    return array.astype(np.int64)


def pixel_sizes(
    pixel_size_nm: float | Sequence[float] | None, ndim: int
) -> tuple[float, ...] | None:
    """Return the pixel size along every axis, nm; None stays None.

    Raises
    ------
    UserError
        If there is not one size above 0 for all axes or for each.
    """
    if pixel_size_nm is None:
        return None
    if isinstance(pixel_size_nm, int | float):
        pixel_size_nm = [pixel_size_nm] * ndim
    sizes = [float(size) for size in pixel_size_nm]
    if len(sizes) != ndim or not all(0 < size < np.inf for size in sizes):
        raise UserError(f"Give one pixel size above 0 nm, or one for each of the {ndim} axes.")
    return tuple(sizes)


def _found(array: NDArray[np.generic]) -> str:
    if not np.issubdtype(array.dtype, np.floating):
        return f"{array.dtype} values"
    if not np.isfinite(array).all():
        return "pixels without a number (NaN)"
    return f"values such as {array[array != np.rint(array)].flat[0]:.3g}"
