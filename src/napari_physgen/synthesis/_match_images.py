"""From micrographs, with labels or without, to masks of the particles."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.backend import Command, Progress, Stop
from napari_physgen.errors import UserError
from napari_physgen.synthesis._match_phases import checked, find_steps, matrix_is_bright
from napari_physgen.synthesis._match_strokes import MATRIX, PARTICLES, learn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.synthesis.calibration_settings import CalibrationSettings

    Image = NDArray[np.generic]
    Mask = NDArray[np.bool_]


def find_phases(
    images: Sequence[Image],
    labels: Sequence[Image | None] | None,
    settings: CalibrationSettings,
) -> Generator[Progress, Command | None, tuple[list[Mask], str]]:
    """Return where the particles are in each image, and in words how they were found.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        (y, x) each.
    labels : sequence of numpy.ndarray or None
        See `calibrate`.
    settings : CalibrationSettings

    Raises
    ------
    UserError
        If an image or its labels cannot be used, or at `Stop`: there is nothing to keep yet.
    """
    if not images:
        raise UserError("Calibration needs at least one image.")
    for image in images:
        checked(image)
    _go_on((yield Progress(0, len(images), "finding the phases")))
    if labels is None or all(part is None for part in labels):
        return (yield from _by_their_edges(images, settings))
    given = _checked_labels(images, labels)
    if _are_strokes(given, settings):
        drawn = [np.zeros(i.shape) if m is None else m for i, m in zip(images, given, strict=True)]
        return learn(images, drawn, settings.seed)
    masks = [part for part in given if part is not None]
    if len(masks) < len(images):
        raise UserError("Every image needs a mask of its own (strokes may leave some images out).")
    matrix = min(int(np.min(mask)) for mask in masks)
    return [np.not_equal(mask, matrix) for mask in masks], "from the mask"


def _by_their_edges(
    images: Sequence[Image], settings: CalibrationSettings
) -> Generator[Progress, Command | None, tuple[list[Mask], str]]:
    dark: list[Mask] = []
    for number, image in enumerate(images, start=1):
        level, scale = find_steps(image)
        mask = np.repeat(np.repeat(level < 0, scale, 0), scale, 1)
        missing = [(0, n - m) for n, m in zip(image.shape, mask.shape, strict=True)]
        dark.append(np.pad(mask, missing, mode="edge"))
        _go_on((yield Progress(number, len(images), "finding the phases")))
    guess = matrix_is_bright(max(dark, key=np.size))
    is_dark = guess if settings.particles == "auto" else settings.particles == "dark"
    how = f"{'dark' if is_dark else 'bright'} particles, found by their edges"
    if settings.particles == "auto":
        how += ", guessed since that phase hangs together less: set dark or bright if wrong"
    return dark if is_dark else [~mask for mask in dark], how


def _go_on(command: Command | None) -> None:
    if isinstance(command, Stop):
        raise UserError("Stopped before any simulation could be compared with the image.")


def _checked_labels(images: Sequence[Image], labels: Sequence[Image | None]) -> list[Image | None]:
    """Return labels that fit their images."""
    if len(labels) != len(images):
        raise UserError(
            f"There are {len(images)} images but {len(labels)} label layers: give one per image."
        )
    for image, part in zip(images, labels, strict=True):
        if part is not None and np.shape(part) != image.shape:
            raise UserError(
                f"The labels have the shape {np.shape(part)} but their image {image.shape}: "
                "choose labels drawn on this image."
            )
    return list(labels)


def _are_strokes(labels: Sequence[Image | None], settings: CalibrationSettings) -> bool:
    """Return whether labels are strokes or masks; either needs both phases."""
    values = {int(value) for part in labels if part is not None for value in np.unique(part)}
    strokes = settings.labels_are == "strokes" or (
        settings.labels_are == "auto" and {0, MATRIX, PARTICLES} <= values
    )
    if strokes and not {MATRIX, PARTICLES} <= values:
        raise UserError("Both phases need labels: brush some matrix with 1 and particles with 2.")
    if len(values) < 2:
        raise UserError(
            "All labels are of one class: a mask needs matrix (0) and particles (1), strokes need "
            "0 unlabelled, 1 matrix and 2 particles."
        )
    if not strokes and settings.labels_are == "auto" and values == {0, PARTICLES}:
        raise UserError(
            "Only particles (2) are labelled: brush some matrix with 1, or choose 'mask' if the "
            "labels are a full mask."
        )
    return strokes
