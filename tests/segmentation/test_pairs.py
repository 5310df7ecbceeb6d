"""Training crops: aligned, turned in all ways, weighted at boundaries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_particles import discs

from napari_physgen.segmentation.pairs import Pairs, boundary_weights, changed, orientation

CPU = torch.device("cpu")


def pairs(images: list[np.ndarray], masks: list[np.ndarray], seed: int = 0) -> Pairs:
    return Pairs(images, masks, 2.0, np.random.default_rng(seed))


def numbered(shape: tuple[int, ...], first: int = 0) -> np.ndarray:
    """An image whose every pixel has a number of its own."""
    return np.arange(first, first + np.prod(shape)).reshape(shape)


def test_crops_of_images_masks_and_weights_stay_together() -> None:
    """Also after turning and mirroring, from several images of different size."""
    images = [numbered((40, 50)), numbered((64, 33), 10_000)]
    masks = [(image // 7) % 3 for image in images]
    source = pairs(images, masks)
    batch = source.draw(32, 24, CPU)
    assert batch.images.shape == (32, 1, 24, 24)
    assert batch.masks.shape == batch.weights.shape == (32, 24, 24)
    numbers = batch.images[:, 0].numpy().astype(int)
    np.testing.assert_array_equal(batch.masks.numpy(), (numbers // 7) % 3)
    known = np.concatenate([weights.ravel() for weights in source.weights])
    place = np.where(numbers < 10_000, numbers, numbers - 10_000 + 2000)
    np.testing.assert_array_equal(batch.weights.numpy(), known[place])
    assert {bool(n[0, 0] < 10_000) for n in numbers} == {True, False}


def test_crops_come_from_all_over_the_image() -> None:
    batch = pairs([numbered((20, 20))], [np.zeros((20, 20), int)]).draw(200, 16, CPU)
    assert np.unique(batch.images.numpy()).size == 400


def test_all_eight_orientations_of_a_plane_are_drawn() -> None:
    random = np.random.default_rng(0)
    square = numbered((2, 2))
    seen = {tuple(orientation(random, 2)(square).ravel()) for _ in range(200)}
    assert len(seen) == 8


def test_volumes_are_turned_about_z_and_mirrored_along_all_axes() -> None:
    """16 of the 48: z stays z, for its pixels may have another size."""
    random = np.random.default_rng(0)
    cube = numbered((2, 2, 2))
    seen = {tuple(orientation(random, 3)(cube).ravel()) for _ in range(400)}
    assert len(seen) == 16
    assert all({*key[:4]} in ({0, 1, 2, 3}, {4, 5, 6, 7}) for key in seen)


def test_crops_of_volumes_are_aligned() -> None:
    image = numbered((20, 24, 28))
    batch = pairs([image], [image % 2]).draw(6, 16, CPU)
    assert batch.images.shape == (6, 1, 16, 16, 16)
    np.testing.assert_array_equal(batch.masks.numpy(), batch.images[:, 0].numpy().astype(int) % 2)


@pytest.mark.parametrize("shape", [(20, 40), (17, 9)])
def test_images_smaller_than_a_crop_are_mirrored(shape: tuple[int, int]) -> None:
    image = numbered(shape)
    batch = pairs([image], [image % 3]).draw(4, 32, CPU)
    numbers = batch.images[:, 0].numpy().astype(int)
    assert numbers.shape == (4, 32, 32)
    np.testing.assert_array_equal(batch.masks.numpy(), numbers % 3)


def test_same_random_numbers_same_crops() -> None:
    image = numbered((40, 40))
    first, second, other = (pairs([image], [image % 2], n).draw(3, 16, CPU) for n in (1, 1, 2))
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, other.images)


def test_weights_fall_from_the_boundary_as_a_normal_curve_of_two_pixels() -> None:
    """1 + w exp(-d^2/2s^2), d from the pixels beside the boundary, s = 2 px."""
    mask = np.zeros((9, 40), int)
    mask[:, 20:] = 1
    x = np.arange(40)
    distance = np.where(x < 20, 19 - x, x - 20)
    expected = 1 + 3 * np.exp(-0.5 * (distance / 2) ** 2)
    weights = boundary_weights(mask, 3.0)
    np.testing.assert_allclose(weights, np.broadcast_to(expected, mask.shape), rtol=1e-6)
    assert weights.dtype == np.float32


def test_boundaries_of_all_classes_and_along_all_axes_count() -> None:
    mask = np.zeros((30, 30, 30), int)
    mask[10:20, 5:25, 5:25] = 2
    weights = boundary_weights(mask, 1.0)
    for inside in ((10, 15, 15), (19, 15, 15), (15, 5, 15), (15, 15, 24)):
        assert weights[inside] == 2
    assert weights[9, 15, 15] == weights[15, 25, 15] == 2
    assert weights[0, 0, 0] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("value", [0, 1])
def test_without_a_boundary_all_pixels_weigh_one(value: int) -> None:
    assert (boundary_weights(np.full((20, 20), value), 5.0) == 1).all()


def test_a_weight_of_0_makes_all_pixels_equal() -> None:
    assert (boundary_weights(discs((60, 60), [9.0] * 4).astype(int), 0.0) == 1).all()


def test_the_unknown_weighs_nothing() -> None:
    mask = discs((60, 60), [9.0] * 4).astype(int)
    mask[20:40] = -1
    weights = boundary_weights(mask, 2.0)
    assert (weights[20:40] == 0).all()
    assert (weights[:20] >= 1).all()


def test_the_edge_of_the_unknown_is_no_boundary_of_classes() -> None:
    mask = np.zeros((40, 40), int)
    mask[:, 20:] = -1
    assert (boundary_weights(mask, 2.0)[:, :20] == 1).all()


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_augmentation_changes_nothing() -> None:
    images = torch.rand(4, 1, 20, 20, generator=draw())
    assert torch.equal(changed(images, 0.0, draw()), images)


@pytest.mark.parametrize("shape", [(6, 1, 24, 30), (2, 1, 12, 14, 16)])
@pytest.mark.parametrize("strength", [0.3, 1.0, 3.0])
def test_augmented_crops_are_finite_and_repeat(shape: tuple[int, ...], strength: float) -> None:
    images = 1.6 * torch.rand(shape, generator=draw()) - 0.3
    first, second, other = (changed(images, strength, draw(n)) for n in (1, 1, 2))
    assert first.shape == images.shape
    assert first.isfinite().all()
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_every_crop_is_changed_in_its_own_way_without_moving_anything() -> None:
    """Equal crops become different ones; what was bright stays bright where it was."""
    mask = discs((64, 64), [10.0] * 4)
    picture = torch.from_numpy(0.25 + 0.5 * mask.astype(np.float32))
    crops = changed(picture.expand(40, 1, 64, 64), 1.0, draw())[:, 0].numpy()
    means = crops.mean((1, 2))
    assert means.std() > 0.05
    correlation = [np.corrcoef(crop.ravel(), mask.ravel())[0, 1] for crop in crops]
    assert min(correlation) > 0.75


def test_stronger_augmentation_strays_farther() -> None:
    images = torch.rand(64, 1, 16, 16, generator=draw())
    off = [(changed(images, s, draw(3)) - images).abs().mean() for s in (0.3, 1.0, 2.0)]
    assert off[0] < off[1] < off[2]
