"""Pixel sizes: bringing images of different magnification to one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]

LARGEST_RATIO = 8.0
SAME_SIZE = 0.01  # relative: less than one pixel over a training crop


class Scale(NamedTuple):
    """By what an image is magnified for a model, and a sentence about it ("" if there is none)."""

    zoom: float
    note: str


def scale_of(model_px: float | None, image_px: float | None) -> Scale:
    """Return what brings an image to the pixel size that a model was trained at.

    Parameters
    ----------
    model_px, image_px : float or None
        Pixel sizes, nm; None where unknown.

    Returns
    -------
    Scale
        `zoom` for `resampled`: model pixels per image pixel.

    Raises
    ------
    UserError
        If the image is more than eight times finer or coarser, or a pixel size is not above 0.
    """
    for size in (model_px, image_px):
        _check(size)
    if model_px is None:
        known = (
            "" if image_px is None else "The model knows no pixel size: taken as that of the image."
        )
        return Scale(1.0, known)
    if image_px is None:
        return Scale(
            1.0,
            f"The image has no pixel size: taken as {model_px:.4g} nm, at which the model was "
            "trained.",
        )
    zoom = image_px / model_px
    if not 1 / LARGEST_RATIO <= zoom <= LARGEST_RATIO:
        raise UserError(
            f"The image has {image_px:.4g} nm pixels, the model was trained at {model_px:.4g} nm: "
            f"more than {LARGEST_RATIO:.0f} times apart, so choose another model or check the "
            "pixel size."
        )
    if abs(zoom - 1) <= SAME_SIZE:
        return Scale(1.0, "")
    return Scale(
        zoom,
        f"The image was resampled from {image_px:.4g} nm to the {model_px:.4g} nm pixels of the "
        "model.",
    )


def resampled(image: NDArray[np.generic], zoom: float) -> Real:
    """Return a picture at another pixel size, with the same upper left corner.

    Parameters
    ----------
    image : numpy.ndarray
        (y, x).
    zoom : float
        New pixels per old one. Below 1 a new pixel is the mean over its own area, which is its own
        anti-aliasing filter; above 1 it is interpolated linearly.

    Returns
    -------
    numpy.ndarray
        (floor(y zoom), floor(x zoom)): rests of pixels at the lower right are left out.
    """
    picture = np.asarray(image, np.float64)
    if zoom == 1:
        return picture
    along = _averaged if zoom < 1 else _interpolated
    return along(along(picture, zoom).T, zoom).T


def _averaged(picture: Real, zoom: float) -> Real:
    """Average over areas along y: differences of the integral up to their edges."""
    count = max(1, int(len(picture) * zoom + 1e-9))
    edges = np.minimum(np.arange(count + 1) / zoom, len(picture))
    integral = np.concatenate([np.zeros((1, picture.shape[1])), np.cumsum(picture, 0)])
    below = np.minimum(edges.astype(int), len(picture) - 1)
    rest = (edges - below)[:, None]
    at_edges = (1 - rest) * integral[below] + rest * integral[below + 1]
    return np.asarray(np.diff(at_edges, axis=0) / np.diff(edges)[:, None])


def _interpolated(picture: Real, zoom: float) -> Real:
    """Interpolate linearly along y; pixel i is centred at (i + 1/2) / zoom - 1/2."""
    count = max(1, int(len(picture) * zoom + 1e-9))
    place = np.clip((np.arange(count) + 0.5) / zoom - 0.5, 0, len(picture) - 1)
    below = np.minimum(place.astype(int), max(0, len(picture) - 2))
    above = np.minimum(below + 1, len(picture) - 1)
    rest = (place - below)[:, None]
    return np.asarray((1 - rest) * picture[below] + rest * picture[above])


def pixel_sizes(
    given: float | Sequence[float | None] | None, names: Sequence[str]
) -> tuple[list[float] | None, list[str]]:
    """Return the pixel size of each image in nm (None if none is known), and notes.

    Raises
    ------
    UserError
        If there are too many or too few, one is not above 0, or one is missing among different
        ones.
    """
    count = len(names)
    one = given is None or isinstance(given, int | float)
    sizes: list[Any] = [given] * count if one else list(given)  # type: ignore[arg-type]
    if len(sizes) != count:
        raise UserError(
            f"There are {len(sizes)} pixel sizes for {count} images: give one for each."
        )
    for size in sizes:
        _check(size)
    known = [float(size) for size in sizes if size is not None]
    if not known:
        return None, []
    missing = [name for name, size in zip(names, sizes, strict=True) if size is None]
    if not missing:
        return known, []
    if max(known) > (1 + SAME_SIZE) * min(known):
        raise UserError(
            f"There is no pixel size for {listed(missing)}, and the others differ "
            f"({min(known):.4g} to {max(known):.4g} nm): give the pixel size of every image."
        )
    note = f"{listed(missing)}: no pixel size, taken as the {known[0]:.4g} nm of the others"
    return [known[0] if size is None else float(size) for size in sizes], [note]


def to_the_coarsest(sizes: Sequence[float], names: Sequence[str]) -> tuple[list[float], list[str]]:
    """Return the zoom that brings each image to the coarsest pixel size, and notes.

    Raises
    ------
    UserError
        If one is more than eight times finer than the coarsest.
    """
    coarsest = max(sizes)
    finest = min(sizes)
    if coarsest > LARGEST_RATIO * finest:
        fine, coarse = names[sizes.index(finest)], names[sizes.index(coarsest)]
        raise UserError(
            f"The pixels of {fine} ({finest:.4g} nm) and {coarse} ({coarsest:.4g} nm) are more "
            f"than {LARGEST_RATIO:.0f} times apart: leave one of them out, or check the sizes."
        )
    zooms = [1.0 if size >= (1 - SAME_SIZE) * coarsest else size / coarsest for size in sizes]
    groups: dict[str, list[str]] = {}
    for name, size in zip(names, sizes, strict=True):
        groups.setdefault(f"{size:.4g} nm", []).append(name)
    if min(zooms) == 1:
        return zooms, []
    words = ", ".join(f"{listed(members)}: {size}" for size, members in groups.items())
    return zooms, [f"pixel sizes differ ({words}): resampled to {coarsest:.4g} nm by averaging"]


def listed(names: Sequence[str]) -> str:
    """Return names as a microscopist would write them: "image 1, image 2 and 4 more"."""
    if len(names) <= 3:
        return ", ".join(names)
    return f"{names[0]}, {names[1]} and {len(names) - 2} more"


def _check(size: float | None) -> None:
    if size is not None and not 0 < size < np.inf:
        raise UserError(f"A pixel size is a number of nm above 0, not {size}.")
