"""Apply a model to users' pictures: bars and annotations are left out and stay matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.segmentation._clean import Cleaned, cleaned
from napari_physgen.segmentation.model import load
from napari_physgen.segmentation.particles import Particles, particles
from napari_physgen.segmentation.predict import Prediction, predict, shares_of
from napari_physgen.segmentation.settings import PredictSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.backend import Job
    from napari_physgen.segmentation._annotations import Box
    from napari_physgen.segmentation.model import SegmentationModel

T = TypeVar("T", bound=np.generic)


def segment(
    image: NDArray[np.generic],
    settings: PredictSettings | None = None,
    *,
    model: SegmentationModel | None = None,
    pixel_size_nm: float | None = None,
    crop_bars: bool = True,
) -> Job[Prediction]:
    """Label an image as `predict` does, without what was drawn around and into it.

    The job behind recipes.

    Parameters
    ----------
    image : numpy.ndarray
        (..., y, x); planes are labelled one by one.
    settings : PredictSettings, optional
    model : SegmentationModel, optional
        Loaded already; otherwise the settings name its file.
    pixel_size_nm : float, optional
        Of the image.
    crop_bars : bool
        Look for info bars, frames and annotations. They become matrix (0) with uncertainty 1, and
        count in no share. In a stack, what is a bar in one plane is left out of all.

    Returns
    -------
    generator
        A job whose result has the size of the image.

    Raises
    ------
    UserError
        As `predict` does, or if no model is given or named.
    """
    settings = settings or PredictSettings()
    if model is None:
        if not settings.model:
            raise UserError("Name the file of a model: setting 'model'.")
        model = load(settings.model)
    image = np.asarray(image)
    shape = image.shape[-2:]
    if model.design.dimensions == 2 and image.ndim >= 2 and crop_bars:
        planes = image.reshape(-1, *shape)
        clean = [cleaned(plane, "the image") for plane in planes]
        notes = tuple(dict.fromkeys(note for one in clean for note in one.notes))
        if notes:
            return (
                yield from _without_drawings(image, clean, notes, settings, model, pixel_size_nm)
            )
    return (yield from predict(model, image, settings, pixel_size_nm=pixel_size_nm))


def _without_drawings(
    image: NDArray[np.generic],
    clean: list[Cleaned],
    notes: tuple[str, ...],
    settings: PredictSettings,
    model: SegmentationModel,
    pixel_size_nm: float | None,
) -> Job[Prediction]:
    box = _common([one.box for one in clean])
    y0, y1, x0, x1 = box
    lead = image.shape[:-2]
    pictures = np.stack([_within(one.image, one.box, box) for one in clean])
    valid = np.stack([_within(one.valid, one.box, box) for one in clean])
    inner = pictures.reshape(*lead, *pictures.shape[1:])
    plain = settings.model_copy(update={"particles": False})
    found = yield from predict(model, inner, plain, pixel_size_nm=pixel_size_nm)
    drawn = ~valid.reshape(inner.shape)
    labels = np.where(drawn, 0, found.labels).astype(np.uint8)
    words, metrics = shares_of(labels[~drawn], model.classes)
    whole = (*lead, *image.shape[-2:])
    place = (..., slice(y0, y1), slice(x0, x1))
    matrix = np.zeros((len(model.classes), *whole), np.float32)
    matrix[0] = 1
    matrix[place] = np.where(drawn, matrix[place], found.probabilities)
    unsure = np.where(drawn, 1, found.uncertainty).astype(np.float32)
    parts = None
    if settings.particles and not lead and labels.any():
        parts = _moved(particles(labels, pixel_size_nm=pixel_size_nm), box, whole, pixel_size_nm)
    said = [f"{note[:1].upper()}{note[1:]}." for note in notes]
    more = [parts.summary] if parts else []
    return replace(
        found,
        labels=_framed(labels, whole, place, 0),
        probabilities=matrix,
        uncertainty=_framed(unsure, whole, place, 1),
        particles=parts,
        summary=" ".join([words, *more, *found.notes, *said]),
        metrics=metrics,
        notes=(*found.notes, *said),
    )


def _common(boxes: list[Box]) -> Box:
    """Return what lies in all boxes."""
    y0, y1, x0, x1 = zip(*boxes, strict=True)
    return max(y0), min(y1), max(x0), min(x1)


def _within(picture: NDArray[np.generic], have: Box, want: Box) -> NDArray[np.generic]:
    """Return a part of a picture that covers the box it has."""
    rows = slice(want[0] - have[0], want[1] - have[0])
    return picture[rows, want[2] - have[2] : want[3] - have[2]]


def _framed(
    inner: NDArray[T], whole: tuple[int, ...], place: tuple[Any, ...], outside: float
) -> NDArray[T]:
    """Return an array of the whole size with `inner` in its place."""
    full = np.full(whole, outside, inner.dtype)
    full[place] = inner
    return full


def _moved(
    found: Particles, box: Box, whole: tuple[int, ...], pixel_size_nm: float | None
) -> Particles:
    """Return particles of a part of a picture as particles of the whole."""
    y0, y1, x0, x1 = box
    instances = np.zeros(whole, np.uint32)
    instances[y0:y1, x0:x1] = found.instances
    pixel = pixel_size_nm or 1.0
    table = dict(found.table)
    for axis, start in (("y", y0), ("x", x0)):
        name = f"centroid_{axis}_{found.unit}"
        table[name] = np.asarray(table[name], float) + start * pixel
    return replace(found, instances=instances, table=table)
