"""The two phases of a micrograph with labels: a full mask, or a few strokes of the brush.

Strokes train a random forest on the grey levels around each pixel at several scales (Gaussian,
gradient, Hessian: the features of ilastik, S. Berg et al., Nature Methods 16, 1226 (2019)) and on
the steps between the phases that are found without labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.ndimage

from napari_physgen.errors import UserError
from napari_physgen.synthesis._match_phases import checked, find_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Mask = NDArray[np.bool_]

MATRIX, PARTICLES = 1, 2  # values of strokes
SCALES = (1.0, 2.0, 4.0, 8.0)  # px
TREES, SMALLEST_LEAF, MOST_PIXELS = 60, 3, 20_000
# Single pixels that the forest gets wrong are outvoted by their neighbours.
VOTE = 1.0  # px


def are_strokes(
    labels: Sequence[NDArray[np.generic]], kind: Literal["auto", "mask", "strokes"] = "auto"
) -> bool:
    """Return whether labels are strokes (0 unlabelled, 1 matrix, 2 particles) or full masks."""
    if kind != "auto":
        return kind == "strokes"
    values = {int(v) for part in labels for v in np.unique(part)}
    return {0, MATRIX, PARTICLES} <= values


def check_labels(
    images: Sequence[NDArray[np.generic]], labels: Sequence[NDArray[np.generic]], strokes: bool
) -> None:
    """Say what is wrong with labels, if anything.

    Raises
    ------
    UserError
        If their number or shape differs from the images', or one of the two phases is missing.
    """
    if len(labels) != len(images):
        raise UserError(
            f"There are {len(images)} images but {len(labels)} label layers: give one per image."
        )
    for image, part in zip(images, labels, strict=True):
        if np.shape(part) != np.shape(image):
            raise UserError(
                f"The labels have the shape {np.shape(part)} but their image {np.shape(image)}: "
                "choose labels drawn on this image."
            )
    known = np.concatenate([np.asarray(part).ravel() for part in labels])
    if strokes and not np.isin([MATRIX, PARTICLES], known).all():
        raise UserError("Both phases need labels: brush some matrix with 1 and particles with 2.")
    if not strokes and np.ptp(known) == 0:
        raise UserError(
            "All labels are of one class: a mask needs matrix (0) and particles (1), strokes need "
            "0 unlabelled, 1 matrix and 2 particles."
        )


def masks_of(labels: Sequence[NDArray[np.generic]]) -> list[Mask]:
    """Return where the particles of full masks are: all but the lowest value."""
    matrix = min(int(np.min(part)) for part in labels)
    return [np.asarray(part) > matrix for part in labels]


def classify(
    images: Sequence[NDArray[np.generic]], strokes: Sequence[NDArray[np.generic]], seed: int = 0
) -> list[Mask]:
    """Return where the particles of images are, learned from strokes on some of them.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        (y, x) each.
    strokes : sequence of numpy.ndarray
        (y, x) each: 0 unlabelled, 1 matrix, 2 particles.
    seed : int
    """
    from sklearn.ensemble import RandomForestClassifier

    features = [_features(image) for image in images]
    known = [np.isin(part, (MATRIX, PARTICLES)) for part in strokes]
    x = np.concatenate([f[k] for f, k in zip(features, known, strict=True)])
    y = np.concatenate([np.asarray(s)[k] for s, k in zip(strokes, known, strict=True)])
    if len(y) > MOST_PIXELS:
        chosen = np.random.default_rng(seed).choice(len(y), MOST_PIXELS, replace=False)
        x, y = x[chosen], y[chosen]
    # Strokes say nothing about the share of the phases: both classes weigh the same.
    forest = RandomForestClassifier(
        TREES, min_samples_leaf=SMALLEST_LEAF, class_weight="balanced", random_state=seed
    ).fit(x, y)
    particles = int(np.flatnonzero(forest.classes_ == PARTICLES)[0])
    masks = []
    for f in features:
        probability = forest.predict_proba(f.reshape(-1, f.shape[-1]))[:, particles]
        smooth = scipy.ndimage.gaussian_filter(probability.reshape(f.shape[:2]), VOTE)
        masks.append(np.asarray(smooth > 0.5))
    return masks


def _features(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return what the neighbourhood of each pixel looks like (y, x, feature)."""
    picture = checked(image)
    picture = (picture - picture.mean()) / picture.std()
    gauss = scipy.ndimage.gaussian_filter
    maps = [_steps(image), picture]
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
