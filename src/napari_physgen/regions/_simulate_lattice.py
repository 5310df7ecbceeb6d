"""Columns of atoms and how a scan records them.

The image is a sum of Gaussian columns over a background, I(r) = b + sum_j A_j
exp(-|r - r_j|^2 / (2 s_j^2)); a scan reads it at positions that drift and jitter from row to row;
detectors count electrons (Poisson).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.spatial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]

_REACH = 4.0  # standard deviations of a column that are drawn


@dataclass(frozen=True)
class Lattice:
    """A crystal seen along a zone axis.

    Parameters
    ----------
    vectors : tuple
        Two lattice vectors, each (y, x), px.
    columns : tuple
        Of every column of the cell: (fraction along the first vector, along the second one,
        brightness, standard deviation in px).
    """

    vectors: tuple[tuple[float, float], tuple[float, float]]
    columns: tuple[tuple[float, float, float, float], ...]

    def fill(
        self, shape: tuple[int, int], angle: float, origin: tuple[float, float]
    ) -> tuple[Real, NDArray[np.intp]]:
        """Return positions (n, 2) of all columns in a picture and the number of each in its cell.

        Parameters
        ----------
        shape : (int, int)
            Of the picture, px.
        angle : float
            Rotation, rad.
        origin : (float, float)
            Place of one cell, (y, x) in px.
        """
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        vectors = np.array(self.vectors) @ turn
        corners = np.array([(0, 0), (0, shape[1]), (shape[0], 0), shape], float) - origin
        cells = corners @ np.linalg.inv(vectors)
        spans = [
            np.arange(np.floor(low) - 1, np.ceil(high) + 2)
            for low, high in zip(cells.min(0), cells.max(0), strict=True)
        ]
        grid = np.stack(np.meshgrid(*spans, indexing="ij"), -1).reshape(-1, 1, 2)
        places = grid + np.array([c[:2] for c in self.columns])
        points = (places @ vectors + origin).reshape(-1, 2)
        kinds = np.tile(np.arange(len(self.columns)), len(grid))
        inside = np.all((points >= -0.5) & (points < np.array(shape) - 0.5), axis=1)
        return points[inside], kinds[inside]


def square(period: float, *columns: tuple[float, float, float, float]) -> Lattice:
    """Return a square lattice; `columns` as in `Lattice`."""
    return Lattice(((period, 0.0), (0.0, period)), columns)


def honeycomb(period: float, brightness: float, width: float) -> Lattice:
    """Return a honeycomb, two equal columns per cell."""
    vectors = ((0.0, period), (period * np.sqrt(3) / 2, period / 2))
    columns = tuple((f, f, brightness, width) for f in (1 / 3, 2 / 3))
    return Lattice(vectors, columns)


@dataclass(frozen=True)
class Columns:
    """Atom columns of a picture.

    Parameters
    ----------
    points : numpy.ndarray
        (n, 2), y and x in px.
    brightness, width : numpy.ndarray
        (n,), over the background, and standard deviation in px.
    """

    points: Real
    brightness: Real
    width: Real

    def kept(self, which: NDArray[np.bool_]) -> Columns:
        """Return some of the columns."""
        return Columns(self.points[which], self.brightness[which], self.width[which])

    def joined(self, other: Columns) -> Columns:
        """Return these columns and others."""
        return Columns(
            np.concatenate([self.points, other.points]),
            np.concatenate([self.brightness, other.brightness]),
            np.concatenate([self.width, other.width]),
        )

    def apart(self, distance: float) -> Columns:
        """Return the columns without the later one of every pair that is nearer than this."""
        pairs = scipy.spatial.cKDTree(self.points).query_pairs(distance, output_type="ndarray")
        which = np.ones(len(self.points), bool)
        which[pairs.max(axis=1)] = False
        return self.kept(which)


def crystal(
    lattice: Lattice, shape: tuple[int, int], angle: float, random: np.random.Generator
) -> Columns:
    """Return the columns of a crystal that fills the picture, from a random origin on."""
    origin = (float(random.uniform(0, shape[0])), float(random.uniform(0, shape[1])))
    points, kinds = lattice.fill(shape, angle, origin)
    table = np.array([c[2:] for c in lattice.columns])[kinds]
    return Columns(points, table[:, 0], table[:, 1])


def glass(
    shape: tuple[int, int],
    density: float,
    brightness: float,
    width: float,
    random: np.random.Generator,
    apart: float = 2.0,
) -> Columns:
    """Return columns at random places, not nearer than `apart` px, about `density` per px."""
    area = shape[0] * shape[1]
    # Dropping the later of close pairs leaves (1 - exp(-c)) / c of the points, c the mean number
    # of neighbours within the distance; asked for more, so that `density` remains.
    crowd = np.pi * apart**2 * density
    count = round(area * density * (1 + crowd / 2))
    points = random.uniform(-0.5, np.array(shape) - 0.5, (count, 2))
    return Columns(points, np.full(count, brightness), np.full(count, width)).apart(apart)


def distance(points: Real, others: Real) -> Real:
    """Return how far every point (n, 2) is from the nearest other one."""
    return np.asarray(scipy.spatial.cKDTree(others).query(points)[0])


def draw(columns: Columns, shift: Real, shape: tuple[int, int], background: float) -> Real:
    """Return the picture (y, x) that a scan sees whose row i reads at x + shift[i]."""
    image = np.full(shape, background)
    if not len(columns.points):
        return image
    reach = int(np.ceil(_REACH * columns.width.max()))
    steps = np.arange(-reach, reach + 1)
    rows = np.rint(columns.points[:, 0]).astype(int)[:, None] + steps
    safe = np.clip(rows, 0, shape[0] - 1)
    across = columns.points[:, 1, None] - shift[safe]
    cols = np.rint(across).astype(int)[..., None] + steps
    scale = -0.5 / columns.width**2
    tall = np.exp(scale[:, None] * (rows - columns.points[:, 0, None]) ** 2)
    wide = np.exp(scale[:, None, None] * (cols - across[..., None]) ** 2)
    value = columns.brightness[:, None, None] * tall[..., None] * wide
    seen = (rows == safe)[..., None] & (cols >= 0) & (cols < shape[1])
    index = safe[..., None] * shape[1] + cols
    image += np.bincount(index[seen], value[seen], image.size).reshape(shape)
    return image


def counted(image: Real, dose: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Return the picture in units of `dose` electrons, with the noise of counting them."""
    return np.asarray(random.poisson(np.maximum(image, 0) * dose) / dose, np.float32)
