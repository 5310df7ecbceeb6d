"""Marching squares for many regions: where walls run through the cells between pixels.

The labels of the four pixels around each cell say which walls run through it, their
probabilities where. Neighbouring cells agree on the crossing of the edge between them, so that
every wall is there once, without gaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Index = NDArray[np.intp]
    Labels = NDArray[np.uint8]

Pair = tuple[int, int]


class Pieces(NamedTuple):
    """Straight pieces of wall, as many as there are ends / 2.

    Parameters
    ----------
    ends : numpy.ndarray
        (piece, 2) numbers of the nodes at both ends.
    place : numpy.ndarray
        (node, 2) position (y, x), px.
    pair : numpy.ndarray
        (node, 2) labels of the regions on both sides, the smaller one first.
    """

    ends: Index
    place: Real
    pair: Index


class Cells(NamedTuple):
    """Cells between four pixels that a wall runs through.

    Corners are numbered clockwise from the top left; edge i goes from corner i to corner i + 1.

    Parameters
    ----------
    y, x : numpy.ndarray
        (cell, corner) pixels; the map is continued by one pixel on all sides.
    labels : numpy.ndarray
        (cell, corner).
    probabilities : numpy.ndarray
        (cell, corner, corner): of the region of the first corner at the second one.
    """

    y: Index
    x: Index
    labels: Index
    probabilities: Real

    @property
    def changed(self) -> NDArray[np.bool_]:
        """(cell, edge): whether a wall crosses the edge."""
        return np.asarray(self.labels != np.roll(self.labels, -1, 1))

    @property
    def edge(self) -> Index:
        """(cell, edge) numbers that neighbouring cells agree on."""
        y = self.y - np.array([0, 0, 0, 1])
        x = self.x - np.array([0, 0, 1, 0])
        return np.asarray(2 * ((y + 1) * (x.max(initial=0) + 2) + x + 1) + [0, 1, 0, 1])


def _cells(probabilities: NDArray[np.floating], labels: Labels) -> Cells:
    """Return the cells with data at all four corners and a wall between them."""
    padded = np.pad(labels.astype(np.intp), 1, "edge")
    corners = padded[:-1, :-1], padded[:-1, 1:], padded[1:, 1:], padded[1:, :-1]
    mixed = np.any([corner != corners[0] for corner in corners[1:]], axis=0)
    y, x = np.nonzero(mixed & np.all(corners, axis=0))
    around = np.stack([corner[y, x] for corner in corners], 1)
    y = y[:, None] - 1 + np.array([0, 0, 1, 1])
    x = x[:, None] - 1 + np.array([0, 1, 1, 0])
    height, width = labels.shape
    known = probabilities[
        around[:, :, None] - 1, y.clip(0, height - 1)[:, None], x.clip(0, width - 1)[:, None]
    ]
    return Cells(y, x, around, known.astype(float))


def find_pieces(probabilities: NDArray[np.floating], labels: Labels) -> tuple[Pieces, Real]:
    """Return all pieces of wall, and the points (n, 2) where three or more regions meet."""
    cells = _cells(probabilities, labels)
    changed, place = cells.changed, _crossings(cells)
    pair = np.sort(np.stack([cells.labels, np.roll(cells.labels, -1, 1)], -1), -1)
    number, first, node = np.unique(cells.edge[changed], return_index=True, return_inverse=True)
    nodes = np.full(changed.shape, -1)
    nodes[changed] = node
    plain, meeting = _through(cells, nodes)
    centre = np.array([place[c][changed[c]].mean(0) for c in meeting]).reshape(-1, 2)
    which, side = np.nonzero(changed[meeting])
    branch = number.size + np.arange(which.size)
    to_centre = np.stack([nodes[meeting][which, side], branch], 1)
    return Pieces(
        np.concatenate([plain, to_centre]),
        np.concatenate([place[changed][first], centre[which]]),
        np.concatenate([pair[changed][first], pair[meeting][which, side]]),
    ), centre


def _crossings(cells: Cells) -> Real:
    """Return (cell, edge, 2): where p_a = p_b between the ends a and b of each edge."""
    own = np.einsum("cii->ci", cells.probabilities)
    here, there = np.arange(4), np.roll(np.arange(4), -1)
    near = own - cells.probabilities[:, there, here]
    far = own[:, there] - cells.probabilities[:, here, there]
    sure = (near >= 0) & (far >= 0) & (near + far > 0)
    share = np.where(sure, near / np.where(sure, near + far, 1), 0.5)[..., None]
    corner = np.stack([cells.y, cells.x], -1).astype(float)
    return np.asarray((1 - share) * corner + share * corner[:, there])


def _through(cells: Cells, nodes: Index) -> tuple[Index, Index]:
    """Return ends (piece, 2) of the walls between two edges, and the cells with a junction.

    Where a region has two opposite corners and is the most probable one in the middle, its
    corners are joined and two walls pass by them.
    """
    count = cells.changed.sum(1)
    middle = cells.probabilities.mean(2)
    falling, rising = (
        (count == 4)
        & (cells.labels[:, a] == cells.labels[:, a + 2])
        & (middle[:, a] >= np.maximum(middle[:, 1 - a], middle[:, 3 - a]))
        for a in (0, 1)
    )
    rising &= ~falling
    simple = nodes[count == 2]
    ends = [
        simple[simple >= 0].reshape(-1, 2),
        nodes[falling].reshape(-1, 2),
        np.roll(nodes[rising], 1, 1).reshape(-1, 2),
    ]
    return np.concatenate(ends), np.flatnonzero((count > 2) & ~falling & ~rising)


def chains(pieces: Pieces) -> Iterator[tuple[Real, Pair, bool]]:
    """Join pieces to lines: first those with ends, then the closed ones."""
    degree, neighbours = _neighbours(pieces)
    waiting = np.ones(len(degree), bool)
    for start in [*np.flatnonzero(degree == 1).tolist(), *np.flatnonzero(degree == 2).tolist()]:
        if not waiting[start]:
            continue
        chain = _walk(start, neighbours)
        waiting[chain] = False
        closed = len(chain) > 2 and chain[0] == chain[-1]
        a, b = pieces.pair[start].tolist()
        yield pieces.place[chain], (a, b), closed


def _neighbours(pieces: Pieces) -> tuple[Index, list[tuple[int, ...]]]:
    """Return how many pieces end at each node, and the nodes at their other ends."""
    both = np.concatenate([pieces.ends, pieces.ends[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    degree = np.bincount(both[:, 0], minlength=len(pieces.place))
    last = np.cumsum(degree)
    other = both[:, 1].tolist()
    spans = zip((last - degree).tolist(), last.tolist(), strict=True)
    return degree, [tuple(other[i:j]) for i, j in spans]


def _walk(start: int, neighbours: list[tuple[int, ...]]) -> list[int]:
    """Return the nodes from `start` to the other end of its line, or back to `start`."""
    chain, before = [start, neighbours[start][0]], start
    while chain[-1] != start:
        ahead = [node for node in neighbours[chain[-1]] if node != before]
        if not ahead:
            break
        before = chain[-1]
        chain.append(ahead[0])
    return chain
