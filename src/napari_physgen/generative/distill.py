"""Turn a prior into a consistency model, which makes an image in one or two evaluations (a job).

tuning: Easy Consistency Tuning (Geng et al. 2024) goes on from the prior's weights, on straight
paths x0 + sigma n. distillation: the lower end of each pair of levels comes from a Heun step of
the prior (Song et al. 2023), with the pairs of tuning instead of 40 fixed levels, which need
several times the steps. training: iCT (Song and Dhariwal 2024) from random weights.
A Poisson flow stays one: noise has the law of the prior (PFCM, Hein et al. 2024).
"""

from __future__ import annotations

from copy import deepcopy
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
from napari_physgen.backend.job import portion
from napari_physgen.errors import UserError
from napari_physgen.generative.conditions import encode_mask
from napari_physgen.generative.consistency import (
    EPSILON,
    Course,
    consistency_loss,
    courses,
    levels,
)
from napari_physgen.generative.generate import sample
from napari_physgen.generative.images import Crops, as_images, check_partners
from napari_physgen.generative.losses import power_decay
from napari_physgen.generative.samplers import integrate, start
from napari_physgen.generative.settings import DistillSettings, GenerateSettings
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor, nn

    from napari_physgen.backend import Job
    from napari_physgen.backend.fit import FitResult
    from napari_physgen.generative.model import GenerativeModel
    from napari_physgen.generative.network import NetworkDenoiser

    Images = ArrayLike | Sequence[ArrayLike]

AVERAGING = 0.1
"""Width of the running average of the weights, as a share of the training."""

_OWN_STEPS = 50  # at most, to draw an image from the prior
_OWN_SHARE = 0.3  # of the progress, for images drawn from the prior
_SMALLEST = 16  # px, images drawn from the prior
_SCORED = 16  # images
_HEUN_STEPS = 18
_SHOWN = 3
_KNOWN = 4.0
"""Largest value of images in network units, -1 to 1 being the usual range."""


def distill(
    model: GenerativeModel,
    images: Images | None = None,
    settings: DistillSettings | None = None,
    masks: Images | None = None,
) -> Job[GenerativeModel]:
    """Make a consistency model of a prior (a job).

    Parameters
    ----------
    model : GenerativeModel
        A prior of images, or of images with masks.
    images : array or sequence of arrays, optional
        Images that the prior learned from, or others of the kind; without them it draws its own.
    settings : DistillSettings, optional
    masks : array or sequence of arrays, optional
        Label images of `images`, or to draw images for; priors of masks need them.

    Returns
    -------
    GenerativeModel
        Gives no standard deviation: the end of a path is one image, not a mean over images.

    Raises
    ------
    UserError
        If the prior makes no images, or the images are not of its kind.
    """
    settings = settings or DistillSettings()
    _check(model, masks)
    begin = 0.0
    if images is None:
        begin = _OWN_SHARE
        images, masks = yield from portion(_own(model, settings, masks), 0, begin)
    crops = _crops(model, images, masks, settings.crop)
    device = resolve_device(settings.device)
    return (
        yield from portion(
            with_memory_fallback(
                lambda place, batch: _learn(model, crops, settings, place, batch),
                device,
                settings.batch,
            ),
            begin,
            1,
        )
    )


def _check(model: GenerativeModel, masks: Images | None) -> None:
    if model.consistency:
        raise UserError("This is a consistency model already: choose the prior that it came from.")
    if model.learned in ("pairs", "noisy"):
        raise UserError(
            "This prior only removes noise, in one evaluation as it is: choose one that learned "
            "from clean images or from images with masks."
        )
    if model.classes and masks is None:
        raise UserError("This prior follows masks: give masks, with their images or alone.")
    if masks is not None and not model.classes:
        raise UserError("This prior knows no masks: leave them out.")
    model.process.reaching(model.sigma_data)


def _own(
    model: GenerativeModel, settings: DistillSettings, masks: Images | None
) -> Job[tuple[Images, Images | None]]:
    """Draw images from the prior, along the probability flow."""
    if model.design.dimensions == 3:
        raise UserError("A prior of volumes draws no images by itself: give volumes.")
    drawing = GenerateSettings(
        count=settings.images,
        size=max(settings.crop, _SMALLEST),
        steps=min(model.process.steps, _OWN_STEPS),
        eta=0,
        seed=settings.seed,
        device=settings.device,
    )
    drawn = yield from sample(model, masks=masks, settings=drawing)
    return drawn.images, drawn.masks


def _crops(model: GenerativeModel, images: Images, masks: Images | None, size: int) -> Crops:
    volumes = model.design.dimensions == 3
    clean = as_images(images, volumes, "images")
    units = [model.scale(image) for image in clean]
    largest = max(float(np.abs(image).max()) for image in units)
    if largest > _KNOWN:
        raise UserError(
            "The images are far brighter or darker than those that the prior learned: give images "
            "of its kind, or none."
        )
    channels = [[image] for image in units]
    if masks is not None:
        labels = [part.astype(int) for part in as_images(masks, volumes, "masks")]
        check_partners(clean, labels, "a mask")
        channels = [
            [*own, *encode_mask(part, model.classes)]
            for own, part in zip(channels, labels, strict=True)
        ]
    tensors = [torch.from_numpy(np.stack(own).astype(np.float32)) for own in channels]
    return Crops(tensors, min(size, *(side for image in units for side in image.shape[-2:])))


@dataclass(frozen=True)
class _Paths:
    """Paths of the prior, from pure noise to an image: what a consistency model shall know."""

    noise: Tensor
    cond: Tensor | None
    ends: Tensor
    high: float

    @classmethod
    def of(cls, teacher: NetworkDenoiser, batch: Tensor, rng: torch.Generator) -> _Paths:
        high = teacher.sigma_max
        cond = batch[:, 1:] if batch.shape[1] > 1 else None
        noise = start(teacher.noise, batch[:, :1].shape, high, rng).to(batch.device)
        with torch.no_grad():
            ends = integrate(teacher, noise, levels(_HEUN_STEPS, EPSILON, high), cond=cond)
        return cls(noise, cond, ends, high)

    def missed(self, student: NetworkDenoiser) -> float:
        """Return the rms distance between where one evaluation and where the paths end."""
        with torch.no_grad():
            made = student(self.noise, self.high, self.cond).mean
        return float((made - self.ends).square().mean().sqrt())


def _learn(
    model: GenerativeModel,
    crops: Crops,
    settings: DistillSettings,
    device: torch.device,
    batch: int,
) -> Job[GenerativeModel]:
    """Fit the student on one device with batches of one size."""
    course: Course = courses[settings.method]
    form = torch.channels_last if model.design.dimensions == 2 else torch.channels_last_3d
    net = model.design.build(settings.seed) if course.anew else deepcopy(model.net)
    net.to(device, memory_format=form)  # type: ignore[call-overload]
    teacher = replace(model, net=deepcopy(model.net)).denoiser(device)
    student = replace(model, consistency=True, net=net).denoiser(device)
    net.requires_grad_(True)
    rng = generator(settings.seed, "cpu", "paths")
    paths = _Paths.of(teacher, crops.draw(_SCORED, rng).to(device), rng)

    def loss(module: nn.Module, step: int) -> Tensor:
        drawn = crops.draw(batch, rng).to(device, memory_format=form)
        x0, cond = drawn[:, :1], drawn[:, 1:] if drawn.shape[1] > 1 else None
        pair = course.pairs(step / settings.steps, batch, teacher.sigma_max, rng)
        n = model.process.noise.draw(x0.shape, rng).to(device)
        own = replace(student, net=module)
        guide = teacher if course.taught else None
        placed = type(pair)(*(part.to(device) for part in pair))
        return consistency_loss(own, own, x0, n, placed, teacher=guide, cond=cond)

    optimizer = torch.optim.Adam(net.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
    result = yield from fit(
        net,
        loss,
        optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / 50, 1, 2 * (1 - step / settings.steps) + 0.01)
        ),
        steps=settings.steps,
        device=device,
        message="learning",
        held_out=HeldOut(
            lambda asked: paths.missed(replace(student, net=asked)),
            every=max(settings.steps // 30, 20),
        ),
        precision=resolve_precision(settings.precision, device),
        ema=lambda step: power_decay(AVERAGING, step + 1),
        clip=_CLIP,
        preview=lambda: _shown(model, student, paths),
    )
    return _finished(model, student, settings, result, paths, device)


_CLIP = 10.0


def _finished(
    model: GenerativeModel,
    student: NetworkDenoiser,
    settings: DistillSettings,
    result: FitResult,
    paths: _Paths,
    device: torch.device,
) -> GenerativeModel:
    missed = result.best_score / model.sigma_data
    early = "stopped early " if result.stopped else ""
    summary = (
        f"A consistency model after {result.steps} steps of {settings.method}, {early}kept after "
        f"{result.best_step}: from pure noise, one evaluation ends {missed:.2f} of the images' "
        "contrast away from where the prior's own path ends."
    )
    if result.diverged:
        summary += " The training became unstable and was ended: try a smaller learning rate."
    shown = tuple(_shown(model, student, paths))
    return replace(
        model,
        net=student.net.cpu().eval(),
        consistency=True,
        std_scale=1.0,
        settings=dict(model.settings) | {"distilled": settings.model_dump(mode="json")},
        history=result.history,
        metrics={"path_distance": missed, "steps": result.steps},
        summary=summary,
        device=describe_device(device),
        shown=shown,
    )


def _shown(model: GenerativeModel, student: NetworkDenoiser, paths: _Paths) -> list[Output]:
    """Show images made in one evaluation, above those at the ends of the prior's paths."""
    with torch.no_grad():
        cond = None if paths.cond is None else paths.cond[:_SHOWN]
        made = student(paths.noise[:_SHOWN], paths.high, cond).mean
    rows = [_row(part) for part in (made, paths.ends[:_SHOWN])]
    return [Output("examples", model.scale.grey(np.concatenate(rows, -2)), export=False)]


def _row(images: Tensor) -> NDArray[np.float32]:
    parts = images[:, 0].float().cpu().numpy()
    if parts.ndim == 4:
        parts = parts[:, parts.shape[1] // 2]
    return np.asarray(np.concatenate(list(parts), -1))
