"""What a region map returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_physgen.regions.boundaries import Walls
    from napari_physgen.regions.settings import Kind, RegionSettings


@dataclass(frozen=True)
class CountChoice:
    """One number of regions that was tried.

    Parameters
    ----------
    regions : int
    evidence : float
        Objective of the best restart, nats: tempered log-likelihood less wall cost.
    icl : float
        Integrated completed likelihood, nats; larger is better.
    stability : float
        Mean pairwise adjusted Rand index of maps of perturbed data.
    """

    regions: int
    evidence: float
    icl: float
    stability: float


@dataclass(frozen=True)
class WallChoice:
    """One wall cost that was tried: a point of the L-curve.

    Parameters
    ----------
    wall_cost : float
        Nats per grid step.
    misfit : float
        Negative tempered log-likelihood per node, nats.
    length : float
        Length of all walls, grid steps.
    stability : float
        Mean pairwise adjusted Rand index of maps of perturbed data; NaN in the fast mode.
    """

    wall_cost: float
    misfit: float
    length: float
    stability: float


@dataclass(frozen=True)
class Choices:
    """What was decided automatically, and why.

    Parameters
    ----------
    kind : {"lattice", "channels", "spectra", "diffraction"}
    window, stride : int
        px.
    period : float or None
        Lattice period found in the image, px.
    regions : int
    wall_cost : float
        Nats per grid step.
    counts, walls : tuple
        What was tried; empty where the user chose.
    notes : tuple of str
        Sentences for the microscopist, e.g. why a lattice was not found.
    """

    kind: Kind
    window: int
    stride: int
    regions: int
    wall_cost: float
    period: float | None = None
    counts: tuple[CountChoice, ...] = ()
    walls: tuple[WallChoice, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RegionMap:
    """A map of physically separate regions with the evidence for it.

    Parameters
    ----------
    labels : numpy.ndarray
        (y, x) uint8: 0 no data, then regions 1, 2, ... from the largest to the smallest.
    probabilities : numpy.ndarray
        (region, y, x) float32, sums to 1 where there are data.
    entropy : numpy.ndarray
        (y, x) float32, bits: 0 sure, log2(regions) undecided.
    latent : numpy.ndarray
        (variable, grid y, grid x) float32: latent maps of the network, or the leading
        descriptors in the fast mode.
    grid : numpy.ndarray
        (grid y, grid x) uint8: the labels at the nodes of the grid.
    step, start : (float, float)
        Pixels between nodes of the grid and position of the first, (y, x).
    walls : Walls
        Lines between regions, their lengths and junctions.
    prototypes : numpy.ndarray
        (region, y, x) mean patch or mean diffraction pattern, (region, channel) mean spectrum or
        channel values.
    prototype_errors : numpy.ndarray
        As `prototypes`: standard error of the mean.
    prototype_axis : numpy.ndarray or None
        Positions along the last axis of spectra (energy, bias), None where unknown.
    choices : Choices
    settings : RegionSettings
        As they were at the end (tuned ones included).
    summary : str
    metrics : mapping
    device : str
    manifold : numpy.ndarray or None
        (y, x) picture of what the decoder of the classic VAE makes along its two first latent
        variables.
    """

    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    entropy: NDArray[np.float32]
    latent: NDArray[np.float32]
    grid: NDArray[np.uint8]
    step: tuple[float, float]
    start: tuple[float, float]
    walls: Walls
    prototypes: NDArray[np.float32]
    prototype_errors: NDArray[np.float32]
    choices: Choices
    settings: RegionSettings
    prototype_axis: NDArray[np.float32] | None = None
    summary: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    manifold: NDArray[np.float32] | None = None

    @property
    def boundaries(self) -> list[NDArray[np.float32]]:
        """Wall lines, each (point, 2) in pixels (y, x)."""
        return [line.points for line in self.walls.lines]

    @property
    def wall_length(self) -> float:
        """Length of all walls, nm, or pixels where the pixel size is unknown."""
        return self.walls.length

    def outputs(self) -> list[Output]:
        """Return the labels first, then walls, evidence, latent maps and prototypes."""
        hidden = {"visible": False}
        made = [
            Output("regions", self.labels, "labels", display=self._named()),
            Output("probabilities", self.probabilities, axes=("region", "y", "x"), display=hidden),
            Output("entropy", self.entropy, display={"visible": False, "colormap": "magma"}),
            self._latent_maps(),
        ]
        segments, pairs = self.walls.segments()
        if len(segments):
            of = {"first": pairs[:, 0], "second": pairs[:, 1]}
            made.insert(1, Output("walls", segments, "vectors", display={"features": of}))
        if self.prototypes.ndim == 3:
            lattice = self.choices.kind == "lattice"
            made.append(self._beside("prototypes", self.prototypes, export=lattice))
        if self.manifold is not None:
            made.append(self._beside("latent space", self.manifold, export=False))
        return made

    def _named(self) -> dict[str, object]:
        from napari_physgen.regions.report import region_table

        return {"opacity": 0.5, "features": region_table(self)}

    def _latent_maps(self) -> Output:
        zoom = 1 / self.step[0]
        return Output(
            "latent maps",
            self.latent,
            zoom=zoom,
            axes=("variable", "y", "x"),
            offset=self.start,
            display={"visible": False, "colormap": "viridis"},
        )

    def _beside(self, name: str, picture: NDArray[np.float32], *, export: bool) -> Output:
        """Return a picture that is no image of the sample, to the right of it.

        Into a file goes only what has pixels of the size of those of the scan.
        """
        axes = ("region", "y", "x")[-picture.ndim :]
        right = (0.0, self.labels.shape[1] * 1.05)
        return Output(
            name, picture, axes=axes, offset=right, display={"visible": False}, export=export
        )
