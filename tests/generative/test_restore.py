"""Restoration: closed forms, every task end to end, honest names, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from prior_sample import blobs, tiny

from napari_physgen.backend import run
from napari_physgen.backend.job import Stop
from napari_physgen.errors import UserError
from napari_physgen.generative import RestoreSettings, restore, train
from napari_physgen.generative.priors import GaussianPrior
from napari_physgen.generative.results import Restoration
from napari_physgen.physics.noise import Camera
from napari_physgen.physics.operator import Mask

CAMERA = Camera(0.0, 0.0, 20.0)


def psnr(image, truth):
    return 10 * np.log10(np.ptp(truth) ** 2 / np.mean((image - truth) ** 2))


def test_one_evaluation_is_the_posterior_mean_of_a_gaussian():
    """The noisy image is the state at its own noise level: exact to 1e-12 (float64)."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    covariance, mean = root @ root.T / 6, torch.ones(6, dtype=torch.float64)
    y = torch.randn(1, 6, generator=generator, dtype=torch.float64)
    gain = covariance @ torch.linalg.inv(covariance + 0.3**2 * torch.eye(6, dtype=torch.float64))
    estimate = GaussianPrior(mean, covariance)(y, 0.3)
    assert float((estimate.mean - (mean + gain @ (y[0] - mean))).abs().max()) < 1e-12
    exact = (0.3**2 * gain).diagonal().sqrt()
    assert float((estimate.std - exact).abs().max()) < 1e-12


def test_noise_is_removed_in_one_evaluation_with_uncertainty(prior, noisy):
    image, clean, _ = noisy
    result = run(restore(image, prior, noise=CAMERA))
    assert psnr(result.mean, clean) > psnr(image, clean) + 3
    assert np.mean(np.abs(result.mean - clean) < 1.96 * result.std) > 0.9
    assert result.calibrated
    assert [output.name for output in result.outputs()][:2] == ["restored", "uncertainty"]
    assert result.metrics["chi2"] == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("deconvolve", {"blur": 1.5}),
        ("super-resolve", {"zoom": 2}),
        ("inpaint", {}),
        ("denoise", {"samples": 2}),
    ],
)
def test_every_task_gives_mean_spread_and_samples(prior, noisy, task, more):
    image, _, _ = noisy
    image = image[:32, :32].astype(np.float32)
    mask = np.zeros(image.shape, int)
    mask[8:12, 8:12] = 1
    settings = RestoreSettings(task=task, **({"samples": 2, "steps": 3} | more))
    result = run(restore(image, prior, settings, noise=CAMERA, mask=mask))
    zoom = 2 if task == "super-resolve" else 1
    assert result.mean.shape == result.std.shape == (zoom * 32, zoom * 32)
    assert result.samples.shape == (2, *result.mean.shape)
    assert result.residual.shape == image.shape
    assert result.zoom == zoom
    assert np.isfinite(result.mean).all()
    assert result.calibrated


def test_the_same_seed_gives_the_same_samples(prior, noisy):
    settings = RestoreSettings(samples=2, steps=3)
    one, two = (
        run(restore(noisy[0][:32, :32], prior, settings, noise=CAMERA)).samples for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)


def test_only_calibrated_methods_speak_of_uncertainty(prior, noisy):
    settings = RestoreSettings(method="dps", samples=2, steps=3)
    result = run(restore(noisy[0][:32, :32], prior, settings, noise=CAMERA))
    assert result.outputs()[1].name == "sample spread"
    assert "no uncertainty" in result.summary


def test_stacks_are_restored_plane_by_plane(prior):
    stack = blobs(3, seed=3)[:, None]
    result = run(restore(stack, prior, noise=CAMERA))
    alone = run(restore(stack[1, 0], prior, noise=CAMERA))
    assert result.mean.shape == (3, 1, 64, 64)
    np.testing.assert_allclose(result.mean[1, 0], alone.mean, atol=0.5)


def test_a_noisy_image_alone_is_enough(noisy):
    image, clean, _ = noisy
    settings = RestoreSettings(
        learning_steps=150, camera_offset=0, camera_gain=0, read_noise=20, seed=1
    )
    result = run(restore(image, None, settings))
    assert psnr(result.mean, clean) > psnr(image, clean) + 3


def test_pairs_restore_from_their_partner_alone(noisy):
    clean = blobs(6)
    partners = clean + 20 * np.random.default_rng(0).standard_normal(clean.shape)
    model = run(train(clean, tiny(conditional="pairs", steps=150), pairs=partners))
    image, truth, _ = noisy
    result = run(restore(image, model, noise=CAMERA))
    assert psnr(result.mean, truth) > psnr(image, truth) + 3
    sampled = run(restore(image, model, RestoreSettings(samples=2, steps=4), noise=CAMERA))
    assert sampled.samples.shape == (2, 64, 64)


def test_photons_are_restored_in_their_square_roots(noisy):
    rng = np.random.default_rng(0)
    clean = blobs(6) - 100
    model = run(train(clean, tiny(domain="square root", steps=150)))
    truth = blobs(1, seed=5)[0] - 100
    counts = rng.poisson(truth / 4) * 4.0
    result = run(restore(counts, model, noise=Camera(0.0, 4.0, 0.0)))
    assert psnr(result.mean, truth) > psnr(counts, truth) + 2
    assert float(np.mean(result.mean - truth)) == pytest.approx(0, abs=3)


def test_stop_keeps_the_planes_that_are_done(prior):
    settings = RestoreSettings(samples=2, steps=6)
    stack = blobs(40)[:, :32, :32]
    result = run(
        restore(stack, prior, settings, noise=CAMERA),
        lambda p: Stop() if p.step > 1000 else None,  # in the second plane
    )
    assert 0 < len(result.mean) < 40
    assert "Stopped after" in result.summary
    assert "of 40 planes" in result.summary


def test_stop_keeps_the_samples_that_are_done(prior, noisy):
    result = run(
        restore(noisy[0][:32, :32], prior, RestoreSettings(samples=100, steps=4), noise=CAMERA),
        lambda p: Stop() if p.step > 30 else None,
    )
    assert 2 <= len(result.samples) < 100
    assert result.calibrated


def test_doubt_is_where_the_spread_exceeds_the_contrast():
    mean = np.zeros((40, 40), np.float32)
    mean[:, 20:] = np.tile([0.0, 10.0], 10)
    std = np.full_like(mean, 1.0)
    result = Restoration(mean, std, mean[None][:0], mean, CAMERA, True, trust=0.5)
    assert result.doubtful[:, :12].all()
    assert not result.doubtful[:, 28:].any()


def test_what_was_never_learned_is_unusual(prior, noisy):
    image = noisy[1].copy()
    image[30:34] = 400
    image[30:34, ::2] = 0
    settings = RestoreSettings(anomalies=True)
    result = run(restore(image, prior, settings, noise=Camera(0.0, 0.0, 2.0)))
    assert result.anomaly[30:34].mean() > 2 * result.anomaly[:20].mean()


def test_stop_in_the_first_sample_keeps_the_estimate(prior, noisy):
    result = run(
        restore(noisy[0], prior, RestoreSettings(samples=2, steps=200), noise=CAMERA),
        lambda p: Stop() if p.step > 3 else None,
    )
    assert len(result.samples) == 1
    assert not result.calibrated
    assert np.isfinite(result.mean).all()
    assert "spread is not known" in result.summary


def test_an_even_background_is_not_in_doubt():
    mean = np.zeros((40, 40), np.float32)
    mean[:, 30:] = 100
    result = Restoration(mean, np.ones_like(mean), mean[None][:0], mean, CAMERA, True)
    assert not result.doubtful[:, :20].any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": RestoreSettings(pixel_size_nm=100)}, "learned pixels of 50 nm"),
        ({"image": blobs(1)[0] * 50}, "are not those that the prior learned"),
        ({"image": np.full((64, 64), np.nan)}, "NaN"),
        ({"image": np.ones(5)}, "real numbers"),
        ({"settings": RestoreSettings(task="inpaint")}, "say where they are"),
        ({"noise": Camera(0.0, 0.0, 1e5)}, "sigma_max is too small"),
        ({"operator": Mask(torch.ones(9, 9, dtype=torch.bool))}, "9 x 9"),
        ({"model": None, "settings": RestoreSettings(task="deconvolve")}, "needs a prior"),
    ],
)
def test_bad_input_gets_a_sentence(prior, noisy, change, words):
    given = {"image": noisy[0], "model": prior, "noise": CAMERA} | change
    with pytest.raises(UserError, match=words):
        run(restore(**given))


def test_a_prior_that_cannot_do_the_task_says_what_can(prior, noisy):
    deconvolve = RestoreSettings(task="deconvolve")
    for changes, words in (
        ({"learned": "pairs"}, "can only remove noise"),
        ({"learned": "noisy"}, "can only remove noise"),
        ({"scale": replace(prior.scale, domain="square root")}, "square roots"),
        ({"consistency": True}, "cannot weigh data"),
        ({"poisson_dimensions": 128.0}, "Gaussian noise"),
    ):
        with pytest.raises(UserError, match=words):
            run(restore(noisy[0], replace(prior, **changes), deconvolve, noise=CAMERA))
