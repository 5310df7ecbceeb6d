"""What training and self-training share: the loss, the learning rate, the norms, the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_physgen.backend import fit
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.backend import Command, Progress
    from napari_physgen.backend.device import Precision
    from napari_physgen.backend.fit import FitResult
    from napari_physgen.segmentation.pairs import Batch, Pairs
    from napari_physgen.segmentation.settings import SegmentationSettings

_EMA, _CLIP, _DECAY = 0.99, 5.0, 1e-4  # of the weights' average, the gradient, AdamW
_SMOOTHING = 0.02  # of labels
_WARM_UP, _COLD = 0.2, 0.04  # share of the steps; of the learning rate to begin with
_BATCHES = 16  # for the constants of batch normalisation
_PREVIEW = 512  # px


def learn(
    net: nn.Module,
    loss: Callable[[nn.Module, int], Tensor],
    *,
    steps: int,
    rate: float,
    device: torch.device,
    precision: Precision,
    message: str,
    preview: Preview,
) -> Generator[Progress, Command | None, FitResult]:
    """Fit a network with AdamW and one cycle up to the learning rate `rate`."""
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: one_cycle(step / max(steps, 1))
    )
    return (
        yield from fit.fit(
            net,
            loss,
            optimizer=optimizer,
            steps=steps,
            device=device,
            message=message,
            precision=precision,
            schedule=schedule,
            clip=_CLIP,
            ema=_EMA,
            preview=preview,
        )
    )


def weighted_loss(logits: Tensor, batch: Batch) -> Tensor:
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


def one_cycle(part: float) -> float:
    """Return the learning rate, as a share of the largest, when this part of the steps is done.

    Up along a straight line, down along half a cosine (Smith, Topin, arXiv:1708.07120).
    """
    if part < _WARM_UP:
        return _COLD + (1 - _COLD) * part / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min((part - _WARM_UP) / (1 - _WARM_UP), 1)))


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
        for _ in range(_BATCHES):
            net(pairs.draw(settings.batch, settings.crop, device).images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.eval()


class Preview:
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
