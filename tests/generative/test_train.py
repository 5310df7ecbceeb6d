"""Training of priors: every kind of lesson learns, models survive on disk, bad data are told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prior_sample import blobs, tiny

from napari_physgen.backend import run
from napari_physgen.backend.job import Stop
from napari_physgen.errors import UserError
from napari_physgen.generative import GenerativeSettings, load, train
from napari_physgen.generative.correlated import correlating
from napari_physgen.generative.images import split
from napari_physgen.generative.losses import recorrupted_loss
from napari_physgen.generative.scale import Scale
from napari_physgen.physics.noise import Camera


def first_and_best(model):
    scores = [value for _, value in model.history["held-out"]]
    return scores[0], min(scores)


def test_a_prior_learns_and_says_how(prior):
    first, best = first_and_best(prior)
    assert best < 0.8 * first
    assert "held-out loss" in prior.summary
    assert prior.outputs()[0].name == "examples"


def test_pairs_masks_and_noisy_images_teach_too():
    clean = blobs()
    rng = np.random.default_rng(0)
    noisy = clean + 25 * rng.standard_normal(clean.shape)
    camera = {"camera_offset": 0, "camera_gain": 0, "read_noise": 25}
    for model in (
        run(train(clean, tiny(conditional="pairs"), pairs=noisy)),
        run(train(clean, tiny(conditional="masks"), masks=(clean > 200).astype(int))),
        run(train(noisy, tiny(conditional="noisy", **camera))),
    ):
        first, best = first_and_best(model)
        assert best < first


def test_a_model_on_disk_gives_the_same_pixels(prior, tmp_path):
    path = tmp_path / "prior.safetensors"
    prior.save(path)
    again = load(path)
    x = torch.randn(1, 1, 40, 40)
    for ours, theirs in zip(prior.denoiser()(x, 0.3), again.denoiser()(x, 0.3), strict=True):
        assert torch.equal(ours, theirs)
    assert again.scale == prior.scale
    assert again.pixel_size_nm == 50
    prior.save(path, half=True)
    assert torch.allclose(
        load(path).denoiser()(x, 0.3).mean, ours * 0 + prior.denoiser()(x, 0.3).mean, atol=0.02
    )


def test_the_same_seed_gives_the_same_prior():
    one, two = (run(train(blobs(), tiny(steps=5))) for _ in range(2))
    for a, b in zip(one.net.parameters(), two.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_stop_keeps_what_was_learned():
    calls = iter(range(1000))
    model = run(train(blobs(), tiny(steps=500)), lambda _: Stop() if next(calls) == 20 else None)
    assert "stopped early" in model.summary


def test_no_process_is_too_exotic_to_be_trained():
    for preset in ("ddpm", "iddpm", "ve", "vp", "sub-vp", "pfgm", "pfgm++", "trigflow"):
        model = run(train(blobs(), tiny(steps=3, preset=preset)))
        assert np.isfinite(model.metrics["held_out_loss"])


def test_recorruption_sees_only_half_of_the_noise_twice():
    """y + a n and y - n / a are uncorrelated given the clean image (Pang et al. 2021).

    The identity has then the loss of two independent noises: (1 + a^2 + 1 + 1/a^2) sigma^2.
    """
    rng = torch.Generator().manual_seed(0)
    y, n = (torch.randn(64, 1, 32, 32, generator=rng) for _ in range(2))

    def identity(x, sigma, cond=None):
        return type("Estimate", (), {"mean": x, "std": torch.ones_like(x)})

    alpha = torch.full((64,), 0.7)
    terms = recorrupted_loss(identity, y, 1.0, torch.ones_like(y), alpha, n)
    added = 1.01 * (1 + 1 / 0.7**2)
    total = 1 + 0.7**2 + 1 + 1 / 0.7**2
    variance = 1 + added
    assert float(terms.squared) == pytest.approx(total / added, rel=0.02)
    expected = 0.5 * (total / variance + np.log(variance))
    assert float(terms.likelihood) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("correlation", [(0.0, 0.0), (0.0, 0.27), (0.4, -0.2)])
def test_noise_is_given_its_correlation(correlation):
    white = torch.randn(8, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    n = correlating(correlation)(white)[:, 0]
    assert float(n.var()) == pytest.approx(1, abs=0.01)
    down, right = (n[:, 1:] * n[:, :-1]).mean(), (n[..., 1:] * n[..., :-1]).mean()
    assert (float(down), float(right)) == pytest.approx(correlation, abs=0.01)


@pytest.mark.parametrize("gain", [0.5, 2.0, 20.0])
def test_square_roots_of_photons_have_the_same_noise_and_the_right_mean(gain):
    """Bias below 1 % and noise within 5 % of sqrt(gain) / 2 from 10 photons on."""
    scale = Scale("square root", 0.0, 2.0, offset=100.0)
    rng = np.random.default_rng(0)
    for photons in (10, 40, 200):
        grey = 100 + gain * rng.poisson(photons, 200_000)
        units = scale(grey, gain)
        level = scale.level(Camera(100.0, gain, 0.0), grey)
        assert units.std() == pytest.approx(level, rel=0.05)
        mean, _ = scale.inverse(units.mean(keepdims=True), np.zeros(1, np.float32))
        assert float(mean[0]) - 100 == pytest.approx(gain * photons, rel=0.01)


def test_the_noise_of_few_photons_is_known_pixel_by_pixel():
    """In the square root, against samples; almost none where it is dark."""
    scale = Scale("square root", 0.0, 2.0, offset=10.0)
    rng = np.random.default_rng(0)
    camera = Camera(10.0, 4.0, 1.0)
    for photons in (0.02, 0.3, 1.0, 5.0, 100.0):
        grey = 10 + 4 * rng.poisson(photons, (300, 300)) + rng.standard_normal((300, 300))
        spread = scale.spread(camera, grey)
        assert spread.mean() == pytest.approx(scale(grey, 4.0).std(), rel=0.05)


def test_the_mean_of_a_square_is_not_the_square_of_the_mean():
    """E[v^2] = m^2 + s^2 and its standard deviation, against samples."""
    scale = Scale("square root", 0.0, 2.0, offset=7.0)
    v = np.random.default_rng(0).normal(3.0, 0.5, 1_000_000)
    mean, std = scale.inverse(np.array([2.0], np.float32), np.array([0.5], np.float32))
    assert float(mean[0]) == pytest.approx((v**2).mean() + 7, rel=1e-3)
    assert float(std[0]) == pytest.approx((v**2).std(), rel=1e-2)


def test_what_is_held_out_is_never_learned_from():
    image = torch.arange(200 * 50.0).reshape(1, 200, 50)
    learn, score = split([image], 16)
    seen = {float(v) for part in learn.images for v in part.flatten()}
    assert not seen & {float(v) for part in score.images for v in part.flatten()}
    many = [torch.full((1, 32, 32), float(i)) for i in range(10)]
    learn, score = split(many, 16)
    assert not {float(i[0, 0, 0]) for i in learn.images} & {float(i[0, 0, 0]) for i in score.images}


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda: train(np.full((64, 64), np.nan), tiny()), "NaN"),
        (lambda: train(np.ones((64, 64)), tiny()), "no contrast"),
        (lambda: train(np.ones(64), tiny()), "must be images"),
        (lambda: train(blobs(size=40), tiny(crop=32)), "too small for crops"),
        (lambda: train(blobs(), tiny(conditional="pairs")), "give the noisy partners"),
        (
            lambda: train(blobs(), tiny(conditional="pairs"), pairs=blobs(2)),
            "a noisy partner of the same size",
        ),
        (lambda: train(blobs(), tiny(preset="ncsn")), "too small"),
        (lambda: train(blobs(), tiny(conditional="noisy", read_noise=-1)), "greater than"),
    ],
)
def test_bad_images_get_a_sentence(attempt, words):
    with pytest.raises((UserError, ValueError), match=words):
        run(attempt())


@pytest.mark.parametrize(
    "wrong",
    [
        {"preset": "ddpm", "poisson_dimensions": 128},
        {"preset": "vp", "conditional": "pairs"},
    ],
)
def test_settings_that_cannot_work_together_are_refused(wrong):
    with pytest.raises(UserError):
        GenerativeSettings.parse(wrong)


def test_a_file_of_something_else_is_no_prior(tmp_path, prior):
    from napari_physgen.backend import save_model

    path = tmp_path / "other.safetensors"
    save_model(path, prior.net.state_dict(), {"kind": "segmentation"})
    with pytest.raises(UserError, match="is no prior"):
        load(path)
