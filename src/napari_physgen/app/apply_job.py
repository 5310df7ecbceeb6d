"""Apply a model to layers and folders, plane by plane; all of it runs in the worker."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.inputs import axis_names, pixel_size_nm
from napari_physgen.app.labour_free_images import whole
from napari_physgen.backend.job import Progress, Stop
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.backend import Command, Job
    from napari_physgen.provenance import Record
    from napari_physgen.segmentation import PredictSettings, SegmentationModel
    from napari_physgen.segmentation.predict import Prediction

ENDING = "_labels.ome.tif"
READ = (".tif", ".tiff", ".btf", ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".npy", ".mrc")


@dataclass(frozen=True)
class Subject:
    """An image, a time-lapse or a stack to be labelled.

    Parameters
    ----------
    name : str
    data : array
        (..., y, x), or with colours behind, perhaps lazy.
    axes : tuple of str
        Of the labels.
    pixel_size_nm : float or None
    layer : napari.layers.Layer or None
        Where it is from, if it is from the viewer.
    """

    name: str
    data: Any
    axes: tuple[str, ...]
    pixel_size_nm: float | None
    layer: Layer | None = None

    @classmethod
    def of(cls, layer: Layer) -> Subject:
        """Return a layer; raises UserError as `whole` and `pixel_size_nm`."""
        return cls(layer.name, whole(layer), axis_names(layer), pixel_size_nm(layer), layer)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels."""
        return tuple(self.data.shape[: len(self.axes)])


@dataclass(frozen=True)
class Labelled:
    """What a model found in one subject.

    Parameters
    ----------
    subject : Subject
    outputs : list of Output
    record : Record
    summary : str
    sizes : numpy.ndarray
        Equivalent diameters of the whole particles, if they were separated.
    unit : str
        Of the sizes.
    """

    subject: Subject
    outputs: list[Output]
    record: Record
    summary: str
    sizes: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    unit: str = "px"


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


def apply_all(
    model: SegmentationModel,
    subjects: Sequence[Subject],
    settings: PredictSettings,
    sure: bool = False,
) -> Job[list[Labelled]]:
    """Label several subjects; `Stop` keeps those that are finished.

    Parameters
    ----------
    model : SegmentationModel
    subjects : sequence of Subject
    settings : PredictSettings
    sure : bool
        Whether uncertainty and probabilities are wanted too.
    """
    done: list[Labelled] = []
    for number, subject in enumerate(subjects):
        job = label(model, subject, settings, sure)
        found = yield from _stoppable(job, number, len(subjects))
        if found is None:
            break
        done.append(found)
    return done


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
            found = yield from _stoppable(job, number, len(paths))
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


def stem(path: Path) -> str:
    """Return a file's name without its ending, also without ".ome.tif"."""
    return re.sub(r"\.ome$", "", path.stem, flags=re.IGNORECASE)


def label(
    model: SegmentationModel, subject: Subject, settings: PredictSettings, sure: bool
) -> Job[Labelled]:
    """Label a subject plane by plane (volume by volume, if the model works on these)."""
    inner = model.design.dimensions
    shape = subject.shape
    lead = shape[: len(shape) - inner]
    labels = np.zeros(shape, np.uint8)
    doubt = np.zeros(shape if sure else 0, np.float32)
    shares = np.zeros((len(model.classes), *shape) if sure else 0, np.float32)
    table = _Table(np.zeros(shape if settings.particles else 0, np.uint32))
    records, words = [], ""
    for number, index in enumerate(np.ndindex(*lead)):
        plane = _grey(np.asarray(subject.data[index]), inner)
        job = _predicted(model, plane, settings, subject)
        finished = yield from _nth(job, number, int(np.prod(lead)))
        found: Prediction = finished.result
        records.append(finished.record)
        labels[index] = found.labels
        if sure:
            doubt[index], shares[(slice(None), *index)] = found.uncertainty, found.probabilities
        if found.particles is not None:
            table.add(found.particles, index, number)
        words = found.summary
    if len(records) > 1:
        share = np.bincount(labels.ravel(), minlength=len(model.classes)) / labels.size
        named = zip(share, model.classes, strict=True)
        words = f"{len(records)} planes: " + ", ".join(f"{100 * s:.1f} % {c}" for s, c in named)
        words += f"; {table.count} particles." if settings.particles else "."
    return Labelled(
        subject,
        [
            *_outputs(labels, doubt, shares, model.classes, subject.axes),
            *table.outputs(subject.axes),
        ],
        type(records[0]).joined(records),
        f"{subject.name}: {words}",
        np.concatenate([np.zeros(0), *table.sizes]),
        table.unit,
    )


def _grey(plane: NDArray[Any], dimensions: int) -> NDArray[Any]:
    """Return a plane in shades of grey."""
    if plane.ndim == dimensions:
        return plane
    from skimage.color import rgb2gray

    return np.asarray(rgb2gray(plane[..., :3]))


def _predicted(
    model: SegmentationModel, plane: NDArray[Any], settings: PredictSettings, subject: Subject
) -> Job[Any]:
    """Predict, with a record."""
    from napari_physgen import recipe

    return recipe.start(
        "segment",
        settings,
        {"image": plane},
        sources={"image": subject.name},
        model=model,
        pixel_size_nm=subject.pixel_size_nm,
    )


class _Table:
    """The particles of all planes in one picture of numbers and one table."""

    def __init__(self, numbers: NDArray[np.uint32]) -> None:
        self.numbers = numbers
        self.columns: dict[str, list[NDArray[Any]]] = {}
        self.sizes: list[NDArray[np.float64]] = []
        self.unit = "px"
        self._last = 0

    def add(self, found: Any, index: tuple[int, ...], plane: int) -> None:
        """Add the particles of a plane, numbered from the last one on."""
        own = found.instances
        self.numbers[index] = np.where(own > 0, own + np.uint32(self._last), 0)
        count = len(found)
        columns = dict(found.table) | {"index": found.table["index"] + self._last}
        for name, column in columns.items():
            self.columns.setdefault(name, []).append(column)
        self.columns.setdefault("plane", []).append(np.full(count, plane + 1))
        self._last += int(own.max(initial=0))
        self.sizes.append(found.diameters)
        self.unit = found.unit

    @property
    def count(self) -> int:
        """Number of particles."""
        return sum(len(part) for part in self.columns.get("index", []))

    def outputs(self, axes: tuple[str, ...]) -> list[Output]:
        """Return the numbered particles with their table; nothing if none were looked for."""
        if not self.columns:
            return []
        features = {name: np.concatenate(parts) for name, parts in self.columns.items()}
        display = {"features": features}
        return [Output("particles", self.numbers, kind="labels", axes=axes, display=display)]


def _outputs(
    labels: NDArray[np.uint8],
    doubt: NDArray[np.float32],
    shares: NDArray[np.float32],
    classes: Sequence[str],
    axes: tuple[str, ...],
) -> list[Output]:
    display: Mapping[str, Any] = {"opacity": 0.4}
    outputs = [Output("labels", labels, kind="labels", axes=axes, display=display)]
    if not doubt.size:
        return outputs
    grey = {"visible": False, "contrast_limits": (0, 1)}
    outputs.append(Output("uncertainty", doubt, axes=axes, display=grey | {"colormap": "magma"}))
    for name, share in zip(classes[1:], shares[1:], strict=True):
        outputs.append(Output(f"probability of {name}", share, axes=axes, display=grey))
    return outputs


def _stoppable(job: Job[Labelled], number: int, count: int) -> Job[Labelled | None]:
    """Run one of several; None at `Stop`."""
    command: Command | None = None
    try:
        while True:
            progress = job.send(None)
            command = yield _nth_progress(progress, number, count)
            if isinstance(command, Stop):
                return None
    except StopIteration as end:
        result: Labelled = end.value
        return result
    finally:
        job.close()


def _nth(job: Job[Any], number: int, count: int) -> Job[Any]:
    """Run one of several planes."""
    command: Command | None = None
    while True:
        try:
            progress = job.send(command)
        except StopIteration as end:
            return end.value
        command = yield _nth_progress(progress, number, count)


def _nth_progress(progress: Progress, number: int, count: int) -> Progress:
    if count == 1:
        return progress
    return replace(
        progress,
        step=number * progress.total + progress.step,
        total=count * progress.total,
    )


def read_subject(path: Path) -> Subject:
    """Read a picture or a stack; raises UserError."""
    from napari_physgen.io import read_picture, read_stack

    if path.suffix.lower() in READ[:3] and (stack := read_stack(path)).axes[-1] != "rgb":
        return Subject(stem(path), stack.data, stack.axes, stack.pixel_size_nm)
    data, size = read_picture(path)
    return Subject(stem(path), data, ("y", "x"), size)
