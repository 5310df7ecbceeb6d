"""The fidelity report: figures with their meaning, curves, a map and a summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_physgen.outputs import Output
from napari_physgen.synthesis._fidelity_distances import Estimate

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_physgen.synthesis.fidelity_settings import FidelitySettings

    Real = NDArray[np.float64]

REAL, SYNTHETIC, SIMULATED = "real", "synthetic", "simulated"
HALVES = "real, half against half"


class Figure(NamedTuple):
    """What one column of the table means."""

    title: str
    unit: str
    perfect: str
    text: str


FIGURES: Mapping[str, Figure] = {
    "separability": Figure(
        "Told apart",
        "",
        "0.5",
        "Share of patches that a classifier assigns to the right set, on images it has not seen.",
    ),
    "nearest_neighbour": Figure(
        "Neighbour of the same set",
        "",
        "0.5",
        "Share of patches whose most similar patch in another image is of the same set.",
    ),
    "entropy_difference": Figure(
        "Entropy difference", "bit", "0", "Difference of the mean entropies of the grey values."
    ),
    "entropy_overlap": Figure(
        "Entropy overlap", "", "1", "Common area of the two distributions of entropies."
    ),
    "spectrum_db": Figure(
        "Spectra apart",
        "dB",
        "0",
        "Root mean square difference of the mean power spectra, each octave weighing the same.",
    ),
    "correlation_distance": Figure(
        "Correlations apart",
        "",
        "0",
        "Root mean square difference of the mean two-point autocorrelations, with direction.",
    ),
    "kernel_distance": Figure(
        "Kernel distance",
        "",
        "0",
        "Squared maximum mean discrepancy of the texture statistics (as KID; unbiased, so it "
        "scatters around 0 for equal sets).",
    ),
    "frechet_distance": Figure(
        "Frechet distance",
        "",
        "small",
        "Distance of two Gaussians fitted to the texture statistics (as FID); never 0 for "
        "finite sets, compare it with the other rows.",
    ),
}


@dataclass(frozen=True)
class Comparison:
    """One set against the real one; each figure is explained in `FIGURES`.

    Parameters
    ----------
    name : str
        "synthetic", "simulated" or "real, half against half".
    entropy : float
        Mean of the set, bit.
    separability, nearest_neighbour, entropy_difference, kernel_distance : Estimate
        (value, standard error).
    entropy_overlap, spectrum_db, correlation_distance, frechet_distance : float
    differences : tuple of (str, float)
        The statistics that differ most: name, and difference of the means (set minus real) in
        standard deviations.
    """

    name: str
    entropy: float
    separability: Estimate
    nearest_neighbour: Estimate
    entropy_difference: Estimate
    entropy_overlap: float
    spectrum_db: float
    correlation_distance: float
    kernel_distance: Estimate
    frechet_distance: float
    differences: tuple[tuple[str, float], ...] = ()

    def figures(self) -> dict[str, float]:
        """Return all figures by name; errors as "..._error"."""
        values: dict[str, float] = {}
        for name in FIGURES:
            figure = getattr(self, name)
            if isinstance(figure, Estimate):
                values |= {name: figure.value, f"{name}_error": figure.error}
            else:
                values[name] = figure
        return values


@dataclass(frozen=True)
class Fidelity:
    """How alike real and synthetic images are.

    Parameters
    ----------
    comparisons : tuple of Comparison
        Synthetic, simulated (if given) and real against real (from 4 real images on).
    entropy : mapping
        By set: entropy of each patch, bit.
    spectra : mapping
        By set: (spatial frequency in 1/px, mean log10 power).
    correlations : mapping
        By set: (lag in px, mean radial autocorrelation).
    embedding : numpy.ndarray
        (patch, 2), t-SNE of the texture statistics.
    groups : numpy.ndarray
        (patch,), the set that each point of the embedding is of.
    examples : mapping
        By set: (patch, y, x) float32, grey from 0 to 1.
    notes : tuple of str
        What to know when reading the figures.
    summary : str
    settings : FidelitySettings
    """

    comparisons: tuple[Comparison, ...]
    entropy: Mapping[str, Real]
    spectra: Mapping[str, tuple[Real, Real]]
    correlations: Mapping[str, tuple[Real, Real]]
    embedding: Real
    groups: NDArray[np.str_]
    examples: Mapping[str, NDArray[np.float32]]
    notes: tuple[str, ...]
    summary: str
    settings: FidelitySettings

    @property
    def separability(self) -> float:
        """Share of patches that a classifier assigns rightly to real or synthetic; 0.5 is best."""
        return self.comparisons[0].separability.value

    @property
    def nearest_neighbour(self) -> float:
        """Share of patches whose nearest one of another image is of the same set."""
        return self.comparisons[0].nearest_neighbour.value

    @property
    def entropy_difference(self) -> float:
        """Difference of the mean entropies of real and synthetic patches, bit."""
        return self.comparisons[0].entropy_difference.value

    @property
    def kernel_distance(self) -> float:
        """Squared maximum mean discrepancy of real and synthetic."""
        return self.comparisons[0].kernel_distance.value

    @property
    def frechet(self) -> float:
        """Frechet distance of real and synthetic."""
        return self.comparisons[0].frechet_distance

    @property
    def metrics(self) -> Mapping[str, float]:
        """All figures: plain names of synthetic, "simulated_..." and "real_..." of the others."""
        prefixes = {SYNTHETIC: "", SIMULATED: "simulated_", HALVES: "real_"}
        return {
            prefixes[part.name] + name: value
            for part in self.comparisons
            for name, value in part.figures().items()
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return the table, one row per set: "set" and the figures of `FIGURES`."""
        return [{"set": part.name} | part.figures() for part in self.comparisons]

    def outputs(self) -> list[Output]:
        """Return examples of patches, one row per set."""
        rows = [np.concatenate(list(patches), axis=1) for patches in self.examples.values()]
        display = {"contrast_limits": (0.0, 1.0)}
        return [Output("examples", np.concatenate(rows), display=display, export=False)]

    def save_page(self, path: str | os.PathLike[str]) -> Path:
        """Write the report as one HTML page, into a folder or under a name in ".html".

        Raises
        ------
        UserError
            If it cannot be written there.
        """
        from napari_physgen.synthesis._fidelity_page import save_page

        return save_page(self, path)
