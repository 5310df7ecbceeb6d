"""How good a segmentation is, against a truth drawn by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.metrics.particles import equivalent_diameters, fraction
from napari_physgen.metrics.segmentation import (
    class_overlaps,
    contour_distances,
    default_tolerance,
    fraction_error,
    mean_iou,
    median_size_error,
    micro_iou,
    overlap,
    size_distance,
)
from napari_physgen.segmentation._labels import MOST_CLASSES, as_labels, pixel_sizes
from napari_physgen.segmentation.scores import Evaluation, Row, mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Labels = NDArray[np.integer]
    Mask = NDArray[np.bool_]

__all__ = ["Evaluation", "Row", "evaluate", "mean"]

# The second, strict tolerance of the boundary F1, px.
STRICT = 2.0


def evaluate(
    labels: ArrayLike,
    truth: ArrayLike,
    *,
    ignore: int | None = None,
    pixel_size_nm: float | Sequence[float] | None = None,
    classes: Sequence[int] | None = None,
    volume: bool = False,
) -> Evaluation:
    """Score a segmentation against the truth.

    Parameters
    ----------
    labels, truth : array
        ([t, z,] y, x): classes, 0 the background. A truth of two values is a mask: all labels above
        0 count as its foreground.
    ignore : int, optional
        Value of the truth that marks pixels to leave out.
    pixel_size_nm : float or sequence of float, optional
        Of all axes of a plane (or volume) or of each; sizes come out in nm.
    classes : sequence of int, optional
        Classes to score, as (0, 1); other values count as background. Default all in the truth
        and the labels.
    volume : bool
        Whether the last three axes are one volume. Otherwise stacks are scored plane by plane and
        averaged.

    Returns
    -------
    Evaluation

    Raises
    ------
    UserError
        If the shapes differ, values are not whole or negative, no pixel is left to score, or no
        class above 0 is chosen.
    """
    found, true = as_labels(labels, "segmentation"), as_labels(truth, "truth")
    ndim = 3 if volume else 2
    _check_shapes(found, true, ndim)
    inside = np.ones(true.shape, bool) if ignore is None else true != ignore
    if not inside.any():
        raise UserError(f"Every pixel of the truth is {ignore}, which is to be left out.")
    found, true, numbers, notes = _aligned(found, true, inside, classes)
    sizes = pixel_sizes(pixel_size_nm, ndim)
    stacks = (array.reshape(-1, *true.shape[-ndim:]) for array in (found, true, inside))
    pictures = [p for p in zip(*stacks, strict=True) if p[2].any()]
    score = mean(_scores(p, t, i, numbers, sizes) for p, t, i in pictures)
    return replace(score, notes=notes)


def _check_shapes(found: Labels, true: Labels, ndim: int) -> None:
    if found.shape != true.shape:
        shapes = (" x ".join(str(n) for n in array.shape) for array in (found, true))
        raise UserError(
            "The segmentation has {} pixels, the truth {}: choose the truth of the same picture, "
            "one number per pixel (no colours).".format(*shapes)
        )
    if found.ndim < ndim:
        what = "a volume (z, y, x)" if ndim == 3 else "a picture (y, x)"
        raise UserError(f"To compare with the truth, the segmentation must be {what}.")


def _aligned(
    found: Labels, true: Labels, inside: Mask, classes: Sequence[int] | None
) -> tuple[Labels, Labels, list[int], tuple[str, ...]]:
    """Return both with the same classes, these classes, and what was taken for granted.

    Pixels outside become background.
    """
    found, true = (np.where(inside, array, 0) for array in (found, true))
    held, wanted = (np.unique(array[inside]).tolist() for array in (found, true))
    if min(held + wanted) < 0:
        raise UserError("Classes are numbered from 0: name the negative value to be ignored.")
    notes = []
    if classes is not None and max(classes, default=0) < 1:
        raise UserError("Choose at least one class above 0, which is the background.")
    if classes is not None:
        found, true = (np.where(np.isin(array, classes), array, 0) for array in (found, true))
        others = sorted({*held, *wanted} - {0, *classes})
        if others:
            notes.append(f"Counted as background, as asked: {_listed(others)}.")
        numbers = sorted({0, *classes})
    elif reason := _reason_for_masks(held, wanted):
        notes.append(reason)
        found, true, numbers = (found > 0).astype(np.uint8), (true > 0).astype(np.uint8), [0, 1]
    else:
        notes += [
            f"{who} of {_listed(lacking)}: {so}."
            for who, lacking, so in (
                ("The truth holds nothing", {*held} - {*wanted, 0}, "all of it counts as wrong"),
                ("The segmentation holds nothing", {*wanted} - {*held, 0}, "all of it is missed"),
            )
            if lacking
        ]
        numbers = sorted({0, *held, *wanted})
    share = fraction(true, inside)
    if share in (0, 1):
        what = "all foreground (nothing is 0)" if share else "all background (0)"
        notes.append(f"The truth is {what}: overlap counts for little, there are no outlines.")
    return found, true, numbers, tuple(notes)


def _reason_for_masks(held: Sequence[int], wanted: Sequence[int]) -> str:
    """Say why everything above 0 counts as one class; empty if the classes are kept."""
    if max(len(held), len(wanted)) > MOST_CLASSES:
        return f"More than {MOST_CLASSES} values number particles: all above 0 count as one class."
    if len({*wanted} - {0}) <= 1 < len({*held, *wanted} - {0}):
        return "The truth has one class above 0: so all above 0 in the segmentation counts as it."
    return ""


def _listed(classes: Iterable[int]) -> str:
    return f"class {', '.join(str(k) for k in sorted(classes))}"


def _scores(
    found: Labels,
    true: Labels,
    inside: Mask,
    numbers: Sequence[int],
    sizes: tuple[float, ...] | None,
) -> Evaluation:
    """Score one picture or volume."""
    pair = (found > 0) & inside, (true > 0) & inside
    overlaps = class_overlaps(found, true, numbers, inside)
    # Lengths are in pixels along x.
    spacing = None if sizes is None else tuple(size / sizes[-1] for size in sizes)
    outlines = contour_distances(*pair, spacing=spacing, inside=inside)
    outlines_of = {
        k: outlines
        if numbers == [0, k]
        else contour_distances(found == k, true == k, spacing=spacing, inside=inside)
        for k in numbers
    }
    tolerance = default_tolerance(true.shape, spacing)
    whole = overlap(*pair)
    shares = fraction(pair[0], inside), fraction(pair[1], inside)
    cell = 1.0 if sizes is None else float(np.prod(sizes)) ** (1 / len(sizes))
    diameters = [cell * equivalent_diameters(mask) for mask in pair]
    medians = [float(np.median(d)) if d.size else float("nan") for d in diameters]
    areas = diameters[0] ** true.ndim, diameters[1] ** true.ndim
    return Evaluation(
        iou=whole.iou,
        iou_per_class={k: of.iou for k, of in overlaps.items()},
        mean_iou=mean_iou(overlaps.values()),
        micro_iou=micro_iou(overlaps.values()),
        dice=whole.dice,
        boundary_f1=outlines.f1(tolerance),
        boundary_f1_2px=outlines.f1(STRICT),
        boundary_f1_per_class={k: of.f1(tolerance) for k, of in outlines_of.items()},
        boundary_f1_2px_per_class={k: of.f1(STRICT) for k, of in outlines_of.items()},
        hausdorff95=outlines.hausdorff(),
        surface_distance=outlines.mean(),
        fraction=shares[0],
        true_fraction=shares[1],
        fraction_error=abs(fraction_error(*pair, inside)),
        median_size=medians[0],
        true_median_size=medians[1],
        median_size_error=abs(median_size_error(*diameters)),
        size_ks=size_distance(*diameters),
        size_ks_area=size_distance(*diameters, weights=areas),
        tolerance=tolerance,
        pixel_size_nm=None if sizes is None else sizes[-1],
        unit="px" if sizes is None else "nm",
    )
