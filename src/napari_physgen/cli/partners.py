"""Files that belong together: images with their masks or noisy partners, and one pixel size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_physgen.cli.pictures import files, read
from napari_physgen.cli.terminal import stem
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_physgen.generative import GenerativeModel
    from napari_physgen.io import Stack

_PAINTED = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_TIFF = (".tif", ".tiff")
_LABELS = ("labels", "masks")  # what this program calls them in files with several images
_SAME = 0.01  # share by which pixel sizes may differ


def partners(images: Sequence[Path], given: Sequence[Path], what: str) -> list[Path]:
    """Return the partner of each image: by name in a folder, else in the same order.

    Raises
    ------
    UserError
        If one is missing.
    """
    found = files(given)
    if len(given) == 1 and given[0].is_dir():
        named = {stem(path): path for path in found}
        for image in images:
            if stem(image) not in named:
                raise UserError(f"There is no {what} with the name of {image.name} in {given[0]}.")
        return [named[stem(image)] for image in images]
    if len(found) != len(images):
        raise UserError(
            f"There are {len(found)} {what}s for {len(images)} images: give one for each, in the "
            "same order, or a folder where they have the same names."
        )
    return found


def masks_of(path: Path) -> NDArray[np.integer[Any]]:
    """Return the masks (..., y, x) in a file, those called labels where it holds more.

    Raises
    ------
    UserError
        If there are none.
    """
    import numpy as np

    from napari_physgen.io import read_mask
    from napari_physgen.io.readers import opened_tiff

    if path.suffix.lower() in _PAINTED:
        return read_mask(path)
    if path.suffix.lower() in _TIFF:
        with opened_tiff(path) as tif:
            named = [series for series in tif.series if series.name in _LABELS]
            if named:
                return np.asarray(named[0].asarray(), np.int64)
    data = read(path, None).data
    if (data != np.rint(data)).any():
        raise UserError(f"{path.name} is no mask: its values are not whole numbers.")
    return data.astype(np.int64)


def one_channel(path: Path, pixel_size_nm: float | None) -> Stack:
    """Read images (..., y, x) of one kind; raises UserError for several channels."""
    stack = read(path, pixel_size_nm)
    if "c" in stack.axes:
        raise UserError(
            f"{path.name} holds {stack.data.shape[stack.axes.index('c')]} channels, but a prior "
            "learns one kind of image: save the channel as a file of its own."
        )
    return stack


def planes(mask: NDArray[Any], model: GenerativeModel) -> list[NDArray[Any]]:
    """Return the single masks that a prior follows, planes or volumes."""
    axes = model.design.dimensions
    return list(mask.reshape(-1, *mask.shape[-axes:])) if mask.ndim > axes else [mask]


def agreed(pixel_size_nm: float | None, stacks: Sequence[Stack]) -> float | None:
    """Return the pixel size that all files have, if they say one.

    Raises
    ------
    UserError
        If they differ and none is given.
    """
    if pixel_size_nm is not None:
        return pixel_size_nm
    sizes = sorted(stack.pixel_size_nm for stack in stacks if stack.pixel_size_nm is not None)
    if not sizes:
        return None
    if sizes[-1] > (1 + _SAME) * sizes[0]:
        raise UserError(
            f"The images have pixels of {sizes[0]:.4g} to {sizes[-1]:.4g} nm, but a prior learns "
            "one size: rescale them, or give --pixel-size-nm if the files are wrong."
        )
    return float(f"{sizes[0]:.10g}")
