"""A network that reconstructs any stack in one pass, whatever its frames and patterns.

What it sees are the linear images of the frames (`linear`) in units of the local brightness, their
noise and the resolution: never the frames themselves, whose number and order differ. It corrects
the logarithm-like variable u of the second linear image, as the network of one stack corrects that
of the variational image (`views`), and is judged by the same physics: the camera pixels it has not
seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_physgen.backend import generator
from napari_physgen.networks.unet import UNet
from napari_physgen.sim.linear import linear_images, set_gains
from napari_physgen.sim.measurement import Measurement
from napari_physgen.sim.scene import enlarged, inverse_softplus, local_brightness
from napari_physgen.sim.views import View, deal

if TYPE_CHECKING:
    from torch import Tensor

    from napari_physgen.sim.case import Case
    from napari_physgen.sim.forward import SimOperator

AFTER = (1, 3, 8, 20)
"""Iterations after which the linear images are taken: on simulated objects the third is best at
100 photons per pixel, the first or second at 5."""

FIRST = 1
"""Index of the linear image that is corrected."""

CHANNELS = (16, 32, 64)
INPUTS = len(AFTER) + 2


def new_network(seed: int) -> UNet:
    """Return an untrained network; its correction is 0."""
    weights = generator(seed, "cpu", "amortised")
    return UNet(INPUTS, 1, CHANNELS, zero_init_last=True, generator=weights)


def whole_view(case: Case, device: torch.device) -> View:
    """Return a stack as the network sees it, with gains of the angles from the frames alone."""
    operator = case.operator(device)
    measurement = Measurement.of(case.frames, case.camera, case.settings.seed, device)
    set_gains(operator, measurement)
    operator.requires_grad_(False)
    return _view(case, operator, measurement, measurement, measurement.fitted)


def fold_views(case: Case, whole: View) -> list[View]:
    """Return the same stack without each fold of its pixels."""
    return [
        _view(case, whole.operator, whole.measurement, rest, fold)
        for fold, rest in deal(whole.measurement, case.settings.seed)
    ]


def imaged_again(case: Case, whole: View, rho: Tensor) -> View:
    """Return the stack with the noise-free frames of an object (y, x) in place of the measured."""
    frames = replace(whole.measurement, frames=whole.operator(rho))
    return _view(case, whole.operator, frames, frames, frames.fitted)


def resolution(case: Case) -> float:
    """Return the detection cutoff in cycles per pixel of the result."""
    return case.otf.cutoff * case.settings.pixel_size_nm / 1000 / case.settings.zoom


def _view(
    case: Case, operator: SimOperator, measurement: Measurement, seen: Measurement, fold: Tensor
) -> View:
    brightness = local_brightness(operator.canvas, seen)
    images = linear_images(operator, seen, brightness, AFTER)
    frames = case.frames.shape[0] * case.frames.shape[1]
    noise = (measurement.variance.mean((0, 1)) / frames).sqrt()
    relative = enlarged(operator.canvas, noise) / brightness
    planes = [
        images.sign() * torch.log1p(2 * images.abs()),
        0.5 * relative.log()[None] + 1.5,
        torch.full_like(relative, 2 * resolution(case))[None],
    ]
    features = torch.cat(planes)[None].contiguous(memory_format=torch.channels_last)
    u = inverse_softplus(images[FIRST].clamp_min(0.02))
    return View(operator, measurement, u, brightness, features, fold)
