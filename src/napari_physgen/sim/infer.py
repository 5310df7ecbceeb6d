"""One stack through a trained network: one pass, and a few steps to adapt if wanted."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

import torch

from napari_physgen.backend.job import Progress, Stop
from napari_physgen.errors import UserError
from napari_physgen.sim.amortised import fold_views, imaged_again, whole_view
from napari_physgen.sim.views import View, jackknife, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from napari_physgen.backend import Job
    from napari_physgen.sim.case import Case
    from napari_physgen.sim.model import SimModel

ADAPTATION_RATE = 2e-4

NOISE, BIAS = 1.5, 2.0
"""Parts of the standard deviation: of 12 simulated stacks of 4 to 170 photons per pixel the 95 %
interval then covered 0.88 to 0.99 of the true pixels, with the noise alone 0.71 to 0.97."""


class Inference(NamedTuple):
    """What a trained network makes of a stack.

    Parameters
    ----------
    view : View
        The stack as the network saw it; its operator has the gains.
    rho, std : torch.Tensor
        Mean and standard deviation on the fine canvas (y, x), grey levels.
    words : str
    """

    view: View
    rho: Tensor
    std: Tensor
    words: str


def infer(case: Case, model: SimModel, device: torch.device) -> Job[Inference]:
    """Reconstruct a stack with a trained network (a job).

    The network is applied in all eight orientations; the standard deviation is `deviation` times
    the model's factor.

    Raises
    ------
    UserError
        If the model has not learned from such stacks.
    """
    if case.settings.pattern == "speckle":
        raise UserError(
            "The trained network needs to know the light of each frame: choose the method "
            "'variational' for unknown speckle."
        )
    novelty = model.seen.check(case)
    steps = case.settings.adaptation
    stopped = isinstance((yield Progress(0, 2, "linear images")), Stop)
    whole = whole_view(case, device)
    net = model.net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        before = float(whole.chi2(net))
    ahead = Progress(1, 2, "trained network", preview=lambda: whole.image(net))
    stopped |= isinstance((yield ahead), Stop)
    views = fold_views(case, whole)
    words = f"Trained network: held-out misfit {before:.3f} (1 = noise)"
    if steps and not stopped:
        net = deepcopy(net)
        yield from train(
            net, views, [whole], case.settings, steps, "adapting", rate=ADAPTATION_RATE
        )
        with torch.no_grad():
            words = f"{words} -> {float(whole.chi2(net)):.3f} after adapting"
    with torch.no_grad():
        rho = turned(net, whole)
        std = model.std_scale * deviation(net, case, whole, views, rho)
    return Inference(whole, rho, std, " ".join(part for part in (f"{words}.", novelty) if part))


def deviation(
    net: nn.Module, case: Case, whole: View, views: Sequence[View], rho: Tensor
) -> Tensor:
    """Return the standard deviation (y, x) of an image `rho`, but for a factor.

    Noise: the jackknife over the folds. What the network takes away or makes up: what it
    changes when it is given the noise-free frames of its own image.
    """
    noise = jackknife(torch.stack([view.rho(net) for view in views]))
    again = imaged_again(case, whole, rho).rho(net)
    return (NOISE**2 * noise + BIAS**2 * (again - rho).square()).sqrt()


def turned(net: nn.Module, view: View) -> Tensor:
    """Return the mean of the network's images (y, x) in all eight orientations.

    The physics has no preferred direction, so that neither should the network.
    """
    change = torch.zeros_like(view.u)
    for mirrored in (False, True):
        for turns in range(4):
            features = view.features.flip(-1) if mirrored else view.features
            part = net(torch.rot90(features, turns, (-2, -1)).contiguous())[0, 0]
            part = torch.rot90(part, -turns, (-2, -1))
            change += (part.flip(-1) if mirrored else part) / 8
    return view.brightness * torch.nn.functional.softplus(view.u + change)
