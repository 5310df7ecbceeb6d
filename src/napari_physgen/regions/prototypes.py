"""What each region looks like: its mean spectrum, mean pattern or repeated patch, with errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.regions.describe import small_patterns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions._patterns import Pattern
    from napari_physgen.regions.scan import Scan

    Real = NDArray[np.float32]


def prototypes(
    scan: Scan, labels: NDArray[np.int64], regions: int, patterns: list[Pattern | None] | None
) -> tuple[Real, Real]:
    """Return the prototype of every region and the standard error of it.

    Parameters
    ----------
    scan : Scan
    labels : numpy.ndarray
        (y, x) from 0 on, at the resolution of the scan.
    regions : int
    patterns : list of Pattern or None
        Of lattice images.

    Returns
    -------
    values, errors : numpy.ndarray
        (region, y, x) patches or diffraction patterns; (region, signal) spectra or channels.
        NaN for regions without one.
    """
    if patterns is not None and any(pattern is not None for pattern in patterns):
        return _patches(patterns)
    if scan.kind == "lattice":
        return _means(scan.values[None], scan, labels, regions)
    if scan.kind == "diffraction":
        small = small_patterns(scan.values)
        values, errors = _means(small.reshape(-1, *scan.shape), scan, labels, regions)
        shape = (regions, *small.shape[:2])
        return values.reshape(shape), errors.reshape(shape)
    return _means(scan.values, scan, labels, regions)


def _patches(patterns: list[Pattern | None]) -> tuple[Real, Real]:
    shape = next(pattern.values.shape for pattern in patterns if pattern is not None)
    nothing = np.full(shape, np.nan, np.float32)
    values = [nothing if one is None else one.values for one in patterns]
    errors = [nothing if one is None else one.error for one in patterns]
    return np.stack(values).astype(np.float32), np.stack(errors).astype(np.float32)


def _means(
    values: object, scan: Scan, labels: NDArray[np.int64], regions: int
) -> tuple[Real, Real]:
    """Return means over regions and their standard errors, read line by line."""
    count = values.shape[0]  # type: ignore[attr-defined]
    total = np.zeros((2, regions, count))
    members = np.zeros(regions)
    for y in range(scan.shape[0]):
        line = np.asarray(values[:, y], np.float64)  # type: ignore[index]
        own = np.eye(regions)[labels[y]] * scan.valid[y][:, None]
        line = np.where(scan.valid[y], line, 0)
        members += own.sum(0)
        total[0] += (line @ own).T
        total[1] += (line**2 @ own).T
    size = np.maximum(members, 1)[:, None]
    mean = total[0] / size
    error = np.sqrt(np.maximum(total[1] / size - mean**2, 0) / size)
    mean[members == 0], error[members == 0] = np.nan, np.nan
    return mean.astype(np.float32), error.astype(np.float32)
