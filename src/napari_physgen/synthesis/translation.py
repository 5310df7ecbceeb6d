"""Unpaired translation: simulated micrographs learn to look like real ones, masks stay.

The networks and what they play for are in `_translate_games`, one training with its guard against
exchanged contrast in `_translate_training`; here are the job around them, which starts again with
other random numbers where the guard says so, and the figures of what did not change.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from napari_physgen.backend import (
    Progress,
    describe_device,
    resolve_device,
    with_memory_fallback,
)
from napari_physgen.errors import UserError
from napari_physgen.metrics.segmentation import class_overlaps, mean_iou
from napari_physgen.synthesis._translate_checks import INVERTED, contrast, edge_shift
from napari_physgen.synthesis._translate_games import Game, new_game
from napari_physgen.synthesis._translate_material import Material, prepared
from napari_physgen.synthesis._translate_model import TranslationModel, load_translation
from napari_physgen.synthesis._translate_training import Training
from napari_physgen.synthesis.translation_settings import TranslationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from napari_physgen.backend import Job
    from napari_physgen.backend.fit import FitResult

    Image = NDArray[np.generic]

__all__ = ["TranslationModel", "load_translation", "train_translation"]

RESTARTS = 3

_TESTED = 8
"""Held-out images that the figures at the end are measured on, at most."""


def train_translation(
    simulated: Sequence[Any] | Image,
    real: Sequence[Image] | Image,
    settings: TranslationSettings | None = None,
    *,
    masks: Sequence[Image] | Image | None = None,
    start: TranslationModel | None = None,
) -> Job[TranslationModel]:
    """Learn to make simulated images look like real ones (a job).

    Parameters
    ----------
    simulated : sequence
        Simulated images (y, x), rendered ones or phase fields, of any grey levels and sizes from
        64 px on; or pairs of an image and its mask. The darker phase must be the one that is
        darker in the real images.
    real : sequence of numpy.ndarray
        Real images (y, x) with the same pixel size, without scale bars.
    settings : TranslationSettings, optional
    masks : sequence of numpy.ndarray, optional
        Classes (y, x), 0, 1, ..., one per simulated image.
    start : TranslationModel, optional
        Go on with this model; its networks must be those of `settings`.

    Returns
    -------
    generator
        A job that returns a `TranslationModel`. Reports the terms of the loss; its preview is a
        simulated image, its translation and a real image. `Stop` keeps the current model.

    Raises
    ------
    UserError
        If images are missing, too small, flat, coloured or hold NaN; if masks do not fit.
    """
    settings = settings or TranslationSettings()
    material = prepared(simulated, masks, real)

    def begin(device: torch.device, batch: int) -> Job[TranslationModel]:
        return _train(material, settings, start, device, batch)

    device = resolve_device(settings.device)
    return (yield from with_memory_fallback(begin, device, settings.batch))


def _train(
    material: Material,
    settings: TranslationSettings,
    start: TranslationModel | None,
    device: torch.device,
    batch: int,
) -> Job[TranslationModel]:
    """Train until the contrast is kept, a few times at most, and measure the result."""
    began = time.perf_counter()
    result, attempt = None, -1
    while result is None:
        attempt += 1
        game = _begun(new_game(settings, material.classes, attempt), start)
        game.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        training = Training(game, material, device, batch, warm_up=start is None)
        result = yield from training.run(guarded=attempt < RESTARTS)
    yield Progress(result.steps, settings.steps, "translation: checking the masks")
    model = TranslationModel(
        settings=settings,
        game=game,
        grey=material.grey,
        strip=training.strip(),
        history=result.history,
        device=str(device),
    )
    figures = {"restarts": float(attempt), "steps": float(result.steps)}
    metrics = _measured(model, material) | figures
    seconds = time.perf_counter() - began
    summary = _summary(settings, metrics, result, seconds, device)
    return replace(model, metrics=metrics, summary=summary)


def _begun(game: Game, start: TranslationModel | None) -> Game:
    """Give the networks the weights of an earlier model."""
    if start is not None:
        try:
            game.load_state_dict(start.game.state_dict())
        except RuntimeError:
            raise UserError(
                "The model to go on with has other networks or classes: use its settings and masks "
                "with the same classes, or start anew."
            ) from None
    return game


def _measured(model: TranslationModel, material: Material) -> dict[str, float]:
    """Return how well contrast, masks and edges of held-out images were kept."""
    images = material.held_out.images[:_TESTED]
    given = material.held_out.labels
    labels = [None] * len(images) if given is None else given[:_TESTED]
    pictures = [image.numpy() for image in images]
    fakes = [
        model.normal(picture, label, (0, k), 1.0)
        for k, (picture, label) in enumerate(zip(pictures, labels, strict=True))
    ]
    arrays = [fake.numpy() for fake in fakes]
    known = [label.numpy() for label in labels if label is not None]
    figures = [
        contrast(a, b, known[k] if known else None)
        for k, (a, b) in enumerate(zip(pictures, arrays, strict=True))
    ]
    metrics = {"contrast": float(np.mean(figures))}
    if known:
        for name, network in (
            ("mask_iou", model.game.segmenter),
            ("mask_iou_independent", model.game.auditor),
        ):
            assert network is not None
            metrics[name] = _returned(network, fakes, known)
        metrics["edge_shift_px"] = edge_shift(pictures, arrays, known)
    return metrics


@torch.inference_mode()
def _returned(network: nn.Module, fakes: list[Tensor], known: list[NDArray[np.int64]]) -> float:
    """Return the mean IoU of what a segmenter reads off translated images."""
    device = next(network.parameters()).device
    found = [network(fake[None, None].to(device)).argmax(1)[0].cpu().numpy() for fake in fakes]
    pairs = zip(found, known, strict=True)
    return float(np.mean([mean_iou(class_overlaps(a, b).values()) for a, b in pairs]))


def _summary(
    settings: TranslationSettings,
    metrics: Mapping[str, float],
    result: FitResult,
    seconds: float,
    device: torch.device,
) -> str:
    words = f"{settings.method}, {result.steps} steps in {seconds / 60:.1f} min on "
    words += describe_device(device)
    if result.stopped:
        words += " (stopped)"
    if result.diverged:
        words += " (diverged; an earlier state was kept: lower the learning rate)"
    words += "."
    if "mask_iou" in metrics:
        words += (
            f" Masks come back with IoU {metrics['mask_iou']:.3f}; edges moved by "
            f"{metrics['edge_shift_px']:+.1f} px."
        )
    if metrics["restarts"]:
        words += f" Started {metrics['restarts'] + 1:.0f} times, for dark and bright were exchanged"
        words += "."
    if metrics["contrast"] < INVERTED:
        words += (
            " Dark and bright are exchanged: check whether the particles are the darker or the "
            "brighter phase in the real images, and give simulated images to match."
        )
    return words
