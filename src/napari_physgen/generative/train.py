"""Teach a network what images of one kind look like (a job)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.backend import (
    describe_device,
    generator,
    resolve_device,
    resolve_precision,
    with_memory_fallback,
)
from napari_physgen.backend.fit import HeldOut, fit
from napari_physgen.backend.memory import keep_freed_memory
from napari_physgen.errors import UserError
from napari_physgen.generative.conditions import encode_mask, label_images
from napari_physgen.generative.correlated import correlating
from napari_physgen.generative.images import as_images, check_partners, split
from napari_physgen.generative.lessons import DROPPED, Lesson, pairs_levels, quantile_95
from napari_physgen.generative.losses import power_decay
from napari_physgen.generative.measured import measured
from napari_physgen.generative.model import Design, GenerativeModel
from napari_physgen.generative.process import presets
from napari_physgen.generative.scale import Scale
from napari_physgen.generative.settings import GenerativeSettings
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor, nn

    from napari_physgen.backend import Job
    from napari_physgen.backend.fit import FitResult
    from napari_physgen.generative.network import NetworkDenoiser

    Images = ArrayLike | Sequence[ArrayLike]

_SHOWN = 3  # crops in the live picture
_SHOWN_LEVEL = 0.3


def train(
    images: Images,
    settings: GenerativeSettings | None = None,
    pairs: Images | None = None,
    masks: Images | None = None,
) -> Job[GenerativeModel]:
    """Train a prior on images (a job).

    Parameters
    ----------
    images : array or sequence of arrays
        (..., y, x), or volumes (..., z, y, x); any number type. Clean ones, the clean partners of
        `pairs`, or noisy ones, as `settings.conditional` says.
    settings : GenerativeSettings, optional
    pairs : array or sequence of arrays, optional
        Noisy partners of `images`, pixel by pixel.
    masks : array or sequence of arrays, optional
        Label images of `images`.

    Returns
    -------
    GenerativeModel

    Raises
    ------
    UserError
        If the images cannot be learned from; says why and what to do.
    """
    settings = settings or GenerativeSettings()
    start = _prepare(images, settings, pairs, masks)
    device = resolve_device(settings.device)
    return (
        yield from with_memory_fallback(
            lambda place, batch: _learn(start, settings, place, batch), device, settings.batch
        )
    )


@dataclass(frozen=True)
class _Start:
    """An untrained model and its lesson."""

    model: GenerativeModel
    lesson: Lesson


def _prepare(
    images: Images, settings: GenerativeSettings, pairs: Images | None, masks: Images | None
) -> _Start:
    process = presets[settings.preset]
    if settings.poisson_dimensions is not None:
        process = process.with_noise(settings.poisson_dimensions)
    clean = as_images(images, settings.volumes, "images")
    model, channels = _untrained(clean, settings)
    sample: Callable[[int, torch.Generator], Tensor] = process.train_sigma
    varied = 1
    if settings.conditional == "pairs":
        noisy = as_images(_needed(pairs, "noisy partners"), settings.volumes, "noisy partners")
        check_partners(clean, noisy, "a noisy partner")
        told = Scale.of(noisy, settings.domain, settings.camera_offset or 0.0)
        model = replace(model, condition_scale=told)
        channels = [[*own, told(part)] for own, part in zip(channels, noisy, strict=True)]
        sample, varied = pairs_levels(process), 2
    if settings.conditional == "masks":
        labels = label_images(_needed(masks, "masks"), settings.volumes)
        check_partners(clean, labels, "a mask")
        classes = int(max(part.max() for part in labels)) + 1
        model = replace(model, classes=classes)
        channels = [
            [*own, *encode_mask(part, classes)] for own, part in zip(channels, labels, strict=True)
        ]
    conditions = 0 if settings.conditional == "noisy" else len(channels[0]) - 1
    model = replace(model, design=replace(model.design, conditions=conditions))
    tensors = [torch.from_numpy(np.stack(own).astype(np.float32)) for own in channels]
    learn, score = split(tensors, settings.crop)
    lesson = Lesson(
        learn,
        score,
        process,
        model.sigma_data,
        0.0 if settings.conditional == "noisy" else settings.contrast,
        varied,
        sample,
        model.noise_level,
        correlating(model.noise_correlation),
        DROPPED if settings.conditional == "masks" else 0.0,
    )
    process.reaching(model.sigma_data)
    return _Start(model, lesson)


def _untrained(
    images: list[NDArray[np.float32]], settings: GenerativeSettings
) -> tuple[GenerativeModel, list[list[NDArray[np.float32]]]]:
    """Return a model that knows its scale and its noise, and the images in its units.

    Noisy images are followed by the standard deviation of their noise.
    """
    design = Design(
        settings.features,
        settings.levels,
        settings.blocks,
        dimensions=3 if settings.volumes else 2,
    )
    camera, correlation = None, (0.0, 0.0)
    if settings.conditional == "noisy":
        found = measured(images, settings)
        camera, correlation = found.camera, found.correlation
    offset = camera.offset if camera else settings.camera_offset or 0.0
    gain = camera.gain if camera else 0.0
    scale = Scale.of(images, settings.domain, offset, gain)
    level = float(np.mean([scale.level(camera, image) for image in images])) if camera else 0.0
    units = [[scale(image, gain)] for image in images]
    variance = float(np.concatenate([part[0].ravel() for part in units]).var())
    if camera:
        spreads = [scale.spread(camera, image) for image in images]
        units = [[*part, spread] for part, spread in zip(units, spreads, strict=True)]
    model = GenerativeModel(
        net=design.build(settings.seed),
        design=design,
        preset=settings.preset,
        scale=scale,
        sigma_data=max(variance - level**2, 0.05 * variance) ** 0.5,
        poisson_dimensions=settings.poisson_dimensions,
        learned=settings.conditional,
        noise_level=level,
        noise_correlation=correlation,
        pixel_size_nm=settings.pixel_size_nm,
        settings=settings.model_dump(mode="json"),
    )
    return model, units


def _needed(data: Images | None, what: str) -> Images:
    if data is None:
        raise UserError(f"To learn from {what}, give the {what} beside the images.")
    return data


def _learn(
    start: _Start, settings: GenerativeSettings, device: torch.device, batch: int
) -> Job[GenerativeModel]:
    """Fit the network on one device with batches of one size."""
    keep_freed_memory()
    model, lesson = start.model, start.lesson
    net = model.design.build(settings.seed)
    denoiser = replace(model, net=net).denoiser(device)
    net.requires_grad_(True)
    form = torch.channels_last if model.design.dimensions == 2 else torch.channels_last_3d
    rng = generator(settings.seed, "cpu", "lessons")

    def loss(module: nn.Module, _: int) -> Tensor:
        drawn = lesson.drawn(batch, rng).to(device, memory_format=form)
        return lesson.loss(replace(denoiser, net=module), drawn, rng).total

    optimizer = torch.optim.Adam(net.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
    result = yield from fit(
        net,
        loss,
        optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.LambdaLR(optimizer, _rate(settings.steps)),
        steps=settings.steps,
        device=device,
        message="learning",
        held_out=HeldOut(
            lesson.scorer(denoiser, settings.seed, device), every=max(settings.steps // 30, 20)
        ),
        precision=resolve_precision(settings.precision, device),
        ema=lambda step: power_decay(settings.averaging, step + 1),
        clip=_CLIP,
        preview=lambda: _preview(lesson, denoiser, model.scale, settings.seed, device),
    )
    return _finished(model, lesson, denoiser, settings, result, device)


_CLIP = 10.0
"""Heavy-tailed noise makes rare large gradients."""


def _rate(steps: int) -> Callable[[int], float]:
    """Return the learning rate over the steps: a short rise, level, then a straight fall to 0.

    At equal steps the error on held-out images was 5 % lower than with EDM2's 1 / sqrt(t) (1200
    steps on small phase-field images), half way through too.
    """
    rise = min(50, steps / 10)
    return lambda t: min((t + 1) / rise, 1, (1 - t / steps) / _FALL)


_FALL = 0.6
"""Share of the training over which the learning rate falls."""


def _finished(
    model: GenerativeModel,
    lesson: Lesson,
    denoiser: NetworkDenoiser,
    settings: GenerativeSettings,
    result: FitResult,
    device: torch.device,
) -> GenerativeModel:
    """Calibrate the standard deviation on held-out crops and say how it went."""
    quantile = quantile_95(lesson, denoiser, settings.seed, device)
    scale = min(max(quantile / 1.96, 0.5), 3.0)
    shown = tuple(_preview(lesson, denoiser, model.scale, settings.seed, device))
    early = "stopped early " if result.stopped else ""
    summary = (
        f"Learned from {_KINDS[settings.conditional]} in {result.steps} steps, {early}kept after "
        f"{result.best_step}: held-out loss {result.best_score:.3f}."
    )
    if result.diverged:
        summary += " The training became unstable and was ended: try a smaller learning rate."
    if lesson.noise_level == 0:
        summary += f" Its uncertainty was scaled by {scale:.2f} to cover 95 % of held-out pixels."
    return replace(
        model,
        net=denoiser.net.cpu().eval(),
        std_scale=scale,
        history=result.history,
        metrics={"held_out_loss": result.best_score, "std_scale": scale, "steps": result.steps},
        summary=summary,
        device=describe_device(device),
        shown=shown,
    )


_KINDS = {
    "images": "images",
    "pairs": "pairs of noisy and clean images",
    "masks": "images and masks",
    "noisy": "noisy images alone",
}


def _preview(
    lesson: Lesson, denoiser: NetworkDenoiser, scale: Scale, seed: int, device: torch.device
) -> list[Output]:
    """Show held-out crops, what the network sees and what it makes of it, side by side."""
    batch = lesson.examples(seed, _SHOWN).to(device)
    rng = generator(seed, "cpu", "preview")
    direct = lesson.learn.images[0].shape[0] > 1 and lesson.varied == 2
    with torch.no_grad():
        noisy, estimate = lesson.observed(
            denoiser, batch, float("inf") if direct else _SHOWN_LEVEL, rng
        )
    seen = batch[:, 1:2] if direct else noisy
    columns = [seen, estimate.mean] + ([batch[:, :1]] if lesson.noise_level == 0 else [])
    parts = [part[:, 0].float().cpu().numpy() for part in columns]
    if parts[0].ndim == 4:
        parts = [part[:, part.shape[1] // 2] for part in parts]
    rows = np.concatenate([np.concatenate(list(part), -2) for part in parts], -1)
    return [Output("examples", scale.grey(rows), export=False)]
