"""The one fit loop: from a loss to the weights that predict held-out data best.

A variational solve (the image itself is the parameter), a physics-informed network and a
generative model differ in their model and loss only; the loop around them is here, once. It
stands on Lightning Fabric, which brings devices, mixed precision and several GPUs.

A model with two objectives (generator and discriminator) is one model whose loss is the sum of
both, each with the other's weights detached, and one optimizer with two parameter groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from napari_physgen.backend.job import Command, Progress, Stop, Tune

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from napari_physgen.backend.device import Precision
    from napari_physgen.outputs import Output

_GPU_REPORT_EVERY = 10
"""Reading a number makes the host wait for the GPU: 10 steps keep its queue filled."""

_SAFE_EVERY = 50
"""Without a score, steps between two copies of the weights to fall back on."""


@dataclass(frozen=True)
class HeldOut:
    """When to stop: a score on data that the loss never sees, lower is better.

    Parameters
    ----------
    score : callable
        ``score(model) -> float``, called without gradients, in evaluation mode and with the
        averaged weights when there are any.
    every : int
        Steps between two scores; the start and the end are scored too.
    patience : int, optional
        Stop after this many scores in a row that did not improve; None never stops.
    min_delta : float
        A score lower by less than this is kept as the best one, but uses up patience.
    """

    score: Callable[[nn.Module], float | Tensor]
    every: int = 10
    patience: int | None = None
    min_delta: float = 0.0


@dataclass(frozen=True)
class FitResult:
    """How a fit went; the model itself holds the best weights.

    Parameters
    ----------
    steps : int
        Optimizer steps done.
    best_step : int
        Steps after which the kept weights were reached; 0 is the start.
    best_score : float
        Held-out score of the kept weights; NaN without a score.
    stopped : bool
        Whether a `Stop` command ended the fit.
    diverged : bool
        Whether the loss became infinite or NaN, which ended the fit.
    history : mapping
        (step, value) pairs of "loss", "held-out" and the extra metrics.
    """

    steps: int
    best_step: int
    best_score: float
    stopped: bool
    diverged: bool
    history: Mapping[str, list[tuple[int, float]]]


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, int], Tensor],
    *,
    optimizer: Optimizer,
    steps: int,
    device: torch.device,
    message: str,
    held_out: HeldOut | None = None,
    precision: Precision = "32-true",
    schedule: LRScheduler | None = None,
    clip: float | None = None,
    ema: float | Callable[[int], float] | None = None,
    metrics: Callable[[], Mapping[str, float]] | None = None,
    preview: Callable[[], list[Output]] | None = None,
    on_tune: Callable[[Mapping[str, Any]], None] | None = None,
    report_every: int | None = None,
) -> Generator[Progress, Command | None, FitResult]:
    """Minimise `loss`, keep the weights with the best held-out score.

    Yields a `Progress` at the start and after every step; `Stop` ends the fit there and then.
    At the end `model` is in evaluation mode and holds the best weights: those with the lowest
    held-out score, or without a score the last ones.

    Parameters
    ----------
    model : torch.nn.Module
        Moved to `device` and fitted in place.
    loss : callable
        ``loss(model, step) -> scalar``. The model it is given runs its `forward` in the chosen
        precision and returns float32; what the loss computes around it stays in float32.
    optimizer : torch.optim.Optimizer
        Made on the parameters of `model`, with as many parameter groups as needed.
    steps : int
        Most steps.
    device : torch.device
    message : str
        What is being done, in the microscopist's words.
    held_out : HeldOut, optional
        Score and stop rule.
    precision : {"32-true", "bf16-mixed", "16-mixed"}
    schedule : torch.optim.lr_scheduler.LRScheduler, optional
        Made on `optimizer`, advanced after every step.
    clip : float, optional
        Largest norm of the gradient over all parameters.
    ema : float or callable, optional
        Decay of a running average of the weights, which is then what is scored and kept. Starts
        with min(ema, (1 + step) / (10 + step)), so that the start is soon forgotten; a callable
        gives the decay after each number of steps itself.
    metrics : callable, optional
        Further figures for the live curves, asked for when the loss is read.
    preview : callable, optional
        Handed on in every `Progress`; sees the current, not averaged weights.
    on_tune : callable, optional
        Takes the changes of a `Tune` command.
    report_every : int, optional
        Steps between two readings of the loss; default 1 on the CPU, 10 elsewhere.

    Returns
    -------
    FitResult

    Raises
    ------
    RuntimeError
        If the loss is not finite at the very first step.
    """
    fabric = _fabric(device, precision)
    net, stepper = fabric.setup(model, optimizer)
    weights = _Weights(model, ema)
    record = _Record(net, weights, held_out)
    every = report_every or (1 if device.type == "cpu" else _GPU_REPORT_EVERY)
    done, diverged = 0, False

    net.train()
    record.score(0)
    command = yield Progress(0, steps, message, record.latest(), preview)
    for step in range(steps):
        if isinstance(command, Stop):
            break
        if isinstance(command, Tune) and on_tune:
            on_tune(command.changes)
        value = loss(net, step)
        if step % every == 0 or step == steps - 1:
            record.note(step, {"loss": float(value.detach())} | dict(metrics() if metrics else {}))
            diverged = not math.isfinite(record.latest()["loss"])
            if diverged:
                break
            if held_out is None and step % _SAFE_EVERY < every:
                weights.keep(step)
        stepper.zero_grad()
        fabric.backward(value)
        if clip is not None:
            fabric.clip_gradients(net, stepper, max_norm=clip, error_if_nonfinite=False)
        stepper.step()
        if schedule is not None:
            schedule.step()
        weights.average(step)
        done = step + 1
        if held_out is not None and done % held_out.every == 0:
            record.score(done)
        command = yield Progress(done, steps, message, record.latest(), preview)
        if record.out_of_patience:
            break

    if diverged and done == 0:
        raise RuntimeError("The loss is not a finite number at the first step.")
    if not diverged:
        record.score(done)
    weights.restore()
    model.eval()
    stopped = isinstance(command, Stop)
    return FitResult(done, weights.kept_at, record.best, stopped, diverged, dict(record.history))


class _Weights:
    """The live weights of a model, their running average and the ones to keep."""

    def __init__(self, model: nn.Module, ema: float | Callable[[int], float] | None) -> None:
        self._live = [tensor.detach() for tensor in model.parameters()]
        self._buffers = [tensor.detach() for tensor in model.buffers()]
        self._ema = ema
        self._averaged = None if ema is None else [tensor.clone() for tensor in self._live]
        self._kept = [tensor.clone() for tensor in self._live + self._buffers]
        self.kept_at = 0

    def average(self, step: int) -> None:
        """Take the weights after `step` into the running average."""
        if self._averaged is not None and self._ema is not None:
            decay = (
                self._ema(step) if callable(self._ema) else min(self._ema, (1 + step) / (10 + step))
            )
            update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            update(self._averaged, self._live, None)

    @contextmanager
    def best_estimate(self) -> Iterator[None]:
        """Put the average, if there is one, into the model for a while."""
        if self._averaged is None:
            yield
            return
        live = [tensor.clone() for tensor in self._live]
        _copy(self._averaged, self._live)
        try:
            yield
        finally:
            _copy(live, self._live)

    def keep(self, step: int) -> None:
        """Remember the (averaged) weights as those reached after `step` steps."""
        _copy((self._averaged or self._live) + self._buffers, self._kept)
        self.kept_at = step

    def restore(self) -> None:
        """Put the remembered weights into the model."""
        _copy(self._kept, self._live + self._buffers)


class _Record:
    """Curves, the best score and the patience that is left."""

    def __init__(self, net: nn.Module, weights: _Weights, held_out: HeldOut | None) -> None:
        self._net = net
        self._weights = weights
        self._held_out = held_out
        self._scored_at = -1
        self._to_beat = math.inf
        self._misses = 0
        self.best = math.inf if held_out else math.nan
        self.history: dict[str, list[tuple[int, float]]] = {}

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Add points at `step` to the curves."""
        for name, value in values.items():
            self.history.setdefault(name, []).append((step, float(value)))

    def latest(self) -> dict[str, float]:
        """Return the last point of every curve."""
        return {name: points[-1][1] for name, points in self.history.items()}

    def score(self, step: int) -> None:
        """Score the weights after `step` steps, keep them if they are the best."""
        if self._held_out is None:
            self._weights.keep(step)
            return
        if step == self._scored_at:
            return
        self._scored_at = step
        self._net.eval()
        with torch.no_grad(), self._weights.best_estimate():
            value = float(self._held_out.score(self._net))
        self._net.train()
        self.note(step, {"held-out": value})
        if value < self.best:
            self.best = value
            self._weights.keep(step)
        if value < self._to_beat - self._held_out.min_delta:
            self._to_beat = value
            self._misses = 0
        else:
            self._misses += 1

    @property
    def out_of_patience(self) -> bool:
        """Whether the score has not improved for long enough."""
        patience = self._held_out.patience if self._held_out else None
        return patience is not None and self._misses >= patience


def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    with torch.no_grad():
        for old, new in zip(target, source, strict=True):
            old.copy_(new)


def _fabric(device: torch.device, precision: Precision) -> Fabric:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

    # As a plugin, for Fabric announces a precision given by name on the terminal.
    mixed = None if precision == "32-true" else MixedPrecision(precision, device.type)
    index = [device.index or 0] if device.type == "cuda" else 1
    return Fabric(accelerator=device.type, devices=index, plugins=mixed)
