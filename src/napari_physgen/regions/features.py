"""What a point of the map is described by, and where the points are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Features:
    """Descriptors on the nodes of a grid over the scan.

    Parameters
    ----------
    values : numpy.ndarray
        (feature, y, x) float32. Gaussian: whitened components, finite everywhere (0 where not
        valid). Counts: spectra of the nodes, not negative.
    family : {"gaussian", "counts"}
        How values scatter within a region: normally, or as a multinomial draw from the spectrum
        of the region (the total is no evidence).
    evidence : float
        Weight of the log-likelihood of one node, at most 1: overlapping windows see the same
        pixels, so that each is only part of an independent observation.
    valid : numpy.ndarray
        (y, x) bool: nodes with data.
    step, start : (float, float)
        Pixels between two nodes and position of the first one, (y, x).
    spacing : (float, float)
        Length of a grid step along y and x, in units of the one along x (aspect of the pixels).
    window : int
        Side of the window, px; 1 where pixels stand for themselves.
    """

    values: NDArray[np.float32]
    family: Literal["gaussian", "counts"]
    evidence: float
    valid: NDArray[np.bool_]
    step: tuple[float, float] = (1.0, 1.0)
    start: tuple[float, float] = (0.0, 0.0)
    spacing: tuple[float, float] = (1.0, 1.0)
    window: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Nodes along y and x."""
        return self.valid.shape[0], self.valid.shape[1]

    def nodes_of(self, shape: tuple[int, int]) -> tuple[NDArray[np.intp], ...]:
        """Return the index of the pixels nearest to the nodes in an image of `shape`."""
        return np.ix_(
            *(
                np.clip((start + step * np.arange(n)).round().astype(int), 0, size - 1)
                for start, step, n, size in zip(
                    self.start, self.step, self.shape, shape, strict=True
                )
            )
        )

    @cached_property
    def points(self) -> NDArray[np.float32]:
        """(node, feature): the descriptors of the valid nodes, one after the other."""
        return np.ascontiguousarray(self.values[:, self.valid].T, np.float32)
