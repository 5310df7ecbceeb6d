"""Teach one network to reconstruct many stacks (a job), without ground truth.

The loss is the physics of each stack: the network sees the stack without a part of its camera
pixels and has to predict that part through the forward model (`views`). Before that it may learn
from simulated stacks (`pretrain`), whose truth is known, or start from a trained network.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.backend import describe_device, resolve_device
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output
from napari_physgen.sim import model as models
from napari_physgen.sim.amortised import fold_views, new_network, whole_view
from napari_physgen.sim.familiarity import Seen
from napari_physgen.sim.model import SimModel
from napari_physgen.sim.pretrain import TESTS, calibrate, learn_sheets, simulate_sheets
from napari_physgen.sim.reconstruct import prepare
from napari_physgen.sim.results import Patterns
from napari_physgen.sim.views import train

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike
    from torch import nn

    from napari_physgen.backend import Job
    from napari_physgen.sim.case import Case
    from napari_physgen.sim.training_settings import SimTrainingSettings
    from napari_physgen.sim.views import View

CROP = 192
"""Raw px along y and x of the part of a stack that is learned from: as much as a network sees at
once, and small enough for many stacks in memory."""

MOST = 24
"""Stacks that are learned from; of more, evenly spaced ones."""

RATE = {True: 3e-4, False: 1e-3}
"""Largest learning rate by whether the network knows something already."""


def train_model(
    raw: Sequence[ArrayLike],
    settings: SimTrainingSettings,
    patterns: Sequence[Patterns | ArrayLike | None] | None = None,
) -> Job[SimModel]:
    """Train a network on raw stacks alone (a job).

    Parameters
    ----------
    raw : sequence of arrays
        Stacks as `reconstruct` takes them, all of one kind of microscope.
    settings : SimTrainingSettings
    patterns : sequence, optional
        What is known about the illumination of each stack, see `reconstruct`.

    Returns
    -------
    SimModel

    Raises
    ------
    UserError
        If a stack cannot be used, or if it was stopped before there was anything to learn from.
    """
    if not len(raw):
        raise UserError("There is no stack to learn from: choose at least one.")
    device = resolve_device(settings.device)
    start = yield from _begin(settings, device)
    cases, stopped = yield from _cases(raw, settings, patterns, start.stopped)
    net = start.model.net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    wholes = [whole_view(case, device) for case in cases]
    views = [
        view for case, whole in zip(cases, wholes, strict=True) for view in fold_views(case, whole)
    ]
    with torch.no_grad():
        before = _misfit(net, wholes)
    history: Mapping[str, list[tuple[int, float]]] = {}
    if not stopped:
        message = f"learning from {len(cases)} stacks"
        steps, rate = settings.learning_steps, RATE[start.knows]
        fit = yield from train(net, views, wholes, settings, steps, message, rate=rate)
        history, stopped = fit.history, fit.stopped
    return _finished(net, cases, wholes, start, before, history, stopped, device)


@dataclass(frozen=True)
class _Start:
    """The network that the stacks are shown to, whether it knows something, and whether to stop."""

    model: SimModel
    knows: bool
    stopped: bool = False


def _begin(settings: SimTrainingSettings, device: torch.device) -> Job[_Start]:
    if settings.start == "model":
        known = models.load(settings.model)
        # The loaded one is shared with whoever reconstructs.
        return _Start(replace(known, net=deepcopy(known.net)), True)
    net = new_network(settings.seed)
    blank = SimModel(net, Seen.nothing())
    if settings.start == "nothing":
        return _Start(blank, False)
    first = settings.seed * 100_000  # other seeds, other exercises
    made = yield from simulate_sheets(first, settings.simulations + TESTS, device)
    if made is None:
        raise UserError("Stopped before there was anything to learn from.")
    sheets, seen = made
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    fit = yield from learn_sheets(net, sheets, settings, settings.simulation_steps)
    scale = 1.0 if fit.stopped else (yield from calibrate(net, first, device))
    return _Start(replace(blank, seen=seen, std_scale=scale), True, fit.stopped)


def _cases(
    raw: Sequence[ArrayLike],
    settings: SimTrainingSettings,
    patterns: Sequence[Patterns | ArrayLike | None] | None,
    stopped: bool,
) -> Job[tuple[list[Case], bool]]:
    """Return the stacks to learn from, and whether to stop; after a stop one is enough."""
    chosen = np.unique(np.linspace(0, len(raw) - 1, min(len(raw), MOST)).round().astype(int))
    cases = []
    for number in chosen:
        light = None if patterns is None else patterns[number]
        ready = yield from prepare(raw[number], settings, light)
        found = ready.case.illumination
        if isinstance(found, Patterns) and found.verdict.startswith("failed"):
            raise UserError(
                f"The patterns of stack {number + 1} were not found, so nothing can be learned "
                f"from it: leave it out ({found.verdict})."
            )
        cases.append(_middle(ready.case))
        stopped |= ready.stopped
        if stopped:
            break
    return cases, stopped


def _middle(case: Case) -> Case:
    """Return the middle of a large field."""
    y, x = (slice(max(n - CROP, 0) // 2, max(n - CROP, 0) // 2 + min(n, CROP)) for n in case.shape)
    return case.cropped(y, x)


def _misfit(net: nn.Module, wholes: Sequence[View]) -> float:
    return float(np.mean([float(whole.chi2(net)) for whole in wholes]))


def _finished(
    net: nn.Module,
    cases: Sequence[Case],
    wholes: Sequence[View],
    start: _Start,
    before: float,
    history: Mapping[str, list[tuple[int, float]]],
    stopped: bool,
    device: torch.device,
) -> SimModel:
    with torch.no_grad():
        after = _misfit(net, wholes)
        pictures = [wholes[i].image(net)[0] for i in range(min(len(wholes), 4))]
    shown = tuple(
        Output(f"learned {i + 1}", p.data, zoom=p.zoom, display=p.display)
        for i, p in enumerate(pictures)
    )
    stacks = f"{len(cases)} stack{'s' if len(cases) > 1 else ''}"
    early = ", stopped early" if stopped else ""
    return SimModel(
        net=net.cpu().eval(),
        seen=Seen.joined([start.model.seen, *(Seen.of(case) for case in cases)]),
        std_scale=start.model.std_scale,
        history=history,
        metrics={"chi2": after, "chi2_before": before, "stacks": len(cases)},
        summary=f"Learned from {stacks}{early}: held-out misfit {before:.3f} -> {after:.3f} "
        "(1 = noise).",
        device=describe_device(device),
        shown=shown,
    )
