"""Image metrics against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_physgen.metrics.image import (
    compare,
    fit_intensity,
    fourier_ring_correlation,
    match_blur,
    psnr,
    ssim,
)


@pytest.fixture
def truth() -> np.ndarray:
    rng = np.random.default_rng(0)
    image = gaussian_filter(rng.random((128, 144)), 2)
    return (image - image.min()) / np.ptp(image)


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_psnr_of_white_noise_is_its_variance_in_decibels(truth: np.ndarray) -> None:
    noisy = truth + 0.05 * noise(truth.shape, 1)
    assert psnr(noisy, truth, 1) == pytest.approx(-20 * np.log10(0.05), abs=0.1)
    assert psnr(truth, truth, 1) == float("inf")


def test_ssim_is_one_for_equal_images_and_falls_with_noise(truth: np.ndarray) -> None:
    scores = [ssim(truth + s * noise(truth.shape, 1), truth, 1) for s in (0, 0.05, 0.2)]
    assert scores[0] == pytest.approx(1)
    assert scores[0] > scores[1] > scores[2]


def test_scores_ignore_brightness_offset_and_border(truth: np.ndarray) -> None:
    noisy = truth + 0.05 * noise(truth.shape, 1)
    spoilt = 300 - 70 * noisy
    spoilt[:8] = spoilt[-8:] = 1e4
    spoilt[:, :8] = spoilt[:, -8:] = -1e4
    np.testing.assert_allclose(compare(spoilt, truth), compare(noisy, truth))


def test_eight_bit_truths_have_a_range_of_255(truth: np.ndarray) -> None:
    eight_bit = (100 * truth).astype(np.uint8)
    noisy = eight_bit + 2 * noise(truth.shape, 1)
    assert compare(noisy, eight_bit).psnr == compare(noisy, eight_bit, data_range=255).psnr
    assert (
        compare(noisy, eight_bit.astype(float), data_range=100).psnr
        < compare(noisy, eight_bit).psnr
    )


def test_intensity_fit_of_a_constant_image_is_the_mean_of_the_truth(truth: np.ndarray) -> None:
    np.testing.assert_allclose(fit_intensity(np.full_like(truth, 5), truth), truth.mean())


@pytest.mark.parametrize("sigma", [0.8, 2.3])
def test_matched_blur_finds_how_much_the_truth_was_blurred(truth: np.ndarray, sigma: float) -> None:
    scores = match_blur(truth, gaussian_filter(truth, sigma))
    assert scores.sigma == pytest.approx(sigma, abs=0.02)
    assert scores.psnr > 50


def test_matched_blur_leaves_an_image_that_is_blurred_already(truth: np.ndarray) -> None:
    scores = match_blur(gaussian_filter(truth, 2), truth)
    assert scores.sigma < 0.05
    assert scores.psnr == pytest.approx(compare(gaussian_filter(truth, 2), truth).psnr, abs=0.01)


def test_ring_correlation_of_equal_images_is_one_up_to_two_pixels(truth: np.ndarray) -> None:
    found = fourier_ring_correlation(truth, truth, pixel_size=30)
    np.testing.assert_allclose(found.frc, 1)
    assert found.resolution == 60
    assert found.frequency[-1] == pytest.approx(1 / 60)


def test_ring_correlation_of_noise_is_zero() -> None:
    found = fourier_ring_correlation(noise((128, 128), 1), noise((128, 128), 2))
    assert np.abs(found.frc[5:].mean()) < 0.03
    assert found.resolution > 10


def test_ring_correlation_crosses_where_signal_is_a_sixth_of_the_noise() -> None:
    """FRC = S / (S + N) is 1/7 at S = N / 6; for a Gaussian blur S(k) = exp(-(2 pi k sigma)^2)."""
    sigma, level = 2.0, 0.05
    size = 512
    signal = gaussian_filter(noise((size, size), 1), sigma, mode="wrap")
    a, b = (signal + level * noise((size, size), seed) for seed in (2, 3))
    crossing = np.sqrt(np.log(6 / level**2)) / (2 * np.pi * sigma)
    found = fourier_ring_correlation(a, b)
    assert 1 / found.resolution == pytest.approx(crossing, rel=0.03)
