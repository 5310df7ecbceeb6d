"""OME-TIFF with physical pixel size, axes, channel names and the record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_physgen import __version__
from napari_physgen.errors import UserError
from napari_physgen.io.atomic import replacing
from napari_physgen.io.image import Image, label_pixels
from napari_physgen.io.records import annotation

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

# Classic TIFF addresses 4 GB; tifffile cannot know the compressed size in advance.
_CLASSIC_LIMIT = 2**32 - 2**25


def write_ome_tiff(path: str | os.PathLike[str], images: Sequence[Image]) -> Path:
    """Write images into one OME-TIFF, whole or not at all.

    Images that agree in shape, axes, pixel type, pixel size and record become the
    channels of one OME image; all others become further OME images, in the order
    of their first appearance.

    Parameters
    ----------
    path : path-like
        File to write, usually ``*.ome.tif``; an existing one is replaced.
    images : sequence of Image
        At least one.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    UserError
        If the folder is not writable, the disk is full, or the format cannot hold
        the data.
    """
    if not images:
        raise UserError("There is no image to save.")
    groups = _channels([(image, _pixels(image)) for image in images])
    size = sum(pixels.nbytes for group in groups for _, pixels in group)
    try:
        with (
            replacing(path) as temporary,
            tifffile.TiffWriter(temporary, bigtiff=size > _CLASSIC_LIMIT, ome=True) as tif,
        ):
            for group in groups:
                _write(tif, group)
    except tifffile.OmeXmlError as error:
        raise UserError(
            f"This does not fit into an OME-TIFF ({error}): save fewer dimensions."
        ) from error
    return Path(path)


Group = list[tuple[Image, np.ndarray]]


def _pixels(image: Image) -> np.ndarray:
    """Return the pixels in a type that OME knows: no int64, float16 or 1-bit."""
    data = image.data
    if image.kind == "labels":
        return label_pixels(image)
    if data.dtype == np.bool_:
        return data.astype(np.uint8)
    if data.dtype == np.float16:
        return data.astype(np.float32)
    if data.dtype in (np.int64, np.uint64):
        for dtype in (np.int32, np.uint32):
            limits = np.iinfo(dtype)
            if limits.min <= data.min() and data.max() <= limits.max:
                return data.astype(dtype)
        return data.astype(np.float64)
    if data.dtype.kind not in "iufc" or data.dtype.itemsize > (16 if data.dtype.kind == "c" else 8):
        raise UserError(
            f"'{image.name}' holds {data.dtype} values, which a TIFF file cannot keep: "
            "convert it to numbers first."
        )
    return data.astype(data.dtype.newbyteorder("="), copy=False)


def _channels(pixels: Group) -> list[Group]:
    """Group images that fit as channels of one OME image."""
    groups: list[Group] = []
    for image, data in pixels:
        for group in groups:
            first, other = group[0]
            if (
                image.kind == first.kind == "image"
                and not {"C", "S"} & set(image.codes)
                and (image.codes, image.record) == (first.codes, first.record)
                and (data.shape, data.dtype) == (other.shape, other.dtype)
                and all(_geometry(image, code) == _geometry(first, code) for code in "TZYX")
            ):
                group.append((image, data))
                break
        else:
            groups.append([(image, data)])
    return groups


def _geometry(image: Image, code: str) -> tuple[float, float] | None:
    return image.seconds() if code == "T" else image.micrometres(code)


def lay_out(path: str | os.PathLike[str], images: Sequence[Image]) -> None:
    """Make an OME-TIFF with the planes of `images`, all 0 and uncompressed, to be filled later.

    Every image is an OME image of its own; of their pixels only shape and type are used.
    """
    size = sum(image.data.nbytes for image in images)
    with tifffile.TiffWriter(path, bigtiff=size > _CLASSIC_LIMIT, ome=True) as tif:
        for image in images:
            group = [(image, image.data)]
            tif.write(
                shape=image.data.shape,
                dtype=image.data.dtype,
                **_options(group, image.codes, image.data.shape),
            )


def _write(tif: tifffile.TiffWriter, group: Group) -> None:
    image, data = group[0]
    codes, shape = image.codes, data.shape
    if len(group) > 1:
        # C stands right before Y: behind it an angle or phase axis would be read as channels.
        codes, shape = codes.replace("YX", "CYX"), (*shape[:-2], len(group), *shape[-2:])
    # Plane by plane: a series may be larger than the memory.
    places = np.ndindex(*data.shape[: image.codes.index("Y")])
    planes = (pixels[place] for place in places for _, pixels in group)
    options = _options(group, codes, shape)
    tif.write(planes, shape=shape, dtype=data.dtype, compression="zlib", **options)


def _options(group: Group, codes: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return what tifffile is told about an OME image."""
    image = group[0][0]
    resolution = None
    y, x = image.micrometres("Y"), image.micrometres("X")
    if y and x:
        resolution = (1e4 / x[0], 1e4 / y[0])
    return {
        "photometric": "rgb" if "S" in codes else "minisblack",
        "resolution": resolution,
        "resolutionunit": "CENTIMETER" if resolution else None,
        "metadata": _metadata(group, codes, shape),
        "software": f"napari-physgen {__version__}",
    }


def _metadata(group: Group, codes: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return OME attributes in tifffile's words."""
    image = group[0][0]
    names = [member.name for member, _ in group]
    metadata: dict[str, Any] = {"axes": codes, "Name": " + ".join(names)}
    if "S" not in codes:
        count = shape[codes.index("C")] if "C" in codes else 1
        if len(group) == 1 and count > 1:
            names = [f"{image.name} {c + 1}" for c in range(count)]
        metadata["Channel"] = {"Name": names}
    planes = int(np.prod(shape[: codes.index("Y")], dtype=np.int64))
    position: dict[str, list[Any]] = {}
    for code in "ZYX":
        if geometry := image.micrometres(code):
            metadata[f"PhysicalSize{code}"] = geometry[0]
            metadata[f"PhysicalSize{code}Unit"] = "µm"
            if geometry[1]:
                position[f"Position{code}"] = [geometry[1]] * planes
                position[f"Position{code}Unit"] = ["µm"] * planes
    if position:
        metadata["Plane"] = position
    if time := image.seconds():
        metadata["TimeIncrement"], metadata["TimeIncrementUnit"] = time[0], "s"
    if image.record:
        metadata["MapAnnotation"] = annotation(image.record)
    return metadata
