from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from prior_sample import blobs, tiny

from napari_physgen import generative
from napari_physgen.backend import Stop, run
from napari_physgen.errors import UserError
from napari_physgen.generative import DistillSettings, GenerateSettings
from napari_physgen.generative.distill import distill
from napari_physgen.generative.generate import sample
from napari_physgen.generative.train import train

QUICK = DistillSettings(steps=30, batch=8, crop=16, images=8, device="cpu")


@pytest.mark.parametrize("method", ["tuning", "distillation", "training"])
def test_prior_becomes_a_consistency_model_without_any_images(prior, method):
    made = run(distill(prior, settings=QUICK.model_copy(update={"method": method})))
    assert made.consistency
    assert not prior.consistency
    assert 0 < made.metrics["path_distance"] < 5
    images = run(sample(made, 2, 32, settings=GenerateSettings(device="cpu"))).images
    assert images.shape == (2, 32, 32)
    assert np.isfinite(images).all()


def test_tuning_comes_closer_to_the_ends_of_the_priors_paths(prior):
    settings = QUICK.model_copy(update={"steps": 250, "learning_rate": 5e-3})
    made = run(distill(prior, blobs(), settings))
    curve = [value for _, value in made.history["held-out"]]
    assert min(curve) < 0.8 * curve[0]
    assert made.metrics["path_distance"] == pytest.approx(min(curve) / prior.sigma_data)


def test_consistency_model_gives_no_std_and_survives_its_file(prior, tmp_path):
    """It tells one image that a noisy one may come from: no mean, so no std around it."""
    made = run(distill(prior, blobs(), QUICK))
    made.save(tmp_path / "quick.safetensors")
    again = generative.load(tmp_path / "quick.safetensors")
    x = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    ours, theirs = (part.denoiser()(x, 2.0) for part in (made, again))
    assert ours.std is None
    assert torch.equal(ours.mean, theirs.mean)
    assert torch.equal(made.denoiser()(x, 0.002).mean, x)


def test_poisson_flow_stays_one():
    flow = run(train(blobs(), tiny(steps=20, poisson_dimensions=16)))
    made = run(distill(flow, blobs(), QUICK))
    assert made.process.noise.D == 16
    assert made.denoiser().noise.D == 16


def test_same_seed_same_model(prior):
    first, second = (run(distill(prior, blobs(), QUICK)) for _ in range(2))
    for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_stop_keeps_what_there_is(prior):
    job = distill(prior, blobs(), QUICK)
    made = run(job, lambda progress: Stop() if progress.step > 500 else None)
    assert "stopped early" in made.summary
    assert made.metrics["steps"] < QUICK.steps


def test_priors_of_masks_follow_masks_in_one_step():
    images = blobs()
    masks = (images > 200).astype(np.uint8)
    learned = run(train(images, tiny(steps=20, conditional="masks"), masks=masks))
    made = run(distill(learned, settings=QUICK, masks=masks[:, :32, :32]))
    shown = run(sample(made, masks=masks[:2], settings=GenerateSettings(device="cpu")))
    assert shown.images.shape == masks[:2].shape
    with pytest.raises(UserError, match="follows masks"):
        run(distill(learned, images, QUICK))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"consistency": True}, "already"),
        ({"learned": "pairs"}, "only removes noise"),
        ({"learned": "noisy"}, "only removes noise"),
        ({"preset": "ncsn"}, "too small"),
    ],
)
def test_priors_that_make_no_images_are_refused(prior, changes, words):
    with pytest.raises(UserError, match=words):
        run(distill(replace(prior, **changes), blobs(), QUICK))


def test_images_of_another_kind_are_refused(prior):
    with pytest.raises(UserError, match="brighter or darker"):
        run(distill(prior, 50 * blobs(), QUICK))
    with pytest.raises(UserError, match="knows no masks"):
        run(distill(prior, blobs(), QUICK, masks=blobs().astype(int)))
