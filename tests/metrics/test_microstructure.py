"""Microstructure statistics against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, rotate, zoom

from napari_physgen.metrics.microstructure import (
    autocorrelation,
    characteristic_length,
    correlation_distance,
    direction,
    power_spectrum,
    radial_profile,
    two_point_correlation,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def wave(period: float, angle_deg: float = 0, size: int = 200) -> np.ndarray:
    """Sine whose crests run along `angle_deg`."""
    y, x = np.mgrid[:size, :size]
    t = np.radians(angle_deg)
    return np.sin(2 * np.pi / period * (y * np.cos(t) - x * np.sin(t)))


def discs(radius: float, count: int, size: int, seed: int = 0) -> np.ndarray:
    """Overlapping discs at random places of a periodic box, true outside them."""
    away = np.ones((size, size), bool)
    y, x = np.mgrid[:size, :size]
    for cy, cx in rng(seed).uniform(0, size, (count, 2)):
        dy, dx = ((d + size / 2) % size - size / 2 for d in (y - cy, x - cx))
        away &= dy**2 + dx**2 > radius**2
    return away


def grey_noise(size: int = 128, seed: int = 0, sigma: float = 3) -> np.ndarray:
    return gaussian_filter(rng(seed).standard_normal((size, size)), sigma, mode="wrap")


def test_outside_of_random_discs_follows_the_boolean_model() -> None:
    """Matheron 1967: S2 = exp(-density * area of the union of two discs), ensemble mean."""
    radius, count, size, reach = 10, 150, 256, 30
    boxes = [discs(radius, count, size, seed) for seed in range(8)]
    maps = [two_point_correlation(box, reach, periodic=True) for box in boxes]
    r, measured = radial_profile(np.mean(maps, axis=0))
    half = np.minimum(r / (2 * radius), 1)
    overlap = 2 * radius**2 * (np.arccos(half) - half * np.sqrt(1 - half**2))
    expected = np.exp(-count / size**2 * (2 * np.pi * radius**2 - overlap))
    assert measured == pytest.approx(expected, abs=0.02)


def test_correlation_of_stripes_is_a_triangle_wave() -> None:
    stripes = np.tile(np.repeat([0, 1], 8), 8)[:, None] * np.ones(96)
    for periodic in (True, False):
        s2 = two_point_correlation(stripes, 20, periodic=periodic)
        lag = np.abs((np.arange(-20, 21) + 8) % 16 - 8)
        assert s2[:, 20] == pytest.approx(0.5 - lag / 16, abs=1e-9 if periodic else 0.035)
        assert s2[20, :] == pytest.approx(0.5, abs=1e-9)


def test_correlation_at_lag_zero_is_the_fraction_and_far_away_its_square() -> None:
    phase = rng().random((150, 170)) < 0.3
    s2 = two_point_correlation(phase, 40)
    assert s2[40, 40] == pytest.approx(phase.mean(), abs=1e-12)
    assert s2[0].mean() == pytest.approx(phase.mean() ** 2, abs=0.003)


def test_correlation_is_that_of_counting_pairs_inside() -> None:
    generator = rng(3)
    phase, inside = generator.random((9, 11)) < 0.5, generator.random((9, 11)) < 0.7
    s2 = two_point_correlation(phase, 4, inside=inside)
    for dy, dx in ((0, 0), (1, 2), (-3, 1), (4, -4)):
        pairs = [
            phase[y, x] * phase[y + dy, x + dx]
            for y in range(9)
            for x in range(11)
            if 0 <= y + dy < 9 and 0 <= x + dx < 11 and inside[y, x] and inside[y + dy, x + dx]
        ]
        assert s2[4 + dy, 4 + dx] == pytest.approx(np.mean(pairs))


def test_autocorrelation_of_a_phase_is_its_normalised_two_point_correlation() -> None:
    phase = grey_noise() > 0.02
    f = phase.mean()
    s2 = two_point_correlation(phase, 30, periodic=True)
    expected = (s2 - f**2) / (f - f**2)
    assert autocorrelation(phase, 30, periodic=True) == pytest.approx(expected)
    assert autocorrelation(~phase, 30, periodic=True) == pytest.approx(expected)


def test_autocorrelation_of_white_noise_is_zero_off_the_centre() -> None:
    values = autocorrelation(rng().standard_normal((200, 180)), 15)
    values[15, 15] -= 1
    assert np.abs(values).max() < 5 / np.sqrt(200 * 180)


def test_autocorrelation_of_a_gaussian_field_is_gaussian() -> None:
    r, values = radial_profile(autocorrelation(grey_noise(512, sigma=4), 20, periodic=True))
    assert values == pytest.approx(np.exp(-(r**2) / 64), abs=0.05)


def test_power_spectrum_peaks_at_the_wave_and_holds_all_power() -> None:
    spectrum = power_spectrum(wave(20), periodic=True)
    assert spectrum.x[spectrum.y.argmax()] == pytest.approx(1 / 20)
    flat = power_spectrum(rng().standard_normal((256, 256)))
    assert np.std(flat.y[20:]) < 0.2 * np.mean(flat.y[20:])


@pytest.mark.parametrize("period", [8, 20, 31.7])
def test_length_of_a_wave_is_its_period(period: float) -> None:
    assert characteristic_length(wave(period, 33)) == pytest.approx(period, rel=0.03)


def test_length_scales_with_the_picture_and_ignores_polarity_and_grey_levels() -> None:
    field = grey_noise(256, sigma=4)
    phase = field > 0
    length = characteristic_length(phase)
    assert characteristic_length(zoom(field, 2) > 0) == pytest.approx(2 * length, rel=0.02)
    assert characteristic_length(~phase) == pytest.approx(length)
    assert characteristic_length(7 - 100 * field) == pytest.approx(characteristic_length(field))
    assert characteristic_length(np.full((40, 40), 3.0)) == np.inf


def test_length_hardly_depends_on_the_window() -> None:
    phase = grey_noise(512, sigma=5) > 0
    whole = characteristic_length(phase, periodic=True)
    parts = [
        characteristic_length(phase[y:][:200, x:][:, :200]) for y in (0, 300) for x in (0, 300)
    ]
    assert np.mean(parts) == pytest.approx(whole, rel=0.08)


@pytest.mark.parametrize("angle", [-70, -20, 0, 45, 85])
def test_direction_of_stripes(angle: float) -> None:
    found = direction(wave(13, angle))
    assert found.angle_deg == pytest.approx(angle, abs=0.5)
    assert found.strength > 0.97


@pytest.mark.parametrize("angle", [-30, 0, 12])
def test_direction_of_a_square_pattern(angle: float) -> None:
    squares = (wave(16, angle) > -0.7) & (wave(16, angle + 90) > -0.7)
    found = direction(squares, fold=4)
    assert found.angle_deg == pytest.approx(angle, abs=1)
    assert found.strength > 0.6
    assert direction(squares, fold=2).strength < 0.1


def test_isotropic_noise_has_no_direction() -> None:
    field = grey_noise(256) > 0
    assert direction(field, periodic=True).strength < 0.1
    assert direction(field, fold=4, periodic=True).strength < 0.1


def test_distance_is_in_physical_units_and_counts_direction() -> None:
    field = gaussian_filter(rng().standard_normal((256, 256)), (3, 6), mode="wrap") > 0
    s2 = two_point_correlation(field, 60, periodic=True)
    same = two_point_correlation(np.kron(field, np.ones((2, 2))), 90, periodic=True)
    turned = two_point_correlation(rotate(field, 90), 60, periodic=True)
    assert correlation_distance(s2, s2, 40) == 0
    assert correlation_distance(s2, same, 40, pixels=(1, 0.5)) < 0.01
    assert correlation_distance(s2, same, 40) > 0.03
    assert correlation_distance(s2, turned, 40) > 0.03
    assert correlation_distance(s2, turned, 40) == correlation_distance(turned, s2, 40)


def test_distance_needs_maps_that_reach_far_enough() -> None:
    with pytest.raises(ValueError, match="reaches 5"):
        correlation_distance(np.zeros((11, 11)), np.zeros((21, 21)), 7)
