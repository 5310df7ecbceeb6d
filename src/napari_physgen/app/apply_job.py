"""Apply a model to images and stacks, plane by plane; all of it runs in the worker."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.inputs import axis_names, pixel_size_nm
from napari_physgen.app.labour_free_images import whole
from napari_physgen.backend.job import Progress, Stop
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.backend import Command, Job
    from napari_physgen.provenance import Record
    from napari_physgen.segmentation import PredictSettings, SegmentationModel
    from napari_physgen.segmentation.predict import Prediction


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
        found = yield from stoppable(job, number, len(subjects))
        if found is None:
            break
        done.append(found)
    return done


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


def stoppable(job: Job[Labelled], number: int, count: int) -> Job[Labelled | None]:
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
