"""Train the segmentation network on images with masks, then on the user's own without any."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.ndimage
import torch
from torch import Tensor, nn

from napari_physgen.backend import (
    generator,
    resolve_device,
    resolve_precision,
)
from napari_physgen.errors import UserError
from napari_physgen.segmentation.adapt import adapt
from napari_physgen.segmentation.learning import (
    Preview,
    calibrate_norms,
    learn,
    weighted_loss,
)
from napari_physgen.segmentation.model import LEVELS, Design, SegmentationModel
from napari_physgen.segmentation.pairs import Pairs, changed
from napari_physgen.segmentation.prepare import normalised
from napari_physgen.segmentation.settings import SegmentationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.backend import Job

    Image = NDArray[np.generic]

_HOLES = 0.01  # per particle


def train(
    images: Sequence[Image],
    masks: Sequence[Image],
    settings: SegmentationSettings | None = None,
    *,
    real: Sequence[Image] = (),
    classes: Sequence[str] | None = None,
    pixel_size_nm: float | None = None,
    length: float | None = None,
    start: SegmentationModel | None = None,
) -> Job[SegmentationModel]:
    """Train a network on images with masks.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        ([z,] y, x), any grey levels; each is normalised to its own percentiles.
    masks : sequence of numpy.ndarray
        Of the same shapes: whole numbers from 0, negative where unknown (no weight there).
    settings : SegmentationSettings, optional
    real : sequence of numpy.ndarray
        Images without masks: for self-training and for the live prediction.
    classes : sequence of str, optional
        Names; "matrix", "class 1" ... by default.
    pixel_size_nm, length : float, optional
        Pixel size and characteristic length (px) of the images, kept in the model.
    start : SegmentationModel, optional
        Go on with this model (fine-tuning).

    Returns
    -------
    generator
        A job. Reports the loss; its preview is the prediction on the first real image. `Stop`
        keeps the network as it is then; in either stage.

    Raises
    ------
    UserError
        If images and masks do not match, are too small, flat or hold one class only.
    """
    settings = settings or SegmentationSettings()
    pictures, targets, names = _checked(images, masks, settings, classes, start)
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    own = [normalised(image) for image in real]
    design = start.design if start else Design(len(names), settings.features, pictures[0].ndim)
    net = copy.deepcopy(start.net) if start else design.build(settings.seed)
    if device.type == "cpu" and design.dimensions == 2:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    random = np.random.default_rng([settings.seed, 1])
    pairs = Pairs(pictures, targets, settings.boundary_weight, random)
    noise = generator(settings.seed, device, "augmentation")

    def loss(model: nn.Module, step: int) -> Tensor:
        batch = pairs.draw(settings.batch, settings.crop, device)
        return weighted_loss(model(changed(batch.images, settings.augmentation, noise)), batch)

    result = yield from learn(
        net,
        loss,
        steps=settings.steps,
        rate=settings.learning_rate,
        device=device,
        precision=precision,
        message="learning from the look-alikes",
        preview=Preview(net, own or pictures[:1], device),
    )
    calibrate_norms(net, pairs, settings, device)
    words = " (stopped early)" if result.stopped else ""
    model = SegmentationModel(
        net=net.cpu().eval(),
        design=design,
        classes=names,
        pixel_size_nm=pixel_size_nm,
        length=length,
        solid=start.solid if start else is_solid(targets),
        settings=settings.model_dump(mode="json"),
        history=result.history,
        summary=f"Trained {result.steps} steps{words} on {len(pictures)} images with "
        f"{len(names)} classes.",
        metrics={"steps": float(result.steps)},
        device=str(device),
    )
    if len(real) and settings.self_training and not result.stopped:
        model = yield from adapt(model, pictures, targets, own, settings)
    return model


def _checked(
    images: Sequence[Image],
    masks: Sequence[Image],
    settings: SegmentationSettings,
    classes: Sequence[str] | None,
    start: SegmentationModel | None,
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int64]], tuple[str, ...]]:
    """Return normalised images, masks and names of the classes."""
    if not len(images) or len(images) != len(masks):
        raise UserError(
            f"There are {len(images)} images and {len(masks)} masks: give one mask per image."
        )
    dimensions = 3 if settings.volumes else 2
    if start and start.design.dimensions != dimensions:
        kinds = ("planes", "volumes") if dimensions == 3 else ("volumes", "planes")
        raise UserError(f"The model to go on with is one of {kinds[0]}, not of {kinds[1]}.")
    targets = []
    for number, (image, mask) in enumerate(zip(images, masks, strict=True), 1):
        if np.shape(image) != np.shape(mask):
            raise UserError(
                f"Image {number} is {np.shape(image)} and its mask {np.shape(mask)} pixels large."
            )
        if np.ndim(image) != dimensions:
            words = "volumes (z, y, x)" if settings.volumes else "pictures (y, x)"
            raise UserError(f"Image {number} has {np.ndim(image)} axes: give {words}.")
        if min(np.shape(image)) < 2**LEVELS:
            raise UserError(f"Image {number} is too small: {2**LEVELS} pixels are needed.")
        if (np.asarray(mask) != np.rint(mask)).any():
            raise UserError(f"Mask {number} does not consist of whole numbers.")
        targets.append(np.asarray(mask, np.int64))
    found = np.unique(np.concatenate([np.unique(mask) for mask in targets]))
    found = found[found >= 0]
    known = start.classes if start else tuple(classes or ())
    if found.size < 2 and not start:
        raise UserError(
            "The masks hold only one class: at least two (matrix and particles) are needed."
        )
    if not known:
        known = ("matrix", *(f"class {k}" for k in range(1, int(found.max()) + 1)))
    if found.size and found.max() >= len(known):
        raise UserError(
            f"The masks hold class {found.max()}, but there are only {len(known)} classes "
            f"({', '.join(known)})."
        )
    return [normalised(image) for image in images], targets, tuple(known)


def is_solid(masks: Sequence[NDArray[np.int64]]) -> bool:
    """Return whether practically no particle (1 in 100) has a hole."""
    holes = particles = 0
    for mask in masks:
        inside = mask > 0
        particles += scipy.ndimage.label(inside)[1]
        holes += scipy.ndimage.label(scipy.ndimage.binary_fill_holes(inside) & ~inside)[1]
    return bool(holes <= _HOLES * particles)


def fine_tuned(settings: Mapping[str, Any]) -> SegmentationSettings:
    """Return settings for a few gentle steps from an existing model."""
    values = dict(settings) | {"steps": 200, "learning_rate": 5e-4, "self_training": 0}
    known = SegmentationSettings.model_fields
    return SegmentationSettings.parse({k: v for k, v in values.items() if k in known})
