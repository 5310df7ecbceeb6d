"""Priors of images with masks: what they make shows what the masks say, and teaches a U-Net."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_particles import discs, micrograph

from napari_physgen import generative, segmentation
from napari_physgen.backend import run
from napari_physgen.errors import UserError
from napari_physgen.generative import GenerateSettings, GenerativeModel, GenerativeSettings
from napari_physgen.generative import generate as generating
from napari_physgen.generative.conditions import REACH, encode_mask, label_images
from napari_physgen.generative.denoiser import Guided
from napari_physgen.generative.look_alikes import draw_look_alikes, train_look_alikes

QUICK = GenerativeSettings(
    conditional="masks",
    steps=150,
    features=8,
    levels=3,
    crop=32,
    batch=8,
    device="cpu",
    precision="32-true",
)
FEW = GenerateSettings(steps=18, device="cpu")


def drawn(seed: int, side: int = 96) -> np.ndarray:
    radii = np.random.default_rng(seed).uniform(4, 10, 25)
    return discs((side, side), radii, seed).astype(np.uint8)


@pytest.fixture(scope="module")
def masks() -> list[np.ndarray]:
    return [drawn(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def images(masks: list[np.ndarray]) -> list[np.ndarray]:
    return [100 * micrograph(mask, seed) for seed, mask in enumerate(masks)]


@pytest.fixture(scope="module")
def prior(images: list[np.ndarray], masks: list[np.ndarray]) -> GenerativeModel:
    return run(generative.train(images, QUICK, masks=masks))


@pytest.fixture(scope="module")
def new_masks() -> list[np.ndarray]:
    return [drawn(seed) for seed in range(20, 26)]


@pytest.fixture(scope="module")
def made(prior: GenerativeModel, new_masks: list[np.ndarray]) -> np.ndarray:
    return run(generating.sample(prior, masks=new_masks, settings=FEW)).images


def levels(images: np.ndarray | list[np.ndarray], masks: list[np.ndarray]) -> np.ndarray:
    """Mean grey level of each class."""
    grey, label = np.stack(images), np.stack(masks)
    return np.array([grey[label == k].mean() for k in (0, 1)])


# ---- the condition ----------------------------------------------------------------------------


def test_a_mask_becomes_one_channel_per_class_and_the_distance_to_the_border() -> None:
    mask = np.zeros((5, 40), int)
    mask[:, 20:] = 2
    told = encode_mask(mask, 3)
    assert told.shape == (4, 5, 40)
    assert told.dtype == np.float32
    np.testing.assert_array_equal(told[:3], [mask == k for k in range(3)])
    right = np.minimum(np.arange(1, 21) / REACH, 1)
    np.testing.assert_allclose(told[3, 2], np.concatenate([right[::-1], right]))


@pytest.mark.parametrize("shape", [(6, 7), (4, 6, 7)])
def test_a_mask_of_one_class_is_far_from_every_border(shape: tuple[int, ...]) -> None:
    told = encode_mask(np.ones(shape, np.uint8), 2)
    assert told.shape == (3, *shape)
    np.testing.assert_array_equal(told[0], 0)
    np.testing.assert_array_equal(told[1:], 1)


@pytest.mark.parametrize("mask", [np.full((4, 4), 2), np.full((4, 4), -1)])
def test_labels_that_the_prior_does_not_know_are_refused(mask: np.ndarray) -> None:
    with pytest.raises(UserError, match="knows 2 classes"):
        encode_mask(mask, 2)


def test_a_grey_image_is_no_mask() -> None:
    with pytest.raises(UserError, match="whole numbers"):
        encode_mask(np.full((4, 4), 0.5), 2)


# ---- new images -------------------------------------------------------------------------------


def test_new_images_have_the_grey_levels_of_their_classes(
    made: np.ndarray,
    new_masks: list[np.ndarray],
    images: list[np.ndarray],
    masks: list[np.ndarray],
) -> None:
    """Means per class within a tenth of the contrast; the scatter around them is the noise's."""
    told, learned = levels(made, new_masks), levels(images, masks)
    contrast = learned[1] - learned[0]
    np.testing.assert_allclose(told, learned, atol=0.1 * contrast)


def test_new_images_follow_their_own_mask_pixel_by_pixel(
    made: np.ndarray,
    new_masks: list[np.ndarray],
    images: list[np.ndarray],
    masks: list[np.ndarray],
) -> None:
    """Grey levels and masks correlate as they do in the images that were learned from."""

    def correlation(greys: np.ndarray, labels: np.ndarray) -> float:
        return float(np.corrcoef(greys.ravel(), labels.ravel())[0, 1])

    learned = correlation(np.stack(images), np.stack(masks))
    assert correlation(made, np.stack(new_masks)) > learned - 0.1
    assert correlation(made, np.stack(new_masks[1:] + new_masks[:1])) < 0.3


def test_another_seed_is_another_image_of_the_same_mask(
    prior: GenerativeModel, made: np.ndarray, new_masks: list[np.ndarray]
) -> None:
    other = FEW.model_copy(update={"seed": 1})
    again = run(generating.sample(prior, masks=new_masks[:1], settings=other)).images[0]
    inside = new_masks[0] > 0
    assert np.abs(again - made[0]).mean() > 1
    assert again[inside].mean() == pytest.approx(made[0][inside].mean(), abs=5)


def test_the_size_of_batches_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
    prior: GenerativeModel,
    made: np.ndarray,
    new_masks: list[np.ndarray],
) -> None:
    monkeypatch.setattr(generating, "BATCH_PIXELS", 1)
    again = run(generating.sample(prior, masks=new_masks[:2], settings=FEW)).images
    np.testing.assert_allclose(again, made[:2], atol=1e-2)


def test_the_prior_has_also_learned_to_do_without_masks(
    prior: GenerativeModel, images: list[np.ndarray]
) -> None:
    """Its own particles, with the share and the grey levels of those that it saw."""
    free = run(generating.sample(prior, count=6, size=96, settings=FEW))
    assert free.masks is None
    assert free.images.shape == (6, 96, 96)
    assert abs(free.images.mean() - np.mean(images)) < 0.3 * np.std(images)
    assert 0.6 < free.images.std() / np.std(images) < 1.4


def test_guidance_of_zero_ignores_the_masks(
    prior: GenerativeModel, new_masks: list[np.ndarray]
) -> None:
    blind = FEW.model_copy(update={"guidance": 0.0})
    told = run(generating.sample(prior, masks=new_masks[:2], settings=blind)).images
    free = run(generating.sample(prior, count=2, size=96, settings=FEW)).images
    np.testing.assert_allclose(told, free, atol=1e-2)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_guidance_exaggerates_what_the_mask_adds(
    prior: GenerativeModel, new_masks: list[np.ndarray], weight: float
) -> None:
    """D_w = D_u + w (D_c - D_u)."""
    plain = prior.denoiser()
    cond = torch.from_numpy(encode_mask(new_masks[0], 2))[None]
    x = torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    told, free = (plain(x, 1.0, known).mean for known in (cond, None))
    guided = Guided(plain, weight)(x, 1.0, cond)
    torch.testing.assert_close(guided.mean, free + weight * (told - free))
    torch.testing.assert_close(guided.std, plain(x, 1.0, cond).std)
    assert (told - free).abs().mean() > 0.05


def test_a_saved_prior_follows_masks_as_before(
    tmp_path: Path, prior: GenerativeModel, made: np.ndarray, new_masks: list[np.ndarray]
) -> None:
    prior.save(tmp_path / "prior.safetensors")
    read = generative.load(tmp_path / "prior.safetensors")
    assert read.classes == 2
    again = run(generating.sample(read, masks=new_masks[:1], settings=FEW)).images
    np.testing.assert_allclose(again, made[:1], atol=1e-2)


# ---- bad input --------------------------------------------------------------------------------


def test_a_prior_of_masks_needs_masks(images: list[np.ndarray]) -> None:
    with pytest.raises(UserError, match="give the masks"):
        run(generative.train(images, QUICK))


def test_masks_of_another_size_are_refused(
    images: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    with pytest.raises(UserError, match="same size"):
        run(generative.train(images, QUICK, masks=[mask[1:] for mask in masks]))


def test_masks_with_more_classes_than_the_prior_are_refused(
    prior: GenerativeModel, new_masks: list[np.ndarray]
) -> None:
    with pytest.raises(UserError, match="knows 2 classes"):
        run(generating.sample(prior, masks=[2 * new_masks[0]], settings=FEW))


def test_masks_to_follow_must_have_one_size(
    prior: GenerativeModel, new_masks: list[np.ndarray]
) -> None:
    with pytest.raises(UserError, match="same size"):
        run(generating.sample(prior, masks=[new_masks[0], new_masks[1][1:]], settings=FEW))


def test_a_prior_without_masks_cannot_follow_any(
    images: list[np.ndarray], new_masks: list[np.ndarray]
) -> None:
    settings = QUICK.model_copy(update={"conditional": "images", "steps": 1})
    plain = run(generative.train(images, settings))
    with pytest.raises(UserError, match="knows no masks"):
        run(generating.sample(plain, masks=new_masks, settings=FEW))


# ---- a network to segment with ----------------------------------------------------------------


def test_new_images_teach_a_network_that_labels_real_ones(
    prior: GenerativeModel, new_masks: list[np.ndarray]
) -> None:
    """No image with a mask but generated ones; scored on a micrograph nobody has seen."""
    found = run(generating.sample(prior, masks=new_masks, settings=FEW))
    assert found.masks is not None
    how = segmentation.SegmentationSettings(
        features=8,
        steps=120,
        crop=64,
        batch=4,
        learning_rate=1e-2,
        augmentation=0,  # the micrograph is of the same kind; few steps must be enough
        device="cpu",
        precision="32-true",
    )
    model = run(segmentation.train(list(found.images), list(found.masks), how))
    truth = drawn(50)
    labels = run(
        segmentation.predict(
            model, micrograph(truth, 50), segmentation.PredictSettings(flips=False)
        )
    ).labels
    both, either = (labels > 0) & (truth > 0), (labels > 0) | (truth > 0)
    assert both.sum() / either.sum() > 0.85


# ---- look-alikes of unlabelled micrographs ----------------------------------------------------


@pytest.fixture(scope="module")
def styled() -> GenerativeModel:
    """A prior of a micrograph and of a brighter one with less contrast, with rough phases."""
    truth = [drawn(seed, 128) for seed in (30, 31)]
    wrong = np.random.default_rng(0).random((2, 128, 128)) < 0.03
    phases = [mask ^ flipped for mask, flipped in zip(truth, wrong, strict=True)]
    pictures = [
        100 * micrograph(truth[0], 30),
        100 * micrograph(truth[1], 31, gain=0.5, offset=0.4),
    ]
    return run(train_look_alikes(pictures, phases, QUICK))


def test_look_alikes_have_the_styles_of_the_images_in_turn(
    styled: GenerativeModel, new_masks: list[np.ndarray]
) -> None:
    assert styled.classes == 4
    found = run(draw_look_alikes(styled, new_masks, 2, GenerateSettings(device="cpu")))
    np.testing.assert_array_equal(found.masks, new_masks)
    for style, expected in enumerate([(33, 66), (56, 73)]):
        told = levels(found.images[style::2], new_masks[style::2])
        np.testing.assert_allclose(told, expected, atol=5)


@pytest.mark.parametrize(
    ("classes", "mask", "words"),
    [
        (3, np.zeros((32, 32), int), "no styles of 3 phases"),
        (2, np.full((32, 32), 2), "more than the 2 phases"),
    ],
)
def test_look_alikes_of_masks_that_do_not_fit_are_refused(
    styled: GenerativeModel, classes: int, mask: np.ndarray, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        run(draw_look_alikes(styled, [mask], classes))


def test_masks_with_parts_of_classes_are_refused():
    with pytest.raises(UserError, match="whole numbers"):
        label_images(np.full((8, 8), 0.5), volumes=False)
