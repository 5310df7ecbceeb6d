"""Small images and trainings that tests of priors share."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_physgen.generative import GenerativeSettings


def blobs(count=3, size=64, seed=0):
    """Return smooth random images (image, y, x), grey levels 100 to about 300."""
    rng = np.random.default_rng(seed)
    fields = gaussian_filter(rng.standard_normal((count, size, size)), (0, 3, 3))
    return (200 + 60 * np.tanh(fields / fields.std())).astype(np.float32)


def tiny(**changes):
    """Return settings of a training that takes a second or two."""
    plain = {"steps": 60, "features": 4, "levels": 2, "crop": 32, "batch": 8}
    return GenerativeSettings(**(plain | changes))
