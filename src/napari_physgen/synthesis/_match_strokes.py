"""The two phases of a micrograph, learned from a few strokes of the brush.

Where the phases found by their edges explain the strokes, these only say which phase is which. Else
they train a random forest on the grey levels around each pixel at several scales (Gaussian,
gradient, Hessian: the features of ilastik, S. Berg et al., Nature Methods 16, 1226 (2019)) and on
the steps found: strokes that correct the edges have an effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.ndimage

from napari_physgen.errors import UserError
from napari_physgen.synthesis._match_phases import checked, clipped, find_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sklearn.ensemble import RandomForestClassifier

    Real = NDArray[np.float64]
    Mask = NDArray[np.bool_]

MATRIX, PARTICLES = 1, 2  # values of strokes
SCALES = (1.0, 2.0, 4.0, 8.0)  # px
TREES, SMALLEST_LEAF, MOST_PIXELS = 60, 3, 20_000
# Single pixels that the forest gets wrong are outvoted by their neighbours.
VOTE = 2.0  # px
# Share of the strokes (mean of both phases) that the edges must explain. They come nearer to the
# masks of sem/nasa_super than the forest does (IoU 0.95 against 0.92), and explain 0.985 or more.
EXPLAINED = 0.97


def learn(
    images: Sequence[NDArray[np.generic]], strokes: Sequence[NDArray[np.generic]], seed: int = 0
) -> tuple[list[Mask], str]:
    """Return where the particles of images are, and in words how strokes on some of them told.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        (y, x) each.
    strokes : sequence of numpy.ndarray
        (y, x) each: 0 unlabelled, 1 matrix, 2 particles; both occur.
    seed : int
    """
    levels = [_steps(image) for image in images]
    drawn = [np.isin(part, (MATRIX, PARTICLES)) for part in strokes]

    def at_strokes(maps: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([values[known] for values, known in zip(maps, drawn, strict=True)])

    y, steps = at_strokes([np.equal(part, PARTICLES) for part in strokes]), at_strokes(levels)
    bright, dark = _share(steps > 0, y), _share(steps < 0, y)
    sign, explained = (1, bright) if bright > dark else (-1, dark)
    if explained >= EXPLAINED:
        return [sign * level > 0 for level in levels], "found by their edges, told by the strokes"
    features = [_features(image, level) for image, level in zip(images, levels, strict=True)]
    forest = _forest(at_strokes(features), y, seed)
    return [_predicted(forest, f) for f in features], "learned from the strokes"


def _share(found: Mask, particles: Mask) -> float:
    """Return the share of stroke pixels in their own phase, mean of both phases."""
    return float(found[particles].mean() + (~found[~particles]).mean()) / 2


def _forest(x: NDArray[np.float32], y: Mask, seed: int) -> RandomForestClassifier:
    """Return a random forest that learned from stroke pixels (pixel, feature)."""
    from sklearn.ensemble import RandomForestClassifier

    if len(y) > MOST_PIXELS:
        chosen = np.random.default_rng(seed).choice(len(y), MOST_PIXELS, replace=False)
        x, y = x[chosen], y[chosen]
    # Strokes say nothing about the share of the phases: both classes weigh the same.
    return RandomForestClassifier(
        TREES, min_samples_leaf=SMALLEST_LEAF, class_weight="balanced", random_state=seed
    ).fit(x, y)


def _predicted(forest: RandomForestClassifier, features: NDArray[np.float32]) -> Mask:
    """Return where a forest sees particles (y, x)."""
    probability = forest.predict_proba(features.reshape(-1, features.shape[-1]))[:, 1]
    smooth = scipy.ndimage.gaussian_filter(probability.reshape(features.shape[:2]), VOTE)
    return np.asarray(smooth > 0.5)


def _features(image: NDArray[np.generic], level: Real) -> NDArray[np.float32]:
    """Return what the neighbourhood of each pixel looks like (y, x, feature)."""
    picture = clipped(checked(image))
    picture = (picture - picture.mean()) / picture.std()
    gauss = scipy.ndimage.gaussian_filter
    maps = [level, picture]
    for sigma in SCALES:
        yy, xx, xy = (gauss(picture, sigma, order) for order in ((2, 0), (0, 2), (1, 1)))
        middle, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
        maps += [
            gauss(picture, sigma),
            scipy.ndimage.gaussian_gradient_magnitude(picture, sigma),
            sigma**2 * (middle + half),
            sigma**2 * (middle - half),
        ]
    return np.stack(maps, -1).astype(np.float32)


def _steps(image: NDArray[np.generic]) -> Real:
    """Return the picture of the steps between the phases, or zeros where none are found."""
    try:
        level, scale = find_steps(image)
    except UserError:
        return np.zeros(np.shape(image))
    level = np.repeat(np.repeat(level, scale, 0), scale, 1) / max(float(level.std()), 1e-300)
    missing = [(0, n - m) for n, m in zip(np.shape(image), level.shape, strict=True)]
    return np.asarray(np.pad(level, missing, mode="edge"))
