"""Open the pictures of a folder as layers; those of the same size become one stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_physgen.app.apply_job import pictures_in
from napari_physgen.backend.job import Progress, Stop
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.backend import Job

Group = tuple[tuple[int, ...], str, float | None]


class Opened(NamedTuple):
    """The pictures of a folder by shape, type and pixel size, and those that could not be read."""

    groups: dict[Group, list[tuple[str, NDArray[Any]]]]
    failed: list[str]


def read_folder(folder: Path) -> Job[Opened]:
    """Read the pictures of a folder (a job); `Stop` keeps those that are read.

    Raises
    ------
    UserError
        If there are no pictures in it, or none can be read.
    """
    from napari_physgen.io import read_picture

    paths = pictures_in(folder)
    found = Opened({}, [])
    for number, path in enumerate(paths):
        if isinstance((yield Progress(number, len(paths), "reading pictures")), Stop):
            break
        try:
            data, size = read_picture(path)
        except UserError as error:
            found.failed.append(str(error))
            continue
        group = data.shape, str(data.dtype), size
        found.groups.setdefault(group, []).append((path.name, data))
    if not found.groups:
        raise UserError(f"No picture in {folder.name} could be read. {found.failed[0]}")
    return found


def add_folder(viewer: ViewerModel, folder: Path, opened: Opened) -> list[Layer]:
    """Add one layer per group of pictures."""
    layers = []
    for (_, _, size), pictures in opened.groups.items():
        names = [name for name, _ in pictures]
        stack = [data for _, data in pictures]
        several = len(stack) > 1
        step = 1.0 if size is None else size / 1000
        unit = "pixel" if size is None else "micrometer"
        lead = 1 if several else 0
        layer = viewer.add_image(
            np.stack(stack) if several else stack[0],
            name=folder.name if several else names[0].rpartition(".")[0],
            scale=[1.0] * lead + [step] * 2,
            units=["pixel"] * lead + [unit] * 2,
            axis_labels=(*["image"] * lead, "y", "x"),
            metadata={"files": [str(folder / name) for name in names]},
        )
        layers.append(layer)
    return layers
