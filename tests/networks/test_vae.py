"""The autoencoder of windows: poses, evidence bound and decoders."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, Poisson, kl_divergence

from napari_physgen.networks.vae import (
    NOISE_FLOOR,
    PlainDecoder,
    Pose,
    PoseVAE,
    SpatialDecoder,
    grid,
    posed,
)

SHIFT_AND_ANGLE = Pose(shift=0.3, angle=0.5)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_pixels_of_a_window_cover_it_evenly():
    points = grid(4)
    assert points.shape == (16, 2)
    torch.testing.assert_close(points[:5, 1], torch.tensor([-0.75, -0.25, 0.25, 0.75, -0.75]))
    torch.testing.assert_close(points.mean(0), torch.zeros(2))


def test_a_shifted_window_shows_at_a_point_what_the_upright_one_shows_before_it():
    decoder, z, shift = SpatialDecoder(2, 3), noise(4, 2), 0.2 * noise(4, 2)
    there = decoder(z, posed(grid(6) + shift[:, None], shift, torch.zeros(4)))
    torch.testing.assert_close(there, decoder(z, grid(6)))


def test_a_quarter_turn_of_the_pose_is_a_quarter_turn_of_the_picture():
    """From y towards x: what was on the last row comes to lie on the last column."""
    decoder, z = SpatialDecoder(2), noise(1, 2)
    upright = decoder(z, grid(8)).reshape(8, 8)
    quarter = torch.tensor([math.pi / 2])
    turned = decoder(z, posed(grid(8), torch.zeros(1, 2), quarter)).reshape(8, 8)
    torch.testing.assert_close(turned, upright.rot90(1), atol=1e-5, rtol=1e-4)
    assert (turned - upright).abs().max() > 0.1


def test_turning_keeps_distances():
    points = posed(grid(5), noise(3, 2), noise(3))
    apart = torch.cdist(points, points)
    torch.testing.assert_close(apart, torch.cdist(grid(5), grid(5)).expand(3, -1, -1))


def test_divergence_is_that_of_normal_posteriors_from_the_standard_normal_prior():
    model, windows = PoseVAE((1, 8, 8), 2, SHIFT_AND_ANGLE), noise(6, 1, 8, 8)
    mean, log_sigma = model.posterior(windows)
    expected = kl_divergence(Normal(mean, log_sigma.exp()), Normal(0.0, 1.0)).sum(1)
    terms = model(windows, torch.zeros(6, model.variables))
    torch.testing.assert_close(terms.divergence, expected)
    torch.testing.assert_close(terms.mean, mean[:, :2])


def test_misfit_is_the_normal_likelihood_with_the_learned_noise():
    model, windows = PoseVAE((2, 8, 8), 2), noise(5, 2, 8, 8)
    model.log_noise.data = torch.tensor([-1.0, -0.3])
    drawn = model.decode(model.encode(windows).content)
    expected = -Normal(drawn, model.noise[:, None, None]).log_prob(windows).sum((1, 2, 3))
    terms = model(windows, torch.zeros(5, model.variables))
    torch.testing.assert_close(terms.misfit, expected)


def test_noise_cannot_run_away():
    model = PoseVAE((1, 8, 8))
    model.log_noise.data.fill_(-100)
    assert model.noise.item() == pytest.approx(NOISE_FLOOR)


def test_misfit_of_counts_is_poisson_with_the_measured_total():
    """Up to what no decoder can change."""
    model, total = PoseVAE((12,), 2, likelihood="counts"), 40.0
    spectra = torch.poisson(torch.full((4, 12), total / 12), torch.Generator().manual_seed(0))
    spectra[:, 0] += total - spectra.sum(1)
    spectra = spectra.clamp(min=0)
    rates = spectra.sum(1, keepdim=True) * model.decode(model.encode(spectra).content)
    poisson = -Poisson(rates).log_prob(spectra).sum(1)
    misfit = model(spectra, torch.zeros(4, 2)).misfit
    rest = torch.lgamma(spectra + 1).sum(1) + spectra.sum(1) * (1 - spectra.sum(1).log())
    torch.testing.assert_close(misfit + rest, poisson, atol=1e-3, rtol=1e-4)


def test_misfit_at_some_pixels_is_that_of_the_window_on_average():
    model, windows = PoseVAE((1, 6, 6), 2, SHIFT_AND_ANGLE), noise(3, 1, 6, 6)
    still = torch.zeros(3, model.variables)
    single = [
        model(windows, still, torch.full((3, 1), pixel)).misfit.detach() for pixel in range(36)
    ]
    whole = model(windows, still).misfit.detach()
    torch.testing.assert_close(torch.stack(single).mean(0), whole)


def test_latents_come_in_units_of_the_window():
    model, windows = PoseVAE((1, 8, 8), 2, SHIFT_AND_ANGLE), noise(5, 1, 8, 8)
    mean, log_sigma = model.posterior(windows)
    latents = model.encode(windows)
    torch.testing.assert_close(latents.shift, 0.3 * mean[:, 2:4])
    torch.testing.assert_close(latents.angle, 0.5 * mean[:, 4])
    torch.testing.assert_close(latents.sigma, log_sigma[:, :2].exp())


@pytest.mark.parametrize(("pose", "count"), [(Pose(), 2), (Pose(shift=0.1), 4), (Pose(angle=1), 3)])
def test_only_what_the_pose_allows_is_a_latent(pose: Pose, count: int):
    model = PoseVAE((1, 8, 8), 2, pose)
    latents = model.encode(noise(2, 1, 8, 8))
    assert model.variables == count
    assert isinstance(model.decoder, PlainDecoder) == (count == 2)
    assert (latents.shift == 0).all() == (pose.shift == 0)
    assert (latents.angle == 0).all() == (pose.angle == 0)
    assert model.decode(latents.content).shape == (2, 1, 8, 8)


def test_the_same_generator_makes_the_same_weights():
    one, two, other = (
        PoseVAE((1, 8, 8), generator=torch.Generator().manual_seed(seed)).state_dict()
        for seed in (3, 3, 4)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["encoder.1.weight"], other["encoder.1.weight"])
