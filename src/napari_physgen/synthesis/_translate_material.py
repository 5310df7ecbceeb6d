"""What a translation is trained on: checked images of both kinds, some held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.synthesis._translate_images import (
    Domain,
    class_mask,
    listed,
    normalised,
    paired,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.generic]


@dataclass(frozen=True)
class Material:
    """The images of a training.

    Parameters
    ----------
    simulated, real : Domain
    held_out : Domain
        Simulated images that are not trained on (unless there is a single one).
    grey : tuple of float
        Grey levels of the real images that stand for -1 and 1, mean over the images.
    classes : int
        Classes of the masks; 0 without masks.
    """

    simulated: Domain
    held_out: Domain
    real: Domain
    grey: tuple[float, float]
    classes: int


def prepared(
    simulated: Sequence[Any] | Image,
    masks: Sequence[Image] | Image | None,
    real: Sequence[Image] | Image,
) -> Material:
    """Check the images and bring them to [-1, 1]."""
    pictures, marks = paired(simulated, masks)
    micrographs = listed(real)
    if not pictures or not micrographs:
        which = "simulated" if not pictures else "real"
        raise UserError(f"There are no {which} images: give at least one, better five or more.")
    if marks is not None and len(marks) != len(pictures):
        raise UserError(
            f"There are {len(pictures)} simulated images and {len(marks)} masks: give as many."
        )
    images = [normalised(image, "simulated")[0] for image in pictures]
    labels = None
    if marks is not None:
        labels = [class_mask(mask, image) for mask, image in zip(marks, pictures, strict=True)]
        classes = 1 + max(int(label.max()) for label in labels)
        if classes < 2:
            raise UserError("All masks are empty: give masks with at least two classes.")
    scaled = [normalised(image, "real") for image in micrographs]
    kept = len(images) - (max(len(images) // 8, 1) if len(images) > 1 else 0)
    apart = slice(kept, None) if kept < len(images) else slice(None)
    return Material(
        simulated=Domain(images[:kept], labels and labels[:kept]),
        held_out=Domain(images[apart], labels and labels[apart]),
        real=Domain([image for image, _, _ in scaled]),
        grey=(
            float(np.mean([low for _, low, _ in scaled])),
            float(np.mean([high for _, _, high in scaled])),
        ),
        classes=classes if labels else 0,
    )
