"""Samplers against closed forms: order of convergence, DDIM and DDPM algebra, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_physgen.errors import UserError
from napari_physgen.generative.denoiser import Guided
from napari_physgen.generative.noise import Noise
from napari_physgen.generative.priors import DataPrior, GaussianPrior, MixturePrior
from napari_physgen.generative.process import EDM, pfgmpp, presets
from napari_physgen.generative.samplers import (
    Churn,
    annealed_langevin,
    integrate,
    langevin,
    multistep,
    predictor_corrector,
    start,
    step,
)
from napari_physgen.generative.schedule import karras


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def mixture():
    angles = torch.arange(5, dtype=torch.float64) * 2 * math.pi / 5
    means = torch.stack([angles.cos(), angles.sin()], 1)
    return MixturePrior(torch.full((5,), 0.2, dtype=torch.float64), means, 0.3)


def test_euler_is_of_first_and_heun_of_second_order(mixture):
    """Halving the steps divides the error by 2 and by 4 (research table: 2.00, 4.28)."""
    x = 80 * torch.randn(200, 2, generator=rng(), dtype=torch.float64)
    truth = integrate(mixture, x, karras(512, 0.002, 80))

    def error(count, heun):
        return float((integrate(mixture, x, karras(count, 0.002, 80), heun=heun) - truth).norm())

    assert error(16, False) / error(32, False) > 1.9
    assert error(32, True) / error(64, True) > 3.8


def test_without_fresh_noise_a_step_is_that_of_ddim():
    """Song et al. 2021, eq. 12, in variance preserving variables x_t = sqrt(a) x0 + sqrt(1-a) e."""
    a, b = 0.4, 0.7  # products of 1 - beta at the two times
    x_t, clean = torch.randn(2, 3, 4, generator=rng(), dtype=torch.float64)
    noise = (x_t - math.sqrt(a) * clean) / math.sqrt(1 - a)
    ddim = math.sqrt(b) * clean + math.sqrt(1 - b) * noise
    sigma = [math.sqrt((1 - part) / part) for part in (a, b)]
    ours = step(x_t / math.sqrt(a), clean, *sigma) * math.sqrt(b)
    assert float((ours - ddim).abs().max()) < 1e-12


def test_with_all_fresh_noise_a_step_is_that_of_ddpm():
    """Posterior mean and variance of Ho et al. 2020, eq. 7."""
    before, beta = 0.7, 0.2
    after = before * (1 - beta)
    x_t, clean, z = torch.randn(3, 3, 4, generator=rng(), dtype=torch.float64)
    mean = (math.sqrt(before) * beta * clean + math.sqrt(1 - beta) * (1 - before) * x_t) / (
        1 - after
    )
    ddpm = mean + math.sqrt((1 - before) / (1 - after) * beta) * z
    sigma = [math.sqrt((1 - part) / part) for part in (after, before)]
    ours = step(x_t / math.sqrt(after), clean, *sigma, eta=1.0, z=z) * math.sqrt(before)
    assert float((ours - ddpm).abs().max()) < 1e-12


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_samples_of_a_gaussian_have_its_spread(eta):
    prior = GaussianPrior(torch.tensor([0.3, -0.2]), torch.tensor([[0.25, 0.1], [0.1, 0.16]]))
    x = start(Noise(), (20000, 2), 80.0, rng())
    image = integrate(prior, x, karras(200, 0.002, 80), eta=eta, heun=False, generator=rng(1))
    assert torch.allclose(image.mean(0), prior.mean, atol=0.02)
    assert torch.allclose(image.T.cov(), prior.covariance, atol=0.02)


@pytest.mark.parametrize("how", ["langevin", "predictor-corrector"])
def test_stochastic_samplers_find_the_mixture(mixture, how):
    if how == "langevin":
        process = presets["ncsn"]
        x = start(Noise(), (2000, 2), process.sigma_max, rng()).double()
        image = annealed_langevin(mixture, x, process.sigmas(), snr=0.1, generator=rng(1))
    else:
        x = start(Noise(), (2000, 2), 50.0, rng()).double()
        sigmas = presets["ve"].sigmas(100)
        image = predictor_corrector(mixture, x, sigmas, generator=rng(1))
    nearest = (image[:, None] - mixture.means).norm(dim=-1).min(1)
    shares = torch.bincount(nearest.indices, minlength=5) / len(image)
    assert float(shares.min()) > 0.12
    # Rayleigh law of width 0.3: mean 0.376; the last step leaves out its noise.
    assert 0.2 < float(nearest.values.mean()) < 0.45


@pytest.mark.parametrize("D", [4, 16, 128, 2048])
def test_poisson_flows_end_on_the_data(D):
    """From their own Student-t noise; 99.9 % within 0.01 (research, section 4.4)."""
    points = torch.randn(6, 4, generator=rng(), dtype=torch.float64)
    noise = Noise(D)
    x = start(noise, (1000, 4), 80.0, rng(1)).double()
    image = integrate(DataPrior(points, noise), x, pfgmpp(D).sigmas(18))
    assert float((torch.cdist(image, points).min(1).values < 0.01).double().mean()) >= 0.999


def test_poisson_flows_become_diffusion_as_D_grows():
    points, x = torch.randn(2, 6, 8, generator=rng(), dtype=torch.float64)
    exact = DataPrior(points)(x, 0.7).mean
    apart = [
        float((DataPrior(points, Noise(D))(x, 0.7).mean - exact).abs().max())
        for D in (128, 2048, 1e5, 1e7)
    ]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 1e-5


def test_fresh_noise_is_refused_for_poisson_flows():
    prior = DataPrior(torch.zeros(1, 2), Noise(128))
    x, sigmas = torch.zeros(1, 2), karras(4, 0.1, 1)
    for attempt in (
        lambda: integrate(prior, x, sigmas, eta=1.0),
        lambda: integrate(prior, x, sigmas, churn=Churn(1)),
        lambda: integrate(prior, x, sigmas, rule=lambda x, e, a, b, draw: x + draw()),
        lambda: langevin(prior, x, 1.0),
        lambda: predictor_corrector(prior, x, sigmas),
    ):
        with pytest.raises(UserError, match="no Gaussian marginals"):
            attempt()
    with pytest.raises(UserError, match="no Gaussian marginals"):
        presets["ddpm"].with_noise(128)


def test_multistep_renoises_with_the_models_own_law():
    seen = []

    class Spy:
        noise = Noise(16)

        def __call__(self, x, sigma, cond=None):
            seen.append(x)
            return DataPrior(torch.zeros(1, 4))(x, sigma)

    multistep(Spy(), torch.ones(20000, 4), [1.0, 1.0], generator=rng())
    kurtosis = float((seen[1] ** 4).mean() / (seen[1] ** 2).mean() ** 2)
    assert kurtosis == pytest.approx(3 * 14 / 12, rel=0.1)  # of Student-t with 16 degrees


def test_levels_that_do_not_fall_are_refused(mixture):
    with pytest.raises(UserError, match="must fall"):
        integrate(mixture, torch.zeros(1, 2), [1.0, 2.0, 0.0])


def test_sigma_max_must_drown_the_images():
    with pytest.raises(UserError, match="too small"):
        presets["ncsn"].reaching(0.6)
    assert EDM.reaching(0.5) is EDM


def test_guidance_of_1_changes_nothing_and_of_2_doubles_what_the_condition_adds():
    class Told:
        noise = Noise()

        def __call__(self, x, sigma, cond=None):
            return DataPrior(torch.zeros(1, 2) if cond is None else cond)(x, sigma)

    x, cond = torch.ones(1, 2), torch.full((1, 2), 3.0)
    means = [Guided(Told(), w)(x, 0.5, cond).mean for w in (0.0, 1.0, 2.0)]
    np.testing.assert_allclose(torch.cat(means)[:, 0], [0.0, 3.0, 6.0])
    outside = Guided(Told(), 2.0, interval=(1.0, 5.0))(x, 0.5, cond).mean
    assert torch.equal(outside, means[1])
