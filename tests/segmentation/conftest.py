"""A network that has learnt discs, trained once for all tests."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_particles import discs, micrograph

from napari_physgen.backend import run
from napari_physgen.segmentation import (
    LabourFreeSettings,
    LookAlike,
    SegmentationModel,
    SegmentationSettings,
    look_alike,
    train,
)
from napari_physgen.synthesis import PhaseFieldSettings, simulate

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


QUICK = LabourFreeSettings(
    look="spinodal",
    particles="bright",
    translation="none",
    simulations=2,
    trials=1,
    pictures=4,
    translation_steps=5,
    training_steps=60,
    self_training=0,
    device="cpu",
    precision="32-true",
)


@pytest.fixture(scope="session")
def quick() -> LabourFreeSettings:
    """Settings of the whole workflow in seconds."""
    return QUICK


@pytest.fixture(scope="session")
def hidden() -> list[np.ndarray]:
    """Masks of two simulated micrographs that the workflow never sees."""
    samples = []
    for seed in (11, 12):
        settings = PhaseFieldSettings(
            material="spinodal", size=128, fraction=0.5, duration=60, seed=seed, device="cpu"
        )
        samples.append(run(simulate(settings)).labels > 0)
    return samples


@pytest.fixture(scope="session")
def micrographs(hidden: list[np.ndarray]) -> list[np.ndarray]:
    """What the workflow sees of them: 8-bit pictures of 128 x 128 px."""
    return [(200 * micrograph(mask, k)).astype(np.uint8) for k, mask in enumerate(hidden)]


@pytest.fixture(scope="session")
def look(micrographs: list[np.ndarray]) -> LookAlike:
    """Their look-alikes."""
    return run(look_alike(micrographs, QUICK))
