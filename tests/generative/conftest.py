"""A small prior that several tests share."""

from __future__ import annotations

import numpy as np
import pytest
from prior_sample import blobs, tiny

from napari_physgen.backend import run
from napari_physgen.generative import train


@pytest.fixture(scope="session")
def prior():
    """A prior of smooth images, trained a little."""
    return run(train(blobs(), tiny(steps=150, pixel_size_nm=50)))


@pytest.fixture
def noisy():
    """One noisy image of that kind, its clean version and the noise."""
    clean = blobs(1, seed=9)[0]
    return clean + 20 * np.random.default_rng(1).standard_normal(clean.shape), clean, 20.0
