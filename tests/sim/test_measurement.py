"""The noise model and the pixels that no fit sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sim_sample import CAMERA, expected, measured, recorded

from napari_physgen.sim.measurement import HELD_OUT, Measurement

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def light() -> torch.Tensor:
    return expected(100)


@pytest.fixture(scope="module")
def measurement(light: torch.Tensor) -> Measurement:
    return measured(light)


@pytest.mark.parametrize("photons", [10, 100, 1000])
def test_the_true_frames_have_a_misfit_near_one_at_any_dose(photons: float) -> None:
    """Smoothed weights see thin lines too broad, hence 0.95 rather than 1."""
    light = expected(photons)
    residual = measured(light).residual(light * CAMERA.gain)
    assert float(residual.square().mean()) == pytest.approx(0.97, abs=0.05)


def test_a_tenth_of_the_pixels_of_every_frame_is_held_out(measurement: Measurement) -> None:
    share = 1 - measurement.fitted.mean((2, 3))
    assert set(measurement.fitted.unique().tolist()) == {0, 1}
    torch.testing.assert_close(share, torch.full_like(share, HELD_OUT), rtol=0, atol=0.02)


def test_the_seed_draws_the_held_out_pixels(light: torch.Tensor) -> None:
    frames = recorded(light)
    first, again, other = (Measurement.of(frames, CAMERA, seed, CPU).fitted for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_misfit_and_chi2_share_no_pixel(measurement: Measurement, light: torch.Tensor) -> None:
    near = light * CAMERA.gain
    wrong_where_fitted = near + 50 * measurement.fitted
    wrong_where_held_out = near + 50 * (1 - measurement.fitted)
    assert measurement.chi2(wrong_where_fitted) == measurement.chi2(near)
    assert measurement.misfit(wrong_where_held_out) == measurement.misfit(near)
    assert measurement.chi2(wrong_where_held_out) > 2 * measurement.chi2(near)
    assert measurement.misfit(wrong_where_fitted) > 2 * measurement.misfit(near)


def test_held_out_pixels_do_not_show_through_the_first_guess(measurement: Measurement) -> None:
    spoilt = replace(measurement, frames=measurement.frames + 1e5 * (1 - measurement.fitted))
    assert torch.equal(spoilt.widefield, measurement.widefield)
    assert spoilt.level == measurement.level


def test_widefield_is_the_mean_of_the_frames(measurement: Measurement, light: torch.Tensor) -> None:
    mean = CAMERA.gain * light.mean((0, 1))
    error = (measurement.widefield - mean).square().mean().sqrt()
    assert float(error / mean.square().mean().sqrt()) < 0.08


def test_filled_frames_are_measured_where_fitted_and_predicted_elsewhere(
    measurement: Measurement,
) -> None:
    filled = measurement.filled(torch.full_like(measurement.frames, -7))
    known = measurement.fitted > 0
    assert torch.equal(filled[known], measurement.frames[known])
    assert (filled[~known] == -7).all()


def test_the_noise_of_a_pixel_does_not_choose_its_weight(light: torch.Tensor) -> None:
    """Dark and bright pixels of one expectation have the same weight on average."""
    frames = recorded(torch.full_like(light, 50))
    weight = Measurement.of(frames, CAMERA, 0, CPU).weight.numpy()
    bright = frames > frames.mean()
    assert weight[bright].mean() == pytest.approx(weight[~bright].mean(), rel=0.03)
    variance = CAMERA.gain**2 * 50 + CAMERA.read_noise**2
    np.testing.assert_allclose(1 / weight.mean(), variance, rtol=0.01)
