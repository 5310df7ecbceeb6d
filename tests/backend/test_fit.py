from __future__ import annotations

import math
from time import perf_counter

import pytest
import torch
from torch import Tensor, nn

from napari_physgen.backend import Progress, Stop, Tune, generator, run
from napari_physgen.backend.fit import HeldOut, fit

CPU = torch.device("cpu")


class Point(nn.Module):
    """A model that is its own output."""

    def __init__(self, *start: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start))

    def forward(self) -> Tensor:
        return self.x


def descend(model: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr)


def square(model: nn.Module, step: int) -> Tensor:
    """Loss x^2, whose gradient descent at rate r is x -> (1 - 2r) x."""
    return model().square().sum()


def start(model: nn.Module, loss=square, steps: int = 10, **options):
    options.setdefault("optimizer", descend(model))
    return fit(model, loss, steps=steps, device=CPU, message="Fitting", **options)


def test_fit_follows_gradient_descent_exactly():
    model = Point(1.0)
    result = run(start(model))
    assert result.steps == result.best_step == 10
    assert not result.stopped
    assert not result.diverged
    assert math.isnan(result.best_score)
    assert model.x.item() == pytest.approx(0.8**10)
    losses = [value for _, value in result.history["loss"]]
    assert losses == pytest.approx([0.8 ** (2 * step) for step in range(10)])


def test_parameter_groups_keep_their_own_rates():
    model = Point(1.0)
    model.y = nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.SGD(
        [{"params": [model.x], "lr": 0.1}, {"params": [model.y], "lr": 0.2}]
    )

    def loss(_net: nn.Module, _step: int) -> Tensor:
        return (model.x.square() + model.y.square()).sum()

    run(start(model, loss, optimizer=optimizer))
    assert model.x.item() == pytest.approx(0.8**10)
    assert model.y.item() == pytest.approx(0.6**10)


def test_the_weights_with_the_best_score_come_back():
    """Descent from 1 to 0 passes 0.5, where the held-out score is lowest, and goes on."""
    model = Point(1.0)
    held_out = HeldOut(lambda net: (net() - 0.5).square().sum(), every=1)
    result = run(start(model, held_out=held_out))
    assert result.steps == 10
    assert result.best_step == 3
    assert model.x.item() == pytest.approx(0.8**3)
    assert result.best_score == pytest.approx((0.8**3 - 0.5) ** 2, rel=1e-5)


def test_the_start_is_kept_when_every_step_makes_it_worse():
    model = Point(1.0)
    result = run(start(model, held_out=HeldOut(lambda net: -net().sum(), every=2, patience=2)))
    assert result.best_step == 0
    assert result.steps == 4
    assert model.x.item() == 1.0


def test_patience_counts_improvements_smaller_than_min_delta_as_misses():
    model = Point(1.0)
    held_out = HeldOut(lambda net: net().sum(), every=1, patience=3, min_delta=0.15)
    result = run(start(model, held_out=held_out, steps=100))
    # 1, .8, .64, .512, ...: 1 -> .8 counts, .8 -> .64 counts (.16 lower), then .512 is a miss
    # (.128), .41 counts (.23 lower than .64), .328, .262 (.148) are misses, .21 counts ...
    assert result.steps == 8 + 2
    assert result.best_step == result.steps


def test_buffers_come_back_with_the_best_weights():
    model = Point(1.0)
    model.register_buffer("seen", torch.zeros(()))

    def loss(net: nn.Module, step: int) -> Tensor:
        model.seen.fill_(step + 1)
        return square(net, step)

    run(start(model, loss, held_out=HeldOut(lambda net: (net() - 0.5).square().sum(), every=1)))
    assert model.seen.item() == 3


def test_stop_lands_within_one_step():
    model = Point(1.0)
    steps: list[int] = []

    def listen(progress: Progress) -> Stop | None:
        steps.append(progress.step)
        return Stop() if progress.step == 4 else None

    result = run(start(model, steps=100), listen)
    assert steps == [0, 1, 2, 3, 4]
    assert result.stopped
    assert result.steps == 4
    assert model.x.item() == pytest.approx(0.8**4)


def test_stop_before_the_first_step_returns_the_start():
    model = Point(1.0)
    result = run(start(model), lambda _: Stop())
    assert result.stopped
    assert result.steps == 0
    assert model.x.item() == 1.0


def test_stop_between_two_scores_keeps_the_better_of_now_and_before():
    model = Point(1.0)
    held_out = HeldOut(lambda net: net().sum(), every=10)
    result = run(
        start(model, held_out=held_out, steps=100), lambda p: Stop() if p.step == 14 else None
    )
    assert result.best_step == 14
    assert model.x.item() == pytest.approx(0.8**14)


def test_tune_reaches_the_loss_before_the_next_step():
    model, target = Point(0.0), {"value": 1.0}

    def loss(net: nn.Module, step: int) -> Tensor:
        return (net() - target["value"]).square().sum()

    result = run(
        start(model, loss, steps=200, on_tune=target.update),
        lambda p: Tune(value=-2.0) if p.step == 100 else None,
    )
    assert model.x.item() == pytest.approx(-2, abs=1e-4)
    history = dict(result.history["loss"])
    assert history[99] < 1e-12
    assert history[100] == pytest.approx(9)


def test_running_average_equals_its_closed_form():
    """e <- d e + (1 - d) x with d = min(0.6, (1 + step) / (10 + step)), from e = x = 1."""
    model = Point(1.0)
    run(start(model, ema=0.6, steps=30))
    live, expected = 1.0, 1.0
    for step in range(30):
        live *= 0.8
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * live
    assert model.x.item() == pytest.approx(expected, rel=1e-5)
    assert expected > 1.5 * live


def test_the_average_is_scored_and_the_fit_goes_on_from_the_live_weights():
    model, scored = Point(1.0), []

    def score(net: nn.Module) -> float:
        scored.append(net().item())
        return scored[-1]

    seen = []
    run(
        start(model, ema=0.6, steps=20, held_out=HeldOut(score, every=10)),
        lambda _: seen.append(model.x.item()),
    )
    assert seen == pytest.approx([0.8**step for step in range(21)])
    assert scored[1] > 1.2 * 0.8**10
    assert model.x.item() == scored[-1]


def test_gradients_are_clipped_to_their_norm():
    model = Point(3.0, 4.0)
    run(start(model, steps=1, clip=1.0))
    assert model.x.tolist() == pytest.approx([3 - 0.1 * 0.6, 4 - 0.1 * 0.8])


def test_schedule_advances_every_step():
    model = Point(1.0)
    optimizer = descend(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    run(start(model, optimizer=optimizer, schedule=schedule, steps=3))
    assert model.x.item() == pytest.approx((1 - 0.2) * (1 - 0.1) * (1 - 0.05))


@pytest.mark.parametrize("held_out", [None, HeldOut(lambda net: net().abs().sum(), every=1)])
def test_a_diverging_fit_ends_with_finite_weights(held_out):
    model = Point(1.0)

    def loss(net: nn.Module, step: int) -> Tensor:
        return square(net, step) * (math.nan if step == 7 else 1)

    result = run(start(model, loss, held_out=held_out))
    assert result.diverged
    assert result.steps == 7
    assert model.x.item() == pytest.approx(0.8**result.best_step)
    assert result.best_step == (7 if held_out else 0)


def test_weights_that_blow_up_are_undone():
    model = Point(1.0)
    held_out = HeldOut(lambda net: net().square().sum(), every=1)
    result = run(start(model, optimizer=descend(model, 1e20), held_out=held_out, steps=50))
    assert result.diverged
    assert model.x.item() == 1.0


def test_a_loss_that_is_not_finite_at_the_first_step_is_an_error():
    model = Point(math.inf)
    with pytest.raises(RuntimeError, match="first step"):
        run(start(model))


def test_every_step_reports_loss_score_and_further_figures():
    model, reports = Point(1.0), []
    run(
        start(
            model,
            steps=5,
            held_out=HeldOut(lambda net: net().sum(), every=5),
            metrics=lambda: {"x": model.x.item()},
            preview=list,
        ),
        reports.append,
    )
    assert [report.step for report in reports] == [0, 1, 2, 3, 4, 5]
    assert {report.total for report in reports} == {5}
    assert {report.message for report in reports} == {"Fitting"}
    assert reports[0].metrics == {"held-out": 1.0}
    assert reports[3].metrics == pytest.approx({"held-out": 1, "loss": 0.8**4, "x": 0.8**2})
    assert all(report.preview is not None and report.preview() == [] for report in reports)


def test_the_loss_is_read_only_when_asked_for():
    result = run(start(Point(1.0), steps=25, report_every=10))
    assert [step for step, _ in result.history["loss"]] == [0, 10, 20, 24]


def test_scores_see_evaluation_mode_without_gradients_and_losses_training_mode():
    model = nn.Linear(1, 1)
    modes = []

    def score(net: nn.Module) -> float:
        modes.append((model.training, torch.is_grad_enabled()))
        return 0.0

    def loss(net: nn.Module, step: int) -> Tensor:
        modes.append((model.training, torch.is_grad_enabled()))
        return net(torch.ones(1, 1)).square().sum()

    run(start(model, loss, steps=2, held_out=HeldOut(score, every=1)))
    assert modes == [(False, False), (True, True), (False, False), (True, True), (False, False)]
    assert not model.training


def test_mixed_precision_is_for_the_model_only(capfd):
    model, inside = nn.Linear(4, 4), []
    model.register_forward_hook(lambda _m, _i, output: inside.append(output.dtype))

    def loss(net: nn.Module, step: int) -> Tensor:
        output = net(torch.ones(2, 4))
        assert output.dtype == torch.float32
        assert (output @ output.T).dtype == torch.float32
        return output.square().sum()

    run(start(model, loss, steps=3, precision="bf16-mixed"))
    assert inside == [torch.bfloat16] * 3
    assert model.weight.dtype == torch.float32
    assert capfd.readouterr() == ("", "")


def fit_noise(seed: int) -> Tensor:
    model = nn.Linear(8, 8, device="meta").to_empty(device="cpu")
    nn.init.normal_(model.weight, generator=generator(seed, CPU, "weights"))
    nn.init.zeros_(model.bias)
    noise = generator(seed, CPU, "noise")

    def loss(net: nn.Module, step: int) -> Tensor:
        x = torch.randn(16, 8, generator=noise)
        return (net(x) - x.flip(1)).square().mean()

    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    run(start(model, loss, steps=20, optimizer=optimizer, ema=0.9, clip=1.0))
    return model.weight.detach()


def test_the_same_seed_gives_the_same_bits():
    assert torch.equal(fit_noise(1), fit_noise(1))
    assert not torch.equal(fit_noise(1), fit_noise(2))


def test_a_fit_leaves_the_global_random_numbers_alone():
    before = torch.get_rng_state()
    fit_noise(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fit_costs_less_than_a_millisecond_per_step():
    """With optimizer; measured 0.2 ms, best of three because the machine may be busy."""

    def seconds() -> float:
        begin = perf_counter()
        run(start(Point(1.0), steps=300, ema=0.9, clip=1.0))
        return perf_counter() - begin

    assert min(seconds() for _ in range(3)) / 300 < 1e-3
