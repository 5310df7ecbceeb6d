"""Open the pictures of a folder as layers; those of the same size become one stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_physgen.app.apply_folder import pictures_in, read_subject
from napari_physgen.backend.job import Progress, Stop
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.backend import Job

Group = tuple[tuple[int, ...], str, float | None]


class Again(NamedTuple):
    """A layer to be: name, pixels, axes, pixel size and files."""

    name: str
    data: NDArray[Any]
    axes: tuple[str, ...]
    pixel_size_nm: float | None
    files: list[str]


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


def read_again(layers: Sequence[tuple[str, list[Path]]]) -> Job[list[Again]]:
    """Read the images of a project (a job): name and files of each layer.

    Raises
    ------
    UserError
        If one of them cannot be read any more.
    """
    found = []
    for number, (name, paths) in enumerate(layers):
        yield Progress(number, len(layers), "reading pictures")
        subjects = [read_subject(path) for path in paths]
        first = subjects[0]
        data, axes = first.data, first.axes
        if len(subjects) > 1:
            data, axes = np.stack([s.data for s in subjects]), ("image", *axes)
        found.append(Again(name, data, axes, first.pixel_size_nm, [str(path) for path in paths]))
    return found


def add_again(viewer: ViewerModel, found: Sequence[Again]) -> list[Layer]:
    """Add the images of a project as the layers that they were."""
    return [_added(viewer, *layer) for layer in found]


def add_folder(viewer: ViewerModel, folder: Path, opened: Opened) -> list[Layer]:
    """Add one layer per group of pictures."""
    layers = []
    for (_, _, size), pictures in opened.groups.items():
        names = [name for name, _ in pictures]
        data, title = pictures[0][1], names[0].rpartition(".")[0]
        axes: tuple[str, ...] = ("y", "x")
        if len(pictures) > 1:
            data, title = np.stack([data for _, data in pictures]), folder.name
            axes = ("image", *axes)
        layers.append(_added(viewer, title, data, axes, size, [str(folder / n) for n in names]))
    return layers


def _added(
    viewer: ViewerModel,
    name: str,
    data: NDArray[Any],
    axes: tuple[str, ...],
    size: float | None,
    files: list[str],
) -> Layer:
    lead = len(axes) - 2
    step, unit = (1.0, "pixel") if size is None else (size / 1000, "micrometer")
    return viewer.add_image(
        data,
        name=name,
        scale=[1.0] * lead + [step] * 2,
        units=["pixel"] * lead + [unit] * 2,
        axis_labels=axes,
        metadata={"files": files},
    )
