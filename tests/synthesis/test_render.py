"""Each setting of the renderer does what it says, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
from drawn_particles import discs, smooth_noise

from napari_physgen.synthesis.appearance import FINE, PARTICLE, Appearance, facing, measure
from napari_physgen.synthesis.render import render
from napari_physgen.synthesis.render_settings import RenderSettings
from napari_physgen.synthesis.texture import signed_distance

SHAPE = (160, 300)
OFF = RenderSettings.parse(dict.fromkeys(RenderSettings.model_fields, 0))


def half() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 150:] = PARTICLE
    return labels


def particles() -> np.ndarray:
    return discs(SHAPE, [18.0] * 10).astype(np.uint8) * PARTICLE


@pytest.fixture
def look() -> Appearance:
    """Matrix 0.3, particles 0.7, nothing else."""
    flat = measure(0.3 + 0.4 * half().astype(np.float32), half())
    return replace(
        flat,
        distances=np.array([-30, -0.5, 0.5, 30], np.float32),
        profile=np.array([0.3, 0.3, 0.7, 0.7], np.float32),
        relief=np.zeros((2, 4), np.float32),
    )


def many(look: Appearance, count: int, labels: np.ndarray | None = None, **on: float) -> np.ndarray:
    """Pictures with only these settings on."""
    settings = OFF.model_copy(update=on)
    random = np.random.default_rng(1)
    drawn = half() if labels is None else labels
    return np.stack([render(drawn, look, settings, random) for _ in range(count)])


def test_with_all_effects_off_it_is_exactly_the_measured_profile(look: Appearance) -> None:
    look = replace(look, profile=np.array([0.2, 0.9, 0.5, 0.7], np.float32))
    labels = particles()
    picture = render(labels, look, OFF, np.random.default_rng(0))
    expected = np.interp(signed_distance(labels == PARTICLE), look.distances, look.profile)
    np.testing.assert_allclose(picture, expected, atol=1e-6)
    assert picture.dtype == np.float32
    assert picture.shape == SHAPE


def test_same_random_numbers_same_pixels(look: Appearance) -> None:
    first, second, other = (
        render(particles(), look, RenderSettings(), np.random.default_rng(seed))
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    assert first.dtype == np.float32


def test_contrast_multiplies_the_difference_of_the_phases(look: Appearance) -> None:
    """By a factor from 1/(1+c) to 1+c, as often above 1 as below."""
    pictures = many(look, 100, contrast=0.5)
    factor = (pictures[:, 0, -1] - pictures[:, 0, 0]) / 0.4
    assert 1 / 1.5 <= factor.min() < 0.72
    assert 1.4 < factor.max() <= 1.5
    assert np.log(factor).mean() == pytest.approx(0, abs=0.06)
    assert pictures[:, 0, [0, -1]].mean(1) == pytest.approx(0.5, abs=1e-5)


def test_edge_brightness_adds_a_rim_at_the_boundary_only(look: Appearance) -> None:
    """Bright or dark, up to its share of the contrast."""
    pictures = many(look, 50, edge_brightness=0.5) - many(look, 1)
    away = abs(signed_distance(half() == PARTICLE)) > 15
    assert abs(pictures[:, away]).max() < 1e-4
    height = pictures.reshape(50, -1)[np.arange(50), abs(pictures).reshape(50, -1).argmax(1)]
    assert 0.15 < height.max() <= 0.5 * 0.4 + 1e-6
    assert -0.5 * 0.4 - 1e-6 <= height.min() < -0.15


def test_variation_moves_whole_particles_by_up_to_its_share_of_the_contrast(
    look: Appearance,
) -> None:
    labels = discs((450, 450), [8.0] * 250).astype(np.uint8) * PARTICLE
    numbers, count = scipy.ndimage.label(labels)
    numbered = np.arange(1, count + 1)
    spreads = []
    for change in many(look, 8, labels, variation=0.25) - many(look, 1, labels):
        assert abs(change[labels == 0]).max() < 1e-6
        assert scipy.ndimage.standard_deviation(change, numbers, numbered).max() < 1e-6
        spreads.append(scipy.ndimage.mean(change, numbers, numbered).std())
    assert count > 150
    assert 0.25 * 0.4 * 0.6 < max(spreads) < 0.25 * 0.4 * 1.15


def test_small_particles_are_brighter_if_they_were(look: Appearance) -> None:
    labels = discs(SHAPE, [18.0] * 6 + [6.0] * 15).astype(np.uint8) * PARTICLE
    lit = replace(
        look,
        diameters=np.array([12, 36], np.float32),
        offsets=np.array([0.2, 0], np.float32),
    )
    numbers, count = scipy.ndimage.label(labels)
    area = np.bincount(numbers.ravel())[1:]
    change = (many(lit, 1, labels) - many(look, 1, labels))[0]
    means = scipy.ndimage.mean(change, numbers, np.arange(1, count + 1))
    np.testing.assert_allclose(means, np.where(area < 400, 0.2, 0.0), atol=0.02)
    assert abs(change[labels == 0]).max() < 1e-6


def test_shading_is_slow_and_up_to_its_amount(look: Appearance) -> None:
    shades = many(look, 30, shading=0.2) - many(look, 1)
    assert 0.12 < shades.std((1, 2)).max() < 0.25
    steps = abs(np.diff(shades, axis=2)).max((1, 2)) / shades.std((1, 2))
    assert np.median(steps) < 0.15


def test_shading_does_not_change_the_mean_brightness_by_more_than_its_amount(
    look: Appearance,
) -> None:
    """Else shot noise, which depends on the grey level, grows with it."""
    shades = many(look, 30, shading=0.1) - many(look, 1)
    assert abs(shades.mean((1, 2))).max() < 0.1


def test_charging_shifts_scan_lines(look: Appearance) -> None:
    """Far in front of the particles each line has one offset, up to the amount."""
    change = many(look, 30, charging=0.1) - many(look, 1)
    front = change[:, :, :140]
    assert np.ptp(front, axis=2).max() < 1e-5
    offsets = front[:, :, 0] - front[:, :, 0].mean(1, keepdims=True)
    assert 0.04 < offsets.std(1).max() < 0.1


def test_charging_trails_behind_particles(look: Appearance) -> None:
    """It fades along x over some ten pixels after the particle."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 100:140] = PARTICLE
    change = (many(look, 1, labels, charging=0.5) - many(look, 1, labels))[0].mean(0)
    trail = change[140:200] - change[60]
    assert abs(change[:100] - change[60]).max() < 1e-5
    np.testing.assert_allclose(trail[12:24] / trail[:12], 0.5, rtol=0.02)


def test_curtaining_is_nearly_constant_along_y(look: Appearance) -> None:
    change = many(look, 20, curtaining=0.2) - many(look, 1)
    assert 0.1 < change.std((1, 2)).max() < 0.22
    along, across = abs(np.diff(change, axis=1)).mean(), abs(np.diff(change, axis=2)).mean()
    assert along < 0.06 * across


def test_blur_lowers_gradients_and_keeps_the_mean(look: Appearance) -> None:
    sharp = many(look, 1)[0]
    blurred = many(look, 20, blur=3.0)
    steepest = abs(np.diff(blurred, axis=2)).max((1, 2))
    assert (steepest <= abs(np.diff(sharp, axis=1)).max() + 1e-6).all()
    # The steepest step of a sharp edge of 0.4 behind a beam of 3 px: 0.4 / (3 sqrt(2 pi)).
    assert 0.4 / (3 * np.sqrt(2 * np.pi)) * 0.95 < steepest.min() < 0.1
    np.testing.assert_allclose(blurred.mean((1, 2)), sharp.mean(), atol=1e-4)


def test_noise_is_that_of_counted_electrons(look: Appearance) -> None:
    """Its variance is proportional to the grey level, its mean is 0."""
    for picture in many(look, 5, noise=0.3):
        dark, bright = picture[:, :140], picture[:, 160:]
        assert dark.mean() == pytest.approx(0.3, abs=0.01)
        assert bright.mean() == pytest.approx(0.7, abs=0.01)
        assert bright.var() / dark.var() == pytest.approx(0.7 / 0.3, rel=0.06)


def test_noise_of_a_medium_grey_is_up_to_its_amount(look: Appearance) -> None:
    flat = replace(look, profile=np.full(4, 0.5, np.float32))
    spread = many(flat, 100, noise=0.2).std((1, 2))
    assert 0.19 < spread.max() < 0.203
    assert spread.min() < 0.02
    assert spread.mean() == pytest.approx(0.1, abs=0.02)


def test_noise_keeps_what_is_darker_than_black(look: Appearance) -> None:
    dark = replace(look, profile=look.profile - 0.5)
    assert many(dark, 1, noise=0.1)[0].mean() == pytest.approx(0.0, abs=0.01)


def test_texture_varies_in_strength_only(look: Appearance) -> None:
    """From 1/(1+t) to 1+t of the measured one; at 0 it is the measured one."""
    quantiles = np.linspace(-0.1, 0.1, 64).astype(np.float32)
    correlation = np.zeros((3, 3), np.float32)
    correlation[1, 1] = 1
    smooth = look.textures[1]
    grain = replace(smooth, correlation=correlation, quantiles=quantiles)
    rough = replace(look, textures=(grain, smooth))
    measured = many(rough, 1)[0, :, :140].std()
    assert measured == pytest.approx(0.2 / np.sqrt(12), rel=0.05)
    pictures = many(rough, 60, texture=1.0)
    factor = pictures[:, :, :140].std((1, 2)) / measured
    assert 0.49 < factor.min() < 0.6
    assert 1.7 < factor.max() < 2.05
    assert pictures[:, :, 160:].std((1, 2)).max() < 1e-6


def test_relief_is_drawn_as_measured_give_or_take(look: Appearance) -> None:
    relief = np.zeros((2, 4), np.float32)
    relief[1, 1:3] = 0.2
    lit = replace(look, relief=relief)
    labels = particles()
    change = many(lit, 30, labels) - many(look, 1, labels)
    expected = facing(signed_distance(labels == PARTICLE), look.distances, relief)
    factors = (change * expected).sum((1, 2)) / (expected**2).sum()
    assert factors.min() > 0.4
    assert factors.max() < 1.4
    for picture, factor in zip(change, factors, strict=True):
        np.testing.assert_allclose(picture, factor * expected, atol=1e-5)


def test_fine_particles_are_drawn_if_they_were_measured(look: Appearance) -> None:
    labels = discs(SHAPE, [6.0] * 20).astype(np.uint8) * FINE
    assert (many(look, 1, labels)[0] == np.float32(0.3)).all()
    dip = np.array([0, 0, -0.2, -0.2], np.float32)
    pictures = many(replace(look, fine=dip), 20, labels)
    inside = signed_distance(labels == FINE) > 1
    depth = 0.3 - pictures[:, inside].mean(1)
    assert 0.1 < depth.min() < depth.max() < 0.3
    np.testing.assert_allclose(pictures[:, signed_distance(labels == FINE) < -1], 0.3, atol=1e-6)


def test_a_rendered_picture_measures_like_the_image_it_was_measured_on() -> None:
    """Round trip on another mask: profile and textures come back."""
    labels = particles()
    distance = signed_distance(labels == PARTICLE)
    image = np.interp(distance, [-6, -2, 0, 3], [0.35, 0.6, 0.5, 0.65])
    image = image + 0.05 * smooth_noise(SHAPE, 1.5)
    look = measure(image.astype(np.float32), labels)
    other = discs(SHAPE, [18.0] * 10, seed=8).astype(np.uint8) * PARTICLE
    again = measure(render(other, look, OFF, np.random.default_rng(2)), other)
    at = np.linspace(-7, 7, 15)
    np.testing.assert_allclose(
        np.interp(at, again.distances, again.profile),
        np.interp(at, look.distances, look.profile),
        atol=0.03,
    )
    for old, new in zip(look.textures, again.textures, strict=True):
        assert np.ptp(new.quantiles[8:-8]) == pytest.approx(np.ptp(old.quantiles[8:-8]), rel=0.15)
