"""How a micrograph shows its phases: grey level against distance to the boundary, and texture.

Secondary-electron images show edges brighter than faces, etched phases with rims, relief and
texture of their own. All of that is measured from an image and a rough segmentation of it: the
median over thousands of boundary pixels forgives wrong ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import characteristic_length
from napari_physgen.metrics.particles import connected
from napari_physgen.synthesis.texture import Texture, signed_distance, texture_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float32]
    Labels = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

MATRIX, PARTICLE, FINE = 0, 1, 2

# Distances (px) at which grey levels are taken: finely at the boundary, coarsely far from it.
_NEAR, _FAR, _GROWTH = 8, 200, 1.35
_FEWEST = 50  # pixels for a grey level
_GROUPS = 6  # of particles, by size


@dataclass(frozen=True)
class Appearance:
    """How one micrograph shows two phases; grey levels as its own 0.5 to 99.5 percentile = 0 to 1.

    Parameters
    ----------
    distances, profile : numpy.ndarray
        (bin,) signed distance to the boundary (px, positive inside of particles) and the
        median grey level there.
    diameters, offsets : numpy.ndarray
        (size,) diameters of particles, px, and by how much their grey level differs from the
        profile: small ones are often brighter, or fainter, all over.
    scatter : float
        Standard deviation of the particles' grey levels around that.
    textures : tuple of Texture
        Of the matrix and of the particles.
    relief : numpy.ndarray
        (2, bin) amplitudes along y and x: edges that face the detector are brighter than those
        that face away from it.
    fine : numpy.ndarray
        (bin,) grey level of fine particles minus that of the matrix, at `distances`; empty if
        there are none.
    length, fraction : float
        Characteristic length (px) and share of the particles.
    shape : (int, int)
        Pixels of the image.
    """

    distances: Real
    profile: Real
    relief: Real
    diameters: Real
    offsets: Real
    scatter: float
    textures: tuple[Texture, Texture]
    fine: Real
    length: float
    fraction: float
    shape: tuple[int, int]


def measure(image: Real, labels: Labels) -> Appearance:
    """Measure how an image shows the phases of a (rough) segmentation.

    Parameters
    ----------
    image : numpy.ndarray
        (y, x), normalised.
    labels : numpy.ndarray
        (y, x): 0 matrix, 1 particles, 2 fine particles.

    Raises
    ------
    UserError
        If a phase is missing.
    """
    large = labels == PARTICLE
    if not large.any() or large.all():
        raise UserError("Only one phase was found: choose an image with particles and matrix.")
    distance = signed_distance(large)
    away = scipy.ndimage.binary_dilation(labels == FINE, iterations=2)
    distances, profile = _profile(distance[~away], image[~away])
    rest = image - np.interp(distance, distances, profile).astype(np.float32)
    relief = _relief(distance, rest, ~away, distances)
    rest -= facing(distance, distances, relief)
    parts = connected(large, periodic=False)
    diameters, offsets, scatter = _by_size(parts, rest)
    rest -= np.where(large, by_size(parts, diameters, offsets), 0)
    fine = np.zeros(0, np.float32)
    if (labels == FINE).sum() >= _FEWEST:
        depth = signed_distance(labels == FINE)
        near = ~large & (depth > -_NEAR)
        at, dip = _profile(depth[near], rest[near])
        fine = np.interp(distances, at, dip).astype(np.float32)
        rest -= np.where(near, np.interp(depth, at, dip), 0).astype(np.float32)
    phases = (~large & ~away, large)
    return Appearance(
        distances=distances,
        profile=profile,
        relief=relief,
        diameters=diameters,
        offsets=offsets,
        scatter=scatter,
        textures=(texture_of(rest, phases[0]), texture_of(rest, phases[1])),
        fine=fine,
        length=characteristic_length(large),
        fraction=float(large.mean()),
        shape=(image.shape[0], image.shape[1]),
    )


def by_size(parts: NDArray[np.uint32], diameters: Real, offsets: Real) -> Real:
    """Return the grey level (y, x) that the size of numbered particles adds; 0 outside of them."""
    area = np.bincount(parts.ravel())
    values = np.interp(2 * np.sqrt(area / np.pi), diameters, offsets)
    values[0] = 0
    return np.asarray(values[parts], np.float32)


def _by_size(parts: NDArray[np.uint32], rest: Real) -> tuple[Real, Real, float]:
    """Measure diameters, offsets and scatter of the particles' mean grey levels."""
    area = np.bincount(parts.ravel())[1:]
    grey = scipy.ndimage.mean(rest, parts, np.arange(1, area.size + 1))
    order = np.argsort(area)
    groups = np.array_split(order, min(_GROUPS, area.size))
    sizes = [float(np.median(2 * np.sqrt(area[group] / np.pi))) for group in groups]
    offsets = [float(np.median(grey[group])) for group in groups]
    left = np.concatenate([grey[g] - o for g, o in zip(groups, offsets, strict=True)])
    scatter = 1.4826 * float(np.median(np.abs(left)))  # robust standard deviation
    return np.array(sizes, np.float32), np.array(offsets, np.float32), scatter


def facing(distance: Real, distances: Real, relief: Real) -> Real:
    """Return the grey level that the direction of the nearest boundary adds."""
    normal = _normal(distance)
    parts = [np.interp(distance, distances, amplitude) for amplitude in relief]
    return np.asarray(parts[0] * normal[0] + parts[1] * normal[1], np.float32)


def _normal(distance: Real) -> Real:
    """Return the direction (2, y, x) to the inside of particles."""
    slope = np.stack(np.gradient(scipy.ndimage.gaussian_filter(distance, 1.0)))
    return np.asarray(slope / np.maximum(np.hypot(*slope), 0.5), np.float32)


def _relief(distance: Real, rest: Real, counted: Mask, distances: Real) -> Real:
    """Return the least-squares amplitudes (2, bin) of the normal's y and x in what is left."""
    normal = _normal(distance)
    middles = (distances[1:] + distances[:-1]) / 2
    where = np.digitize(distance, middles)[counted]
    grey = np.clip(rest, *np.quantile(rest, (0.01, 0.99)))[counted]
    amplitudes = []
    for part in normal:
        along = part[counted]
        products = np.bincount(where, along * grey, distances.size)
        squares = np.bincount(where, along**2, distances.size)
        amplitudes.append(products / np.maximum(squares, _FEWEST / 4))
    return np.array(amplitudes, np.float32)


def _profile(distance: Real, grey: Real) -> tuple[Real, Real]:
    """Return the median grey level against distance, where there are pixels enough."""
    near = np.arange(-_NEAR, _NEAR + 1, dtype=float)
    far = _NEAR * _GROWTH ** np.arange(1, np.log(_FAR / _NEAR) / np.log(_GROWTH))
    edges = np.concatenate([-far[::-1], near, far])
    where = np.digitize(distance, edges)
    order = np.argsort(where, kind="stable")
    parts = np.split(np.arange(distance.size)[order], np.cumsum(np.bincount(where.ravel()))[:-1])
    flat_distance, flat_grey = distance.ravel(), grey.ravel()
    points = [
        (float(flat_distance[part].mean()), float(np.median(flat_grey[part])))
        for part in parts
        if part.size >= _FEWEST
    ]
    if not points:
        points = [(0.0, float(np.median(grey)))]
    at, level = np.array(points, np.float32).T
    return at, level
