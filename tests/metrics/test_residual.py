"""White residuals pass, and what is wrong with the others is named."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from napari_physgen.errors import UserError
from napari_physgen.metrics.residual import coverage, whiteness

SHAPE = (160, 200)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE)


def structure() -> np.ndarray:
    """Smooth, of variance 1."""
    field = scipy.ndimage.gaussian_filter(noise(99), 2)
    return field / field.std()


def test_white_noise_is_white_and_its_p_values_are_uniform() -> None:
    found = [whiteness(noise(seed)) for seed in range(60)]
    assert {judged.verdict for judged in found} == {"white"}
    p = np.sort([judged.p_value for judged in found])
    assert np.abs(p - (np.arange(60) + 0.5) / 60).max() < 0.2


def test_picture_has_one_in_the_centre_and_chance_around() -> None:
    found = whiteness(noise(), lags=5)
    assert found.autocorrelation.shape == (11, 11)
    assert found.autocorrelation[5, 5] == pytest.approx(1)
    rest = np.delete(found.autocorrelation.ravel(), 60)
    assert np.abs(rest).max() < 4 / np.sqrt(noise().size)
    np.testing.assert_allclose(found.autocorrelation, found.autocorrelation[::-1, ::-1], atol=1e-12)


def test_faint_structure_is_seen_and_called_lost_detail() -> None:
    """5 % of the variance of the noise."""
    found = whiteness(noise() + 0.22 * structure())
    assert found.verdict == "structure"
    assert found.p_value < 1e-6
    assert "detail was taken out" in found.summary


def test_a_residual_that_is_too_small_says_that_noise_was_kept() -> None:
    found = whiteness(0.8 * noise())
    assert found.verdict == "too small"
    assert found.mean_chi2 == pytest.approx(0.64, abs=0.02)
    assert "noise was kept" in found.summary


def test_a_white_residual_that_is_too_large_says_that_the_noise_is_stronger() -> None:
    assert whiteness(1.3 * noise()).verdict == "too large"


def test_residual_of_a_posterior_mean_is_right_with_its_expected_size() -> None:
    """White signal of variance 1 in noise of variance 1: the mean is y / 2, the std^2 1/2."""
    measured = np.sqrt(2) * noise()
    found = whiteness(measured - measured / 2, expected=1 - 0.5)
    assert found.verdict == "white"


def test_correlation_of_the_noise_itself_is_no_structure() -> None:
    mixed = (noise() + 0.3 * np.roll(noise(), 1, axis=1)) / np.hypot(1, 0.3)
    assert whiteness(mixed).verdict == "structure"
    found = whiteness(mixed, correlation=(0, 0.3 / 1.09))
    assert found.verdict == "white"
    assert found.p_value > 0.01
    assert found.autocorrelation[8, 9] == pytest.approx(0, abs=0.02)


def test_map_shows_where_the_misfit_is() -> None:
    residual = noise()
    residual[:32, 64:96] *= 2
    found = whiteness(residual, tile=32)
    assert found.chi2.shape == (5, 7)
    assert np.unravel_index(found.chi2.argmax(), found.chi2.shape) == (0, 2)
    assert found.chi2[0, 2] == pytest.approx(4, rel=0.2)


def test_unmeasured_pixels_do_not_count() -> None:
    """Half of the pixels, as after inpainting, and one whole tile."""
    residual = noise()
    residual[np.random.default_rng(1).random(SHAPE) < 0.5] = np.nan
    residual[:32, :32] = np.nan
    found = whiteness(residual)
    assert found.verdict == "white"
    assert np.isnan(found.chi2[0, 0])
    assert found.mean_chi2 == pytest.approx(1, abs=0.05)
    faulty = whiteness(residual + 0.4 * structure())
    assert faulty.verdict == "structure"


def test_frames_count_together() -> None:
    found = whiteness(np.stack([noise(1), noise(2)]))
    assert found.verdict == "white"
    assert found.chi2.shape == (5, 7)


def test_residuals_that_are_too_small_are_refused() -> None:
    for shape in ((10, 200), (40,)):
        with pytest.raises(UserError, match="too small"):
            whiteness(np.zeros(shape))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_honest_error_bars_cover_their_share(level: float) -> None:
    std = np.exp(0.3 * structure())
    truth = std * noise()
    assert coverage(np.zeros(SHAPE), std, truth, level) == pytest.approx(level, abs=0.01)
    assert coverage(np.zeros(SHAPE), std / 2, truth, level) < level - 0.1


def test_coverage_ignores_unknown_pixels_and_refuses_impossible_levels() -> None:
    truth = np.array([0.0, np.nan, 5.0])
    assert coverage(np.zeros(3), np.ones(3), truth) == 0.5
    with pytest.raises(UserError, match="between 0 and 1"):
        coverage(0, 1, 0, level=95)
