"""How close a region map is to a known one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.metrics import partition
from napari_physgen.physics.wall_edges import label_length

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

NO_DATA = 0
"""Label of pixels without data; they count nowhere."""


@dataclass(frozen=True)
class RegionScores:
    """How close a region map is to the truth; the names of the regions do not matter.

    Parameters
    ----------
    adjusted_rand : float
        1 the same map, 0 what chance gives.
    mutual_information : float
        Normalised by the mean of the entropies, 0 to 1.
    mean_iou : float
        Mean over the true regions, matched one to one (Hungarian method).
    boundary_f1 : float
        Within `tolerance`; NaN if there are no walls at all.
    boundary_f1_4px : float
        Within 4 pixels of the scan.
    wall_ratio : float
        Length of the walls over the true length; NaN if there are none, infinite if only the map
        has walls.
    largest_share : float
        Share of the largest region.
    tolerance : float
        Of `boundary_f1`, in points of the map.
    """

    adjusted_rand: float
    mutual_information: float
    mean_iou: float
    boundary_f1: float
    boundary_f1_4px: float
    wall_ratio: float
    largest_share: float
    tolerance: float = 1.5


def evaluate(
    labels: ArrayLike,
    truth: ArrayLike,
    tolerance: float = 1.5,
    pixel: float = 1.0,
    unlabelled: int | None = None,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> RegionScores:
    """Compare a region map with the truth.

    Parameters
    ----------
    labels : array
        (y, x) whole numbers; 0 is no data and counts nowhere.
    truth : array
        (y, x) whole numbers, any names.
    tolerance : float
        How far a wall may be from a true one, in points of the map.
    pixel : float
        Pixels of the scan between two points of the map: the grid step of a map on a grid.
    unlabelled : int, optional
        Number in the truth that says that the region is not known there.
    spacing : (float, float)
        Distance of points along y and x, in units of the one along x.

    Returns
    -------
    RegionScores

    Raises
    ------
    UserError
        If the two do not cover the same points, or none of them is known in both.
    """
    found, true = np.asarray(labels), np.asarray(truth)
    if found.shape != true.shape or found.ndim != 2:
        raise UserError(
            f"The map {found.shape} and the truth {true.shape} must be two images of the same "
            "size: crop or resize one of them."
        )
    inside = found != NO_DATA
    if unlabelled is not None:
        inside &= true != unlabelled
    if not inside.any():
        raise UserError(
            "The map and the truth have no labelled pixel in common: check which is which."
        )
    return RegionScores(
        adjusted_rand=partition.adjusted_rand(found, true, inside),
        mutual_information=partition.normalised_mutual_information(found, true, inside),
        mean_iou=partition.mean_matched_iou(found, true, inside),
        boundary_f1=partition.wall_f1(found, true, tolerance, spacing=spacing, inside=inside),
        boundary_f1_4px=partition.wall_f1(found, true, 4 / pixel, spacing=spacing, inside=inside),
        wall_ratio=_ratio(*(label_length(a, spacing, inside) for a in (found, true))),
        largest_share=partition.largest_share(found, inside),
        tolerance=tolerance,
    )


def _ratio(length: float, true: float) -> float:
    if true:
        return length / true
    return float("inf") if length else float("nan")
