"""Micrographs from files and folders, with the options that name them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from napari_physgen.cli.terminal import stem
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_physgen.io import Stack

Pictures = Annotated[
    list[Path],
    Parameter(negative="", help="Micrographs (PNG, JPEG, TIFF, NPY or MRC), or folders of them."),
]
PixelSize = Annotated[
    float | None,
    Parameter(help="Pixel size of the images, nm; if not given, what the files say."),
]

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_STACKS = (".tif", ".tiff", ".npy", ".mrc", ".dv")
# What this program saves beside images.
_RESULTS = ("_labels", "_particles", "_probabilities", "_uncertainty")


def files(paths: Sequence[Path]) -> list[Path]:
    """Return the files, those of a folder in the order of their names.

    Raises
    ------
    UserError
        If a folder holds no image.
    """
    found: list[Path] = []
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if _is_image(p))
            if not inside:
                known = ", ".join((*_PICTURES, *_STACKS))
                raise UserError(f"The folder {path} holds no images ({known}).")
        found += inside
    return found


def by_name(paths: Sequence[Path]) -> dict[str, Path]:
    """Return files by what their results will be called.

    Raises
    ------
    UserError
        If two of them have the same name.
    """
    named = {stem(path): path for path in paths}
    if len(named) < len(paths):
        raise UserError("Two of the images have the same name: work on them one after the other.")
    return named


def read(path: Path, pixel_size_nm: float | None) -> Stack:
    """Read an image or stack (..., y, x) in shades of grey.

    Raises
    ------
    UserError
        If the file is missing, damaged or of an unknown format.
    """
    from napari_physgen.io import Stack, read_picture, read_stack

    if path.suffix.lower() in _PICTURES:
        data, size = read_picture(path)
        return Stack(data, ("y", "x"), pixel_size_nm or size)
    stack = read_stack(path)
    if stack.axes[-1] == "rgb":
        data, size = read_picture(path)
        return Stack(data, ("y", "x"), pixel_size_nm or size)
    # Axes of length 1 come from writers that always give five.
    keep = [i for i, n in enumerate(stack.data.shape) if n > 1 or i >= stack.data.ndim - 2]
    data = stack.data.reshape([stack.data.shape[i] for i in keep])
    return Stack(data, tuple(stack.axes[i] for i in keep), pixel_size_nm or stack.pixel_size_nm)


def _is_image(path: Path) -> bool:
    known = path.suffix.lower() in (*_PICTURES, *_STACKS)
    return path.is_file() and known and not stem(path).endswith(_RESULTS)
