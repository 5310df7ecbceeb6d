"""The variational solve: its terms against closed forms, its nuisances against the truth."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from sim_sample import SETTINGS, expected, measured, physics
from torch.nn import functional

from napari_physgen.backend import run
from napari_physgen.backend.job import Progress, Stop, Tune
from napari_physgen.sim import SimSettings, variational
from napari_physgen.sim.forward import SimOperator
from napari_physgen.sim.measurement import Measurement
from napari_physgen.sim.scene import (
    GAIN_SPREAD,
    GAIN_STEP,
    curvature,
    first_guess,
    inverse_softplus,
    roughness,
)
from napari_physgen.sim.variational import TYPICAL, Fitter, Solution, lowest_point, solve

LONG = SETTINGS.model_copy(update={"iterations": 190, "regularisation": None})


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    return measured(expected(300))


@pytest.mark.parametrize("centre", [-1.3, 0.2, 2.45])
def test_lowest_point_of_a_parabola_is_its_vertex(centre: float) -> None:
    trials = {octave: 1 + 0.3 * (octave - centre) ** 2 for octave in range(-4, 5)}
    assert lowest_point(trials) == pytest.approx(centre)


def test_lowest_point_at_the_end_of_the_trials_is_that_trial() -> None:
    assert lowest_point({0: 1.0, 1: 0.9, 2: 0.8}) == 2
    assert lowest_point({-1: 1.0, 0: 1.0, 1: 1.0}) in (-1, 0, 1)


def test_a_plane_has_no_curvature() -> None:
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    softness = torch.full((20, 30), 1e-3)
    found = curvature(3 * y - 2 * x + 7, softness, torch.ones(20, 30))
    assert float(found) == pytest.approx(18 * 28 * 1e-3, rel=1e-3)


def test_curvature_of_a_quadratic_is_the_norm_of_its_hessian() -> None:
    """a x^2 + b y^2 + c x y has |Hessian|^2 = 4 a^2 + 4 b^2 + 2 c^2 everywhere."""
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    a, b, c = 0.5, -0.2, 0.7
    image = a * x**2 + b * y**2 + c * x * y
    found = curvature(image, torch.zeros(20, 30), torch.full((20, 30), 2.0))
    norm = math.sqrt(4 * a**2 + 4 * b**2 + 2 * c**2)
    assert float(found) == pytest.approx(18 * 28 * norm / 2, rel=1e-4)


def test_equal_angles_are_not_rough_and_others_follow_the_gaussian_prior() -> None:
    assert float(roughness(torch.zeros(3, 1, 5, 6))) == 0
    constant = torch.full((3, 1, 5, 6), 0.2)
    assert float(roughness(constant)) == pytest.approx(0.5 * 90 * (0.2 / GAIN_SPREAD) ** 2)
    bump = torch.zeros(1, 1, 5, 6)
    bump[0, 0, 2, 2] = 0.1
    closed = 0.5 * (4 * (0.1 / GAIN_STEP) ** 2 + (0.1 / GAIN_SPREAD) ** 2)
    assert float(roughness(bump)) == pytest.approx(closed)


def test_inverse_softplus_is_the_inverse_from_faint_to_bright() -> None:
    values = torch.logspace(-6, 4, 60)
    torch.testing.assert_close(functional.softplus(inverse_softplus(values)), values)


def test_held_out_pixels_do_not_steer_the_fit(measurement: Measurement) -> None:
    hidden = 1 - measurement.fitted
    spoilt = replace(measurement, frames=measurement.frames + 1e5 * hidden)
    images = []
    for frames in (measurement, spoilt):
        scene = first_guess(physics(), frames)
        run(Fitter(scene, frames, SETTINGS).fit(5, keep_best=False))
        images.append(scene.image())
    assert torch.equal(*images)


def solved(
    measurement: Measurement, operator: SimOperator, settings: SimSettings = SETTINGS
) -> Solution:
    return run(solve(first_guess(operator, measurement), measurement, settings))


def test_angles_of_different_smooth_brightness_are_explained_by_gain_maps() -> None:
    y, x = torch.meshgrid(torch.arange(64) / 64, torch.arange(64) / 64, indexing="ij")
    log_gain = torch.stack([(2 * math.pi * y).sin(), (2 * math.pi * x).cos(), 0 * x]) / 4
    gain = (log_gain - log_gain.mean(0)).exp()[:, None]
    frames = measured(expected(300, gain=gain))
    free, frozen = physics(), physics()
    frozen.log_gain.requires_grad_(False)
    settings = SETTINGS.model_copy(update={"iterations": 110})
    assert solved(frames, free, settings).chi2 == pytest.approx(1.05, abs=0.1)
    assert solved(frames, frozen, settings).chi2 > 3
    error = (free.gain() - gain).detach().abs().mean()
    assert float(error) < 0.15 * float((gain - 1).abs().mean())


def test_drift_between_angles_is_found_within_a_twentieth_of_a_pixel() -> None:
    """Only the drift against the other angles matters: a common one moves the image."""
    drift = torch.tensor([[0.0, 0.0], [0.3, -0.2], [0.0, 0.0]])
    frames = measured(expected(300, shift=drift))
    operator = physics()
    assert solved(frames, operator).chi2 < 1.2
    found = operator.shift.detach() - operator.shift.detach()[0]
    torch.testing.assert_close(found, drift, rtol=0, atol=0.05)


def test_patterns_are_left_alone_until_the_image_is_good(measurement: Measurement) -> None:
    operator = physics()
    start = operator.mixing.detach().clone()
    moved: list[bool] = []

    def watch(progress: Progress) -> None:
        moved.append(not torch.equal(operator.mixing.detach(), start))

    run(solve(first_guess(operator, measurement), measurement, SETTINGS), watch)
    half = SETTINGS.iterations // 2
    assert not any(moved[: half + 1])
    assert moved[-1]


def test_smoothness_given_by_the_user_is_used_without_a_search(measurement: Measurement) -> None:
    settings = LONG.model_copy(update={"regularisation": 0.5})
    steps: list[Progress] = []
    result = run(solve(first_guess(physics(), measurement), measurement, settings), steps.append)
    assert result.regularisation == 0.5
    assert max(p.step for p in steps) <= LONG.iterations


def test_a_smoother_image_is_what_a_larger_weight_gives(measurement: Measurement) -> None:
    bent = []
    for weight in (0.004, 0.04, 0.4):
        scene = first_guess(physics(), measurement)
        settings = SETTINGS.model_copy(update={"regularisation": weight})
        run(solve(scene, measurement, settings))
        image = scene.image()
        bent.append(float(curvature(image, torch.zeros_like(image), torch.ones_like(image))))
    assert bent[0] > 1.1 * bent[1] > 1.21 * bent[2]


@pytest.mark.parametrize("step", [3, variational.APPROACH, variational.APPROACH + 20])
def test_a_value_tuned_on_the_way_is_used_to_the_end(measurement: Measurement, step: int) -> None:
    """Also one that comes with the last step of a stage; it ends the search for lambda."""
    settings = LONG

    def tune(progress: Progress) -> Tune | None:
        return Tune(regularisation=0.33) if progress.step == step else None

    scene = first_guess(physics(), measurement)
    assert run(solve(scene, measurement, settings), tune).regularisation == pytest.approx(0.33)


@pytest.mark.parametrize("step", [5, variational.APPROACH + variational.PROBE + 5])
def test_stop_returns_the_best_image_at_once(measurement: Measurement, step: int) -> None:
    told: list[int] = []
    best: list[float] = []

    def stop(progress: Progress) -> Stop | None:
        told.append(progress.step)
        best.append(progress.metrics["held-out"])
        return Stop() if progress.step >= step else None

    scene = first_guess(physics(), measurement)
    result = run(solve(scene, measurement, LONG), stop)
    assert result.stopped
    assert told[-1] == step
    assert result.chi2 <= min(best)
    found = measurement.chi2(scene.operator(scene.rho()))
    assert float(found) == pytest.approx(result.chi2, rel=1e-5)


def test_search_finds_the_weight_with_the_lowest_held_out_misfit(measurement: Measurement) -> None:
    scene = first_guess(physics(), measurement)
    result = run(solve(scene, measurement, LONG))
    assert result.regularisation != TYPICAL
    assert TYPICAL / 20 < result.regularisation < TYPICAL * 20
    assert 0.9 < result.chi2 < 1.15
    for weight in (result.regularisation / 30, result.regularisation * 30):
        settings = LONG.model_copy(update={"regularisation": weight})
        assert solved(measurement, physics(), settings).chi2 > result.chi2
