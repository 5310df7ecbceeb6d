"""TrigFlow (Lu and Song 2024) is EDM in angles: x_t = cos(t) x0 + sin(t) z, z ~ sd N(0, 1)."""

from __future__ import annotations

import math

import pytest
import torch

from napari_physgen.generative import precondition
from napari_physgen.generative.priors import GaussianPrior
from napari_physgen.generative.process import presets
from napari_physgen.generative.samplers import step

SD = 0.5
T = torch.linspace(0.05, 1.5, 7, dtype=torch.float64)


def test_the_denoiser_is_that_of_the_paper():
    """f = cos(t) x_t - sin(t) sd F(x_t / sd, t), eq. 2 of the paper."""
    sigma = SD * T.tan()
    x_t = torch.linspace(-1, 1, len(T), dtype=torch.float64)
    c = precondition.TRIGONOMETRIC(sigma, SD)
    x = x_t / T.cos()

    def network(u, t):
        return (3 * u + t).sin()

    paper = T.cos() * x_t - T.sin() * SD * network(x_t / SD, T)
    ours = c.skip * x + c.out * network(c.into * x, c.noise)
    assert torch.allclose(ours, paper, atol=1e-12)


def test_a_step_is_that_of_the_paper():
    """x_s = cos(t - s) x_t - sin(t - s) sd F: DDIM in angles, with F from the denoised image."""
    prior = GaussianPrior(torch.zeros(3).double(), SD**2 * torch.eye(3).double())
    t, s = 1.2, 0.7
    x_t = torch.tensor([[[0.3, -0.2, 0.8]]], dtype=torch.float64)
    a, b = SD * math.tan(t), SD * math.tan(s)
    mean = prior(x_t / math.cos(t), a).mean
    slope = (math.cos(t) * x_t - mean) / math.sin(t)  # sd F
    paper = math.cos(t - s) * x_t - math.sin(t - s) * slope
    ours = math.cos(s) * step(x_t / math.cos(t), mean, a, b)
    assert torch.allclose(ours, paper, atol=1e-12)


def test_levels_are_drawn_as_in_the_paper():
    """ln(sd tan t) has the mean -1 and the standard deviation 1.4."""
    sigma = presets["trigflow"].train_sigma(20_000, torch.Generator().manual_seed(0))
    assert sigma.log().mean().item() == pytest.approx(-1.0, abs=0.03)
    assert sigma.log().std().item() == pytest.approx(1.4, abs=0.03)
