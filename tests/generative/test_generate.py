"""New images: the samplers of all processes run, seeds repeat, bad requests are told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_physgen.backend import run
from napari_physgen.backend.job import Stop
from napari_physgen.errors import UserError
from napari_physgen.generative import GenerateSettings, sample


def made(model, **changes):
    plain = {"count": 2, "size": 32, "steps": 4}
    return run(sample(model, settings=GenerateSettings(**(plain | changes))))


@pytest.mark.parametrize("preset", ["edm", "ddpm", "iddpm", "ncsn", "ve", "vp", "sub-vp", "pfgm++"])
def test_every_process_runs_backwards(prior, preset):
    result = made(replace(prior, preset=preset))
    assert result.images.shape == (2, 32, 32)
    assert np.isfinite(result.images).all()


def test_images_look_like_what_was_learned(prior):
    """Grey levels: the training images span 100 to 300 around 200."""
    images = made(prior, count=8, steps=18).images
    assert 150 < images.mean() < 250
    assert 20 < images.std() < 100


def test_an_image_depends_on_its_own_seed_alone(prior):
    """Not on how many are made, nor on the batch."""
    two, three = made(prior, count=2).images, made(prior, count=3).images
    np.testing.assert_allclose(two, three[:2], atol=1e-2)
    assert not np.allclose(two[0], two[1])


def test_stop_keeps_what_is_finished(prior, monkeypatch):
    monkeypatch.setattr("napari_physgen.generative.generate.BATCH_PIXELS", 1)
    settings = GenerateSettings(count=50, size=32, steps=6)
    result = run(sample(prior, settings=settings), lambda p: Stop() if p.step > 50 else None)
    assert 0 < len(result.images) < 50
    assert "stopped before 50" in result.summary


@pytest.mark.parametrize(
    ("changes", "given", "words"),
    [
        ({"learned": "pairs"}, {}, "only removes noise"),
        ({}, {"masks": np.zeros((32, 32), int)}, "knows no masks"),
    ],
)
def test_requests_that_cannot_be_met_are_told(prior, changes, given, words):
    with pytest.raises(UserError, match=words):
        run(sample(replace(prior, **changes), **given))


def test_without_a_prior_there_is_a_sentence():
    with pytest.raises(UserError, match="Choose a prior"):
        run(sample())
