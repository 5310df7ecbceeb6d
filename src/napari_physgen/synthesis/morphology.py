"""Masks at the scale of the images, cut from simulations: turned, zoomed, with what images have.

The statistics that a simulation cannot have are taken from the images: how the length scale
differs between them, the sizes of isolated particles, patches without particles, the width of the
channels where particles have grown together, and fine particles between the large ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from napari_physgen.metrics.particles import connected, equivalent_diameters
from napari_physgen.synthesis.appearance import PARTICLE
from napari_physgen.synthesis.draws import factor, smooth_field
from napari_physgen.synthesis.fine_particles import add_fine
from napari_physgen.synthesis.texture import signed_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_physgen.synthesis.population import Population

    Real = NDArray[np.float32]
    Labels = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

_SMALLEST = 6  # pixels of a particle
# Below this share particles are isolated, and their sizes can be taken from the image, in so many
# classes; stretched by up to a factor of exp(_STRETCH)^2 between the axes.
_ISOLATED, _BINS, _STRETCH = 0.35, 6, 0.35
_TOUCHING = 0.3  # share of particles of another layer that may touch
_GROWTH = 0.2  # of particles, at most, in lengths
_WAVES, _BENDING = (0.1, 0.35), 0.5  # of warps: correlation length in lengths, largest strain


@dataclass(frozen=True)
class Structures:
    """Simulations to cut masks from.

    Parameters
    ----------
    fields : tuple of numpy.ndarray
        (y, x) periodic, higher in particles.
    levels : tuple of float
        Particles are above this.
    length : float
        Their characteristic length, cells.
    diameter : float
        Area-weighted mean diameter of their particles, cells.
    """

    fields: tuple[Real, ...]
    levels: tuple[float, ...]
    length: float
    diameter: float

    @classmethod
    def of(cls, fields: Sequence[Real], labels: Sequence[Labels], length: float) -> Structures:
        """Take simulated fields with their labels; the level keeps the fraction of the labels."""
        levels = tuple(
            float(np.quantile(field, 1 - (mask > 0).mean()))
            for field, mask in zip(fields, labels, strict=True)
        )
        sizes = np.concatenate([equivalent_diameters(m > 0, periodic=True) for m in labels])
        diameter = float(np.average(sizes, weights=sizes**2)) if sizes.size else length
        return cls(tuple(np.asarray(f, np.float32) for f in fields), levels, length, diameter)

    def cut(
        self,
        shape: tuple[int, int],
        like: Population,
        random: np.random.Generator,
        *,
        zoom_spread: float = 0.2,
        turn_deg: float = 10.0,
        warp: float = 1.0,
    ) -> Labels:
        """Return a mask (y, x) that looks like part of an image with this population.

        Parameters
        ----------
        shape : (int, int)
        like : Population
        random : numpy.random.Generator
        zoom_spread : float
            The length scale differs from that of the image by up to this share.
        turn_deg : float
            Largest turn against the simulation.
        warp : float
            How much boundaries are bent, for shapes that no simulation has; 0 keeps them.
        """
        if like.fraction < _ISOLATED and like.sizes.size >= _BINS:
            large = self._by_size(shape, like, random, zoom_spread, warp)
        else:
            zoom = like.length / self.length * factor(zoom_spread, random)
            turn = np.deg2rad(random.uniform(-turn_deg, turn_deg))
            view = _view(zoom, turn)
            large = self._layer(shape, view, warp * _warp(shape, like.length, random), random)
            large = _thinned(large, like, random)
            large = _grown(large, like, random)
        labels = large.astype(np.uint8) * PARTICLE
        if like.fine.size:
            add_fine(labels, like, random)
        return labels

    def _by_size(
        self,
        shape: tuple[int, int],
        like: Population,
        random: np.random.Generator,
        zoom_spread: float,
        warp: float,
    ) -> Mask:
        """Return isolated particles with the sizes of the image, the coarse ones first."""
        overall = factor(zoom_spread, random)
        edges = np.geomspace(like.sizes[0], like.sizes[-1] * 1.001, _BINS + 1)
        large = np.zeros(shape, bool)
        for low, high in zip(edges[-2::-1], edges[:0:-1], strict=True):
            sizes = like.sizes[(like.sizes >= low) & (like.sizes < high)]
            share = (sizes**2).sum() / (like.sizes**2).sum() * like.fraction
            if not sizes.size:
                continue
            zoom = overall * sizes.mean() / self.diameter
            stretch = np.exp(random.uniform(0, _STRETCH))
            view = _view(zoom, random.uniform(0, np.pi), stretch)
            bent = warp * _warp(shape, float(sizes.mean()), random)
            layer = _apart(self._layer(shape, view, bent, random), large, random)
            large |= _some(layer, share * random.uniform(0.7, 1.3), random)
        return large

    def _layer(
        self,
        shape: tuple[int, int],
        view: NDArray[np.float64],
        bent: NDArray[np.float64],
        random: np.random.Generator,
    ) -> Mask:
        which = int(random.integers(len(self.fields)))
        field = _sample(self.fields[which], shape, view, bent, random)
        return _without_specks(field > self.levels[which])


def _view(zoom: float, turn: float, stretch: float = 1.0) -> NDArray[np.float64]:
    """Return the matrix from pixels to cells: turned by `turn` (rad), zoomed, stretched along x."""
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.array([[cos, -sin], [sin, cos]])
    return np.asarray(np.diag([stretch, 1 / stretch]) @ turned / zoom)


def _sample(
    field: Real,
    shape: tuple[int, int],
    view: NDArray[np.float64],
    bent: NDArray[np.float64],
    random: np.random.Generator,
) -> Real:
    """Return a periodic field as seen through `view`, bent, from a random place."""
    pixels = np.mgrid[: shape[0], : shape[1]] + bent
    offset = random.uniform(0, 1, 2) * field.shape
    where = np.einsum("ij,jyx->iyx", view, pixels) + offset[:, None, None]
    return np.asarray(
        scipy.ndimage.map_coordinates(field, where, order=3, mode="grid-wrap"), np.float32
    )


def _some(layer: Mask, share: float, random: np.random.Generator) -> Mask:
    """Return as many particles of a layer, drawn at random, as cover this share of the picture."""
    parts = connected(layer, periodic=False)
    area = np.bincount(parts.ravel())[1:]
    order = random.permutation(area.size)
    kept = order[np.cumsum(area[order]) - area[order] / 2 <= share * layer.size] + 1
    return np.asarray(np.isin(parts, kept))


def _warp(
    shape: tuple[int, int], length: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return smooth displacements (2, y, x), px, that do not fold."""
    sigma = length * random.uniform(*_WAVES)
    strain = random.uniform(0, _BENDING)
    return strain * sigma * np.stack([smooth_field(shape, sigma, random) for _ in range(2)])


def _without_specks(mask: Mask) -> Mask:
    from skimage.morphology import remove_small_holes, remove_small_objects

    kept = remove_small_objects(mask, max_size=_SMALLEST)
    return np.asarray(remove_small_holes(kept, max_size=_SMALLEST))


def _apart(layer: Mask, others: Mask, random: np.random.Generator) -> Mask:
    """Return the particles of a layer that touch none of the others, or some that do."""
    parts = connected(layer, periodic=False)
    touching = np.unique(parts[scipy.ndimage.binary_dilation(others, iterations=2)])
    touching = touching[random.random(touching.size) > _TOUCHING]
    return np.asarray(layer & ~np.isin(parts, touching) & ~others)


def _grown(mask: Mask, like: Population, random: np.random.Generator) -> Mask:
    """Let particles grow up to their share, with channels between those that meet.

    Ordered precipitates of different variants do not coalesce; what a diffuse interface of the
    simulation leaves between them is wider than the channels of a micrograph.
    """
    target = like.fraction * random.uniform(0.9, 1.1)
    if mask.mean() >= target or not mask.any():
        return mask
    parts = connected(mask, periodic=False)
    out, nearest = scipy.ndimage.distance_transform_edt(~mask, return_indices=True)
    zones = parts[tuple(nearest)]
    edge = np.zeros(mask.shape, bool)
    edge[1:] |= zones[1:] != zones[:-1]
    edge[:, 1:] |= zones[:, 1:] != zones[:, :-1]
    middle = scipy.ndimage.distance_transform_edt(~edge)
    free = ~mask & (middle > 0.5 * like.channel * random.uniform(0.7, 1.3))
    reach = np.sort(out[free])
    missing = int((target - mask.mean()) * mask.size)
    if missing < 1 or not reach.size:
        return mask
    limit = min(reach[min(missing, reach.size) - 1], _GROWTH * like.length)
    return np.asarray(mask | (free & (out <= limit)))


def _thinned(mask: Mask, like: Population, random: np.random.Generator) -> Mask:
    """Take particles away in patches until the widest places of the matrix are as wide."""
    parts = connected(mask, periodic=False)
    if parts.max() < 4:
        return mask
    matrix = ~mask
    widest = float(np.quantile(-signed_distance(mask)[matrix], 0.995)) / like.length
    if widest >= 0.8 * like.widest:
        return mask
    patches = smooth_field(mask.shape, like.length * random.uniform(0.5, 1.5), random)
    mean = scipy.ndimage.mean(patches, parts, np.arange(1, parts.max() + 1))
    for share in (0.03, 0.06, 0.1, 0.15, 0.2, 0.25):
        gone = mean > np.quantile(mean, 1 - share * random.uniform(0.5, 1.5))
        left = mask & ~np.concatenate([[False], gone])[parts]
        if np.quantile(-signed_distance(left)[~left], 0.995) >= like.widest * like.length:
            break
    return np.asarray(left)
