from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from plane_mixture import MIXTURE, SPREAD, PlaneNet, learn

from napari_physgen.generative import precondition
from napari_physgen.generative.losses import denoising_loss
from napari_physgen.generative.network import NetworkDenoiser
from napari_physgen.generative.process import presets

LEVELS = 0.1, 0.2, 0.4, 0.8


@pytest.fixture(scope="module")
def learned():
    """A denoiser of the mixture that learned its variance beside its mean."""
    low, high = 0.05, 1.5
    process = replace(presets["edm"], draw=lambda u, *_: low * (high / low) ** u)
    net, rng = PlaneNet(channels=2), torch.Generator().manual_seed(5)
    denoiser = NetworkDenoiser(net, precondition.EDM, SPREAD, 80.0)

    def loss(_):
        x0 = MIXTURE.sample(512, rng)[:, None]
        sigma = process.train_sigma(512, rng).float()
        n = torch.randn(x0.shape, generator=rng)
        return denoising_loss(denoiser, x0, sigma, n, process, SPREAD).total

    learn(net, loss, 1500)
    return denoiser


def points(sigma):
    rng = torch.Generator().manual_seed(8)
    x0 = MIXTURE.sample(20000, rng)[:, None]
    return x0, x0 + sigma * torch.randn(x0.shape, generator=rng)


@pytest.mark.parametrize("sigma", LEVELS)
def test_learned_variance_is_within_10_percent_of_the_exact_one(learned, sigma):
    x0, x = points(sigma)
    with torch.no_grad():
        found, exact = learned(x, sigma), MIXTURE(x, sigma)
    assert float(found.std.square().mean() / exact.std.square().mean()) == pytest.approx(1, abs=0.1)
    assert float((found.std / exact.std).median()) == pytest.approx(1, abs=0.05)
    covered = float(((x0 - found.mean).abs() < 1.96 * found.std).float().mean())
    assert 0.93 < covered < 0.97
