"""The physics-informed network: learn from the stack itself what the variational image missed.

As in Burns & Liu (Opt. Express 31, 8714, 2023) the network maps the raw frames to an object that
is imaged again by the forward model, and only the measured frames judge it. Two things differ:

- It starts from the variational image u: rho = s softplus(u + N(frames, u)), N = 0 at first, so
  step 0 is the variational image.
- It is cross-fitted. The camera pixels are dealt into folds; u_k is solved without fold k, and
  the network that sees u_k and the frames without fold k has to predict fold k. It never sees
  a pixel whose noise it is judged on, so it learns what is common to the image, not the noise.

Applied to the image u of all folds, the correction is accepted only if it lowers the chi2 on the
held-out pixels, which neither saw. The spread of the corrected u_k is the jackknife estimate of
the noise in the image (delete-a-group jackknife; Efron & Stein, Ann. Stat. 9, 586, 1981).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_physgen.backend import generator
from napari_physgen.networks.unet import UNet
from napari_physgen.sim.scene import Scene, enlarged, local_brightness
from napari_physgen.sim.variational import Fitter
from napari_physgen.sim.views import FOLDS, View, deal, jackknife, train

if TYPE_CHECKING:
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
    networks : int
        Networks that were trained before the end or a stop.
    """

    rho: Tensor
    std: Tensor
    chi2: float
    networks: int


@dataclass(frozen=True)
class Subject:
    """A solved scene as the networks see it: as a whole, and without each fold."""

    whole: View
    views: list[View]


def refine(
    scene: Scene, measurement: Measurement, solution: Solution, settings: SimSettings
) -> Job[Refinement | None]:
    """Train the networks on this one stack (a job).

    Parameters
    ----------
    scene : Scene
        Solved and frozen; not changed.
    measurement : Measurement
    solution : Solution
        How the scene was solved.
    settings : SimSettings
        `members`, `network_steps`, `seed` and `precision`.

    Returns
    -------
    Refinement or None
        None if it was stopped before the first network could start.
    """
    subject = yield from prepare(scene, measurement, solution.regularisation, settings)
    if subject is None:
        return None
    networks, _ = yield from teach([subject], settings)
    return correct(networks, subject)


def prepare(
    scene: Scene, measurement: Measurement, regularisation: float, settings: SimSettings
) -> Job[Subject | None]:
    """Solve the scene again without each fold (a job); None if it was stopped."""
    views = yield from _fold_views(scene, measurement, regularisation, settings)
    if views is None:
        return None
    return Subject(_view(scene, measurement, measurement, measurement.fitted), views)


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


def correct(networks: list[nn.Module], subject: Subject) -> Refinement:
    """Apply trained networks to a subject, which need not be one that they were trained on."""
    whole = subject.whole
    with torch.no_grad():
        images = torch.stack([whole.rho(net) for net in networks])
        spreads = [torch.stack([view.rho(net) for view in subject.views]) for net in networks]
        rho = images.mean(0)
        chi2 = float(whole.measurement.chi2(whole.operator(rho)))
    std = _standard_deviation(images, torch.stack(spreads).mean(0))
    return Refinement(rho, std, chi2, len(networks))


def verdict(before: float, after: float) -> tuple[bool, str]:
    """Return whether networks that change the held-out chi2 so are kept, and that in words."""
    change = f"held-out misfit {before:.4f} -> {after:.4f} (1 = noise)"
    if after < before - LEAST_GAIN:
        return True, f"The network was kept: {change}."
    return False, f"The network did not help and was dropped: {change}."


def _standard_deviation(members: Tensor, folds: Tensor) -> Tensor:
    """Jackknife variance over the folds plus variance of the mean over the networks."""
    variance = jackknife(folds)
    if len(members) > 1:
        variance = variance + members.var(0) / len(members)
    return variance.sqrt()


def _fold_views(
    scene: Scene, measurement: Measurement, regularisation: float, settings: SimSettings
) -> Job[list[View] | None]:
    """Solve the scene without each fold."""
    views = []
    for k, (fold, rest) in enumerate(deal(measurement, settings.seed)):
        # Its own brightness: the pixels of the fold must not show through.
        brightness = local_brightness(scene.operator.canvas, rest)
        part = Scene(scene.operator, scene.rho().clamp_min(1e-6 * brightness), brightness)
        fitter = Fitter(part, rest, settings, f"network: leaving out part {k + 1} of {FOLDS}")
        fitter.weight = regularisation
        result = yield from fitter.fit(REFIT, decay=True, keep_best=False, watch=False)
        if result.stopped:
            return None
        views.append(_view(part, measurement, rest, fold))
    return views


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
