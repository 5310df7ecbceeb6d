"""TIFF hyperstacks that ImageJ and Fiji open with the right scale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_physgen.errors import UserError
from napari_physgen.io.atomic import replacing
from napari_physgen.io.image import Image, label_pixels
from napari_physgen.io.records import info

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

_CLASSIC_LIMIT = 2**32 - 2**25
# Integers up to here survive in float32.
_EXACT = 2**24


def write_imagej_tiff(path: str | os.PathLike[str], images: Sequence[Image]) -> Path:
    """Write one image, or several of one shape as channels, as an ImageJ hyperstack.

    ImageJ knows the axes TZCYX and the pixel types uint8, uint16 and float32. Axes
    that it lacks (angle, phase, frame, ...) are joined in their order into Z, or
    into T where the image has its own Z. Other pixel types are converted: booleans
    to 0 and 255, integers to uint16 where they fit, all else to float32.

    Parameters
    ----------
    path : path-like
        File to write, usually ``*.tif``; an existing one is replaced.
    images : sequence of Image
        At least one.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    UserError
        If the folder is not writable, the disk is full, or ImageJ cannot hold the data.
    """
    if not images:
        raise UserError("There is no image to save.")
    stacks = [_hyperstack(image) for image in images]
    first = images[0]
    if len({stack.shape for stack in stacks}) > 1 or (
        len(stacks) > 1 and any({"C", "S"} & set(image.codes) for image in images)
    ):
        raise UserError(
            "An ImageJ TIFF holds images of one shape only: save them one by one or as OME-TIFF."
        )
    data = np.concatenate(stacks, axis=2)
    if data.nbytes > _CLASSIC_LIMIT:
        raise UserError("An ImageJ TIFF holds at most 4 GB: save this as OME-TIFF.")
    y, x = first.micrometres("Y"), first.micrometres("X")
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            data,
            imagej=True,
            photometric="rgb" if data.shape[-1] > 1 else "minisblack",
            resolution=(1 / x[0], 1 / y[0]) if x and y else None,
            resolutionunit="NONE",
            metadata=_metadata(images, data.shape),
        )
    return Path(path)


def _hyperstack(image: Image) -> np.ndarray:
    """Return pixels in the order TZCYXS, six axes, in a type that ImageJ knows."""
    codes = image.codes
    extra = [code for code in codes if code not in "TZCYXS"]
    stack = "Z" if "Z" not in codes else "T"
    if extra and stack in codes:
        raise UserError(
            f"'{image.name}' has more axes than an ImageJ TIFF can hold: save it as OME-TIFF."
        )
    data = _pixels(image)
    order = [*(code for code in "TZ" if code in codes), *extra, *(c for c in "CYXS" if c in codes)]
    data = data.transpose([codes.index(code) for code in order])
    sizes = {code: data.shape[order.index(code)] for code in order}
    if extra:
        sizes[stack] = int(np.prod([sizes[code] for code in extra]))
        if stack == "T":
            data = np.moveaxis(data, order.index("Z"), len(extra))
    return data.reshape([sizes.get(code, 1) for code in "TZCYXS"])


def _pixels(image: Image) -> np.ndarray:
    data = label_pixels(image) if image.kind == "labels" else image.data
    if data.dtype.kind == "c":
        raise UserError(
            f"'{image.name}' holds complex numbers, which ImageJ does not know: "
            "save it as OME-TIFF."
        )
    if image.axes[-1] == "rgb":
        if data.dtype != np.uint8:
            raise UserError(f"ImageJ holds colour images of 8 bit only: '{image.name}' is not.")
        return data
    if data.dtype == np.bool_:
        return data.astype(np.uint8) * np.uint8(255)
    if data.dtype in (np.uint8, np.uint16):
        return data.astype(data.dtype.newbyteorder("="), copy=False)
    if data.dtype.kind in "iu":
        if data.min() >= 0 and data.max() <= np.iinfo(np.uint16).max:
            return data.astype(np.uint16)
        if image.kind == "labels" and data.max() > _EXACT:
            raise UserError(
                f"'{image.name}' has labels above {_EXACT}, which ImageJ cannot tell apart: "
                "save it as OME-TIFF."
            )
    return data.astype(np.float32)


def _metadata(images: Sequence[Image], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return ImageJ's header; the unit is ASCII because the header is."""
    first = images[0]
    names = [image.name for image in images]
    channels = shape[2]
    if len(names) < channels:
        names = [f"{first.name} {c + 1}" for c in range(channels)]
    metadata: dict[str, Any] = {
        "axes": "TZCYXS",
        "mode": "grayscale",
        "Labels": names * (shape[0] * shape[1]),
    }
    if first.micrometres("X"):
        metadata["unit"] = "um"
    if z := first.micrometres("Z"):
        metadata["spacing"] = z[0]
    if time := first.seconds():
        metadata["finterval"], metadata["tunit"] = time[0], "s"
    if first.record:
        metadata["Info"] = info(first.record)
    return metadata
