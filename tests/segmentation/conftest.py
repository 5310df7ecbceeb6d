"""A network that has learnt discs, trained once for all tests."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_particles import discs, micrograph

from napari_physgen.backend import run
from napari_physgen.segmentation import SegmentationModel, SegmentationSettings, train

TINY = SegmentationSettings(
    features=8,
    steps=80,
    crop=64,
    batch=4,
    learning_rate=1e-2,
    device="cpu",
    precision="32-true",
)


@pytest.fixture(scope="session")
def tiny() -> SegmentationSettings:
    """Settings of a training of seconds."""
    return TINY


@pytest.fixture(scope="session")
def masks() -> list[np.ndarray]:
    """Discs of 6 to 14 px; the last two are not trained on."""
    return [
        discs((128, 128), np.random.default_rng(seed).uniform(6, 14, 30), seed).astype(np.uint8)
        for seed in range(8)
    ]


@pytest.fixture(scope="session")
def images(masks: list[np.ndarray]) -> list[np.ndarray]:
    return [micrograph(mask, seed) for seed, mask in enumerate(masks)]


@pytest.fixture(scope="session")
def trained(images: list[np.ndarray], masks: list[np.ndarray]) -> SegmentationModel:
    job = train(images[:6], masks[:6], TINY, classes=("matrix", "particles"), pixel_size_nm=5.0)
    return run(job)
