"""What a network sees of a stack, what it corrects, and the camera pixels that judge it.

    rho = s softplus(u + N(features)),

with a first image u, the local brightness s and N = 0 before training. The camera pixels of a
stack are dealt into folds: a network that sees a stack without one fold has to predict that fold.
It never sees a pixel whose noise it is judged on, so it learns what images are like, not the noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_physgen.backend import generator, resolve_precision
from napari_physgen.backend.fit import HeldOut, fit
from napari_physgen.sim.measurement import image_preview

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from napari_physgen.backend import Job
    from napari_physgen.backend.fit import FitResult
    from napari_physgen.outputs import Output
    from napari_physgen.sim.forward import SimOperator
    from napari_physgen.sim.measurement import Measurement
    from napari_physgen.sim.settings import SimSettings

FOLDS = 4


@dataclass(frozen=True)
class View:
    """One stack, all of it or without one fold.

    Parameters
    ----------
    operator : SimOperator
        Frozen.
    measurement : Measurement
        Of the whole stack.
    u : torch.Tensor
        (y, x) on the fine canvas, the first image.
    brightness : torch.Tensor
        (y, x), local brightness s, grey levels.
    features : torch.Tensor
        (1, channel, y, x), what the network sees.
    fold : torch.Tensor
        Shaped like the frames, 1 at the camera pixels that judge.
    """

    operator: SimOperator
    measurement: Measurement
    u: Tensor
    brightness: Tensor
    features: Tensor
    fold: Tensor

    def rho(self, net: nn.Module) -> Tensor:
        """Return the object (y, x) on the fine canvas with the network's correction."""
        return self.brightness * functional.softplus(self.u + net(self.features)[0, 0])

    def loss(self, net: nn.Module) -> Tensor:
        """Return the mean squared weighted residual on the fold."""
        residual = self.measurement.residual(self.operator(self.rho(net)))
        return (self.fold * residual.square()).sum() / self.fold.sum()

    def chi2(self, net: nn.Module) -> Tensor:
        """Return the mean squared weighted residual on the held-out pixels."""
        return self.measurement.chi2(self.operator(self.rho(net)))

    def image(self, net: nn.Module) -> list[Output]:
        """Return the field of the camera, for the live preview."""
        canvas = self.operator.canvas
        with torch.no_grad():
            return image_preview(canvas.crop(self.rho(net), canvas.zoom), canvas.zoom)


def deal(measurement: Measurement, seed: int) -> list[tuple[Tensor, Measurement]]:
    """Deal the fitted pixels into folds; return each fold with the stack that lacks it."""
    draw = generator(seed, "cpu", "folds")
    label = torch.randint(FOLDS, measurement.frames.shape, generator=draw)
    label = label.to(measurement.frames.device)
    dealt = []
    for k in range(FOLDS):
        fold = measurement.fitted * (label == k)
        dealt.append((fold, replace(measurement, fitted=measurement.fitted - fold)))
    return dealt


def train(
    net: nn.Module,
    views: Sequence[View],
    wholes: Sequence[View],
    settings: SimSettings,
    steps: int,
    message: str,
    member: int = 0,
    rate: float = 1e-3,
) -> Job[FitResult]:
    """Train a network to predict each fold from the others (a job).

    Parameters
    ----------
    net : torch.nn.Module
    views : sequence of View
        Stacks without a fold.
    wholes : sequence of View
        The same stacks; their held-out pixels choose the best weights.
    settings : SimSettings
        `seed` and `precision`.
    steps : int
    message : str
    member : int
        Number of the network, for its own order of views.
    rate : float
        Largest learning rate.
    """
    order = _turns(len(views), settings, member)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=steps, pct_start=0.15
    )
    device = wholes[0].u.device
    return (
        yield from fit(
            net,
            lambda model, _: views[next(order)].loss(model),
            optimizer=optimizer,
            schedule=schedule,
            steps=steps,
            device=device,
            message=message,
            held_out=HeldOut(
                lambda model: torch.stack([whole.chi2(model) for whole in wholes]).mean(), every=25
            ),
            precision=resolve_precision(settings.precision, device),
            clip=0.02,
            ema=0.95,
            preview=lambda: wholes[0].image(net),
        )
    )


def _turns(count: int, settings: SimSettings, member: int) -> Iterator[int]:
    """Yield the views in random order, each as often as the others."""
    draw = generator(settings.seed, "cpu", "turns", member)
    while True:
        yield from torch.randperm(count, generator=draw).tolist()


def jackknife(folds: Tensor) -> Tensor:
    """Return the variance (y, x) of images (fold, y, x) that each lack one fold.

    Delete-a-group jackknife; Efron & Stein, Ann. Stat. 9, 586 (1981).
    """
    count = len(folds)
    return (count - 1) / count * (folds - folds.mean(0)).square().sum(0)
