"""Get a trained network used to the user's own images, without a label (mean teacher)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from napari_physgen.backend import generator, resolve_device, resolve_precision
from napari_physgen.errors import UserError
from napari_physgen.segmentation.learning import (
    Preview,
    calibrate_norms,
    learn,
    weighted_loss,
)
from napari_physgen.segmentation.pairs import Batch, Pairs, changed
from napari_physgen.segmentation.prepare import normalised
from napari_physgen.segmentation.settings import SegmentationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.backend import Job
    from napari_physgen.segmentation.model import SegmentationModel

# Pixels that the teacher is sure about; how slowly it follows; weight of the synthetic crops;
# share of the learning rate.
_CONFIDENT, _TEACHER, _SYNTHETIC, _RATE = 0.85, 0.99, 0.5, 0.1


def adapt(
    model: SegmentationModel,
    images: Sequence[NDArray[np.generic]],
    masks: Sequence[NDArray[np.generic]],
    real: Sequence[NDArray[np.generic]],
    settings: SegmentationSettings | None = None,
) -> Job[SegmentationModel]:
    """Go on with synthetic and real crops; a slowly following copy labels the real ones.

    A mean teacher (Tarvainen, Valpola, NeurIPS 2017, arXiv:1703.01780) labels weakly changed
    crops, the network must say the same of strongly changed ones, where the teacher is sure.

    Parameters
    ----------
    model : SegmentationModel
        Trained on the synthetic images.
    images, masks : sequence of numpy.ndarray
        The synthetic images and their masks, as in `train`.
    real : sequence of numpy.ndarray
        ([z,] y, x) without masks.
    settings : SegmentationSettings, optional
        Those of the training; `self_training` steps are done.

    Returns
    -------
    generator
        A job. `Stop` keeps the network as it is then.

    Raises
    ------
    UserError
        If there are no real images.
    """
    settings = settings or SegmentationSettings(self_training=200)
    if not len(real):
        raise UserError("Self-training needs images of your own: give at least one.")
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    random = np.random.default_rng([settings.seed, 3])
    own = [normalised(image) for image in real]
    synthetic = Pairs(
        [normalised(image) for image in images],
        [np.asarray(mask, np.int64) for mask in masks],
        settings.boundary_weight,
        random,
    )
    unlabelled = Pairs(own, [np.zeros(image.shape, np.int64) for image in own], 0.0, random)
    noise = generator(settings.seed, device, "self-training")
    net = copy.deepcopy(model.net)
    teacher = copy.deepcopy(net).to(device).eval()
    calibrate_norms(teacher, unlabelled, settings, device)
    update = get_ema_multi_avg_fn(_TEACHER)  # type: ignore[no-untyped-call]
    half = max(settings.batch // 2, 1)

    def loss(student: nn.Module, step: int) -> Tensor:
        made = synthetic.draw(half, settings.crop, device)
        seen = unlabelled.draw(half, settings.crop, device)
        with torch.no_grad():
            update(list(teacher.parameters()), list(net.parameters()), None)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
                sure, labels = _flipped(teacher, seen.images).max(1)
        target = Batch(seen.images, labels, (sure > _CONFIDENT).float())
        # Apart, so that each domain is normalised by its own statistics.
        own_loss = weighted_loss(
            student(changed(seen.images, settings.augmentation, noise)), target
        )
        images = changed(made.images, settings.augmentation, noise)
        return own_loss + _SYNTHETIC * weighted_loss(student(images), made)

    result = yield from learn(
        net,
        loss,
        steps=settings.self_training,
        rate=_RATE * settings.learning_rate,
        device=device,
        precision=precision,
        message="getting used to your images",
        preview=Preview(net, own, device),
    )
    calibrate_norms(net, unlabelled, settings, device)
    words = " (stopped early)" if result.stopped else ""
    return replace(
        model,
        net=net.cpu().eval(),
        history={**model.history, "self-training loss": result.history.get("loss", [])},
        summary=f"{model.summary} {result.steps} steps of self-training{words} on "
        f"{len(own)} images of yours.",
        settings=settings.model_dump(mode="json"),
        metrics={**model.metrics, "self_training_steps": float(result.steps)},
    )


def _flipped(net: nn.Module, images: Tensor) -> Tensor:
    """Return mean class probabilities over two orientations."""
    turned = torch.softmax(net(images.flip(-1, -2)).float(), 1).flip(-1, -2)
    return (torch.softmax(net(images).float(), 1) + turned) / 2
