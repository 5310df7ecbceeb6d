"""Another map to start from where descriptors drift across the scan.

The mixture takes a thickness wedge or a mistilt for regions. A quadratic surface per descriptor,
common to all regions and of few directions, is taken off and the mixture is solved again:

    Gaussian   x = P_z + C t,              C by least squares
    counts     log p = log P_z + C t - A,  C by one step of Fisher scoring

with t = (y, x, y^2, xy, x^2) less their means. Whether the surface is real is decided by what it
adds to the log-likelihood, less 1/2 log(nodes) nats for each of its numbers (BIC).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.regions import mixture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features
    from napari_physgen.regions.settings import RegionSettings

_ROUNDS = 6
_LARGEST = 3.0
"""Largest change of the logarithm of a channel: a step of Fisher scoring may be too long."""


@dataclass(frozen=True)
class Trend:
    """A quadratic surface of a few directions.

    Parameters
    ----------
    coefficients : numpy.ndarray
        (feature, 5).
    terms : numpy.ndarray
        (5, y, x).
    rank : int
        Directions in which the descriptors change.
    """

    coefficients: NDArray[np.float64]
    terms: NDArray[np.float64]
    rank: int

    @property
    def surface(self) -> NDArray[np.float32]:
        """Change of each descriptor (feature, y, x)."""
        surface = np.tensordot(self.coefficients, self.terms, 1)
        return surface.astype(np.float32)

    def price(self, nodes: float) -> float:
        """Return what its numbers cost, nats (BIC)."""
        numbers = self.rank * (sum(self.coefficients.shape) - self.rank)
        return 0.5 * numbers * log(max(nodes, 2.0))


def other_start(
    features: Features,
    start: NDArray[np.float32],
    settings: RegionSettings,
    wall_cost: float,
) -> tuple[NDArray[np.float32], bool]:
    """Return the soft map (region, y, x) to start from, and whether there is a trend.

    The map is `start`, or the mixture's without the trend where that has the larger objective.
    """
    labels, regions = start.argmax(0), len(start)
    best = mixture.objective(features, labels, wall_cost)
    rank = min(settings.latent, 2)
    if regions == 1 or worth(features, find(features, labels, rank), labels) <= 0:
        return start, False
    chosen = start
    for known in (np.zeros_like(labels), labels):
        # One direction at first: with more, the regions themselves are taken for a trend.
        flat = without(features, find(features, known, 1))
        found = mixture.fit(flat, regions, wall_cost, settings.restarts, settings.seed)
        for _ in range(_ROUNDS):
            trend = find(features, found.labels, rank)
            value = mixture.objective(features, found.labels, wall_cost)
            value += worth(features, trend, found.labels)
            if value <= best:
                break
            best, chosen = value, found.probabilities
            found = mixture.solve(without(features, trend), found.probabilities, wall_cost)
    return chosen, True


def find(features: Features, labels: NDArray[np.integer], rank: int) -> Trend:
    """Return the trend that is common to all regions of a map."""
    terms = _terms(features.valid)
    inside = features.valid
    values = features.values[:, inside].astype(float)
    t, z = terms[:, inside], labels[inside]
    members = (z == np.unique(z)[:, None]).astype(float)
    if features.family == "gaussian":
        coefficients = _least_squares(values, t, members)
        residual = values - coefficients @ t
        residual = residual - _own_means(residual, members) @ members
        scale = residual.std(1) + 1e-6
    else:
        coefficients, scale = _fisher_step(values, t, members)
    left, size, right = np.linalg.svd(coefficients / scale[:, None], full_matrices=False)
    rank = min(rank, len(size))
    short = (left[:, :rank] * size[:rank]) @ right[:rank] * scale[:, None]
    return Trend(short, terms, rank)


def without(features: Features, trend: Trend) -> Features:
    """Return the descriptors with the trend taken off; spectra keep their totals."""
    surface = trend.surface
    if features.family == "gaussian":
        return replace(features, values=(features.values - surface) * features.valid)
    flat = features.values * np.exp(-surface.clip(-_LARGEST, _LARGEST))
    total, left = features.values.sum(0), flat.sum(0)
    return replace(features, values=flat * (total / np.maximum(left, 1e-9)).astype(np.float32))


def worth(features: Features, trend: Trend, labels: NDArray[np.integer]) -> float:
    """Return what the trend adds to the objective of a map, less its price, nats."""
    share = independence(features)
    nodes = share * features.evidence * float(features.valid.sum())
    if features.family == "gaussian":
        plain = mixture.objective(features, labels, 0.0)
        gained = mixture.objective(without(features, trend), labels, 0.0) - plain
    else:
        gained = features.evidence * _gained_counts(features, trend, labels)
    return share * gained - trend.price(nodes)


def independence(features: Features) -> float:
    """Return which part of the evidence of a node counts for slow changes.

    Errors of overlapping windows average out over the windows that do not overlap only,
    (step / window)^2 per node, which is less than the evidence for a wall between two nodes.
    """
    step = features.step[0] * features.step[1]
    return min(1.0, step / features.window**2 / max(features.evidence, 1e-9))


def _terms(valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return centred quadratic terms (5, y, x), each of unit scatter where there are data."""
    y, x = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in valid.shape)
    yy, xx = np.meshgrid(y, x, indexing="ij")
    terms = np.stack([yy, xx, yy**2, yy * xx, xx**2])
    inside = terms[:, valid]
    centred = terms - inside.mean(1)[:, None, None]
    scaled: NDArray[np.float64] = centred / (inside.std(1)[:, None, None] + 1e-9)
    return scaled


def _own_means(values: NDArray[np.float64], members: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each region (feature, region)."""
    means: NDArray[np.float64] = values @ members.T / np.maximum(members.sum(1), 1e-9)
    return means


def _least_squares(
    values: NDArray[np.float64], t: NDArray[np.float64], members: NDArray[np.float64]
) -> NDArray[np.float64]:
    within_t = t - _own_means(t, members) @ members
    gram = within_t @ within_t.T + 1e-6 * t.shape[1] * np.eye(len(t))
    found: NDArray[np.float64] = np.linalg.solve(gram, within_t @ values.T).T
    return found


def _fisher_step(
    counts: NDArray[np.float64], t: NDArray[np.float64], members: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coefficients (feature, 5) and their scatter per feature."""
    total = counts.sum(0)
    weight = members * total
    spectra = counts @ members.T + 0.5
    spectra /= spectra.sum(0)
    # Terms about their mean in each region, or they would change the spectra of the regions.
    within = t - (t @ weight.T / np.maximum(weight.sum(1), 1e-9)) @ members
    gram = np.einsum("kn,in,jn->kij", weight, within, within)
    score = counts @ within.T
    information = np.einsum("ek,kij->eij", spectra, gram)
    information += 1e-3 * total.sum() / len(counts) * np.eye(len(t))
    found = np.linalg.solve(information, score[..., None])[..., 0]
    expected = spectra @ weight.sum(1)
    return found.clip(-_LARGEST, _LARGEST), 1 / np.sqrt(expected + 1.0)


def _gained_counts(features: Features, trend: Trend, labels: NDArray[np.integer]) -> float:
    """Return by how much a trend raises the log-likelihood of counts, nats."""
    gained = 0.0
    for region in np.unique(labels[features.valid]):
        inside = features.valid & (labels == region)
        counts = features.values[:, inside].astype(float)
        shares = counts.sum(1) + 1e-9
        shares /= shares.sum()
        change = (trend.coefficients @ trend.terms[:, inside]).clip(-_LARGEST, _LARGEST)
        # Centred: the spectrum of the region stays that at its middle.
        change -= (change @ counts.sum(0) / max(counts.sum(), 1e-9))[:, None]
        partition = np.log(shares @ np.exp(change))
        gained += float((counts * change).sum() - (counts.sum(0) * partition).sum())
    return gained
