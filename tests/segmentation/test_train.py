"""Training: the loss is the one written down, networks learn, adapt and stop when told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_particles import discs, micrograph

from napari_physgen.backend import Progress, Stop, run
from napari_physgen.errors import UserError
from napari_physgen.segmentation import (
    PredictSettings,
    SegmentationModel,
    SegmentationSettings,
    predict,
    train,
)
from napari_physgen.segmentation.learning import calibrate_norms
from napari_physgen.segmentation.learning import weighted_loss as _loss
from napari_physgen.segmentation.model import LEVELS, Design
from napari_physgen.segmentation.pairs import Batch, Pairs
from napari_physgen.segmentation.train import fine_tuned

CPU = torch.device("cpu")
QUICKLY = PredictSettings(flips=False, device="cpu", precision="32-true")


def iou(model: SegmentationModel, image: np.ndarray, mask: np.ndarray) -> float:
    found = run(predict(model, image, QUICKLY)).labels > 0
    return float((found & (mask > 0)).sum() / (found | (mask > 0)).sum())


def dull(mask: np.ndarray, seed: int) -> np.ndarray:
    """A micrograph with another gamma than any that was trained on."""
    return np.asarray(micrograph(mask, seed, noise=0.08).clip(0, 2) ** 2.5)


def shorter(settings: SegmentationSettings, **changes: object) -> SegmentationSettings:
    return settings.model_copy(update=changes)


# ---- loss -------------------------------------------------------------------------------------


def batch_of(masks: np.ndarray, weights: np.ndarray) -> Batch:
    images = torch.zeros(len(masks), 1, *masks.shape[1:])
    return Batch(images, torch.from_numpy(masks), torch.from_numpy(weights.astype(np.float32)))


def test_the_loss_is_weighted_cross_entropy_and_dice() -> None:
    """Written out with numpy, for three classes, labels smoothed by 0.02, one pixel unknown."""
    random = np.random.default_rng(0)
    logits = random.standard_normal((2, 3, 5, 6))
    masks = random.integers(0, 3, (2, 5, 6))
    weights = random.uniform(1, 3, (2, 5, 6))
    masks[0, 0, 0], weights[0, 0, 0] = -1, 0
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.stack([masks == k for k in range(3)], 1).astype(float)
    smooth = truth * 0.98 + 0.02 / 3
    entropy = (-(smooth * np.log(share)).sum(1) * weights).sum() / weights.sum()
    known = (masks >= 0)[:, None]
    both = (share * truth * known).sum((0, 2, 3))
    dice = (2 * both + 1) / ((share * known).sum((0, 2, 3)) + truth.sum((0, 2, 3)) + 1)
    found = _loss(torch.from_numpy(logits), batch_of(masks, weights))
    assert float(found) == pytest.approx(entropy + 1 - dice.mean(), rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 8, 9), (2, 4, 5, 6)])
def test_what_is_unknown_has_no_influence(shape: tuple[int, ...]) -> None:
    """No gradient there, in planes and volumes; and any number may stand in its place."""
    random = np.random.default_rng(1)
    masks = random.integers(0, 2, shape)
    unknown = random.random(shape) < 0.4
    masks[unknown] = -1
    logits = torch.from_numpy(random.standard_normal((shape[0], 2, *shape[1:]))).requires_grad_()
    batch = batch_of(masks, ~unknown)
    value = _loss(logits, batch)
    value.backward()
    assert logits.grad is not None
    gradient = logits.grad.abs().sum(1).numpy()
    assert (gradient[unknown] == 0).all()
    assert (gradient[~unknown] > 0).all()
    other = logits.detach() + 100 * torch.from_numpy(unknown[:, None])
    assert float(_loss(other, batch)) == pytest.approx(float(value.detach()))


def test_a_crop_of_which_nothing_is_known_is_no_danger() -> None:
    logits = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    masks = np.full((2, 8, 8), -1)
    value = _loss(logits, batch_of(masks, np.zeros(masks.shape)))
    value.backward()
    assert logits.grad is not None
    assert float(value.detach()) == pytest.approx(0, abs=1e-6)
    assert (logits.grad == 0).all()


def test_the_best_answer_has_nearly_no_loss_and_the_worst_a_high_one() -> None:
    masks = (np.indices((1, 16, 16))[2] // 4) % 2
    right = torch.from_numpy(np.stack([1 - masks, masks], 1) * 4.0)
    batch = batch_of(masks, np.ones(masks.shape))
    assert float(_loss(right, batch)) < 0.15
    assert float(_loss(-right, batch)) > 4


def test_boundaries_count_as_their_weights_say() -> None:
    """A wrong pixel of weight 3 costs three times as much cross entropy."""
    masks = np.zeros((1, 10, 10), np.int64)
    logits = torch.zeros(1, 2, 10, 10)
    logits[:, 0] = 10
    logits[0, :, 4, 4] = torch.tensor([-10.0, 10.0])
    heavy = np.ones((1, 10, 10))
    heavy[0, 4, 4] = 3
    even = _loss(logits, batch_of(masks, np.ones(masks.shape)))
    more = _loss(logits, batch_of(masks, heavy))
    assert float(more - even) == pytest.approx(20 * (3 / 102 - 1 / 100), rel=0.03)


# ---- learning ---------------------------------------------------------------------------------


def test_a_network_learns_discs_in_seconds(
    trained: SegmentationModel, images: list[np.ndarray], masks: list[np.ndarray]
) -> None:
    for image, mask in zip(images[6:], masks[6:], strict=True):
        assert iou(trained, image, mask) > 0.9


def test_the_model_says_what_it_is(trained: SegmentationModel, tiny: SegmentationSettings) -> None:
    assert trained.classes == ("matrix", "particles")
    assert trained.pixel_size_nm == 5
    assert trained.metrics["steps"] == tiny.steps
    assert trained.settings["features"] == tiny.features
    assert trained.summary == "Trained 80 steps on 6 images with 2 classes."
    assert trained.device == "cpu"
    loss = [value for _, value in trained.history["loss"]]
    assert np.mean(loss[-10:]) < 0.5 * np.mean(loss[:10])
    assert not trained.net.training


def test_gain_offset_and_bit_depth_do_not_matter(
    trained: SegmentationModel, images: list[np.ndarray]
) -> None:
    known = run(predict(trained, images[6], QUICKLY)).labels
    for other in (50 * images[6] + 7, (40000 * images[6] + 9000).astype(np.uint16)):
        again = run(predict(trained, other, QUICKLY)).labels
        assert (again != known).mean() < 1e-3


def test_same_seed_same_network(
    images: list[np.ndarray], masks: list[np.ndarray], tiny: SegmentationSettings
) -> None:
    settings = [shorter(tiny, steps=3, crop=32, seed=seed) for seed in (1, 1, 2)]
    first, second, other = (run(train(images[:2], masks[:2], how)) for how in settings)
    states = [model.net.state_dict() for model in (first, second, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["last.weight"], states[2]["last.weight"])


def test_three_classes_are_learnt(tiny: SegmentationSettings) -> None:
    """Discs by grey level: dark matrix, medium large ones, bright small ones."""
    targets = []
    for seed in range(4):
        large = discs((128, 128), [14.0] * 5, seed)
        small = discs((128, 128), [7.0] * 20, seed + 50) & ~large
        targets.append((large * 1 + small * 2).astype(np.uint8))
    pictures = [0.3 * target + 0.04 * np.random.default_rng(9).standard_normal((128, 128))
                for target in targets]  # fmt: skip
    model = run(train(pictures[:3], targets[:3], shorter(tiny, augmentation=0.0, steps=60)))
    assert model.classes == ("matrix", "class 1", "class 2")
    assert (run(predict(model, pictures[3], QUICKLY)).labels == targets[3]).mean() > 0.93


def test_partly_unknown_masks_teach_as_much(
    images: list[np.ndarray], masks: list[np.ndarray], tiny: SegmentationSettings
) -> None:
    """Half of every mask is covered; what is wrong below the cover does no harm."""
    partial = [mask.astype(np.int64) for mask in masks[:6]]
    for mask in partial:
        mask[:, 64:] = -1
    model = run(train(images[:6], partial, shorter(tiny, steps=60)))
    assert min(iou(model, images[k], masks[k]) for k in (6, 7)) > 0.85


def test_stop_keeps_a_model_that_works(
    images: list[np.ndarray], masks: list[np.ndarray], tiny: SegmentationSettings
) -> None:
    def stop(progress: Progress) -> Stop | None:
        return Stop() if progress.step >= 50 else None

    model = run(
        train(images[:6], masks[:6], shorter(tiny, self_training=50), real=images[6:]), stop
    )
    assert model.metrics["steps"] == 50
    assert "stopped early" in model.summary
    assert iou(model, images[6], masks[6]) > 0.7


def test_stop_at_once_gives_an_untrained_model(
    images: list[np.ndarray], masks: list[np.ndarray], tiny: SegmentationSettings
) -> None:
    model = run(train(images[:2], masks[:2], tiny), lambda progress: Stop())
    assert model.metrics["steps"] == 0
    assert run(predict(model, images[0], QUICKLY)).labels.shape == images[0].shape


@pytest.mark.parametrize("steps", [1, 2, 4, 5])
def test_any_number_of_steps_will_do(
    images: list[np.ndarray], masks: list[np.ndarray], tiny: SegmentationSettings, steps: int
) -> None:
    model = run(train(images[:1], masks[:1], shorter(tiny, steps=steps, crop=32, batch=1)))
    assert model.metrics["steps"] == steps


def test_the_smallest_crop_that_settings_allow_will_do(
    images: list[np.ndarray], masks: list[np.ndarray], tiny: SegmentationSettings
) -> None:
    smallest = SegmentationSettings.model_fields["crop"].metadata[0].ge
    run(train(images[:1], masks[:1], shorter(tiny, steps=1, crop=smallest)))


def test_the_preview_is_a_prediction_on_the_users_own_image(
    images: list[np.ndarray], masks: list[np.ndarray], tiny: SegmentationSettings
) -> None:
    seen = []

    def look(progress: Progress) -> None:
        assert progress.preview is not None
        seen.append(progress.preview()[0])
        assert "loss" in progress.metrics or progress.step == 0

    own = images[6][:100, :90]
    run(train(images[:2], masks[:2], shorter(tiny, steps=3, crop=32), real=[own]), look)
    assert len(seen) == 4
    assert all(output.kind == "labels" and output.data.shape == own.shape for output in seen)


def test_looking_at_previews_does_not_change_the_result(
    images: list[np.ndarray], masks: list[np.ndarray], tiny: SegmentationSettings
) -> None:
    how = shorter(tiny, steps=3, crop=32)
    blind = run(train(images[:2], masks[:2], how, real=images[6:]))
    looked = run(
        train(images[:2], masks[:2], how, real=images[6:]),
        lambda progress: progress.preview() and None,  # type: ignore[func-returns-value, misc]
    )
    states = blind.net.state_dict(), looked.net.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_volumes_are_learnt(tiny: SegmentationSettings) -> None:
    """Balls in 32 x 32 x 32 voxels."""
    z, y, x = np.indices((32, 32, 32))
    volumes, balls = [], []
    for seed in range(3):
        random = np.random.default_rng(seed)
        ball = np.zeros(z.shape, bool)
        for cz, cy, cx in random.uniform(4, 28, (8, 3)):
            ball |= (z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < 5**2
        balls.append(ball.astype(np.uint8))
        volumes.append(0.4 * ball + 0.06 * random.standard_normal(z.shape))
    how = shorter(tiny, volumes=True, features=4, crop=32, batch=2, steps=30)
    model = run(train(volumes[:2], balls[:2], how))
    assert model.design.dimensions == 3
    assert iou(model, volumes[2], balls[2]) > 0.75


# ---- the user's own images --------------------------------------------------------------------


def test_self_training_follows_the_training(
    trained: SegmentationModel,
    images: list[np.ndarray],
    masks: list[np.ndarray],
    tiny: SegmentationSettings,
) -> None:
    """What it does is in test_adapt.py."""
    how = shorter(tiny, steps=1, self_training=2, crop=32)
    model = run(train(images[:6], masks[:6], how, real=images[6:], start=trained))
    assert len(model.history["self-training loss"]) == 2


def test_without_images_of_ones_own_there_is_no_self_training(
    images: list[np.ndarray], masks: list[np.ndarray], tiny: SegmentationSettings
) -> None:
    how = shorter(tiny, steps=2, crop=32, self_training=50)
    model = run(train(images[:2], masks[:2], how))
    assert "self-training loss" not in model.history


def test_norms_become_the_statistics_of_the_images(images: list[np.ndarray]) -> None:
    """The first norm: mean and variance of its convolution's output, in use and while learning."""
    net = Design(2, 4).build()
    own = Pairs(images[:2], [np.zeros((128, 128), int)] * 2, 0.0, np.random.default_rng(0))
    calibrate_norms(net, own, SegmentationSettings(crop=128, batch=8), CPU)
    assert not net.training
    seen = torch.from_numpy(np.stack(images[:2]))[:, None]
    with torch.no_grad():
        output = net.first[1](net.first[0](seen))  # type: ignore[index]
    norm = net.first[2]  # type: ignore[index]
    torch.testing.assert_close(norm.running_mean, output.mean((0, 2, 3)), atol=0.02, rtol=0.05)
    torch.testing.assert_close(norm.running_var, output.var((0, 2, 3)), atol=0.01, rtol=0.1)
    assert norm.momentum == 0.1


# ---- going on ---------------------------------------------------------------------------------


def test_fine_tuning_on_a_corrected_corner_helps_on_other_images(
    trained: SegmentationModel, masks: list[np.ndarray], tiny: SegmentationSettings
) -> None:
    """A quarter of one image of another gamma is labelled, the rest of it is unknown."""
    corrected = masks[6].astype(np.int64)
    corrected[64:] = -1
    corrected[:, 64:] = -1
    before = {name: value.clone() for name, value in trained.net.state_dict().items()}
    how = shorter(fine_tuned(trained.settings), steps=30)
    model = run(train([dull(masks[6], 50)], [corrected], how, start=trained))
    other = dull(masks[7], 51)
    assert iou(model, other, masks[7]) > max(iou(trained, other, masks[7]) + 0.05, 0.85)
    assert model.classes == trained.classes
    after = trained.net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_fine_tuning_takes_few_gentle_steps_of_the_same_kind(tiny: SegmentationSettings) -> None:
    how = fine_tuned({**tiny.model_dump(mode="json"), "of an older version": 1})
    assert how.features == tiny.features
    assert how.learning_rate < tiny.learning_rate
    assert how.self_training == 0


def test_fine_tuning_may_know_one_class_only(
    trained: SegmentationModel, images: list[np.ndarray], tiny: SegmentationSettings
) -> None:
    how = shorter(tiny, steps=2, crop=32)
    matrix = np.full((128, 128), -1)
    matrix[:20, :20] = 0
    assert run(train([images[0]], [matrix], how, start=trained)).classes == trained.classes


def test_a_model_of_planes_does_not_go_on_with_volumes(
    trained: SegmentationModel, tiny: SegmentationSettings
) -> None:
    volume = np.random.default_rng(0).random((32, 32, 32))
    job = train(
        [volume], [(volume > 0.5).astype(int)], shorter(tiny, volumes=True, steps=1), start=trained
    )
    with pytest.raises(UserError, match="planes"):
        run(job)


# ---- bad input --------------------------------------------------------------------------------

PICTURE = np.random.default_rng(0).random((64, 64))
MASK = (PICTURE > 0.5).astype(int)


@pytest.mark.parametrize(
    ("pictures", "targets", "sentence"),
    [
        ([], [], "There are 0 images and 0 masks"),
        ([PICTURE], [MASK, MASK], "There are 1 images and 2 masks: give one mask per image"),
        ([PICTURE], [MASK[:60]], "Image 1 is .64, 64. and its mask .60, 64. pixels large"),
        ([PICTURE[:12]], [MASK[:12]], f"Image 1 is too small: {2**LEVELS} pixels are needed"),
        ([PICTURE, PICTURE[None]], [MASK, MASK[None]], "Image 2 has 3 axes: give pictures"),
        ([PICTURE], [MASK + 0.5], "Mask 1 does not consist of whole numbers"),
        ([PICTURE], [0 * MASK], "The masks hold only one class"),
        ([PICTURE], [0 * MASK - 1], "The masks hold only one class"),
        ([PICTURE, PICTURE], [MASK - 1, 0 * MASK], "The masks hold only one class"),
        ([0 * PICTURE], [MASK], "The image is flat"),
        ([PICTURE * np.nan], [MASK], "no numbers"),
        ([PICTURE], [3 * MASK], "The masks hold class 3, but there are only 2 classes"),
    ],
)
def test_bad_input_is_named(
    pictures: list[np.ndarray], targets: list[np.ndarray], sentence: str
) -> None:
    names = ("matrix", "particles") if "class 3" in sentence else None
    with pytest.raises(UserError, match=sentence):
        run(train(pictures, targets, SegmentationSettings(steps=1), classes=names))


def test_masks_of_the_wrong_classes_do_not_fit_a_model(trained: SegmentationModel) -> None:
    with pytest.raises(
        UserError, match=r"class 4, but there are only 2 classes .matrix, particles"
    ):
        run(train([PICTURE], [4 * MASK], start=trained))
