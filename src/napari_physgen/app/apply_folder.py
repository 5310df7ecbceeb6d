"""Apply a model to the pictures of a folder; all of it runs in the worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_physgen.app.apply_job import Subject, label, stoppable
from napari_physgen.batch import stem
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_physgen.backend import Job
    from napari_physgen.segmentation import PredictSettings, SegmentationModel

ENDING = "_labels.ome.tif"
STACKS = (".tif", ".tiff", ".btf")
READ = (*STACKS, ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".npy", ".mrc")


@dataclass(frozen=True)
class FolderReport:
    """What became of the pictures of a folder.

    Parameters
    ----------
    done : tuple of Path
        Files written.
    failed : tuple of (str, str)
        Names of pictures that could not be labelled, and why.
    """

    done: tuple[Path, ...]
    failed: tuple[tuple[str, str], ...]

    @property
    def summary(self) -> str:
        """What happened, in words."""
        words = f"{len(self.done)} pictures labelled, as NAME{ENDING} beside them."
        why = " ".join(f"{name}: {reason}" for name, reason in self.failed)
        return f"{words} Left out: {why}" if why else words


def apply_to_folder(
    load: Callable[[], SegmentationModel], folder: Path, settings: PredictSettings
) -> Job[FolderReport]:
    """Label the pictures of a folder into files beside them.

    A picture that cannot be labelled is reported and the others go on. `Stop` ends after the
    pictures that are finished.

    Raises
    ------
    UserError
        If the folder holds no pictures.
    """
    from napari_physgen.io import Image, write_ome_tiff

    paths = pictures_in(folder)
    model = load()
    done: list[Path] = []
    failed: list[tuple[str, str]] = []
    for number, path in enumerate(paths):
        try:
            job = label(model, read_subject(path), settings, False)
            found = yield from stoppable(job, number, len(paths))
            if found is None:
                break
            size = found.subject.pixel_size_nm
            images = [Image.of(output, size, found.record) for output in found.outputs]
            done.append(write_ome_tiff(path.with_name(stem(path) + ENDING), images))
        except UserError as error:
            failed.append((path.name, str(error)))
    return FolderReport(tuple(done), tuple(failed))


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder, without labels made here; raises UserError for none."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in READ)
    paths = [path for path in paths if not path.name.endswith(ENDING)]
    if not paths:
        raise UserError(f"There are no pictures in {folder}: choose a folder with micrographs.")
    return paths


def read_subject(path: Path) -> Subject:
    """Read a picture or a stack; raises UserError."""
    from napari_physgen.io import read_picture, read_stack

    if path.suffix.lower() in STACKS and (stack := read_stack(path)).axes[-1] != "rgb":
        return Subject(stem(path), stack.data, stack.axes, stack.pixel_size_nm)
    data, size = read_picture(path)
    return Subject(stem(path), data, ("y", "x"), size)
