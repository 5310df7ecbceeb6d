"""How far two sets of feature vectors are apart, with errors that respect whole images.

Patches of one image are alike. So a classifier is tested on images that it has not seen, a
neighbour from the same image does not count, and errors come from the scatter between images.
Every set is a `Sample`: features (n, d) and the number of the image of each patch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.spatial.distance
import scipy.stats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Real = NDArray[np.float64]

FOLDS = 5


class Sample(NamedTuple):
    """Feature vectors (n, d) of patches, and the image (n,) that each was cut from."""

    features: Real
    source: NDArray[np.intp]


class Estimate(NamedTuple):
    """A figure and its standard error."""

    value: float
    error: float


def separability(first: Sample, second: Sample, seed: int = 0, repeats: int = 4) -> Estimate:
    """Return how often a classifier tells on unseen images which set a patch is of.

    Linear discriminant analysis with the shrinkage of Ledoit and Wolf, cross-validated over
    images (up to 5 folds, dealt `repeats` times): 0.5 for equal distributions, 1 for sets that are
    told apart always. Both sets weigh the same.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate([first.features, second.features])
    y = np.repeat([0, 1], [len(first.features), len(second.features)])
    right = np.zeros(len(x))
    classifier = make_pipeline(
        StandardScaler(),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=(0.5, 0.5)),
    )
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        folds = np.concatenate(_folds(first.source, second.source, rng))
        for fold in range(folds.max() + 1):
            test = folds == fold
            classifier.fit(x[~test], y[~test])
            right[test] += (classifier.predict(x[test]) == y[test]) / repeats
    return _balanced(right[y == 0], first.source, right[y == 1], second.source)


def nearest_neighbour(first: Sample, second: Sample) -> Estimate:
    """Return how often the nearest patch of another image is of the same set: 0.5 is perfect.

    The two-sample test of Lopez-Paz and Oquab (ICLR 2017). The larger one of the two crowds of
    candidates is thinned at random to the size of the smaller one, in closed form, so that equal
    distributions give 0.5 though the own image is left out.
    """
    own, other = (first, second), (second, first)
    scores = [_same_set_is_nearest(a, b) for a, b in zip(own, other, strict=True)]
    return _balanced(scores[0], first.source, scores[1], second.source)


def kernel_distance(first: Sample, second: Sample) -> Estimate:
    """Return the squared maximum mean discrepancy with the kernel (x.y / d + 1)^3.

    The kernel inception distance of Binkowski et al. (ICLR 2018) on these features: unbiased, thus
    around 0 (below, too) for equal distributions. Within a set only pairs of patches of different
    images count; numbers them all differently and it is the published estimator. The error is
    that of the jackknife over the images of both sets.
    """
    pairs = (
        _kernel(first.features, first.features) * _apart(first.source),
        _kernel(second.features, second.features) * _apart(second.source),
        _kernel(first.features, second.features),
    )
    apart = (_apart(first.source), _apart(second.source))

    def discrepancy(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
        """Return the estimate without the patches that are not in `a` and `b`."""
        within = [
            (kept @ terms @ kept) / max(kept @ others @ kept, 1)
            for terms, others, kept in zip(pairs[:2], apart, (a * 1.0, b * 1.0), strict=True)
        ]
        return float(within[0] + within[1] - 2 * pairs[2][np.ix_(a, b)].mean())

    all_a, all_b = (np.ones(len(part.source), bool) for part in (first, second))
    variance = _jackknife([discrepancy(first.source != g, all_b) for g in np.unique(first.source)])
    variance += _jackknife(
        [discrepancy(all_a, second.source != g) for g in np.unique(second.source)]
    )
    return Estimate(discrepancy(all_a, all_b), float(np.sqrt(variance)))


def frechet_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Return Frechet's distance of two Gaussians fitted to features (n, d).

    |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^1/2), Heusel et al. (NeurIPS 2017). Few patches make it too
    large; compare only figures from the same number of patches.
    """
    a, b = (np.asarray(part, float) for part in (first, second))
    shift = a.mean(0) - b.mean(0)
    a, b = ((part - part.mean(0)) / np.sqrt(len(part) - 1) for part in (a, b))
    # With C = A'A the eigenvalues of (C1 C2)^1/2 are the singular values of A B'.
    mixed = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(max(shift @ shift + (a**2).sum() + (b**2).sum() - 2 * mixed, 0.0))


def overlap(first: ArrayLike, second: ArrayLike, bins: int = 24) -> float:
    """Return the common area of two normalised histograms, 0 to 1."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    limits = (min(a.min(), b.min()), max(a.max(), b.max()) + 1e-9)
    shares = [np.histogram(part, bins, limits)[0] / part.size for part in (a, b)]
    return float(np.minimum(*shares).sum())


def mean(values: Real, source: NDArray[np.intp]) -> Estimate:
    """Return the mean over all patches; its error is the larger one of two.

    From the scatter between all patches, and from that between the images.
    """
    average, count = float(values.mean()), len(values)
    images = np.unique(source)
    sums = np.array([(values[source == image] - average).sum() for image in images])
    between = (sums**2).sum() / count**2 * len(images) / max(len(images) - 1, 1)
    return Estimate(average, float(np.sqrt(max(between, values.var() / max(count - 1, 1)))))


def _folds(
    first: NDArray[np.intp], second: NDArray[np.intp], rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Deal the images of both sets into folds, each of which has some of either."""
    numbers = [np.unique(source, return_inverse=True)[1] for source in (first, second)]
    count = min(FOLDS, *(part.max() + 1 for part in numbers))
    return [(rng.permutation(part.max() + 1) % count)[part] for part in numbers]


def _same_set_is_nearest(own: Sample, other: Sample) -> Real:
    """Return, for each patch of `own`, the probability that its own set is nearer."""
    scores = np.zeros(len(own.source))
    inside = scipy.spatial.distance.cdist(own.features, own.features)
    across = scipy.spatial.distance.cdist(own.features, other.features)
    for index, image in enumerate(own.source):
        mates, others = inside[index, own.source != image], across[index]
        if mates.size <= others.size:
            nearer = (others < mates.min()).sum()
            scores[index] = scipy.stats.hypergeom.pmf(0, others.size, nearer, mates.size)
        else:
            nearer = (mates < others.min()).sum()
            scores[index] = 1 - scipy.stats.hypergeom.pmf(0, mates.size, nearer, others.size)
    return scores


def _balanced(
    first: Real, first_source: NDArray[np.intp], second: Real, second_source: NDArray[np.intp]
) -> Estimate:
    """Return the mean of two sets' shares of right answers, and its error."""
    one, two = mean(first, first_source), mean(second, second_source)
    return Estimate((one.value + two.value) / 2, float(np.hypot(one.error, two.error)) / 2)


def _kernel(a: Real, b: Real) -> Real:
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)


def _apart(source: NDArray[np.intp]) -> Real:
    """Return 1 for each pair of patches of different images."""
    return np.asarray(source[:, None] != source, float)


def _jackknife(values: list[float]) -> float:
    """Return the variance of an estimate from those with one image left out."""
    return float((len(values) - 1) * np.var(values))
