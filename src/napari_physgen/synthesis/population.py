"""What the phases of a micrograph look like beyond their mean structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from napari_physgen.metrics.particles import connected, equivalent_diameters
from napari_physgen.synthesis.appearance import FINE, PARTICLE
from napari_physgen.synthesis.texture import signed_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float32]
    Labels = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

_APART, _RARE = 2.5, 0.35  # factor between the diameters, largest share of the particles' area
_SMALLEST = 6  # pixels of a particle
_FEW, _WEAK, _AROUND = 8, 0.5, 8.0  # particles; share of the usual contrast; px


@dataclass(frozen=True)
class Population:
    """What one image's phases look like beyond their mean structure.

    Parameters
    ----------
    length : float
        Characteristic length, px.
    fraction : float
        Share of the large particles.
    fine : numpy.ndarray
        Diameters of its fine particles, px; empty if there are none.
    fine_density : float
        Fine particles per pixel of the matrix.
    widest : float
        99.5 percentile of the matrix's distance to the next particle, over the length.
    channel : float
        Width of the matrix's narrow channels, px: lower quartile along its skeleton.
    sizes : numpy.ndarray
        Diameters of its large particles, px, ascending.
    """

    length: float
    fraction: float
    fine: Real
    fine_density: float
    widest: float
    channel: float
    sizes: Real


def split_sizes(mask: Mask, apart: float | None = None) -> Labels:
    """Return labels with the small particles of a two-sized population as a class of their own.

    Parameters
    ----------
    mask : numpy.ndarray
        (y, x), true in particles.
    apart : float, optional
        Equivalent diameter (px) between the two; None finds it, if there are two sizes at all.

    Returns
    -------
    numpy.ndarray
        0 matrix, 1 particles, 2 fine particles.
    """
    parts = connected(mask, periodic=False)
    area = np.bincount(parts.ravel()).astype(float)
    area[0] = 0
    diameter = 2 * np.sqrt(area / np.pi)
    labels = mask.astype(np.uint8) * PARTICLE
    limit = size_limit(diameter[1:]) if apart is None else apart
    if limit is not None:
        labels[(diameter < limit)[parts] & mask] = FINE
    return labels


def distinct(image: Real, mask: Mask) -> Mask:
    """Return a mask without the particles that hardly differ from what is around them.

    Ridges of a textured matrix pass for particles at their edges, but have less contrast: half of
    the area-weighted median is asked for.

    Parameters
    ----------
    image, mask : numpy.ndarray
        (y, x); the mask is true in particles.
    """
    parts = connected(mask, periodic=False)
    count = int(parts.max())
    if count < _FEW:
        return mask
    index = np.arange(1, count + 1)
    around = scipy.ndimage.gaussian_filter(np.where(mask, 0, image), _AROUND)
    around /= np.maximum(scipy.ndimage.gaussian_filter((~mask).astype(np.float32), _AROUND), 1e-3)
    contrast = np.abs(scipy.ndimage.mean(image - around, parts, index))
    area = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    order = np.argsort(contrast)
    half = np.searchsorted(np.cumsum(area[order]), 0.5 * area.sum())
    weak = contrast < _WEAK * contrast[order][min(half, count - 1)]
    return np.asarray(mask & ~np.concatenate([[False], weak])[parts])


def size_limit(diameters: NDArray[np.float64]) -> float | None:
    """Return the diameter between two populations of particles, None if there is only one.

    Otsu's threshold of the logarithms; two populations are apart by a factor of 2.5 on the mean,
    and the small ones have the smaller part of the area.
    """
    from skimage.filters import threshold_otsu

    sizes = diameters[diameters**2 * np.pi / 4 >= _SMALLEST]
    if sizes.size < 8 or np.ptp(sizes) == 0:
        return None
    limit = float(np.exp(threshold_otsu(np.log(sizes))))  # type: ignore[no-untyped-call]
    small, large = sizes[sizes < limit], sizes[sizes >= limit]
    if min(small.size, large.size) < 3:
        return None
    ratio = np.exp(np.log(large).mean() - np.log(small).mean())
    share = (small**2).sum() / (sizes**2).sum()
    return limit if ratio > _APART and share < _RARE else None


def populate(labels: Labels, length: float) -> Population:
    """Measure what `Population` says."""
    large = labels == PARTICLE
    parts = connected(labels == FINE, periodic=False)
    area = np.bincount(parts.ravel())[1:]
    area = area[area >= _SMALLEST]
    matrix = ~large
    away = -signed_distance(large)[matrix]
    return Population(
        length=length,
        fraction=float(large.mean()),
        fine=np.asarray(2 * np.sqrt(area / np.pi), np.float32),
        fine_density=area.size / max(int(matrix.sum()), 1),
        widest=float(np.quantile(away, 0.995)) / length,
        channel=_channel(matrix),
        sizes=np.asarray(equivalent_diameters(large, smallest=_SMALLEST), np.float32),
    )


def _channel(matrix: Mask) -> float:
    """Return the width (px) of the narrow quarter of a phase, along its skeleton."""
    from skimage.morphology import skeletonize

    distance = scipy.ndimage.distance_transform_edt(matrix)
    widths = 2 * distance[skeletonize(matrix)] - 1  # type: ignore[no-untyped-call]
    return float(np.quantile(widths, 0.25)) if widths.size else 1.0
