from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from napari_physgen.errors import UserError
from napari_physgen.generative.noise import LARGEST, Noise


def published(N, D, count, rng):
    """Return radii |n| of PFGM++'s recipe: Beta(N/2, D/2), without its clip."""
    beta = rng.beta(N / 2, D / 2, count)
    return math.sqrt(D) * np.sqrt(beta / (1 - beta))


@pytest.mark.parametrize(("N", "D"), [(64, 16), (3072, 128), (65536, 128)])
def test_noise_follows_the_published_recipe(N, D):
    """Xu et al. 2023, whose recipe needs the number of pixels N; ours does not."""
    rng = torch.Generator().manual_seed(1)
    count = min(20000, 2**25 // N)
    radii = [Noise(D).draw((64, N), rng).norm(dim=1) for _ in range(count // 64)]
    theirs = published(N, D, 20000, np.random.default_rng(2))
    assert ks_2samp(torch.cat(radii).numpy(), theirs).pvalue > 0.01


@pytest.mark.parametrize(("side", "D", "share"), [(256, 64, 0.5), (512, 64, 0.99)])
def test_the_published_clip_would_touch_most_large_images(side, D, share):
    """Beta variables cut to 0.001 - 0.999 bound the noise; hence there is no clip here."""
    beta = np.random.default_rng(0).beta(side**2 / 2, D / 2, 2000)
    assert np.mean(beta > 0.999) > share


@pytest.mark.parametrize("side", [32, 128, 1024])
def test_noise_is_as_strong_at_every_size(side):
    rng = torch.Generator().manual_seed(0)
    D, count = 64.0, 2**24 // side**2 if side > 128 else 400
    size = torch.cat([Noise(D).draw((1, 1, side, side), rng).std()[None] for _ in range(count)])
    spread = 1 / math.sqrt(2 * D)
    expected = math.sqrt(D / 2) * math.exp(math.lgamma((D - 1) / 2) - math.lgamma(D / 2))
    assert float(size.mean()) == pytest.approx(expected, abs=4 * spread / math.sqrt(count))


def test_one_factor_for_a_whole_image():
    n = Noise(4.5).draw((6, 1, 64, 64), torch.Generator().manual_seed(0))
    corners = torch.stack([n[..., :32, :32].std((1, 2, 3)), n[..., 32:, 32:].std((1, 2, 3))])
    assert (corners[0] / corners[1] - 1).abs().max() < 0.1
    assert float(n.std((1, 2, 3)).std()) > 0.1


def test_many_dimensions_are_gaussian():
    n = Noise(1e9).draw((50, 4000), torch.Generator().manual_seed(0)).flatten()
    kurtosis = float((n**4).mean() / (n**2).mean() ** 2 - 3)
    assert abs(kurtosis) < 0.05
    assert Noise().gaussian
    assert not Noise(1e9).gaussian


def test_pfgm_is_bounded():
    """D = 1 has no variance; its factor ends at LARGEST."""
    factor = Noise(1.0).factor(20000, torch.Generator().manual_seed(0))
    assert float(factor.max()) == LARGEST
    assert 0.02 < float((factor == LARGEST).float().mean()) < 0.15


@pytest.mark.parametrize("D", [0.0, -3.0, math.nan])
def test_dimensions_must_be_positive(D):
    with pytest.raises(UserError, match="must be above 0"):
        Noise(D)


# ---- a wrong noise level -------------------------------------------------------------------

SIDE, LEVEL = 64, 0.8


def spectrum():
    """Return variances of the Fourier modes of images with a 1 / f amplitude and variance 1."""
    frequency = torch.fft.fftfreq(SIDE, dtype=torch.float64)
    power = 1 / (frequency[:, None] ** 2 + frequency**2).clamp_min(SIDE**-2.0)
    return power / power.mean()


def denoised(x, sigma, D):
    """Return E[x0 | x] for a Gaussian prior and noise of scale sigma with D augmented dimensions.

    Student-t noise is Gaussian noise of a random scale s: the mean over p(s | x) of Wiener filters.
    """
    prior = spectrum()
    modes = torch.fft.fft2(x, norm="ortho")
    if math.isinf(D):
        return torch.fft.ifft2(modes * prior / (prior + sigma**2), norm="ortho").real
    factor = torch.linspace(math.log(0.2), math.log(5), 1600, dtype=torch.float64).exp()
    # chi2 = D / s^2 with density chi2^(D/2 - 1) exp(-chi2 / 2), and d chi2 / d ln s ~ chi2
    chi2 = D / factor**2
    logarithm = D / 2 * chi2.log() - chi2 / 2
    for index, s in enumerate(factor):
        total = prior + (sigma * s) ** 2
        logarithm[index] -= 0.5 * float((total.log() + modes.abs() ** 2 / total).sum())
    weights = torch.softmax(logarithm, 0)
    wiener = torch.zeros_like(prior)
    for weight, s in zip(weights, factor, strict=True):
        if weight > 1e-9:
            wiener += weight * prior / (prior + (sigma * s) ** 2)
    return torch.fft.ifft2(modes * wiener, norm="ortho").real


def loss(told, D, count=4):
    """Return the dB lost when the denoiser is told `told` times the true level."""
    rng = torch.Generator().manual_seed(3)
    errors = torch.zeros(2)
    for _ in range(count):
        x0, n = torch.randn(2, SIDE, SIDE, generator=rng, dtype=torch.float64)
        x0 = torch.fft.ifft2(torch.fft.fft2(x0) * spectrum().sqrt()).real
        y = x0 + LEVEL * n
        for index, (factor, dimensions) in enumerate([(told, D), (1, math.inf)]):
            errors[index] += ((denoised(y, factor * LEVEL, dimensions) - x0) ** 2).mean()
    return float(10 * torch.log10(errors[0] / errors[1]))


@pytest.mark.parametrize("told", [0.5, 2.0])
def test_poisson_flow_need_not_know_the_noise_level(told):
    assert loss(told, 128.0) < 0.05
    assert loss(told, math.inf) > 1


def test_poisson_flow_loses_nothing_when_told_the_truth():
    assert loss(1.0, 128.0) < 0.005
