"""One set of measured patches against another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_physgen.metrics.microstructure import correlation_distance, radial_profile
from napari_physgen.synthesis import _fidelity_distances as distances
from napari_physgen.synthesis._fidelity_distances import Estimate, Sample
from napari_physgen.synthesis._fidelity_patches import Patches
from napari_physgen.synthesis.fidelity_results import FIGURES, HALVES, Comparison

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.synthesis._fidelity_features import Measured

    Real = NDArray[np.float64]

_HALVINGS = 6
_NAMED = 8


class Group(NamedTuple):
    """One set of patches, measured.

    Parameters
    ----------
    patches : Patches
    measured : list of Measured
        One per patch.
    features, learned : numpy.ndarray
        (patch, feature), for the classifier, and for the distances and the map.
    """

    patches: Patches
    measured: list[Measured]
    features: Real
    learned: Real

    @property
    def source(self) -> NDArray[np.intp]:
        """Return the image of each patch."""
        return self.patches.source

    @property
    def entropies(self) -> Real:
        """Return the entropy of each patch, bit."""
        return np.array([item.entropy for item in self.measured])

    @property
    def spectrum(self) -> tuple[Real, Real]:
        """Return the frequencies (1/px) and the mean log10 power."""
        powers = [item.power for item in self.measured]
        return self.measured[0].frequency, np.asarray(np.mean(powers, axis=0))

    @property
    def correlation(self) -> Real:
        """Return the mean autocorrelation, lag 0 in the centre."""
        return np.asarray(np.mean([item.correlation for item in self.measured], axis=0))

    @property
    def profile(self) -> tuple[Real, Real]:
        """Return the lags (px) and the mean autocorrelation over all directions."""
        lag, value = radial_profile(self.correlation)
        return lag, value

    def part(self, keep: NDArray[np.bool_]) -> Group:
        """Return the patches where `keep` is true."""
        p = self.patches
        patches = Patches(p.pixels[keep], p.source[keep], p.step[keep], p.strips)
        measured = [item for item, kept in zip(self.measured, keep, strict=True) if kept]
        return Group(patches, measured, self.features[keep], self.learned[keep])


def compared(name: str, real: Group, other: Group, seed: int, repeats: int = 4) -> Comparison:
    """Return all figures of a set against the real one."""
    first, second = (distances.mean(part.entropies, part.source) for part in (real, other))
    spectra = real.spectrum[1] - other.spectrum[1]
    map_real, map_other = real.correlation, other.correlation
    learned = [Sample(part.learned, part.source) for part in (real, other)]
    return Comparison(
        name=name,
        entropy=second.value,
        separability=distances.separability(
            Sample(real.features, real.source),
            Sample(other.features, other.source),
            seed,
            repeats,
        ),
        nearest_neighbour=distances.nearest_neighbour(*learned),
        entropy_difference=Estimate(
            abs(second.value - first.value), float(np.hypot(first.error, second.error))
        ),
        entropy_overlap=distances.overlap(real.entropies, other.entropies),
        spectrum_db=float(10 * np.sqrt(np.mean(spectra**2))),
        correlation_distance=correlation_distance(map_real, map_other, len(map_real) // 2),
        kernel_distance=distances.kernel_distance(*learned),
        frechet_distance=distances.frechet_distance(real.learned, other.learned),
        differences=_differences(real, other),
    )


def halves(real: Group, seed: int) -> Comparison | None:
    """Return the figures of real images against other real ones, on average over divisions.

    None for fewer than 4 images.
    """
    if real.patches.strips:
        return None
    images = np.unique(real.source)
    found = []
    for division in range(_HALVINGS):
        chosen = np.random.default_rng([seed, division]).permutation(images)[: len(images) // 2]
        first = np.isin(real.source, chosen)
        # Once each, for the divisions repeat it already.
        found.append(compared(HALVES, real.part(first), real.part(~first), seed, repeats=1))
    values: dict[str, Any] = {}
    for name in ("entropy", *FIGURES):
        mean = np.mean([getattr(part, name) for part in found], axis=0)
        values[name] = Estimate(*mean.tolist()) if mean.ndim else float(mean)
    return Comparison(HALVES, **values)


def _differences(real: Group, other: Group) -> tuple[tuple[str, float], ...]:
    """Return the statistics whose means are most standard deviations apart."""
    first, second = (
        np.array([list(item.features.values()) for item in part.measured]) for part in (real, other)
    )
    spread = np.sqrt((first.var(0) + second.var(0)) / 2) + 1e-9
    effect = (second.mean(0) - first.mean(0)) / spread
    names = list(real.measured[0].features)
    largest = np.argsort(-abs(effect), kind="stable")[:_NAMED]
    return tuple((names[index], float(effect[index])) for index in largest)
