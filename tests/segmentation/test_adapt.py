"""Self-training: a network gets used to images of another kind without one label of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_particles import micrograph

from napari_physgen.backend import Stop, run
from napari_physgen.errors import UserError
from napari_physgen.segmentation import (
    PredictSettings,
    SegmentationModel,
    SegmentationSettings,
    adapt,
    predict,
)
from napari_physgen.segmentation.learning import one_cycle

PLAIN = PredictSettings(flips=False, device="cpu", precision="32-true")


def iou(model: SegmentationModel, image: np.ndarray, mask: np.ndarray) -> float:
    found = run(predict(model, image, PLAIN)).labels > 0
    return float((found & (mask > 0)).sum() / (found | (mask > 0)).sum())


def dull(mask: np.ndarray, seed: int) -> np.ndarray:
    """A micrograph with another gamma than any that was trained on."""
    return np.asarray(micrograph(mask, seed, noise=0.08).clip(0, 2) ** 2.5)


@pytest.fixture(scope="module")
def adapted(
    trained: SegmentationModel,
    images: list[np.ndarray],
    masks: list[np.ndarray],
    tiny: SegmentationSettings,
) -> SegmentationModel:
    """Used to two images of another gamma."""
    how = tiny.model_copy(update={"self_training": 40})
    return run(adapt(trained, images[:6], masks[:6], [dull(m, 50) for m in masks[6:]], how))


def test_images_of_another_gamma_are_labelled_afterwards(
    trained: SegmentationModel, adapted: SegmentationModel, masks: list[np.ndarray]
) -> None:
    """Those that it has seen, and one of their kind that it has not."""
    for mask, seed in ((masks[6], 50), (masks[7], 50), (masks[0], 70)):
        assert iou(adapted, dull(mask, seed), mask) > 0.9
    assert max(iou(trained, dull(m, 50), m) for m in masks[6:]) < 0.85


def test_the_model_before_stays_as_it_was(
    trained: SegmentationModel,
    adapted: SegmentationModel,
    images: list[np.ndarray],
    masks: list[np.ndarray],
) -> None:
    assert iou(trained, images[6], masks[6]) > 0.9
    assert "self-training loss" in adapted.history
    assert "self-training loss" not in trained.history
    assert adapted.classes == trained.classes
    assert adapted.pixel_size_nm == trained.pixel_size_nm
    assert "self-training" in adapted.summary


def test_same_seed_same_weights(
    trained: SegmentationModel,
    images: list[np.ndarray],
    masks: list[np.ndarray],
    tiny: SegmentationSettings,
) -> None:
    hows = [tiny.model_copy(update={"self_training": 2, "seed": s, "crop": 32}) for s in (1, 1, 2)]
    first, second, other = (
        run(adapt(trained, images[:2], masks[:2], images[6:], how)).net.state_dict() for how in hows
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["last.weight"], other["last.weight"])


def test_stop_keeps_a_model_that_works(
    trained: SegmentationModel,
    images: list[np.ndarray],
    masks: list[np.ndarray],
    tiny: SegmentationSettings,
) -> None:
    how = tiny.model_copy(update={"self_training": 40})
    job = adapt(trained, images[:6], masks[:6], images[6:], how)
    model = run(job, lambda progress: Stop() if progress.step == 2 else None)
    assert "stopped early" in model.summary
    assert iou(model, images[6], masks[6]) > 0.8


def test_without_images_of_ones_own_it_is_refused(
    trained: SegmentationModel, images: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    with pytest.raises(UserError, match="Self-training needs images of your own"):
        run(adapt(trained, images, masks, []))


def test_the_learning_rate_rises_once_and_falls_to_nothing() -> None:
    """Straight up, half a cosine down."""
    rates = np.array([one_cycle(part) for part in np.linspace(0, 1, 101)])
    assert rates.max() == 1
    top = int(rates.argmax())
    assert 0 < rates[0] < 0.1
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    np.testing.assert_allclose(np.diff(rates[:top], 2), 0, atol=1e-12)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert one_cycle(1.1) == pytest.approx(0, abs=1e-12)
