"""Scans as they might have been measured a second time, to see which maps are stable."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_physgen.regions._fourier import HANN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features

_NOISE = 0.5
"""Added noise in units of the scatter within regions."""

_KEPT = 0.67
"""Share of the counts that are drawn again (binomial thinning is exact for Poisson counts)."""


def perturbed(
    features: Features, labels: NDArray[np.integer], rng: np.random.Generator
) -> Features:
    """Return features with the noise of another measurement.

    Parameters
    ----------
    features : Features
    labels : numpy.ndarray
        (y, x) regions from 0 on, whose inner scatter sets the size of the noise.
    rng : numpy.random.Generator
    """
    if features.family == "counts":
        thinned = rng.binomial(np.round(features.values).astype(np.int64), _KEPT)
        return replace(
            features, values=thinned.astype(np.float32), evidence=features.evidence / _KEPT
        )
    noise = rng.standard_normal(features.values.shape, np.float32)
    sigma = features.window / HANN / features.step[0]
    if sigma > 0.3:  # neighbours that share pixels share noise
        noise = gaussian_filter(noise, (0, sigma, sigma))
        noise /= max(float(noise.std()), 1e-9)
    scatter = np.linalg.cholesky(within(features, labels))
    moved = features.values + _NOISE * np.tensordot(scatter, noise, 1)
    return replace(features, values=moved.astype(np.float32))


def within(features: Features, labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the covariance (feature, feature) within regions."""
    values = features.values[:, features.valid].astype(np.float64)
    own = labels[features.valid]
    for region in np.unique(own):
        inside = own == region
        values[:, inside] -= values[:, inside].mean(1, keepdims=True)
    covariance = values @ values.T / values.shape[1]
    made: NDArray[np.float64] = covariance + 1e-4 * np.trace(covariance) / len(values) * np.eye(
        len(values)
    )
    return made
