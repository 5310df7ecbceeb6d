"""What the evaluation of a segmentation returns: scores, as a table and as a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_physgen.errors import UserError
from napari_physgen.metrics.segmentation import nan_mean
from napari_physgen.provenance import json_value

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

# Title and explanation of every score, in the order of the table.
TITLES = {
    "iou": ("IoU", "Overlap of found and true particles over their union; 1 is perfect."),
    "mean_iou": ("mean IoU", "IoU of each class, background included, averaged over the classes."),
    "micro_iou": ("micro IoU", "IoU of all classes pooled, so that large ones weigh more."),
    "dice": ("Dice", "Twice the overlap over the sum of both areas; 1 is perfect."),
    "boundary_f1": (
        "boundary F1",
        "How much of the outlines agrees within 0.75 % of the image diagonal; 1 is perfect.",
    ),
    "boundary_f1_2px": (
        "boundary F1 (2 px)",
        "How much of the outlines agrees within 2 pixels; 1 is perfect.",
    ),
    "hausdorff95": ("Hausdorff distance (95 %)", "95 % of the outlines are at most so far apart."),
    "surface_distance": ("mean distance", "How far the outlines are apart on average."),
    "fraction": ("fraction", "Share of the picture that is particles."),
    "true_fraction": ("true fraction", "Share of the picture that is particles in the truth."),
    "fraction_error": ("fraction error", "How far the two shares are apart."),
    "median_size": (
        "median diameter",
        "Half of the particles, those cut by the edge left out, "
        "have a smaller equivalent diameter.",
    ),
    "true_median_size": ("true median diameter", "The same in the truth."),
    "median_size_error": (
        "median diameter error",
        "How far the two medians are apart, relative to the true one.",
    ),
    "size_ks": (
        "size distribution error",
        "Largest gap between the size distributions, by number of particles; 0 is perfect.",
    ),
    "size_ks_area": (
        "size distribution error (by area)",
        "Largest gap between the size distributions, by area of the particles; 0 is perfect.",
    ),
}
# The same for every class.
TITLES_OF_CLASS = {
    "iou_per_class": ("IoU", "Overlap of this class alone."),
    "boundary_f1_per_class": ("boundary F1", "Outlines of this class, 0.75 % of the diagonal."),
    "boundary_f1_2px_per_class": ("boundary F1 (2 px)", "Outlines of this class, 2 pixels."),
}
_LENGTHS = ("hausdorff95", "surface_distance")
_SHARES = ("fraction", "true_fraction", "fraction_error", "median_size_error")
_SIZES = ("median_size", "true_median_size")


class Row(NamedTuple):
    """One line of a table: a score, its unit ("" for none), and what it says."""

    name: str
    value: float
    unit: str
    explanation: str


@dataclass(frozen=True)
class Evaluation:
    """Scores of one segmentation, or their mean over several.

    NaN where there is no answer: a class that neither holds, sizes without particles, outlines
    without a border. Foreground is everything above 0.

    Parameters
    ----------
    iou : float
        Of the foreground.
    iou_per_class : mapping of int to float
        Of every class, 0 included.
    mean_iou, micro_iou : float
        Of all classes with the background: averaged, and pooled (sum tp / sum (tp + fp + fn), that
        of segmentation_models_pytorch).
    dice : float
        Of the foreground.
    boundary_f1, boundary_f1_2px : float
        Of the foreground's contours, within `tolerance` and within 2 px (Csurka et al. 2013).
    boundary_f1_per_class, boundary_f1_2px_per_class : mapping of int to float
    hausdorff95 : float
        Of the foreground's contours: the larger of the two directed 95th percentiles, px; infinite
        where one of them is missing.
    surface_distance : float
        Average symmetric distance of the foreground's contours, px; infinite as above.
    fraction, true_fraction, fraction_error : float
        Shares of the foreground and the size of their difference, 0 to 1.
    median_size, true_median_size, median_size_error : float
        Medians of the equivalent diameters of whole particles (what hangs together in the
        foreground, at least 4 px, not cut by the edge), nm or px; their difference over the truth.
    size_ks, size_ks_area : float
        Kolmogorov-Smirnov statistic of these diameters, by number and by area.
    tolerance : float
        0.75 % of the diagonal, px.
    pixel_size_nm : float or None
        Along x; None if unknown or if that of the images differs.
    unit : str
        Of the medians: "nm" or "px".
    images : int
        Number of planes and images averaged.
    notes : tuple of str
        Sentences on what the scores take for granted.
    """

    iou: float
    iou_per_class: Mapping[int, float]
    mean_iou: float
    micro_iou: float
    dice: float
    boundary_f1: float
    boundary_f1_2px: float
    boundary_f1_per_class: Mapping[int, float]
    boundary_f1_2px_per_class: Mapping[int, float]
    hausdorff95: float
    surface_distance: float
    fraction: float
    true_fraction: float
    fraction_error: float
    median_size: float
    true_median_size: float
    median_size_error: float
    size_ks: float
    size_ks_area: float
    tolerance: float
    pixel_size_nm: float | None = None
    unit: str = "px"
    images: int = 1
    notes: tuple[str, ...] = field(default=())

    @property
    def metrics(self) -> dict[str, float]:
        """The scores that are single numbers, by name."""
        return {name: float(getattr(self, name)) for name in TITLES}

    @property
    def summary(self) -> str:
        """The scores that matter most, in words."""
        over = f" over {self.images} images" if self.images > 1 else ""
        return (
            f"IoU {self.iou:.3f}, boundary F1 {self.boundary_f1:.3f} "
            f"({self.boundary_f1_2px:.3f} within 2 px), fraction {100 * self.fraction:.1f} % "
            f"(truth {100 * self.true_fraction:.1f} %){over}."
        )

    def rows(self) -> list[Row]:
        """Return the scores as lines of a table, lengths in nm where the pixel size is known."""
        rows = [Row(title, *self._shown(name), why) for name, (title, why) in TITLES.items()]
        for name, (title, why) in TITLES_OF_CLASS.items():
            for k, value in getattr(self, name).items():
                rows.append(Row(f"{title}, class {k}", value, "", why))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values (NaN and infinity become None, classes become strings)."""
        return {f.name: json_value(getattr(self, f.name)) for f in fields(self)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the scores as JSON; raises UserError if that is not possible."""
        from napari_physgen.io.atomic import replacing

        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="ascii")

    def _shown(self, name: str) -> tuple[float, str]:
        """Return a score with its unit as the table shows it."""
        value = float(getattr(self, name))
        if name in _SHARES:
            return 100 * value, "%"
        if name in _LENGTHS and self.pixel_size_nm is not None:
            return value * self.pixel_size_nm, "nm"
        if name in _LENGTHS:
            return value, "px"
        return value, self.unit if name in _SIZES else ""


def mean(evaluations: Iterable[Evaluation]) -> Evaluation:
    """Average scores over images; each score over the images where it exists.

    Raises
    ------
    UserError
        If there is none, or if some have sizes in nm and some in px.
    """
    every = list(evaluations)
    if not every:
        raise UserError("There is nothing to average: evaluate at least one image.")
    if len({e.unit for e in every}) > 1:
        raise UserError("Sizes in nm and in px do not mix: give every image its pixel size.")
    values: dict[str, Any] = {}
    for f in fields(Evaluation):
        column = [getattr(e, f.name) for e in every]
        if isinstance(column[0], Mapping):
            keys = sorted({key for scores in column for key in scores})
            values[f.name] = {k: nan_mean(c.get(k, math.nan) for c in column) for k in keys}
        elif f.name not in ("pixel_size_nm", "unit", "images", "notes"):
            values[f.name] = nan_mean(column)
    pixels = {e.pixel_size_nm for e in every}
    return Evaluation(
        **values,
        pixel_size_nm=pixels.pop() if len(pixels) == 1 else None,
        unit=every[0].unit,
        images=sum(e.images for e in every),
        notes=tuple(dict.fromkeys(note for e in every for note in e.notes)),
    )
