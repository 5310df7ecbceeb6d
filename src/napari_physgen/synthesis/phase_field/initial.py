"""Initial conditions: fluctuations, nuclei, polycrystals; drawn on the CPU for any device."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.backend import generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

VARIANTS = 4
# Trials per nucleus before the sample counts as full.
TRIALS = 50
# Half width of the profile of a nucleus, in cells.
SOFT = 1.5


def fluctuation(shape: Sequence[int], mean: float, amplitude: float, seed: int) -> Tensor:
    """Return a field (*shape) of white noise whose mean is exactly `mean`."""
    noise = torch.randn(*shape, generator=generator(seed, "cpu", "noise"), dtype=torch.float64)
    return mean + amplitude * (noise - noise.mean())


def places(
    shape: Sequence[int],
    count: int,
    distance: float,
    seed: int,
    *stream: str,
    periodic: bool = True,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Return up to `count` random points (n, axis), in cells, at least `distance` apart.

    Parameters
    ----------
    shape : sequence of int
    count : int
    distance : float
        Least distance of two points; fewer points come back where they do not fit.
    seed : int
    *stream : str
        Names the random stream.
    periodic : bool
        Whether distances are taken across the edges.
    allowed : numpy.ndarray, optional
        (*shape), where points may lie.
    """
    draws = generator(seed, "cpu", "places", *stream)
    size = np.asarray(shape, float)
    points = np.empty((0, len(shape)))
    candidates = torch.rand(count * TRIALS, len(shape), generator=draws, dtype=torch.float64)
    for point in candidates.numpy() * size:
        if len(points) == count:
            break
        if allowed is not None and not allowed[tuple(point.astype(int))]:
            continue
        apart = np.abs(points - point)
        if periodic:
            apart = np.minimum(apart, size - apart)
        if not (np.square(apart).sum(1) < distance**2).any():
            points = np.vstack([points, point])
    return points


def distances(
    shape: Sequence[int], points: NDArray[np.float64], periodic: bool
) -> tuple[Tensor, Tensor]:
    """Return the distance of every cell to the nearest point, and that point's index (*shape)."""
    from scipy.spatial import cKDTree

    cells = np.stack(np.meshgrid(*[np.arange(n) + 0.5 for n in shape], indexing="ij"), -1)
    tree = cKDTree(points, boxsize=np.asarray(shape, float) if periodic else None)
    length, index = tree.query(cells)
    return torch.as_tensor(length), torch.as_tensor(index)


def nuclei(
    shape: Sequence[int],
    points: NDArray[np.float64],
    radius: float,
    seed: int,
    *stream: str,
    periodic: bool = True,
) -> Tensor:
    """Return order parameters (variant, *shape) of round nuclei of random variants."""
    eta = torch.zeros(VARIANTS, *shape, dtype=torch.float64)
    if len(points) == 0:
        return eta
    length, index = distances(shape, points, periodic)
    draws = generator(seed, "cpu", "variants", *stream)
    variants = torch.randint(VARIANTS, (len(points),), generator=draws)
    profile = 0.5 * (1 - torch.tanh((length - radius) / SOFT))
    for variant in range(VARIANTS):
        eta[variant] = torch.where(variants[index] == variant, profile, 0)
    return eta


def coloured_grains(
    shape: Sequence[int], grains: int, colours: int, seed: int, periodic: bool
) -> Tensor:
    """Return order parameters (colour, *shape) of a Voronoi polycrystal.

    Grains that touch, or share a neighbour, get different orientations as long as there are
    enough of them, so that few grains merge when those between them vanish.
    """
    density = grains / math.prod(shape)
    apart = 0.5 * density ** (-1 / len(shape))
    points = places(shape, grains, apart, seed, "grains", periodic=periodic)
    _, index = distances(shape, points, periodic)
    owner = index.numpy()
    colour = _colours(_neighbours(owner, len(points), periodic), colours, seed)
    eta = torch.nn.functional.one_hot(torch.as_tensor(colour[owner]), colours).double()
    return eta.movedim(-1, 0)


def _neighbours(owner: NDArray[np.int64], count: int, periodic: bool) -> NDArray[np.bool_]:
    """Return which grains touch (grain, grain)."""
    touch = np.zeros((count, count), bool)
    for axis in range(owner.ndim):
        shifted = np.roll(owner, -1, axis)
        first, second = owner, shifted
        if not periodic:
            keep = [slice(None)] * owner.ndim
            keep[axis] = slice(0, -1)
            first, second = owner[tuple(keep)], shifted[tuple(keep)]
        touch[first.ravel(), second.ravel()] = True
    touch |= touch.T
    np.fill_diagonal(touch, False)
    return touch


def _colours(touch: NDArray[np.bool_], colours: int, seed: int) -> NDArray[np.int64]:
    """Colour the grains greedily: avoid neighbours above all, then their neighbours."""
    draws = generator(seed, "cpu", "colours")
    order = torch.randperm(len(touch), generator=draws).numpy()
    ties = torch.rand(len(touch), colours, generator=draws).numpy()
    second = (touch.astype(np.float32) @ touch.astype(np.float32)) > 0
    colour = np.full(len(touch), -1)
    for grain in order:
        price = ties[grain].copy()
        for around, weight in ((touch[grain], 1e4), (second[grain], 1e2)):
            near = colour[around]
            np.add.at(price, near[near >= 0], weight)
        colour[grain] = int(np.argmin(price))
    return colour
