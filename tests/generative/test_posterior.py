"""Every method does what its equation says, and refuses what it cannot do."""

from __future__ import annotations

import math

import pytest
import torch

from napari_physgen.errors import UserError
from napari_physgen.generative._posterior_exact import ring_problems
from napari_physgen.generative.denoiser import Estimate
from napari_physgen.generative.noise import Noise
from napari_physgen.generative.posterior import METHODS, levels, photons, posterior
from napari_physgen.generative.priors import DataPrior, GaussianPrior
from napari_physgen.generative.samplers import integrate, step
from napari_physgen.generative.schedule import karras
from napari_physgen.physics.blur import blur
from napari_physgen.physics.operator import Identity, LinearMap, Mask, Subsampling, pseudo_inverse

torch.set_num_threads(1)

RING = ring_problems()
SPECTRAL = ("mcg", "ddnm", "ddrm")
CALM = {"diffpir": {"zeta": 0.0}, "ddnm": {"eta": 0.0}, "ald": {}, "direct": {}}
"""Methods and options without derivatives and without fresh noise."""


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def of(name: str, method: str = "mmps", **options):
    problem = RING[name]
    return posterior(
        problem.prior, problem.operator, problem.y, problem.variance, method, **options
    )


def exact_mean(prior: GaussianPrior, operator, y, variance, x, sigma: float) -> torch.Tensor:
    """Mean of x0 given x = x0 + sigma n and y = A x0 + e (equal shapes), by linear algebra."""
    n = len(prior.mean)
    A = operator(torch.eye(n, dtype=x.dtype)[:, None]).flatten(1).T
    B = torch.cat([torch.eye(n, dtype=x.dtype), A])
    S = torch.diag(torch.cat([torch.full((n,), sigma**2, dtype=x.dtype), variance.flatten()]))
    data = torch.cat([x.flatten(1), y.expand(len(x), *y.shape[1:]).flatten(1)], 1)
    K = torch.linalg.solve(B @ prior.covariance @ B.T + S, B @ prior.covariance).T
    return (prior.mean + (data - prior.mean @ B.T) @ K.T).reshape(x.shape)


@pytest.mark.parametrize("sigma", [0.002, 0.1, 1.0, 80.0])
@pytest.mark.parametrize("name", RING)
def test_moment_matching_is_the_exact_posterior_mean(name: str, sigma: float) -> None:
    problem = RING[name]
    x = sigma * normal(3, 1, 64)
    variance = problem.variance(problem.y)
    expected = exact_mean(problem.prior, problem.operator, problem.y, variance, x, sigma)
    found = of(name, tolerance=1e-9, iterations=500).denoiser(x, sigma)
    assert torch.allclose(found.mean, expected, atol=1e-8)
    assert found.std is None


def test_moment_matching_takes_noise_that_follows_the_light() -> None:
    problem, x = RING["blur"], normal(2, 1, 64)
    weight = torch.linspace(0.5, 3, 64, dtype=torch.float64)
    variance = 0.01 * weight.expand(1, 1, 64)
    solver = {"tolerance": 1e-9, "iterations": 500}
    found = posterior(problem.prior, problem.operator, problem.y, lambda y: 0.01 * weight, **solver)
    expected = exact_mean(problem.prior, problem.operator, problem.y, variance, x, 1.0)
    assert torch.allclose(found.denoiser(x, 1.0).mean, expected, atol=1e-8)

    seen = []
    light = posterior(
        problem.prior, problem.operator, problem.y, lambda y: seen.append(y) or y.exp(), **solver
    )
    d = problem.prior(x, 1.0).mean
    variance = problem.operator(d).exp()
    expected = exact_mean(problem.prior, problem.operator, problem.y, variance[:1], x[:1], 1.0)
    assert torch.allclose(light.denoiser(x, 1.0).mean[:1], expected, atol=1e-8)
    assert torch.equal(seen[-1], problem.operator(d))


@pytest.mark.parametrize("sigma", [0.002, 0.5, 80.0])
def test_moment_matching_is_good_in_single_precision(sigma: float) -> None:
    problem = RING["inpaint"]
    prior = GaussianPrior(problem.prior.mean.float(), problem.prior.covariance.float())
    x = sigma * normal(3, 1, 64)
    exact = of("inpaint", tolerance=1e-9, iterations=500).denoiser(x, sigma).mean
    single = posterior(prior, problem.operator, problem.y.float(), problem.variance)
    found = single.denoiser(x.float(), sigma).mean
    assert found.dtype == torch.float32
    assert (found - exact).square().mean().sqrt() < 2e-3  # of 0.5; the noise is 0.05


def test_every_image_of_a_batch_may_have_its_own_level() -> None:
    x, sigma = normal(3, 1, 64), torch.tensor([0.1, 1.0, 5.0]).double()
    for method in ("mmps", "pigdm", "diffpir", "ald", "direct"):
        together = of("denoise", method).denoiser(x, sigma).mean
        for index in range(3):
            alone = of("denoise", method).denoiser(x[index : index + 1], float(sigma[index])).mean
            assert torch.allclose(together[index], alone[0], atol=1e-3)


def test_same_noise_same_images_also_from_a_posterior_used_before() -> None:
    found, x = of("blur"), 3 * normal(2, 1, 64)
    runs = [integrate(found.denoiser, x, karras(6, 0.01, 3)) for _ in range(2)]
    assert torch.equal(*runs)


def test_solver_reports_its_iterations() -> None:
    seen = []
    found = of("blur", watch=lambda sigma, solution: seen.append((sigma, solution)))
    integrate(found.denoiser, found.start(normal(2, 1, 64), 3.0), levels(12, 0.05))
    assert [sigma for sigma, _ in seen] == sorted((s for s, _ in seen), reverse=True)
    assert all(bool((solution.left <= 0.01).all()) for _, solution in seen)
    assert 5 < seen[0][1].iterations <= 50
    assert sum(solution.iterations for _, solution in seen) < 8 * len(seen)


def test_derivatives_that_are_not_positive_do_no_harm() -> None:
    """As those of networks at high noise: the estimate stays at the data, not at infinity."""

    class Wild:
        noise = Noise()

        def __call__(self, x, sigma, cond=None):
            turned = torch.linspace(-1, 1, 64, dtype=x.dtype) * x + 0.3 * x.roll(1, -1)
            return Estimate(0.1 * turned / sigma, None)

    problem = RING["blur"]
    found = posterior(Wild(), problem.operator, problem.y, problem.variance)
    x = 80 * normal(4, 1, 64)
    before = problem.y - problem.operator(Wild()(x, 80.0).mean)
    mean = found.denoiser(x, 80.0).mean
    assert torch.isfinite(mean).all()
    assert (problem.y - problem.operator(mean)).norm() <= before.norm()


@pytest.mark.parametrize("sigma", [0.01, 0.4, 80.0, math.inf])
def test_direct_denoising_is_exact_in_mean_and_spread(sigma: float) -> None:
    problem, x = RING["denoise"], normal(2, 1, 64)
    found = of("denoise", "direct")
    estimate = found.denoiser(x, sigma)
    level = min(sigma, 1e9)
    variance = problem.variance(problem.y)
    expected = exact_mean(problem.prior, problem.operator, problem.y, variance, x, level)
    assert torch.allclose(estimate.mean, expected, atol=1e-12)
    both = 1 / (1 / level**2 + 1 / problem.noise**2)
    C = problem.prior.covariance
    spread = (C - C @ torch.linalg.inv(C + both * torch.eye(64)) @ C).diagonal().sqrt()
    assert torch.allclose(estimate.std, spread.expand_as(x), atol=1e-9)
    assert found.calibrated


def test_direct_denoising_of_unequal_noise_is_not_called_calibrated() -> None:
    problem = RING["denoise"]
    light = posterior(
        problem.prior, Identity(), problem.y, lambda y: 0.1 * (y + 3), method="direct"
    )
    assert not light.calibrated


def test_pseudo_inverse_guidance_is_exact_for_independent_pixels() -> None:
    prior = GaussianPrior(torch.zeros(64).double(), 0.25 * torch.eye(64).double())
    problem, x = RING["blur"], normal(2, 1, 64)
    found = posterior(prior, problem.operator, problem.y, problem.variance, "pigdm", spread=0.5)
    variance = problem.variance(problem.y)
    expected = exact_mean(prior, problem.operator, problem.y, variance, x, 0.7)
    assert torch.allclose(found.denoiser(x, 0.7).mean, expected, atol=1e-9)


def test_dps_steps_down_the_misfit() -> None:
    """As published, in the variables x / sqrt(1 + sigma^2)."""
    problem, a, b, zeta = RING["blur"], 2.0, 1.5, 0.7
    x, z = normal(1, 1, 64), normal(1, 1, 64, seed=1)
    found = of("blur", "dps", zeta=zeta)
    assert found.rule is not None
    moved = found.rule(x, found.denoiser(x, a), a, b, lambda: z)
    scaled = (x / math.sqrt(1 + a**2)).requires_grad_()
    d = problem.prior(scaled * math.sqrt(1 + a**2), a).mean
    norm = (problem.y - problem.operator(d)).norm()
    (slope,) = torch.autograd.grad(norm, scaled)
    free = step(x, d.detach(), a, b, 1.0, z) / math.sqrt(1 + b**2)
    assert torch.allclose(moved / math.sqrt(1 + b**2), free - zeta * slope, atol=1e-12)


def test_score_ald_adds_the_likelihood_of_the_noisy_image() -> None:
    problem, x, sigma = RING["blur"], normal(2, 1, 64), 0.8
    A, sy = problem.operator, problem.noise
    slope = A.adjoint(problem.y - A(x)) / (sy**2 + sigma**2)
    expected = problem.prior(x, sigma).mean + sigma**2 * slope
    assert torch.allclose(of("blur", "ald").denoiser(x, sigma).mean, expected, atol=1e-12)


def test_mcg_ends_at_the_data() -> None:
    found, problem = of("inpaint", "mcg"), RING["inpaint"]
    x = integrate(found.denoiser, normal(2, 1, 64), [1.0, 0.5, 0.0], rule=found.rule)
    assert torch.allclose(problem.operator(x), problem.operator(problem.y).expand_as(x))


def test_diffpir_balances_data_and_denoiser() -> None:
    problem, x, a, b = RING["blur"], normal(2, 1, 64), 0.8, 0.5
    found, A = of("blur", "diffpir", balance=7.0, zeta=0.3), problem.operator
    z = found.denoiser(x, a).mean
    d = problem.prior(x, a).mean
    slope = A.adjoint(A(z) - problem.y) / problem.noise**2 + 7 / a**2 * (z - d)
    assert slope.abs().max() < 1e-9
    n = normal(2, 1, 64, seed=1)
    assert found.rule is not None
    moved = found.rule(x, Estimate(z), a, b, lambda: n)
    expected = z + b * (math.sqrt(0.7) * (x - z) / a + math.sqrt(0.3) * n)
    assert torch.allclose(moved, expected)


def test_diffpir_counts_photons() -> None:
    """0 = (1 - y / x) / gain + rho (x - d), light above -1."""
    problem, x, a, gain = RING["denoise"], normal(2, 1, 64), 0.8, 0.1
    y = -1 + gain * (1 + torch.arange(64).double().reshape(1, 1, 64) % 9)
    found = posterior(
        problem.prior,
        Identity(),
        y,
        lambda y: gain * (y + 1) + 1e-6,
        "diffpir",
        nearest=photons(gain, -1.0),
    )
    z = found.denoiser(x, a).mean
    slope = (1 - (y + 1) / (z + 1)) / gain + (z - problem.prior(x, a).mean) / a**2
    assert slope.abs().max() < 1e-8
    with pytest.raises(UserError, match="denoising only"):
        blurred = of("blur", "diffpir", nearest=photons(gain, -1.0))
        blurred.denoiser(x, a)


@pytest.mark.parametrize("name", RING)
def test_ddrm_with_all_data_is_ddnm_plus(name: str) -> None:
    """Wang et al. 2023, eq. 17: z = d + Lambda A^+ (y - A d), Lambda per singular value."""
    problem, a, b, eta = RING[name], 0.8, 0.12, 0.85
    A, sy = problem.operator, problem.noise
    x, n = normal(2, 1, 64), normal(2, 1, 64, seed=1)
    d = problem.prior(x, a).mean
    s = A.singular_values(A.analyse(d))
    noisier, seen, tau = s * b > sy, s > 1e-3, sy / s
    scale = torch.where(noisier, 1.0, s * b * math.sqrt(1 - eta**2) / sy)
    z = A.analyse(d) + scale * A.analyse(pseudo_inverse(A, problem.y - A(d), 1e-3))
    fresh = torch.where(noisier, (b**2 - tau**2).clamp_min(0).sqrt(), eta * b)
    kept = torch.where(seen, 0.0, b * math.sqrt(1 - eta**2))
    expected = z + fresh * A.analyse(n) + kept * A.analyse((x - d) / a)
    found = of(name, "ddrm", eta=eta)
    assert found.rule is not None
    moved = found.rule(x, found.denoiser(x, a), a, b, lambda: n)
    assert torch.allclose(A.analyse(moved)[..., s > 1e-3], expected[..., s > 1e-3], atol=1e-9)


def test_ddnm_ends_at_the_data() -> None:
    found, problem = of("super-resolve", "ddnm"), RING["super-resolve"]
    x = integrate(found.denoiser, normal(2, 1, 64), [1.0, 0.5, 0.0], rule=found.rule)
    assert torch.allclose(problem.operator(x), problem.y.expand(2, -1, -1))


def test_repaint_asks_again_at_the_same_level_and_condition() -> None:
    problem, asked = RING["inpaint"], []

    class Watched:
        noise = Noise()

        def __call__(self, x, sigma, cond=None):
            asked.append((sigma, cond))
            return problem.prior(x, sigma)

    found = posterior(
        Watched(), problem.operator, problem.y, problem.variance, "repaint", repeats=3
    )
    cond = torch.ones(1)
    x = integrate(found.denoiser, normal(2, 1, 64), [1.0, 0.5, 0.0], rule=found.rule, cond=cond)
    assert asked == [(1.0, cond)] * 3 + [(0.5, cond)]
    assert torch.allclose(problem.operator(x), problem.operator(problem.y).expand_as(x))


@pytest.mark.parametrize("method", METHODS)
def test_methods_run_without_gradients_and_stop_where_the_denoiser_does(method: str) -> None:
    name = {"direct": "denoise", "repaint": "inpaint"}.get(method, "blur")
    problem = RING[name]

    class Stopped(Exception): ...

    class Impatient:
        noise, left = Noise(), 3

        def __call__(self, x, sigma, cond=None):
            self.left -= 1
            if self.left < 0:
                raise Stopped
            return problem.prior(x, sigma)

    found = posterior(Impatient(), problem.operator, problem.y, problem.variance, method)
    with torch.no_grad(), pytest.raises(Stopped):
        integrate(found.denoiser, normal(2, 1, 64), levels(8, 0.05), rule=found.rule)


@pytest.mark.parametrize("method", [m for m in METHODS if METHODS[m].derivatives])
def test_poisson_flows_have_no_posterior_covariance_from_derivatives(method: str) -> None:
    flow = DataPrior(normal(5, 64), Noise(6))
    problem = RING["denoise"]
    with pytest.raises(UserError, match=r"D = 6.*choose|Choose.*diffpir.*D = inf"):
        posterior(flow, problem.operator, problem.y, problem.variance, method)


@pytest.mark.parametrize("method", ["diffpir", "ddnm", "ddrm", "repaint"])
def test_poisson_flows_take_no_fresh_gaussian_noise(method: str) -> None:
    flow = DataPrior(normal(5, 64), Noise(6))
    problem = RING["inpaint"]
    with pytest.raises(UserError, match="needs Gaussian noise"):
        posterior(flow, problem.operator, problem.y, problem.variance, method)


@pytest.mark.parametrize("method", CALM)
def test_poisson_flows_do_without_derivatives_and_fresh_noise(method: str) -> None:
    flow = DataPrior(normal(5, 64), Noise(6))
    y = flow.points[:1, None] + 0.1 * normal(1, 1, 64, seed=4)
    found = posterior(
        flow, Identity(), y, lambda y: torch.full_like(y, 0.01), method, **CALM[method]
    )
    x = found.start(normal(2, 1, 64), 3.0)
    x = integrate(found.denoiser, x, karras(10, 0.01, 3), rule=found.rule)
    assert (x - flow.points[0]).square().mean().sqrt() < 0.15


def test_a_poisson_flow_denoises_at_the_level_of_the_data_alone() -> None:
    flow = DataPrior(normal(5, 64), Noise(6))
    y = normal(1, 1, 64)
    found = posterior(flow, Identity(), y, lambda y: torch.full_like(y, 4.0), "direct")
    expected = flow(y, 2.0)
    for sigma in (0.1, 30.0):
        estimate = found.denoiser(normal(1, 1, 64, seed=1), sigma)
        assert torch.allclose(estimate.mean, expected.mean)
        assert estimate.std is not None
        assert torch.allclose(estimate.std, expected.std)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "direct"])
def test_what_a_mask_hides_does_not_matter(method: str) -> None:
    problem, x = RING["inpaint"], normal(2, 1, 64)
    rubbish = torch.where(problem.operator.kept, problem.y, 1e6)
    outcomes = []
    for y in (problem.y, rubbish):
        found = posterior(problem.prior, problem.operator, y, problem.variance, method)
        generator = torch.Generator().manual_seed(0)
        sigmas = [1.0, 0.5, 0.0]
        outcomes.append(integrate(found.denoiser, x, sigmas, rule=found.rule, generator=generator))
    assert torch.equal(*outcomes)


def test_images_in_2d_and_3d_are_restored() -> None:
    """White prior: the pixels of a coarse camera end within the noise of the data."""
    for shape in ((16, 20), (4, 16, 20)):
        n = math.prod(shape)

        class White:
            noise = Noise()

            def __call__(self, x, sigma, cond=None):
                return Estimate(x * 0.25 / (0.25 + sigma**2), None)

        psf = torch.ones((3,) * len(shape))
        operator = blur(psf, "open")
        margin = tuple(s + 2 for s in shape)
        truth = 0.5 * normal(1, 1, *margin).float()
        noise = 0.01 * normal(*operator(truth).shape, seed=2).float()
        y = operator(truth) + noise
        assert y.shape[2:] == shape
        found = posterior(White(), operator, y, lambda y: torch.full_like(y, 1e-4))
        x = found.start(normal(1, 1, *margin).float(), 3.0)
        x = integrate(found.denoiser, x, levels(8, 0.01))
        assert (operator(x) - y).square().mean().sqrt() == pytest.approx(0.01, rel=0.3)
        assert n == y.numel()


@pytest.mark.parametrize("method", SPECTRAL)
def test_methods_by_singular_values_need_them(method: str) -> None:
    operator = blur(torch.ones(3), "open")
    problem = RING["denoise"]
    with pytest.raises(UserError, match="singular values"):
        posterior(problem.prior, operator, problem.y, problem.variance, method)


@pytest.mark.parametrize(
    ("operator", "method", "words"),
    [
        (Subsampling((4,)), "direct", "removes noise only"),
        (Subsampling((4,)), "repaint", "missing pixels only"),
        (Identity(), "magic", "choose one of mmps"),
    ],
)
def test_methods_say_what_they_are_for(operator, method: str, words: str) -> None:
    problem = RING["denoise"]
    with pytest.raises(UserError, match=words):
        posterior(problem.prior, operator, problem.y, problem.variance, method)


@pytest.mark.parametrize("variance", [-1.0, 0.0, math.nan])
def test_noise_must_be_above_zero(variance: float) -> None:
    problem = RING["denoise"]
    with pytest.raises(UserError, match="above 0"):
        posterior(problem.prior, Identity(), problem.y, lambda y: torch.full_like(y, variance))


def test_missing_values_are_refused() -> None:
    problem = RING["denoise"]
    y = torch.where(torch.arange(64) == 3, torch.nan, problem.y)
    with pytest.raises(UserError, match="mask"):
        posterior(problem.prior, Identity(), y, problem.variance)


def test_images_and_data_that_disagree_are_explained() -> None:
    """Data of another size than the image that is sampled."""
    problem = RING["super-resolve"]
    found = posterior(
        problem.prior, problem.operator, problem.y[..., :8], problem.variance, "diffpir"
    )
    with pytest.raises(UserError, match="shape 1 x 8, but the forward model makes 1 x 16"):
        found.denoiser(normal(2, 1, 64), 1.0)
    with pytest.raises(UserError, match="8 x 8"):
        kept = Mask(torch.ones(8, 8, dtype=torch.bool))
        posterior(problem.prior, kept, problem.y, problem.variance)
    frames = LinearMap(lambda x: torch.stack([x, 2 * x], 1), (1, 64))
    with pytest.raises(UserError, match="makes 2 x 1 x 64"):
        posterior(problem.prior, frames, normal(1, 3, 1, 64), problem.variance)


def test_data_with_more_axes_than_the_image() -> None:
    """As raw frames under patterned light."""
    problem = RING["denoise"]
    wave = torch.linspace(0, 9, 64, dtype=torch.float64)
    light = torch.stack([1 + wave.cos(), 1 + wave.sin()])[:, None]
    frames = LinearMap(lambda x: x[:, None] * light, (1, 64))
    y, x = normal(1, 2, 1, 64), normal(3, 1, 64)
    found = posterior(problem.prior, frames, y, problem.variance, tolerance=1e-9, iterations=500)
    variance = torch.full((128,), problem.noise**2).double()
    expected = exact_mean(problem.prior, frames, y, variance, x, 0.5)
    assert torch.allclose(found.denoiser(x, 0.5).mean, expected, atol=1e-8)


def test_only_calibrated_methods_may_speak_of_uncertainty() -> None:
    assert [name for name, method in METHODS.items() if method.calibrated] == ["mmps", "direct"]
    for method in METHODS:
        name = {"direct": "denoise"}.get(method, "inpaint")
        assert of(name, method).calibrated == METHODS[method].calibrated
