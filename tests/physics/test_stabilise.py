"""Noise of stabilised values is 1, and their means lead back to mean grey levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_physgen.physics.noise import Camera
from napari_physgen.physics.stabilise import stabilise, unstabilise, unstabilise_with_std

COUNT = 400_000


def record(camera: Camera, photons: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    light = camera.gain * rng.poisson(photons, COUNT)
    return camera.offset + light + camera.read_noise * rng.standard_normal(COUNT)


@pytest.mark.parametrize("gain", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("read", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("photons", [4, 10, 100])
def test_variance_is_one(gain: float, read: float, photons: float) -> None:
    camera = Camera(100, gain, read * gain)
    values = stabilise(record(camera, photons), camera)
    assert values.var() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("read", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("photons", [0.5, 2])
def test_read_noise_keeps_the_variance_near_one_at_fewer_photons(
    read: float, photons: float
) -> None:
    camera = Camera(100, 2, 2 * read)
    values = stabilise(record(camera, photons), camera)
    assert values.var() == pytest.approx(1, abs=0.19)


@pytest.mark.parametrize("read", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("photons", [0.1, 0.5, 1, 2, 5, 50, 1000])
def test_the_mean_of_stabilised_values_leads_to_the_mean_grey(read: float, photons: float) -> None:
    """Within 0.05 photons everywhere, and 1.5 % above 2 photons; chance adds three errors."""
    camera = Camera(100, 2, 2 * read)
    values = stabilise(record(camera, photons), camera)
    found = (unstabilise(np.array([values.mean()]), camera)[0] - 100) / 2
    chance = 3 * np.sqrt((photons + read**2) / COUNT)
    allowed = 0.05 if photons < 2 else min(0.05, 0.015 * photons)
    assert found == pytest.approx(photons, abs=allowed + chance)


def test_without_read_noise_the_inverse_is_right_within_a_percent_down_to_a_tenth_photon() -> None:
    """Exact means: sums over the Poisson law."""
    from scipy.stats import poisson

    camera, counts = Camera(0, 1, 0), np.arange(400)
    for photons in (0.1, 0.3, 1, 3, 10, 100):
        mean = np.sum(poisson.pmf(counts, photons) * stabilise(counts.astype(float), camera))
        assert unstabilise(np.array([mean]), camera)[0] == pytest.approx(photons, rel=0.01)


def test_without_gain_values_are_grey_levels_in_units_of_the_noise() -> None:
    camera = Camera(10, 0, 4)
    grey = np.array([-6.0, 10.0, 18.0])
    assert stabilise(grey, camera) == pytest.approx([-4, 0, 2])
    assert unstabilise(stabilise(grey, camera), camera) == pytest.approx(grey)
    mean, std = unstabilise_with_std(np.zeros(1), np.full(1, 0.5), camera)
    assert (mean[0], std[0]) == pytest.approx((10, 2))


def test_a_vanishing_gain_changes_nothing_even_in_single_precision() -> None:
    grey = torch.linspace(0, 100, 11)
    faint, none = Camera(10, 1e-6, 4), Camera(10, 0, 4)
    torch.testing.assert_close(stabilise(grey, faint), stabilise(grey, none), atol=1e-5, rtol=1e-5)
    values = torch.linspace(-3, 20, 11)
    torch.testing.assert_close(
        unstabilise(values, faint), unstabilise(values, none), atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("camera", [Camera(100, 2, 0), Camera(100, 2, 1), Camera(0, 0.01, 5)])
def test_both_ways_are_monotone(camera: Camera) -> None:
    grey = np.linspace(camera.offset - 50, camera.offset + 500, 5001)
    values = stabilise(grey, camera)
    assert (np.diff(values) >= 0).all()
    back = unstabilise(np.linspace(values.min() - 5, values.max(), 5001), camera)
    assert (np.diff(back) > 0).all()


def test_tensors_and_arrays_give_the_same() -> None:
    camera = Camera(100, 2, 3)
    grey = np.linspace(90, 400, 50)
    values = stabilise(grey, camera)
    tensor = stabilise(torch.from_numpy(grey), camera)
    np.testing.assert_allclose(tensor.numpy(), values, rtol=1e-12)
    pair = unstabilise_with_std(values, 0.1 + 0 * values, camera)
    other = unstabilise_with_std(tensor, 0.1 + 0 * tensor, camera)
    for array, part in zip(pair, other, strict=True):
        np.testing.assert_allclose(part.numpy(), array, rtol=1e-12)


def test_gradients_are_finite_everywhere_and_right() -> None:
    camera = Camera(100, 2, 3)
    grey = torch.tensor([0.0, 95.0, 100.0, 300.0], dtype=torch.float64, requires_grad=True)
    assert torch.isfinite(torch.autograd.grad(stabilise(grey, camera).sum(), grey)[0]).all()
    values = torch.linspace(-2, 10, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: unstabilise(v, camera), values)


@pytest.mark.parametrize("camera", [Camera(100, 2, 3), Camera(0, 60, 0.3), Camera(0, 1, 20)])
@pytest.mark.parametrize("std", [0.1, 0.5, 1.0])
def test_spread_of_grey_levels_is_that_of_drawn_values(camera: Camera, std: float) -> None:
    for photons in (1.0, 5.0, 50.0):
        centre = stabilise(np.array([camera.offset + camera.gain * photons]), camera)
        drawn = centre + std * np.random.default_rng(0).standard_normal(COUNT)
        grey = unstabilise(drawn, camera)
        mean, spread = unstabilise_with_std(centre, np.full(1, std), camera)
        assert mean[0] == pytest.approx(grey.mean(), abs=0.04 * grey.std())
        assert spread[0] == pytest.approx(grey.std(), rel=0.05)
