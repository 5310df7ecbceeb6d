"""First lessons of a network that reconstructs SIM stacks: simulated ones, whose truth is known.

The mean squared error, relative to the object's own mean square, makes the network the
posterior mean over the objects and microscopes of `curriculum`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from napari_physgen.backend import resolve_precision
from napari_physgen.backend.fit import HeldOut, fit
from napari_physgen.backend.job import Progress, Stop
from napari_physgen.sim.amortised import fold_views, whole_view
from napari_physgen.sim.curriculum import exercise
from napari_physgen.sim.familiarity import Seen
from napari_physgen.sim.infer import deviation, turned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from napari_physgen.backend import Job
    from napari_physgen.backend.fit import FitResult
    from napari_physgen.sim.settings import SimSettings

CROP, BATCH, RATE = 112, 4, 2e-3
TESTS = 16
"""Exercises that only choose the best weights."""


@dataclass(frozen=True)
class Sheet:
    """An exercise within the camera's field.

    Parameters
    ----------
    features : torch.Tensor
        (channel, y, x), 16-bit: there are many.
    u, brightness, truth : torch.Tensor
        (y, x), see `views.View`.
    """

    features: Tensor
    u: Tensor
    brightness: Tensor
    truth: Tensor

    def turned(self, rows: slice, columns: slice, turns: int, mirrored: bool) -> Sheet:
        """Return a part, turned by quarters and mirrored."""
        parts = []
        for image in (self.features, self.u, self.brightness, self.truth):
            part = torch.rot90(image[..., rows, columns], turns, (-2, -1))
            parts.append(part.flip(-1) if mirrored else part)
        return Sheet(*parts)


def simulate_sheets(
    first: int, count: int, device: torch.device, size: int = 128
) -> Job[tuple[list[Sheet], Seen] | None]:
    """Simulate exercises with the seeds from `first` on (a job); None if it was stopped."""
    sheets, seen = [], []
    for number in range(count):
        if isinstance((yield Progress(number, count, "simulating stacks to learn from")), Stop):
            return None
        task = exercise(first + number, size)
        view = whole_view(task.case, device)
        canvas = view.operator.canvas
        images = (view.features[0].half(), view.u, view.brightness, task.truth.to(device))
        sheets.append(Sheet(*(canvas.crop(image, canvas.zoom) for image in images)))
        seen.append(Seen.of(task.case))
    return sheets, Seen.joined(seen)


def learn_sheets(
    net: nn.Module, sheets: Sequence[Sheet], settings: SimSettings, steps: int
) -> Job[FitResult]:
    """Train a network on exercises (a job); the first `TESTS` only choose the best weights."""
    tests, lessons = sheets[:TESTS], sheets[TESTS:]
    device = sheets[0].u.device
    rng = np.random.default_rng(settings.seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    return (
        yield from fit(
            net,
            lambda model, _: _error(model, [_part(lessons, rng) for _ in range(BATCH)]),
            optimizer=optimizer,
            schedule=schedule,
            steps=steps,
            device=device,
            message="learning from simulated stacks",
            held_out=HeldOut(
                lambda model: torch.stack([_error(model, [sheet]) for sheet in tests]).mean(),
                every=max(25, steps // 40),
            ),
            precision=resolve_precision(settings.precision, device),
            clip=1.0,
            ema=0.999,
        )
    )


def calibrate(net: nn.Module, first: int, device: torch.device) -> Job[float]:
    """Return the factor with which the standard deviation covers 95 % of the true pixels (a job).

    Of the test exercises, which the network has not learned from.
    """
    ratios: list[NDArray[np.float32]] = []
    for number in range(TESTS):
        ahead = Progress(number, TESTS, "checking the standard deviation")
        if isinstance((yield ahead), Stop) and ratios:
            break
        task = exercise(first + number)
        whole = whole_view(task.case, device)
        with torch.no_grad():
            rho = turned(net, whole)
            std = deviation(net, task.case, whole, fold_views(task.case, whole), rho)
            error = (rho - task.truth.to(device)).abs()
        canvas = whole.operator.canvas
        ratios.append(canvas.crop(error / std.clamp_min(1e-9), canvas.zoom).cpu().numpy())
    return float(np.quantile(ratios, 0.95)) / 1.96


def estimate(net: nn.Module, sheets: Sequence[Sheet]) -> Tensor:
    """Return the objects (exercise, y, x) that the network sees."""
    features = torch.stack([sheet.features.float() for sheet in sheets])
    change = net(features.contiguous(memory_format=torch.channels_last))[:, 0]
    u = torch.stack([sheet.u for sheet in sheets])
    return torch.stack([s.brightness for s in sheets]) * functional.softplus(u + change)


def _error(net: nn.Module, sheets: Sequence[Sheet]) -> Tensor:
    truth = torch.stack([sheet.truth for sheet in sheets])
    power = truth.square().mean((1, 2), keepdim=True)
    return ((estimate(net, sheets) - truth).square() / power).mean()


def _part(sheets: Sequence[Sheet], rng: np.random.Generator) -> Sheet:
    sheet = sheets[int(rng.integers(len(sheets)))]
    y, x = (int(rng.integers(max(n - CROP, 0) + 1)) for n in sheet.u.shape)
    turns, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)
    return sheet.turned(slice(y, y + CROP), slice(x, x + CROP), turns, mirrored)


def _rate(done: float) -> float:
    """Rise, stay, fall to 0 by half a cosine."""
    fall = 0.5 * (1 + np.cos(np.pi * max(done - 0.4, 0) / 0.6))
    return float(min(1.0, 50 * done + 0.01) * fall)
