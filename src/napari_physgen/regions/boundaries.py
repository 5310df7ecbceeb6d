"""Walls between regions as lines finer than the pixels, their lengths and junctions.

Lines are traced by marching squares and then smoothed along themselves, or the staircase of the
pixels would lengthen them by up to 8 %.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from napari_physgen.regions._wall_cells import Pair, chains, find_pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Index = NDArray[np.intp]
    Labels = NDArray[np.uint8]

SMOOTHING = 2.5
"""Gaussian width, px, of what is smoothed along lines: the narrowest that keeps straight lines
of hard labels within 1 % of their length at all angles."""
ROUND = 12
"""Short lines are smoothed by at most this part of their length: a disc of radius 5 px keeps its
circumference within 2 %, one of 2 px within 6 %."""
SAME_JUNCTION = 3.0
"""px: junctions closer than this are one."""


@dataclass(frozen=True)
class Line:
    """One piece of wall between two regions.

    Parameters
    ----------
    points : numpy.ndarray
        (point, 2) float32, (y, x) in pixels about 1 px apart; closed lines end where they start.
    pair : (int, int)
        Labels of the two regions, the smaller one first.
    closed : bool
    length : float
        In the unit of `Walls`.
    """

    points: NDArray[np.float32]
    pair: Pair
    closed: bool
    length: float


@dataclass(frozen=True)
class Interface:
    """All walls between two regions.

    Parameters
    ----------
    pair : (int, int)
    length : float
        In the unit of `Walls`.
    lines : tuple of Line
    """

    pair: Pair
    length: float
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Walls:
    """All walls of a region map.

    Parameters
    ----------
    lines : tuple of Line
    interfaces : tuple of Interface
        By pair of regions, the longest first.
    junctions : numpy.ndarray
        (n, 2) float32: points (y, x), in pixels, where three or more regions meet.
    length : float
        Of all lines.
    unit : {"px", "nm"}
        Unit of all lengths.
    """

    lines: tuple[Line, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    junctions: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    length: float = 0.0
    unit: Literal["px", "nm"] = "px"

    def segments(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the pieces of all lines for a vectors layer.

        Returns
        -------
        vectors : numpy.ndarray
            (piece, 2, 2) float32: start and direction, each (y, x) in pixels.
        pairs : numpy.ndarray
            (piece, 2) uint8: labels of the two regions.
        """
        vectors = [
            np.stack([line.points[:-1], np.diff(line.points, axis=0)], 1) for line in self.lines
        ]
        pairs = [
            np.tile(np.array(line.pair, np.uint8), (len(line.points) - 1, 1)) for line in self.lines
        ]
        if not self.lines:
            return np.zeros((0, 2, 2), np.float32), np.zeros((0, 2), np.uint8)
        return np.concatenate(vectors), np.concatenate(pairs)


def trace_walls(
    probabilities: NDArray[np.floating],
    labels: Labels,
    pixel_nm: tuple[float, float] | None = None,
) -> Walls:
    """Trace the walls between the regions of a map.

    Between two pixels of regions a and b the wall is where p_a = p_b. Probabilities of 0 and 1
    put it half-way, which the smoothing along the line evens out.

    Parameters
    ----------
    probabilities : numpy.ndarray
        (region, y, x); region k of the labels is `probabilities[k - 1]`.
    labels : numpy.ndarray
        (y, x): regions 1, 2, ...; 0 where there are no data. There are no walls against 0 nor
        along the frame.
    pixel_nm : (float, float), optional
        Pixel size along y and x; without it lengths are in pixels.
    """
    pieces, junctions = find_pieces(probabilities, labels)
    size = np.array(pixel_nm or (1.0, 1.0))
    lines = tuple(_line(*chain, np.array(labels.shape), size) for chain in chains(pieces))
    return Walls(
        lines,
        _interfaces(lines),
        _merged(junctions),
        sum((line.length for line in lines), 0.0),
        "px" if pixel_nm is None else "nm",
    )


def _line(points: Real, pair: Pair, closed: bool, shape: Index, size: Real) -> Line:
    """Smooth a chain of points; the map of `shape` ends half a pixel beyond the outer pixels."""
    points = np.clip(_smoothed(np.clip(points, -0.5, shape - 0.5), closed), -0.5, shape - 0.5)
    return Line(points.astype(np.float32), pair, closed, _length(points * size))


def _interfaces(lines: tuple[Line, ...]) -> tuple[Interface, ...]:
    groups: dict[Pair, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.pair, []).append(line)
    found = [
        Interface(pair, sum(line.length for line in group), tuple(group))
        for pair, group in groups.items()
    ]
    return tuple(sorted(found, key=lambda interface: -interface.length))


def _length(points: Real) -> float:
    return float(np.hypot(*np.diff(points, axis=0).T).sum())


def _smoothed(points: Real, closed: bool) -> Real:
    """Return points 1 px apart along a line without what is finer than `SMOOTHING`.

    The Gaussian is applied as 2 G - G^2, which shrinks curves in fourth order only; ends stay.
    Lines shorter than `ROUND` / 2 are left as they are: walls of a noisy map come by the 100 000.
    """
    travelled = np.r_[0, np.hypot(*np.diff(points, axis=0).T).cumsum()]
    if travelled[-1] < ROUND / 2:
        return points
    count = max(int(np.ceil(travelled[-1])), 8)
    step = travelled[-1] / count
    at = np.linspace(0, travelled[-1], count + 1)
    even = np.stack([np.interp(at, travelled, axis) for axis in points.T], 1)
    width = min(SMOOTHING, travelled[-1] / ROUND) / step
    margin = int(np.ceil(8 * width))
    if closed:
        longer = np.pad(even[:-1], ((margin, margin + 1), (0, 0)), "wrap")
    else:
        longer = np.pad(even, ((margin, margin), (0, 0)), "reflect", reflect_type="odd")
    once = gaussian_filter1d(longer, width, axis=0, mode="nearest")
    twice = gaussian_filter1d(once, width, axis=0, mode="nearest")
    return np.asarray((2 * once - twice)[margin : margin + count + 1])


def _merged(points: Real) -> NDArray[np.float32]:
    """Replace points closer than `SAME_JUNCTION` to each other by their mean."""
    if not len(points):
        return np.zeros((0, 2), np.float32)
    near = cKDTree(points).query_pairs(SAME_JUNCTION, output_type="ndarray")
    links = coo_array((np.ones(len(near)), near.T), shape=(len(points), len(points)))
    groups, group = connected_components(links, directed=False)
    sums = [np.bincount(group, axis, minlength=groups) for axis in points.T]
    return (np.stack(sums, 1) / np.bincount(group)[:, None]).astype(np.float32)
