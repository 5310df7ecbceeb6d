"""Masks as the condition of a network: what is where, and how far its border is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_physgen.errors import UserError
from napari_physgen.generative.images import as_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_NO_LABELS = "Masks must be whole numbers, one per class: use a labels layer."

REACH = 8.0
"""Distances from a border saturate here, px."""


def label_images(
    masks: ArrayLike | Sequence[ArrayLike], volumes: bool
) -> list[NDArray[np.integer]]:
    """Return masks as a list of label images (y, x), or volumes (z, y, x).

    Raises
    ------
    UserError
        If they hold anything but whole numbers of 0 or more.
    """
    images = as_images(masks, volumes, "masks")
    if any((part != np.round(part)).any() or part.min() < 0 for part in images):
        raise UserError(_NO_LABELS)
    return [part.astype(int) for part in images]


def encode_mask(labels: ArrayLike, classes: int) -> NDArray[np.float32]:
    """Return a label image (..., y, x) as channels (classes + 1, ..., y, x).

    One channel per class (1 inside, 0 outside), then the distance to the nearest border between
    classes in units of REACH, at most 1.

    Raises
    ------
    UserError
        If there are labels beyond the classes.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "biu":
        raise UserError(_NO_LABELS)
    if array.min() < 0 or array.max() >= classes:
        raise UserError(
            f"The masks hold labels up to {array.max()}, but the prior knows {classes} classes "
            f"(0 to {classes - 1})."
        )
    channels = [array == label for label in range(classes)]
    distance = np.zeros(array.shape, np.float32)
    for inside in channels:
        if inside.any() and not inside.all():
            distance[inside] = distance_transform_edt(inside)[inside]
        elif inside.all():
            distance[:] = REACH
    return np.stack([*channels, np.minimum(distance / REACH, 1)]).astype(np.float32)
