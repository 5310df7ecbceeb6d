"""Single pictures and masks: what electron microscopes and paint programs save."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.io.readers import read_stack

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

_PAINTED = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


def read_picture(path: str | os.PathLike[str]) -> tuple[NDArray[Any], float | None]:
    """Read one picture in shades of grey.

    Parameters
    ----------
    path : path-like
        PNG, JPEG, BMP, GIF, TIFF, NPY or MRC. Colours become their luminance.

    Returns
    -------
    data : numpy.ndarray
        (y, x).
    pixel_size_nm : float or None
        None where the file does not say.

    Raises
    ------
    UserError
        If the file is missing, damaged, of an unknown format, or a stack.
    """
    data, pixel_size_nm = _read(Path(path))
    if data.ndim == 3:
        grey = data[..., 0]
        coloured = (data != grey[..., None]).any()
        data = np.asarray(data @ np.array(_LUMINANCE)) if coloured else grey
    return data, pixel_size_nm


def read_mask(path: str | os.PathLike[str]) -> NDArray[np.int64]:
    """Read one mask (y, x) of whole numbers; raises UserError as `read_picture`, or for colours."""
    path = Path(path)
    data, _ = _read(path)
    if data.ndim == 3:
        if (data != data[..., :1]).any():
            raise UserError(
                f"{path.name} is a mask in colours: save it with one number (grey level) per class."
            )
        data = data[..., 0]
    if (data != np.rint(data)).any():
        raise UserError(f"{path.name} is no mask: its values are not whole numbers.")
    return data.astype(np.int64)


def _read(path: Path) -> tuple[NDArray[Any], float | None]:
    """Return (y, x) or (y, x, 3) and the pixel size."""
    if path.suffix.lower() in _PAINTED:
        return _read_painted(path), None
    stack = read_stack(path)
    rgb = stack.axes[-1] == "rgb"
    last = stack.data.ndim - (3 if rgb else 2)
    data = stack.data.reshape(-1, *stack.data.shape[last:])
    if len(data) != 1:
        raise UserError(f"{path.name} holds {len(data)} pictures: give single ones.")
    return data[0][..., :3] if rgb else data[0], stack.pixel_size_nm


def _read_painted(path: Path) -> NDArray[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            # A palette is a way to store colours; masks keep their numbers in it.
            plain = picture.mode in ("1", "L", "P", "I", "I;16", "F")
            data = np.asarray(picture if plain else picture.convert("RGB"))
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.") from None
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        raise UserError(f"{path.name} cannot be read as a picture: it may be damaged.") from None
    return data.astype(np.uint8) if data.dtype == np.bool_ else data
