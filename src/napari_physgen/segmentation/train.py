"""Train the segmentation network on images with masks, then on the user's own without any."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.ndimage
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from napari_physgen.backend import (
    fit,
    generator,
    resolve_device,
    resolve_precision,
)
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output
from napari_physgen.segmentation.model import LEVELS, Design, SegmentationModel
from napari_physgen.segmentation.pairs import Batch, Pairs, changed
from napari_physgen.segmentation.prepare import normalised
from napari_physgen.segmentation.settings import SegmentationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.backend import Job

    Image = NDArray[np.generic]

_SMOOTHING = 0.02  # of labels
_EMA = 0.99
_WARM_UP = 0.2  # share of the steps during which the learning rate rises
# Mean teacher (Tarvainen, Valpola, NeurIPS 2017) with confident pixels only.
_CONFIDENT, _TEACHER, _GENTLE = 0.85, 0.99, 0.3
_PREVIEW = 512  # px
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
    preview = _Preview(net, own or pictures[:1], device)

    optimizer = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, settings.steps + 1, pct_start=_WARM_UP
    )

    def loss(model: nn.Module, step: int) -> Tensor:
        batch = pairs.draw(settings.batch, settings.crop, device)
        return _loss(model(changed(batch.images, settings.augmentation, noise)), batch)

    result = yield from fit.fit(
        net,
        loss,
        optimizer=optimizer,
        steps=settings.steps,
        device=device,
        message="learning from the look-alikes",
        precision=precision,
        schedule=schedule,
        clip=5.0,
        ema=_EMA,
        preview=preview,
    )
    calibrate_norms(net, pairs, settings, device)
    history = dict(result.history)
    stopped = result.stopped
    if own and settings.self_training and not stopped:
        again = yield from _self_train(net, pairs, own, settings, device)
        history["self-training loss"] = again.history.get("loss", [])
        stopped = again.stopped
        calibrate_norms(net, _unlabelled(own, random), settings, device)
    net = net.cpu().eval()
    solid = start.solid if start else is_solid(targets)
    steps = result.steps
    return SegmentationModel(
        net=net,
        design=design,
        classes=names,
        pixel_size_nm=pixel_size_nm,
        length=length,
        solid=solid,
        settings=settings.model_dump(mode="json"),
        history=history,
        summary=f"Trained {steps} steps{' (stopped early)' if stopped else ''} on "
        f"{len(pictures)} images with {len(names)} classes.",
        metrics={"steps": float(steps)},
        device=str(device),
    )


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


def _loss(logits: Tensor, batch: Batch) -> Tensor:
    """Weighted cross entropy with smoothed labels plus one minus the mean Dice of all classes."""
    entropy = F.cross_entropy(
        logits, batch.masks.clamp_min(0), reduction="none", label_smoothing=_SMOOTHING
    )
    total = batch.weights.sum().clamp_min(1)
    known = (batch.weights > 0).float()[:, None]
    share = torch.softmax(logits, 1) * known
    truth = F.one_hot(batch.masks.clamp_min(0), logits.shape[1]).movedim(-1, 1) * known
    axes = (0, *range(2, logits.ndim))
    dice = (2 * (share * truth).sum(axes) + 1) / (share.sum(axes) + truth.sum(axes) + 1)
    return (entropy * batch.weights).sum() / total + 1 - dice.mean()


def _self_train(
    net: nn.Module,
    pairs: Pairs,
    own: list[NDArray[np.float32]],
    settings: SegmentationSettings,
    device: torch.device,
) -> Any:
    """Go on with synthetic and real crops; the labels of the real ones come from a mean teacher."""
    precision = resolve_precision(settings.precision, device)
    unlabelled = _unlabelled(own, pairs.random)
    noise = generator(settings.seed, device, "self-training")
    rate = settings.learning_rate / 10
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.self_training + 1)
    teacher = copy.deepcopy(net).to(device).eval()
    calibrate_norms(teacher, unlabelled, settings, device)
    update = get_ema_multi_avg_fn(_TEACHER)  # type: ignore[no-untyped-call]
    half = max(settings.batch // 2, 1)

    def loss(model: nn.Module, step: int) -> Tensor:
        synthetic = pairs.draw(half, settings.crop, device)
        real = unlabelled.draw(half, settings.crop, device)
        with torch.no_grad():
            update(list(teacher.parameters()), list(net.parameters()), None)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
                share = _flipped(teacher, real.images)
            share = share.float()
            sure, masks = share.max(1)
            weights = (sure > _CONFIDENT).float()
        target = Batch(real.images, masks, weights)
        # Apart, so that each domain is normalised by its own statistics.
        own_loss = _loss(model(changed(real.images, settings.augmentation, noise)), target)
        synthetic_images = changed(synthetic.images, settings.augmentation, noise)
        return own_loss + 0.5 * _loss(model(synthetic_images), synthetic)

    return (
        yield from fit.fit(
            net,
            loss,
            optimizer=optimizer,
            steps=settings.self_training,
            device=device,
            message="getting used to your images",
            precision=precision,
            schedule=schedule,
            clip=5.0,
            ema=_EMA,
            preview=_Preview(net, own, device),
        )
    )


def _unlabelled(own: list[NDArray[np.float32]], random: np.random.Generator) -> Pairs:
    return Pairs(own, [np.zeros(image.shape, np.int64) for image in own], 0.0, random)


def _flipped(net: nn.Module, images: Tensor) -> Tensor:
    """Return mean class probabilities over two orientations."""
    turned = torch.softmax(net(images.flip(-1, -2)).float(), 1).flip(-1, -2)
    return (torch.softmax(net(images).float(), 1) + turned) / 2


def calibrate_norms(
    net: nn.Module, pairs: Pairs, settings: SegmentationSettings, device: torch.device
) -> None:
    """Set the constants of batch normalisation to the statistics of these images.

    Averaged weights need it, and with the user's own images it is a first step of adaptation
    (Li et al., "Adaptive batch normalization", Pattern Recognit. 80, 109 (2018)).
    """
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    net.to(device).train()
    with torch.no_grad():
        for _ in range(16):
            net(pairs.draw(settings.batch, settings.crop, device).images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.eval()


class _Preview:
    """The prediction on the first image, when somebody looks."""

    def __init__(
        self, net: nn.Module, images: Sequence[NDArray[np.float32]], device: torch.device
    ) -> None:
        image = images[0]
        self.net, self.device = net, device
        self.image = image[tuple(slice(_PREVIEW) for _ in image.shape)]

    def __call__(self) -> list[Output]:
        """Predict."""
        training = self.net.training
        self.net.eval()
        with torch.no_grad():
            logits = self.net(torch.from_numpy(self.image)[None, None].to(self.device))
        self.net.train(training)
        labels = logits[0].argmax(0).cpu().numpy().astype(np.uint8)
        axes = ("z", "y", "x")[-labels.ndim :]
        return [Output("labels", labels, kind="labels", axes=axes, display={"opacity": 0.4})]


def fine_tuned(settings: Mapping[str, Any]) -> SegmentationSettings:
    """Return settings for a few gentle steps from an existing model."""
    values = dict(settings) | {"steps": 200, "learning_rate": 5e-4, "self_training": 0}
    known = SegmentationSettings.model_fields
    return SegmentationSettings.parse({k: v for k, v in values.items() if k in known})
