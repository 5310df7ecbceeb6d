"""What a tool hands out: plain arrays that know how they relate to the input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

Kind = Literal["image", "labels", "shapes", "vectors"]


@dataclass(frozen=True)
class Output:
    """One array for the viewer or for a file.

    Parameters
    ----------
    name : str
        Short name in the microscopist's words, unique within a result.
    data : numpy.ndarray
        Pixels (..., y, x); for ``kind="shapes"`` ellipses as corner vertices
        (n, 4, 2), for ``kind="vectors"`` lines as start and direction
        (n, 2, 2), both in output pixels.
    kind : {"image", "labels", "shapes", "vectors"}
    zoom : float
        Output pixels per input pixel along y and x (2 = half the pixel size).
    axes : tuple of str
        Names of the axes of `data`, e.g. ``("frame", "y", "x")``.
    offset : tuple of float
        Centre of output pixel (0, 0), in input pixels (y, x). None means that
        the fields of view coincide: ``(1 / zoom - 1) / 2`` along both axes.
        A picture that is no image of the sample (a spectrum) is placed beside
        it this way.
    display : mapping
        napari layer hints: colormap, visible, contrast_limits, blending, opacity, edge_width;
        features, a table with one row per vector or with a column "index" of labels.
    export : bool
        Whether the result belongs into an exported file.
    """

    name: str
    data: np.ndarray
    kind: Kind = "image"
    zoom: float = 1.0
    axes: tuple[str, ...] = ("y", "x")
    offset: tuple[float, float] | None = None
    display: Mapping[str, Any] = field(default_factory=dict)
    export: bool = True

    @property
    def translation(self) -> tuple[float, float]:
        """Centre of output pixel (0, 0) in input pixels (y, x)."""
        shift = (1 / self.zoom - 1) / 2
        return self.offset or (shift, shift)


class Result(Protocol):
    """What every job returns: arrays with a summary in words."""

    def outputs(self) -> list[Output]:
        """Return the arrays to show, the most important one first."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Figures of merit by name."""

    @property
    def summary(self) -> str:
        """What came out, in the microscopist's words."""
