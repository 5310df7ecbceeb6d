from __future__ import annotations

import json
import math

import pytest
import torch
from plane_mixture import MIXTURE, SPREAD, PlaneNet, learn, sliced_w2

from napari_physgen.generative import consistency, precondition
from napari_physgen.generative.consistency import Pair, consistency_loss, courses
from napari_physgen.generative.denoiser import Estimate
from napari_physgen.generative.network import NetworkDenoiser
from napari_physgen.generative.noise import GAUSSIAN, Noise
from napari_physgen.generative.priors import GaussianPrior
from napari_physgen.generative.process import presets
from napari_physgen.generative.samplers import integrate, multistep, start

HIGH = 80.0
POINTS = 32000


@pytest.fixture(scope="module")
def golden(data):
    return json.loads((data / "golden" / "generative_golden.json").read_text())


# ---- schedules as published ----------------------------------------------------------------


@pytest.mark.data
def test_number_of_levels_of_improved_training(golden):
    for step, count in golden["ict"]["N(k) for K=8000"]:
        assert consistency.improved_scales(step, 8000) == count


@pytest.mark.data
def test_levels_probabilities_and_weights_of_improved_training(golden):
    told = {key: torch.tensor(golden["ict"][key]) for key in ("sigmas11", "p11", "weights11")}
    falling = consistency.levels(11, 0.002, 80)
    torch.testing.assert_close(falling.flip(0).float(), told["sigmas11"], rtol=1e-6, atol=0)
    found = consistency.improved_probabilities(falling)
    torch.testing.assert_close(found.float(), told["p11"], rtol=1e-6, atol=0)
    pair = consistency.improved_pair(torch.arange(10), falling)
    torch.testing.assert_close(pair.weight.float(), told["weights11"], rtol=1e-6, atol=0)
    assert (consistency.distillation_pair(torch.arange(10), falling).weight == 1).all()


@pytest.mark.data
def test_average_and_number_of_levels_of_consistency_training(golden):
    for step, ema, count in golden["cm"]["ct_schedule_step_ema_scales"]:
        found = consistency.training_schedule(step, 1000)
        assert found == (pytest.approx(ema, abs=1e-12), count)


def test_tuning_goes_from_denoising_to_neighbouring_levels():
    """Geng et al. 2024: r = 0 at first, r / t -> 1 later."""
    t = torch.tensor([0.01, 0.5, 1.0])
    assert (consistency.tuning_pair(t, 0).lower == 0).all()
    late = consistency.tuning_pair(t, 10)
    assert (late.lower / t > 0.99).all()
    torch.testing.assert_close(late.weight, 1 / (t - late.lower))


@pytest.mark.parametrize("method", courses)
def test_pairs_lie_within_the_process(method):
    rng = torch.Generator().manual_seed(0)
    for done in (0.0, 0.4, 0.999):
        pair = courses[method].pairs(done, 500, HIGH, rng)
        assert (pair.lower < pair.upper).all()
        assert float(pair.upper.max()) <= HIGH * (1 + 1e-6)
        assert float(pair.lower.min()) >= 0.999 * consistency.EPSILON


def test_steps_go_down_from_the_highest_level():
    levels = consistency.multistep_levels(3, HIGH, 0.5)
    assert levels[0] == HIGH
    assert (levels.diff() < 0).all()
    assert len(consistency.multistep_levels(1, HIGH, 0.5)) == 1


# ---- the loss ------------------------------------------------------------------------------


@pytest.mark.parametrize("D", [math.inf, 16.0])
def test_paths_end_where_they_are(D):
    """f(x, epsilon) = x exactly, whatever the network says."""
    net = PlaneNet()
    torch.nn.init.normal_(net.layers[-1].weight)
    x = torch.randn(7, 1, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(student(net, D)(x, consistency.EPSILON).mean, x)


def test_exact_consistency_function_has_no_loss():
    """Of N(0, 1): all of a path lies on x / sqrt(1 + sigma^2) = const."""

    class Exact:
        noise = GAUSSIAN

        def __call__(self, x, sigma, cond=None):
            level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1, 1)
            return Estimate(x * (1 + 0.002**2) ** 0.5 / (1 + level**2).sqrt())

    rng = torch.Generator().manual_seed(0)
    x0, n = torch.randn(2, 400, 1, 2, generator=rng, dtype=torch.float64)
    teacher = GaussianPrior(torch.zeros(2).double(), torch.eye(2).double())
    upper = (0.1 * 100 ** torch.rand(400, generator=rng)).double()
    losses = {}
    for share in (0.5, 0.9):
        pair = Pair(upper, share * upper, torch.ones_like(upper))
        losses[share] = float(consistency_loss(Exact(), Exact(), x0, n, pair, teacher=teacher))
    straight = float(consistency_loss(Exact(), Exact(), x0, n, pair))
    # Heun's method is of second order, third in one step; the Huber loss squares small errors.
    assert losses[0.9] < 1e-3 * losses[0.5] + 1e-9
    assert losses[0.9] < 1e-2 * straight


def test_lower_level_0_is_denoising():
    x0, n = torch.randn(2, 50, 1, 2, generator=torch.Generator().manual_seed(0))
    pair = Pair(torch.ones(50), torch.zeros(50), torch.ones(50))
    net = PlaneNet()
    loss = consistency_loss(student(net), student(net), x0, n, pair)
    error = student(net)(x0 + n, torch.ones(50)).mean - x0
    c = 0.00054 * math.sqrt(2)
    huber = (error.flatten(1).square().sum(1) + c**2).sqrt() - c
    assert float(loss.detach()) == pytest.approx(float(huber.mean().detach()) / math.sqrt(2))


# ---- a mixture in the plane ----------------------------------------------------------------


def student(net, D=math.inf):
    return NetworkDenoiser(
        net,
        precondition.consistency(consistency.EPSILON),
        SPREAD,
        HIGH,
        Noise(D),
        certain=True,
    )


def taught(method, D=math.inf, steps=1500, batch=256):
    """Return a consistency model of the mixture, trained for a few seconds."""
    net, course, rng = PlaneNet(), courses[method], torch.Generator().manual_seed(5)
    model = student(net, D)

    def loss(step):
        x0 = MIXTURE.sample(batch, rng)[:, None]
        n = model.noise.draw(x0.shape, rng)
        pair = course.pairs(step / steps, batch, HIGH, rng)
        teacher = MIXTURE if course.taught else None
        return consistency_loss(model, model, x0, n, pair, teacher=teacher)

    learn(net, loss, steps)
    return model


def distances(model):
    """Return sliced Wasserstein distances to the mixture in 1, 2 and 3 steps."""
    rng = torch.Generator().manual_seed(77)
    truth = MIXTURE.sample(POINTS, rng)
    with torch.no_grad():
        x = start(model.noise, (POINTS, 1, 2), HIGH, rng)
        return [
            sliced_w2(
                multistep(model, x, consistency.multistep_levels(n, HIGH, SPREAD), generator=rng)[
                    :, 0
                ],
                truth,
            )
            for n in (1, 2, 3)
        ]


@pytest.fixture(scope="module")
def teachers():
    """Distance of the teacher's samples in 35 evaluations, as many points."""
    rng = torch.Generator().manual_seed(77)
    truth = MIXTURE.sample(POINTS, rng)
    x = start(GAUSSIAN, (POINTS, 1, 2), HIGH, rng)
    return sliced_w2(integrate(MIXTURE, x, presets["edm"].sigmas(18))[:, 0], truth)


def test_one_distilled_step_is_nearly_as_good_as_35_of_the_teacher(teachers):
    one, two, three = distances(taught("distillation"))
    assert one < 2 * teachers
    assert max(two, three) < 2.5 * teachers


def test_tuning_of_a_poisson_flow_gets_better_in_more_steps(teachers):
    """Straight paths with Student-t noise, without a teacher: PFCT, nothing else changes."""
    one, _, three = distances(taught("tuning", D=16.0))
    assert one < 5 * teachers
    assert three < one
