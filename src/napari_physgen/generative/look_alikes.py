"""Look-alikes of micrographs: real textures on masks that are known exactly.

The other way than a translation (`synthesis.train_translation`), and like it without a label: a
prior learns the user's own images with their rough phases, as `synthesis.calibrate` finds them, and
is then shown simulated masks. Every image is a style of its own: asked for any style, the sampler
settled for the noisiest one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.backend import describe_device, generator, resolve_device, with_memory_fallback
from napari_physgen.backend.job import Progress, Stopped, threaded
from napari_physgen.errors import UserError
from napari_physgen.generative.conditions import encode_mask
from napari_physgen.generative.denoiser import Guided
from napari_physgen.generative.images import as_images
from napari_physgen.generative.results import Generated
from napari_physgen.generative.samplers import integrate, start
from napari_physgen.generative.schedule import karras
from napari_physgen.generative.settings import GenerateSettings, GenerativeSettings
from napari_physgen.generative.train import train
from napari_physgen.generative.watched import Watched
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.backend import Job
    from napari_physgen.backend.job import Report
    from napari_physgen.generative.denoiser import Denoiser
    from napari_physgen.generative.model import GenerativeModel
    from napari_physgen.generative.samplers import State

    Labels = NDArray[np.integer]

STEPS = 16

FIRST, LAST = 10.0, 0.04
"""Noise levels, in standard deviations of the images. A mask leaves little to find out at higher
ones, and micrographs have more noise than the last. Euler's method with 16 levels like these makes
fine texture 8 % too strong, Heun's with 18 from 0.002 to 80 by 18 % (discs with white noise, twice
the work)."""

BATCH_PIXELS = 2**18


def train_look_alikes(
    images: Sequence[ArrayLike], phases: Sequence[ArrayLike], settings: GenerativeSettings
) -> Job[GenerativeModel]:
    """Learn images with their rough phases, each as a style (a job).

    Parameters
    ----------
    images : sequence of numpy.ndarray
        (y, x), the user's own.
    phases : sequence of numpy.ndarray
        (y, x) whole numbers from 0: what is where, roughly.
    settings : GenerativeSettings

    Returns
    -------
    GenerativeModel
        Of as many classes as there are phases times images, those of image i from i times the
        number of phases on.

    Raises
    ------
    UserError
        As `train`.
    """
    found = [np.asarray(phase).astype(int) for phase in phases]
    classes = 1 + max((int(phase.max()) for phase in found), default=0)
    styled = [phase + classes * number for number, phase in enumerate(found)]
    how = settings.model_copy(update={"conditional": "masks"})
    return train(list(images), how, masks=styled)


def draw_look_alikes(
    model: GenerativeModel,
    masks: Sequence[ArrayLike],
    classes: int,
    settings: GenerateSettings | None = None,
) -> Job[Generated]:
    """Make images of masks in the styles of the images learned from, each in its turn (a job).

    Parameters
    ----------
    model : GenerativeModel
        From `train_look_alikes`.
    masks : sequence of numpy.ndarray
        (y, x), all of one size, labels below `classes`.
    classes : int
        Phases of each style.
    settings : GenerateSettings, optional
        Its steps, eta, guidance, seed and device.

    Returns
    -------
    Generated

    Raises
    ------
    UserError
        If masks and prior do not fit, or at `Stop` before the first image.
    """
    settings = settings or GenerateSettings()
    labels = [mask.astype(int) for mask in as_images(list(masks), volumes=False, what="masks")]
    _check(model, labels, classes)
    at_once = max(BATCH_PIXELS // labels[0].size, 1)
    return (
        yield from with_memory_fallback(
            lambda place, batch: _drawn(model, labels, classes, settings, place, batch),
            resolve_device(settings.device),
            at_once,
        )
    )


def _check(model: GenerativeModel, masks: list[Labels], classes: int) -> None:
    if not model.classes or classes < 1 or model.classes % classes:
        raise UserError(
            f"A prior of {model.classes} classes has no styles of {classes} phases each: train one "
            "with the images and their rough phases."
        )
    if len({mask.shape for mask in masks}) > 1:
        raise UserError("The masks must all have the same size: crop them.")
    if max(int(mask.max()) for mask in masks) >= classes:
        raise UserError(f"The masks hold more than the {classes} phases that the prior knows.")


def _drawn(
    model: GenerativeModel,
    masks: list[Labels],
    classes: int,
    settings: GenerateSettings,
    device: torch.device,
    batch: int,
) -> Job[Generated]:
    network = model.denoiser(device)
    steps, styles = settings.steps or STEPS, model.classes // classes
    sigmas = karras(steps, LAST * model.sigma_data, FIRST * model.sigma_data)

    def work(report: Report) -> list[NDArray[np.float32]]:
        denoiser: Denoiser = Watched(network, report.check)
        if settings.guidance != 1:
            denoiser = Guided(denoiser, settings.guidance)
        made: list[NDArray[np.float32]] = []
        for first in range(0, len(masks), batch):
            indices = range(first, min(first + batch, len(masks)))
            told = [encode_mask(masks[i] + classes * (i % styles), model.classes) for i in indices]
            noise = [
                start(
                    network.noise,
                    [1, 1, *masks[i].shape],
                    float(sigmas[0]),
                    generator(settings.seed, device, "image", i),
                )
                for i in indices
            ]

            def watch(state: State, first: int = first) -> None:
                picture = model.scale.grey(state.estimate.mean[0, 0].float().cpu().numpy())
                report(
                    Progress(
                        first * steps + state.index,
                        len(masks) * steps,
                        "drawing look-alikes",
                        preview=lambda: [Output("look-alike", picture)],
                    )
                )

            try:
                with torch.no_grad():
                    x = integrate(
                        denoiser,
                        torch.cat(noise),
                        sigmas,
                        eta=settings.eta or 0.0,
                        heun=False,
                        cond=torch.from_numpy(np.stack(told)).to(device),
                        generator=generator(settings.seed, device, "steps", first),
                        callback=watch,
                    )
            except Stopped:
                break
            made += [model.scale.grey(part[0].float().cpu().numpy()) for part in x]
        return made

    images = yield from threaded(work, "drawing look-alikes")
    if not images:
        raise UserError("Stopped before the first look-alike: nothing was changed.")
    return Generated(
        np.stack(images),
        np.stack(masks)[: len(images)],
        model.pixel_size_nm,
        f"{len(images)} look-alikes in {styles} styles, in {steps} steps each.",
        describe_device(device),
        {"images": float(len(images))},
    )
