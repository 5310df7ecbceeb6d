"""Areas, ellipses and places of numbered particles, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.metrics.particles import at_edge, diameters_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Numbers = NDArray[np.uint32]

AXES = ("z", "y", "x")


def measure(
    numbers: Numbers, kinds: NDArray[np.int64], spacing: Real, unit: str
) -> dict[str, NDArray[np.generic]]:
    """Measure every particle; `spacing` is the pixel size in the unit."""
    ndim, count = numbers.ndim, kinds.size
    pixels, centre, covariance = _moments(numbers, count, spacing)
    area = pixels * spacing.prod()
    variance, direction = np.linalg.eigh(covariance)  # Ascending.
    axes = 2 * np.sqrt((ndim + 2) * variance)
    long = direction[:, :, -1]
    # The sign of an axis has no meaning: let it point towards +x.
    long = np.where(long[:, -1:] < 0, -long, long)
    touching = np.zeros(count + 1, bool)
    touching[at_edge(numbers)] = True
    angle = np.degrees(np.arctan2(long[:, -2], long[:, -1]))
    table: dict[str, NDArray[np.generic]] = {
        "index": np.arange(1, count + 1),
        "class": kinds,
        f"area_{unit}2" if ndim == 2 else f"volume_{unit}3": area,
        f"equivalent_diameter_{unit}": diameters_of(area, ndim),
        f"long_axis_{unit}": axes[:, -1],
        f"short_axis_{unit}": axes[:, 0],
        "aspect": axes[:, -1] / axes[:, 0],
        "orientation_deg": angle,
    }
    if ndim == 3:
        table["elevation_deg"] = np.degrees(np.arcsin(np.clip(long[:, 0], -1, 1)))
    table |= {f"centroid_{a}_{unit}": centre[:, i] for i, a in enumerate(AXES[-ndim:])}
    return table | {"touches_edge": touching[1:]}


def _moments(numbers: Numbers, count: int, spacing: Real) -> tuple[Real, Real, Real]:
    """Return number of pixels (n,), centroids (n, d) and second central moments (n, d, d).

    A pixel is a small square (1/12), not a point: a line is as thick as its pixels.
    """
    where = np.nonzero(numbers)
    owner = numbers[where].astype(np.intp) - 1

    def total(values: Real | None = None) -> Real:
        return np.bincount(owner, values, minlength=count).astype(float)

    pixels = total()
    place = [axis * size for axis, size in zip(where, spacing, strict=True)]
    centre = np.stack([total(p) for p in place], 1) / pixels[:, None]
    place = [p - centre[owner, i] for i, p in enumerate(place)]
    ndim = len(place)
    covariance = np.zeros((count, ndim, ndim))
    for i in range(ndim):
        for j in range(i + 1):
            covariance[:, i, j] = covariance[:, j, i] = total(place[i] * place[j]) / pixels
    return pixels, centre, covariance + np.diag(spacing**2 / 12)
