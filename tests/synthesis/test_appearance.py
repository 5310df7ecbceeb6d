"""The look of a drawn image comes back: profile, relief, texture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
from drawn_particles import discs, smooth_noise
from scipy.special import expit

from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import autocorrelation, characteristic_length
from napari_physgen.synthesis.appearance import FINE, PARTICLE, Appearance, facing, measure
from napari_physgen.synthesis.texture import Texture, signed_distance

SHAPE = (384, 448)
LARGE, SMALL = [24.0] * 18, [5.0] * 40


def true_profile(distance: np.ndarray) -> np.ndarray:
    """Matrix of 0.4 that darkens far away, particles of 0.7, a rim just outside of them."""
    step = 0.4 + 0.3 * expit(distance)
    return step + 0.2 * np.exp(-0.5 * ((distance + 2) / 1.5) ** 2) + 0.002 * np.minimum(distance, 0)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return discs(SHAPE, LARGE).astype(np.uint8) * PARTICLE


@pytest.fixture(scope="module")
def distance(labels: np.ndarray) -> np.ndarray:
    return signed_distance(labels == PARTICLE)


def bar(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Two halves."""
    labels = np.zeros(shape, np.uint8)
    labels[:, shape[1] // 2 :] = PARTICLE
    return labels


def test_distance_is_that_of_pixel_centres_from_the_boundary() -> None:
    x = np.arange(20)
    expected = np.broadcast_to(x - 6.5, (9, 20))
    np.testing.assert_allclose(signed_distance(np.broadcast_to(x >= 7, (9, 20))), expected)


def test_distance_changes_sign_with_the_mask(labels: np.ndarray, distance: np.ndarray) -> None:
    np.testing.assert_allclose(signed_distance(labels != PARTICLE), -distance)


def test_a_drawn_profile_is_measured(labels: np.ndarray, distance: np.ndarray) -> None:
    look = measure(true_profile(distance).astype(np.float32), labels)
    near = abs(look.distances) < 8
    assert near.sum() >= 15
    np.testing.assert_allclose(look.profile[near], true_profile(look.distances)[near], atol=0.02)
    far = ~near
    np.testing.assert_allclose(look.profile[far], true_profile(look.distances)[far], atol=0.02)
    assert (np.diff(look.distances) > 0).all()


def test_a_profile_is_measured_through_noise_and_wrong_pixels(
    labels: np.ndarray, distance: np.ndarray
) -> None:
    """Noise of a third of the contrast, and one pixel in ten of any grey level."""
    random = np.random.default_rng(1)
    image = true_profile(distance) + 0.1 * random.standard_normal(SHAPE)
    wrong = random.random(SHAPE) < 0.1
    image[wrong] = random.choice([0.0, 3.0], wrong.sum())
    look = measure(image.astype(np.float32), labels)
    near = abs(look.distances) < 8
    np.testing.assert_allclose(look.profile[near], true_profile(look.distances)[near], atol=0.04)


def test_length_fraction_and_shape_are_those_of_the_large_particles(labels: np.ndarray) -> None:
    look = measure(true_profile(signed_distance(labels > 0)).astype(np.float32), labels)
    assert look.fraction == (labels == PARTICLE).mean()
    assert look.length == characteristic_length(labels == PARTICLE)
    assert look.shape == SHAPE


@pytest.mark.parametrize(("along", "across"), [(0, 1), (1, 0)])
def test_edges_that_face_the_detector_are_brighter_by_what_was_drawn(
    labels: np.ndarray, distance: np.ndarray, along: int, across: int
) -> None:
    """cos of the angle between the boundary's normal and the detector, 0.2 at the boundary."""
    slope = np.clip(np.gradient(distance)[along], -1, 1)
    image = 0.5 + 0.2 * np.exp(-0.5 * (distance / 3) ** 2) * slope
    noise = 0.1 * np.random.default_rng(3).standard_normal(SHAPE)
    look = measure((image + noise).astype(np.float32), labels)
    at = abs(look.distances) < 3
    drawn = 0.2 * np.exp(-0.5 * (look.distances[at] / 3) ** 2)
    np.testing.assert_allclose(look.relief[along][at], drawn, atol=0.03)
    np.testing.assert_allclose(look.relief[across][at], 0, atol=0.015)
    back = facing(distance, look.distances, look.relief)
    ring = abs(distance) < 3
    assert np.corrcoef(back[ring], (image - 0.5)[ring])[0, 1] > 0.97


def test_an_image_without_relief_has_none(labels: np.ndarray, distance: np.ndarray) -> None:
    look = measure(true_profile(distance).astype(np.float32), labels)
    assert abs(look.relief[:, abs(look.distances) < 8]).max() < 0.01


def test_particles_whose_grey_level_goes_with_their_size_are_measured() -> None:
    """Discs of 12 px diameter are 0.2 brighter than those of 40 px."""
    mask = discs((480, 480), [20.0] * 24 + [6.0] * 24)
    numbers, _ = scipy.ndimage.label(mask)
    area = np.bincount(numbers.ravel())
    image = 0.3 + mask * (0.3 + np.where(area < 400, 0.2, 0.0))[numbers]
    look = measure(image.astype(np.float32), mask.astype(np.uint8) * PARTICLE)
    small, large = np.interp([12, 40], look.diameters, look.offsets)
    assert small - large == pytest.approx(0.2, abs=0.03)


def test_the_scatter_of_particles_grey_levels_is_measured() -> None:
    mask = discs((480, 480), [12.0] * 120)
    numbers, count = scipy.ndimage.label(mask)
    own = 0.05 * np.random.default_rng(0).standard_normal(count + 1)
    image = 0.3 + mask * (0.3 + own)[numbers]
    look = measure(image.astype(np.float32), mask.astype(np.uint8) * PARTICLE)
    assert look.scatter == pytest.approx(own[1:].std(), rel=0.2)


def statistical(texture: Texture) -> Texture:
    """The texture without a piece of the image itself, which is drawn half of the time."""
    return replace(texture, sample=np.zeros((0, 0), np.float32))


def textured(sigmas: tuple[float, float], spread: tuple[float, float], seed: int) -> Appearance:
    labels = bar()
    fields = [smooth_noise(SHAPE, sigma, seed + i) for i, sigma in enumerate(sigmas)]
    image = np.where(labels == PARTICLE, 0.7 + spread[1] * fields[1], 0.3 + spread[0] * fields[0])
    return measure(image.astype(np.float32), labels)


def test_texture_of_each_phase_comes_back() -> None:
    """A drawn texture has the measured phase's variance and its correlation exp(-r^2/4s^2)."""
    sigmas, spread = (1.2, 3.0), (0.05, 0.12)
    look = textured(sigmas, spread, seed=4)
    random = np.random.default_rng(0)
    for texture, sigma, deviation in zip(look.textures, sigmas, spread, strict=True):
        drawn = statistical(texture).draw((300, 310), random)
        assert drawn.shape == (300, 310)
        assert drawn.dtype == np.float32
        assert drawn.std() == pytest.approx(deviation, rel=0.12)
        lags = autocorrelation(drawn, 8)[8, 8:]
        expected = np.exp(-(np.arange(9) ** 2) / (4 * sigma**2))
        np.testing.assert_allclose(lags, expected, atol=0.12)
        half = np.interp(0.5, lags[::-1], np.arange(9)[::-1])
        assert half == pytest.approx(2 * sigma * np.sqrt(np.log(2)), rel=0.15)


def test_texture_keeps_its_direction() -> None:
    """Stripes along y stay stripes along y."""
    noise = np.random.default_rng(2).standard_normal(SHAPE)
    kernel = np.exp(-0.5 * (np.arange(-20, 21) / 6) ** 2)
    streaks = np.apply_along_axis(np.convolve, 0, noise, kernel, "same")
    image = 0.5 * (bar() == PARTICLE) + 0.05 * streaks / streaks.std()
    drawn = (
        measure(image.astype(np.float32), bar()).textures[0].draw(SHAPE, np.random.default_rng(3))
    )
    lags = autocorrelation(drawn, 4)
    assert lags[8, 4] > 0.7
    assert abs(lags[4, 8]) < 0.2


def test_texture_keeps_grey_levels_that_are_not_normal() -> None:
    """Few bright specks over a flat ground: the skew of an exponential is 2."""
    random = np.random.default_rng(5)
    image = 0.5 * (bar() == PARTICLE) + 0.05 * random.exponential(size=SHAPE)
    texture = statistical(measure(image.astype(np.float32), bar()).textures[0])
    drawn = texture.draw(SHAPE, random)
    assert np.median(drawn) == pytest.approx(0, abs=0.002)
    expected = 0.05 * (-np.log(1 - np.array([0.1, 0.25, 0.75, 0.9, 0.99])) - np.log(2))
    np.testing.assert_allclose(
        np.quantile(drawn, [0.1, 0.25, 0.75, 0.9, 0.99]), expected, atol=0.006
    )


def test_a_phase_that_fills_most_of_the_image_may_lend_its_own_texture() -> None:
    """Then some drawings are pieces of it, with ridges that no correlation describes."""
    labels = discs(SHAPE, [20.0] * 12).astype(np.uint8) * PARTICLE
    ridges = abs(smooth_noise(SHAPE, 4.0, seed=6)) < 0.15
    look = measure((0.5 * (labels > 0) + 0.1 * ridges).astype(np.float32), labels)
    texture = look.textures[0]
    assert texture.sample.shape == SHAPE
    assert look.textures[1].sample.size == 0
    random = np.random.default_rng(0)
    drawn = [texture.draw((100, 120), random) for _ in range(16)]
    # Of the image itself: two grey levels, hardly any between them.
    between = [((d > 0.03) & (d < 0.07)).mean() for d in drawn]
    assert min(between) < 0.05
    assert all(d.shape == (100, 120) for d in drawn)


def test_a_phase_without_texture_has_none() -> None:
    look = measure(0.5 * (bar() == PARTICLE).astype(np.float32), bar())
    assert abs(look.textures[0].draw(SHAPE, np.random.default_rng(0))).max() < 1e-3


@pytest.mark.parametrize("shape", [(17, 23), (64, 400), (700, 90)])
def test_textures_have_any_size(shape: tuple[int, int]) -> None:
    texture = textured((1.5, 1.5), (0.1, 0.1), 0).textures[0]
    assert texture.draw(shape, np.random.default_rng(0)).shape == shape


def test_same_random_numbers_same_texture() -> None:
    texture = textured((1.5, 1.5), (0.1, 0.1), 0).textures[0]
    first, second, other = (texture.draw((40, 50), np.random.default_rng(n)) for n in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_fine_particles_have_a_grey_level_of_their_own(labels: np.ndarray) -> None:
    """And do not count in the matrix's."""
    fine = discs(SHAPE, SMALL, seed=3) & (signed_distance(labels > 0) < -12)
    labels = np.where(fine, FINE, labels).astype(np.uint8)
    image = 0.6 - 0.3 * (labels == PARTICLE) - 0.15 * (labels == FINE)
    look = measure(image.astype(np.float32), labels)
    inside = (look.distances > 0) & (look.distances < 5)
    np.testing.assert_allclose(look.fine[inside], -0.15, atol=0.01)
    np.testing.assert_allclose(look.fine[(look.distances < -2)], 0, atol=0.01)
    np.testing.assert_allclose(look.profile[look.distances < 0], 0.6, atol=0.01)


def test_without_fine_particles_there_is_nothing_about_them(labels: np.ndarray) -> None:
    assert measure(labels.astype(np.float32), labels).fine.size == 0


@pytest.mark.parametrize("value", [0, PARTICLE, FINE])
def test_a_single_phase_is_refused(value: int) -> None:
    labels = np.full((80, 80), value, np.uint8)
    with pytest.raises(UserError, match="Only one phase was found"):
        measure(np.zeros((80, 80), np.float32), labels)
