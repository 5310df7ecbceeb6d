"""New images from a prior, on their own or following masks (a job)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.backend import describe_device, generator, resolve_device, with_memory_fallback
from napari_physgen.backend.job import Progress, Stopped, threaded
from napari_physgen.errors import UserError
from napari_physgen.generative import model as models
from napari_physgen.generative.conditions import encode_mask, label_images
from napari_physgen.generative.consistency import multistep_levels
from napari_physgen.generative.denoiser import Guided
from napari_physgen.generative.results import Generated
from napari_physgen.generative.samplers import (
    annealed_langevin,
    integrate,
    multistep,
    predictor_corrector,
    start,
)
from napari_physgen.generative.settings import GenerateSettings
from napari_physgen.generative.watched import Watched
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from napari_physgen.backend import Job
    from napari_physgen.backend.job import Report
    from napari_physgen.generative.denoiser import Denoiser
    from napari_physgen.generative.model import GenerativeModel
    from napari_physgen.generative.samplers import Callback, State

BATCH_PIXELS = 2**20
"""Pixels that are worked on at once."""

CONSISTENCY_STEPS = 2


def sample(
    model: GenerativeModel | None = None,
    count: int | None = None,
    size: int | None = None,
    masks: ArrayLike | Sequence[ArrayLike] | None = None,
    settings: GenerateSettings | None = None,
) -> Job[Generated]:
    """Make new images (a job).

    Parameters
    ----------
    model : GenerativeModel, optional
        Default that of ``settings.model``.
    count, size : int, optional
        Instead of those of the settings; masks decide both.
    masks : array or sequence of arrays, optional
        Label images to follow, for priors of masks.
    settings : GenerateSettings, optional

    Returns
    -------
    Generated

    Raises
    ------
    UserError
        If there is no prior, or it cannot follow masks.
    """
    settings = settings or GenerateSettings()
    changes = {"count": count, "size": size}
    settings = settings.model_copy(update={k: v for k, v in changes.items() if v is not None})
    if model is None:
        if not settings.model:
            raise UserError("Choose a prior: train one on images of the kind, or load one.")
        model = models.load(settings.model)
    labels = _checked(model, masks)
    chosen = model
    side = settings.size if labels is None else max(labels[0].shape[-2:])
    at_once = max(BATCH_PIXELS // side**2, 1)
    return (
        yield from with_memory_fallback(
            lambda place, batch: _made(chosen, settings, labels, place, batch),
            resolve_device(settings.device),
            at_once,
        )
    )


def _checked(
    model: GenerativeModel, masks: ArrayLike | Sequence[ArrayLike] | None
) -> list[NDArray[np.integer]] | None:
    if model.learned in ("pairs", "noisy"):
        raise UserError(
            "This prior only removes noise: to make images, train one on clean images or on "
            "images with masks."
        )
    if masks is None:
        return None
    if not model.classes:
        raise UserError("This prior knows no masks: train one on images with their masks.")
    labels = label_images(masks, model.design.dimensions == 3)
    if len({label.shape for label in labels}) > 1:
        raise UserError("The masks must all have the same size: crop them.")
    return labels


def _made(
    model: GenerativeModel,
    settings: GenerateSettings,
    masks: list[NDArray[np.integer]] | None,
    device: torch.device,
    batch: int,
) -> Job[Generated]:
    count = settings.count if masks is None else len(masks)
    network = model.denoiser(device)

    def work(report: Report) -> list[NDArray[np.float32]]:
        denoiser: Denoiser = Watched(network, report.check)
        if settings.guidance != 1 and masks is not None:
            denoiser = Guided(denoiser, settings.guidance)
        made: list[NDArray[np.float32]] = []
        for first in range(0, count, batch):
            indices = range(first, min(first + batch, count))

            def watch(state: State, first: int = first) -> None:
                done = (first + state.index / state.total * len(indices)) / count  # noqa: B023
                picture = model.scale.grey(_array(state.estimate.mean[0, 0]))
                report(
                    Progress(
                        round(1000 * done),
                        1000,
                        f"image {first + 1} of {count}",
                        preview=lambda: [Output("generated", picture)],
                    )
                )

            try:
                made += _batch(model, denoiser, settings, masks, indices, device, watch)
            except Stopped:
                break
        return made

    images = yield from threaded(work, "making images")
    if not images:
        raise UserError("Stopped before there was a first image: nothing was changed.")
    early = f", stopped before {count}" if len(images) < count else ""
    follow = " following their masks" if masks is not None else ""
    return Generated(
        np.stack(images),
        None if masks is None else np.stack(masks)[: len(images)],
        model.pixel_size_nm,
        f"{len(images)} images{follow}{early}, in {_steps(model, settings)} steps each.",
        describe_device(device),
        {"images": float(len(images))},
    )


def _steps(model: GenerativeModel, settings: GenerateSettings) -> int:
    return settings.steps or (CONSISTENCY_STEPS if model.consistency else model.process.steps)


def _batch(
    model: GenerativeModel,
    denoiser: Denoiser,
    settings: GenerateSettings,
    masks: list[NDArray[np.integer]] | None,
    indices: range,
    device: torch.device,
    watch: Callback,
) -> list[NDArray[np.float32]]:
    """Make some images at once; each has its own seed, so that batches do not matter."""
    process = model.process
    cond, shape = None, [1, settings.size, settings.size]
    if masks is not None:
        told = np.stack([encode_mask(masks[index], model.classes) for index in indices])
        cond = torch.from_numpy(told).to(device)
        shape = [1, *told.shape[2:]]
    noise = [
        start(
            process.noise,
            [1, *shape],
            process.sigma_max,
            generator(settings.seed, device, "image", i),
        )
        for i in indices
    ]
    rng = generator(settings.seed, device, "steps", indices[0])
    with torch.no_grad():
        x = run_backwards(model, denoiser, torch.cat(noise), settings, cond, rng, watch)
    return [model.scale.grey(_array(part[0])) for part in x]


def run_backwards(
    model: GenerativeModel,
    denoiser: Denoiser,
    x: Tensor,
    settings: GenerateSettings,
    cond: Tensor | None,
    rng: torch.Generator,
    callback: Callback | None = None,
) -> Tensor:
    """Run the sampler that the model's process asks for, from pure noise."""
    process, count = model.process, _steps(model, settings)
    if model.consistency:
        asked = multistep_levels(count, process.sigma_max, model.sigma_data)
        return multistep(denoiser, x, asked, cond=cond, generator=rng, callback=callback)
    sigmas = process.sigmas(count)
    if process.sampler == "langevin":
        return annealed_langevin(denoiser, x, sigmas, cond=cond, generator=rng, callback=callback)
    eta = process.eta if settings.eta is None else settings.eta
    if process.sampler == "predictor-corrector" and eta > 0:
        return predictor_corrector(
            denoiser, x, sigmas, eta=eta, cond=cond, generator=rng, callback=callback
        )
    return integrate(
        denoiser,
        x,
        sigmas,
        eta=eta,
        heun=process.heun and eta == 0,
        cond=cond,
        generator=rng,
        callback=callback,
    )


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.detach().float().cpu().numpy())
