"""Particles one by one: separated (`_separate`), measured (`_measure`), in a table and counted."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.outputs import Output
from napari_physgen.segmentation._labels import as_labels, pixel_sizes
from napari_physgen.segmentation._measure import AXES, measure
from napari_physgen.segmentation._separate import keep, renumbered, separated

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Real = NDArray[np.float64]
    Numbers = NDArray[np.uint32]
    Separation = Literal["watershed", "touching", "numbered"]

SEPARATIONS = ("watershed", "touching", "numbered")


class Histogram(NamedTuple):
    """Sizes of whole particles.

    Parameters
    ----------
    edges : numpy.ndarray
        (n + 1,), equivalent diameters, in `unit`.
    number : numpy.ndarray
        (n,), share of the particles in every bin; adds up to 1.
    area : numpy.ndarray
        (n,), share of their area (volume in 3-D) in every bin; adds up to 1.
    unit : str
        "nm" or "px".
    """

    edges: Real
    number: Real
    area: Real
    unit: str


@dataclass(frozen=True)
class Particles:
    """Numbered particles with a table of their measures.

    Parameters
    ----------
    instances : numpy.ndarray
        ([z,] y, x) uint32: 0 between the particles, else their number from 1.
    table : mapping of str to numpy.ndarray
        Columns with one entry per particle, ready for a labels layer's ``features``: index (the
        number), class, area_nm2, equivalent_diameter_nm, long_axis_nm and short_axis_nm (of the
        ellipse with the same second moments), aspect (long / short, at least 1), orientation_deg
        (of the long axis, from x towards y, -90 to 90), centroid_y_nm, centroid_x_nm (of the
        pixels' centres, from the first one), touches_edge. Without a pixel size _px (_px2). In 3-D
        volume_nm3, centroid_z_nm, and elevation_deg: the angle of the long axis out of the plane
        towards z; orientation_deg is then that of its trace in the plane.
    unit : str
        "nm" or "px".
    """

    instances: Numbers
    table: Mapping[str, NDArray[np.generic]]
    unit: str

    def __len__(self) -> int:
        return len(self.table["index"])

    @property
    def diameters(self) -> Real:
        """Equivalent diameters of the whole particles, in `unit`.

        Those that touch the edge are cut and left out, unless no other is there. Large particles
        touch it more often, so that a small picture shows too few of them.
        """
        return np.asarray(self.table[f"equivalent_diameter_{self.unit}"][self._whole()])

    def histogram(self, bins: int | Sequence[float] = 20) -> Histogram:
        """Return how the particles, and their area, are spread over the sizes.

        Parameters
        ----------
        bins : int or sequence of float
            Number of bins from 0 to the largest diameter, or their edges in `unit`.
        """
        sizes = self.diameters
        span = (0.0, float(sizes.max()) if sizes.size else 1.0)
        edges = np.histogram_bin_edges(sizes, bins, range=span)
        masses = [np.ones_like(sizes), sizes**self.instances.ndim]
        counts = [np.histogram(sizes, edges, weights=mass)[0] for mass in masses]
        number, area = (count / max(count.sum(), 1e-300) for count in counts)
        return Histogram(np.asarray(edges), number, area, self.unit)

    @property
    def metrics(self) -> dict[str, float]:
        """Number, share of the picture, and medians of the whole particles."""
        sizes, whole = self.diameters, self._whole()
        figures = {
            "particles": float(len(self)),
            "cut_by_edge": float(self.table["touches_edge"].sum()),
            "fraction": float(np.count_nonzero(self.instances) / self.instances.size),
        }
        if sizes.size:
            figures |= {
                f"median_diameter_{self.unit}": float(np.median(sizes)),
                f"area_weighted_diameter_{self.unit}": _weighted_median(
                    sizes, sizes**self.instances.ndim
                ),
                "median_aspect": float(np.median(np.asarray(self.table["aspect"], float)[whole])),
            }
        return figures

    @property
    def summary(self) -> str:
        """What was found, in words."""
        if len(self) == 0:
            return "No particles."
        found = self.metrics
        return (
            f"{len(self)} particles ({found['cut_by_edge']:.0f} cut by the edge), "
            f"{100 * found['fraction']:.3g} % of the picture: median diameter "
            f"{found[f'median_diameter_{self.unit}']:.4g} {self.unit} (half of the phase is in "
            f"those above {found[f'area_weighted_diameter_{self.unit}']:.4g} {self.unit}), "
            f"median aspect ratio {found['median_aspect']:.2f}."
        )

    def outputs(self) -> list[Output]:
        """Return the numbered particles."""
        axes = AXES[-self.instances.ndim :]
        return [Output("particles", self.instances, kind="labels", axes=axes)]

    def save_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table, one line per particle; raises UserError if it cannot be written."""
        from napari_physgen.io.atomic import replacing

        with (
            replacing(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            lines = csv.writer(file)
            lines.writerow(self.table)
            lines.writerows(zip(*(column.tolist() for column in self.table.values()), strict=True))

    def _whole(self) -> NDArray[np.bool_]:
        inner = ~np.asarray(self.table["touches_edge"], bool)
        return inner if inner.any() else ~inner


def particles(
    labels: ArrayLike,
    *,
    pixel_size_nm: float | Sequence[float] | None = None,
    classes: Sequence[int] | None = None,
    separate: Separation = "watershed",
    smallest: int = 4,
    edge: bool = True,
    neck: float = 0.8,
) -> Particles:
    """Find the particles of a segmentation, number them and measure each of them.

    Parameters
    ----------
    labels : array
        ([z,] y, x): classes, 0 the matrix. Those of different classes never make one particle.
    pixel_size_nm : float or sequence of float, optional
        Of all axes or of each; None: lengths are in pixels.
    classes : sequence of int, optional
        Classes whose particles count; default all above 0.
    separate : {"watershed", "touching", "numbered"}
        "watershed": particles that touch are cut at their necks. "touching": what hangs together
        over edges of pixels (faces of voxels) is one. "numbered": the labels number the particles
        already.
    smallest : int
        Fewer pixels than this are noise and become matrix.
    edge : bool
        Whether particles cut by the edge of the picture are kept; statistics of sizes leave them
        out in any case.
    neck : float
        Two lobes are two particles where the neck between them is narrower than this share of the
        smaller lobe; 0 to 1.

    Returns
    -------
    Particles

    Raises
    ------
    UserError
        If the labels are not whole numbers, neither a picture nor a volume, or number particles
        where classes are expected.
    """
    values = as_labels(labels, "segmentation")
    if values.ndim not in (2, 3):
        raise UserError("Particles are counted in a picture or a volume: choose one time point.")
    if separate not in SEPARATIONS or not 0 <= neck <= 1:
        raise UserError(f"Separate by one of {', '.join(SEPARATIONS)}, with a neck from 0 to 1.")
    sizes = pixel_sizes(pixel_size_nm, values.ndim)
    spacing = np.array(sizes or (1.0,) * values.ndim)
    if separate == "numbered":
        numbers, kinds = renumbered(values, classes)
    else:
        numbers, kinds = separated(values, classes, neck * (separate == "watershed"), spacing)
    numbers, kept = keep(numbers, smallest, edge)
    unit = "px" if sizes is None else "nm"
    return Particles(numbers, measure(numbers, kinds[kept], spacing, unit), unit)


def _weighted_median(values: Real, weights: Real) -> float:
    order = np.argsort(values)
    running = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(running, running[-1] / 2)])
