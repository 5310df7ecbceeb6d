"""Spread of posterior samples against Gaussian posteriors that are known exactly.

What passes here may be called uncertainty; what fails here is asserted to fail, so that nobody
relabels it.
"""

from __future__ import annotations

import pytest
import torch

from napari_physgen.generative._posterior_exact import Calibration, ring_problems
from napari_physgen.generative.posterior import METHODS, levels, posterior
from napari_physgen.generative.samplers import integrate
from napari_physgen.generative.schedule import karras

torch.set_num_threads(1)

PROBLEMS = ring_problems()


def calibrate(name: str, method: str, steps: int, count: int = 1000, **options) -> Calibration:
    """Sample with Heun's method, or as the method says, with levels from 80 to 0.002."""
    problem = PROBLEMS[name]
    options.setdefault("eta", 0.0)
    eta = options.pop("eta")
    found = posterior(
        problem.prior, problem.operator, problem.y, problem.variance, method, **options
    )
    generator = torch.Generator().manual_seed(1)
    sigmas = karras(steps, 0.002, 80)
    x = torch.randn(count, 1, problem.prior.mean.numel(), generator=generator).double()
    start = found.start(x, float(sigmas[0]))
    samples = integrate(
        found.denoiser, start, sigmas, eta=eta, generator=generator, rule=found.rule
    )
    return Calibration.of(samples, problem)


@pytest.mark.parametrize("name", PROBLEMS)
def test_moment_matching_is_calibrated(name: str) -> None:
    """Heun, 32 steps; 2 to 4 % of the standard deviation is the error of the steps."""
    found = calibrate(name, "mmps", 32)
    assert METHODS["mmps"].calibrated
    assert found.mean_error < 0.1
    assert found.std_ratio == pytest.approx(1, abs=0.05)
    assert found.coverage == pytest.approx(0.95, abs=0.02)


def test_direct_denoising_is_calibrated() -> None:
    found = calibrate("denoise", "direct", 32)
    assert METHODS["direct"].calibrated
    assert found.mean_error < 0.1
    assert found.std_ratio == pytest.approx(1, abs=0.05)
    assert found.coverage == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("name", PROBLEMS)
def test_twelve_steps_are_calibrated_from_around_the_data_on(name: str) -> None:
    problem = PROBLEMS[name]
    found = posterior(problem.prior, problem.operator, problem.y, problem.variance)
    sigmas = levels(12, problem.noise)
    x = torch.randn(1000, 1, 64, generator=torch.Generator().manual_seed(1)).double()
    samples = integrate(found.denoiser, found.start(x, float(sigmas[0])), sigmas)
    calibration = Calibration.of(samples, problem)
    assert calibration.mean_error < 0.1
    assert calibration.std_ratio == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("name", "method", "options", "fault"),
    [
        ("denoise", "dps", {"zeta": 1.0}, "narrow"),
        ("inpaint", "dps", {"zeta": 0.5}, "narrow"),
        ("denoise", "diffpir", {"balance": 7.0}, "wide"),
        ("blur", "diffpir", {"balance": 7.0}, "wide"),
        ("denoise", "ddnm", {}, "narrow"),
        ("denoise", "ddrm", {}, "narrow"),
        ("denoise", "mcg", {}, "narrow"),
        ("inpaint", "pigdm", {"eta": 1.0}, "off"),
        ("super-resolve", "ald", {"eta": 1.0}, "wide"),
        ("inpaint", "repaint", {}, "narrow"),
    ],
)
def test_spread_of_other_methods_is_no_uncertainty(
    name: str, method: str, options: dict, fault: str
) -> None:
    found = calibrate(name, method, 100, count=300, **options)
    assert not METHODS[method].calibrated
    if fault == "off":
        assert found.mean_error > 0.5
    elif fault == "wide":
        assert found.std_ratio > 1.5
    else:
        assert found.std_ratio < 0.6
        assert found.coverage < 0.7
