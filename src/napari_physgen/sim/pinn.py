"""The physics-informed network: learn from the stack itself what the variational image missed.

As in Burns & Liu (Opt. Express 31, 8714, 2023) the network maps the raw frames to an object that
is imaged again by the forward model, and only the measured frames judge it. Two things differ:

- It starts from the variational image u: rho = s softplus(u + N(frames, u)), N = 0 at first, so
  step 0 is the variational image.
- It is cross-fitted. The camera pixels are dealt into folds; u_k is solved without fold k, and
  the network that sees u_k and the frames without fold k has to predict fold k. It never sees
  a pixel whose noise it is judged on, so it learns what is common to the image, not the noise.

Applied to the image u of all folds, the correction is accepted only if it lowers the chi2 on the
held-out pixels, which neither saw. The spread of the corrected u_k and what the solve takes from
its own image give the standard deviation, see `sim.uncertainty`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_physgen.backend import generator
from napari_physgen.networks.unet import UNet
from napari_physgen.sim.scene import Scene, enlarged, local_brightness
from napari_physgen.sim.uncertainty import element, standard_deviation
from napari_physgen.sim.variational import Fitter
from napari_physgen.sim.views import FOLDS, View, deal, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_physgen.backend import Job
    from napari_physgen.sim.measurement import Measurement
    from napari_physgen.sim.settings import SimSettings
    from napari_physgen.sim.variational import Solution

CHANNELS = (8, 16, 32)
"""Small on purpose: what can be learned from one stack is little above its noise. After 150 steps
on a simulated reticulum (16, 32, 64) had gained 0.1 dB, this one 0.2 dB."""

STEPS = 300
LEAST_GAIN = 1e-4
"""By how much the networks must lower the held-out chi2 to be kept."""

REFIT = 80
"""Iterations to forget the pixels of a fold."""


@dataclass(frozen=True)
class Refinement:
    """What the networks made of the variational image.

    Parameters
    ----------
    rho : torch.Tensor
        Mean of the networks on the fine canvas (y, x), grey levels.
    std : torch.Tensor
        Standard deviation of `rho` from the folds and between the networks, same shape.
    chi2 : float
        Held-out chi2 of `rho`.
    networks : sequence of torch.nn.Module
        Those that were trained before the end or a stop.
    """

    rho: Tensor
    std: Tensor
    chi2: float
    networks: Sequence[nn.Module] = ()


@dataclass(frozen=True)
class Subject:
    """A solved scene as the networks see it.

    Parameters
    ----------
    whole : View
    views : list of View
        Without each fold.
    again : View
        Of frames without noise that the scene itself gives.
    element : float
        Resolution element, see `sim.uncertainty`.
    """

    whole: View
    views: list[View]
    again: View
    element: float


def refine(
    scene: Scene,
    measurement: Measurement,
    solution: Solution,
    settings: SimSettings,
    networks: Sequence[nn.Module] = (),
) -> Job[Refinement | None]:
    """Train the networks on this one stack, or apply those of a similar one (a job).

    Parameters
    ----------
    scene : Scene
        Solved and frozen; not changed.
    measurement : Measurement
    solution : Solution
        How the scene was solved.
    settings : SimSettings
        `members`, `network_steps`, `seed` and `precision`.
    networks : sequence of torch.nn.Module
        Networks that were trained on a similar stack.

    Returns
    -------
    Refinement or None
        None if it was stopped before the first network could start.
    """
    subject = yield from prepare(scene, measurement, solution.regularisation, settings)
    if subject is None:
        return None
    if not networks:
        networks, _ = yield from teach([subject], settings)
    return correct(networks, subject)


def prepare(
    scene: Scene, measurement: Measurement, regularisation: float, settings: SimSettings
) -> Job[Subject | None]:
    """Solve the scene again without each fold (a job); None if it was stopped."""
    views = yield from _fold_views(scene, measurement, regularisation, settings)
    if views is None:
        return None
    with torch.no_grad():
        clean = replace(measurement, frames=scene.operator(scene.rho()))
    message = "network: image of its own frames"
    again = yield from _solved_again(scene, clean, regularisation, settings, message)
    if again is None:
        return None
    return Subject(
        _view(scene, measurement, measurement, measurement.fitted),
        views,
        _view(again, clean, clean, clean.fitted),
        element(settings),
    )


def teach(subjects: list[Subject], settings: SimSettings) -> Job[tuple[list[nn.Module], bool]]:
    """Train the networks on all subjects (a job); return them and whether it was stopped."""
    views = [view for subject in subjects for view in subject.views]
    wholes = [subject.whole for subject in subjects]
    steps = settings.network_steps or STEPS
    networks: list[nn.Module] = []
    stopped = False
    while len(networks) < settings.members and not stopped:
        member = len(networks)
        net = _network(wholes[0].features, settings, member)
        message = f"network {member + 1} of {settings.members}"
        result = yield from train(net, views, wholes, settings, steps, message, member)
        networks.append(net)
        stopped = result.stopped
    return networks, stopped


def correct(networks: Sequence[nn.Module], subject: Subject) -> Refinement:
    """Apply trained networks to a subject, which need not be one that they were trained on."""
    whole = subject.whole
    with torch.no_grad():
        images = torch.stack([whole.rho(net) for net in networks])
        spreads = [torch.stack([view.rho(net) for view in subject.views]) for net in networks]
        again = torch.stack([subject.again.rho(net) for net in networks]).mean(0)
        bias = again - whole.rho(Unchanged())
        rho = images.mean(0)
        chi2 = float(whole.measurement.chi2(whole.operator(rho)))
    folds = torch.stack(spreads).mean(0)
    std = standard_deviation(images, folds, bias, subject.element)
    return Refinement(rho, std, chi2, networks)


def verdict(before: float, after: float) -> tuple[bool, str]:
    """Return whether networks that change the held-out chi2 so are kept, and that in words."""
    change = f"held-out misfit {before:.4f} -> {after:.4f} (1 = noise)"
    if after < before - LEAST_GAIN:
        return True, f"The network was kept: {change}."
    return False, f"The network did not help and was dropped: {change}."


def spread(
    scene: Scene, measurement: Measurement, regularisation: float, settings: SimSettings
) -> Job[Tensor | None]:
    """Return the standard deviation of the variational image (a job); None if it was stopped."""
    subject = yield from prepare(scene, measurement, regularisation, settings)
    return None if subject is None else correct([Unchanged()], subject).std


class Unchanged(nn.Module):
    """The network before training: with it `correct` judges the variational image."""

    def forward(self, features: Tensor) -> Tensor:
        """Return no correction."""
        return torch.zeros_like(features[:, :1])


def _fold_views(
    scene: Scene, measurement: Measurement, regularisation: float, settings: SimSettings
) -> Job[list[View] | None]:
    """Solve the scene without each fold."""
    views = []
    for k, (fold, rest) in enumerate(deal(measurement, settings.seed)):
        message = f"network: leaving out part {k + 1} of {FOLDS}"
        part = yield from _solved_again(scene, rest, regularisation, settings, message)
        if part is None:
            return None
        views.append(_view(part, measurement, rest, fold))
    return views


def _solved_again(
    scene: Scene, seen: Measurement, regularisation: float, settings: SimSettings, message: str
) -> Job[Scene | None]:
    """Solve the scene from other frames; None if it was stopped."""
    # Its own brightness: the pixels of a fold must not show through.
    brightness = local_brightness(scene.operator.canvas, seen)
    again = Scene(scene.operator, scene.rho().clamp_min(1e-6 * brightness), brightness)
    fitter = Fitter(again, seen, settings, message)
    fitter.weight = regularisation
    result = yield from fitter.fit(REFIT, decay=True, keep_best=False, watch=False)
    return None if result.stopped else again


def _view(scene: Scene, measurement: Measurement, seen: Measurement, fold: Tensor) -> View:
    """Collect the frames, unknown pixels replaced by their prediction, and the image."""
    canvas, brightness = scene.operator.canvas, scene.brightness
    with torch.no_grad():
        u = scene.u.detach()
        frames = seen.filled(scene.operator(scene.rho()))
        planes = [enlarged(canvas, frame) / brightness for frame in frames.flatten(0, 1)]
        planes += [functional.softplus(u), u.clamp(-6, 6) / 3]
    features = torch.stack(planes)[None].contiguous(memory_format=torch.channels_last)
    return View(scene.operator, measurement, u, brightness, features, fold)


def _network(features: Tensor, settings: SimSettings, member: int) -> nn.Module:
    weights = generator(settings.seed, "cpu", "weights", member)
    net = UNet(features.shape[1], 1, CHANNELS, zero_init_last=True, generator=weights)
    return net.to(features.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
