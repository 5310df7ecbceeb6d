"""Unpaired translation: simulated micrographs learn to look like real ones, masks stay.

The networks and what they play for are in `_translate_games`; here are the training, the guard
against exchanged contrast and the figures at the end. A translation that exchanges dark and bright
phases can satisfy every published term of the loss and is seldom left again once entered, hence
the guard: it looks often during the first half and starts again with other random numbers.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from napari_physgen.backend import (
    Command,
    Progress,
    describe_device,
    generator,
    resolve_device,
    resolve_precision,
    with_memory_fallback,
)
from napari_physgen.backend.fit import FitResult, fit
from napari_physgen.errors import UserError
from napari_physgen.networks.translation import MULTIPLE
from napari_physgen.synthesis._translate_checks import INVERTED, contrast, edge_shift, mean_iou
from napari_physgen.synthesis._translate_games import Game, new_game
from napari_physgen.synthesis._translate_images import (
    Domain,
    class_mask,
    listed,
    noise,
    normalised,
    paired,
)
from napari_physgen.synthesis._translate_model import (
    TranslationModel,
    load_translation,
    strip_outputs,
)
from napari_physgen.synthesis.translation_settings import TranslationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from napari_physgen.backend import Job

    Image = NDArray[np.generic]

__all__ = ["TranslationModel", "load_translation", "train_translation"]

RESTARTS = 3
_CHECKS = 40
"""Looks of the guard per training; only those of the first half happen."""

_PROBE = 8
"""Squares that the guard looks at."""

_SHOWN = 256
"""Largest side of the pictures in the strip, px."""

_TESTED = 8
"""Held-out images that the figures at the end are measured on, at most."""


@dataclass(frozen=True)
class Material:
    """The images of a training.

    Parameters
    ----------
    simulated, real : Domain
    held_out : Domain
        Simulated images that are not trained on (unless there is a single one).
    grey : tuple of float
        Grey levels of the real images that stand for -1 and 1, mean over the images.
    classes : int
        Classes of the masks; 0 without masks.
    """

    simulated: Domain
    held_out: Domain
    real: Domain
    grey: tuple[float, float]
    classes: int


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
    material = _material(simulated, masks, real)

    def begin(device: torch.device, batch: int) -> Job[TranslationModel]:
        return _train(material, settings, start, device, batch)

    device = resolve_device(settings.device)
    return (yield from with_memory_fallback(begin, device, settings.batch))


def _material(
    simulated: Sequence[Any] | Image,
    masks: Sequence[Image] | Image | None,
    real: Sequence[Image] | Image,
) -> Material:
    """Check the images and bring them to [-1, 1]."""
    pictures, marks = paired(simulated, masks)
    micrographs = listed(real)
    if not pictures or not micrographs:
        which = "simulated" if not pictures else "real"
        raise UserError(f"There are no {which} images: give at least one, better five or more.")
    if marks is not None and len(marks) != len(pictures):
        raise UserError(
            f"There are {len(pictures)} simulated images and {len(marks)} masks: give as many."
        )
    images = [normalised(image, "simulated")[0] for image in pictures]
    labels = None
    if marks is not None:
        labels = [class_mask(mask, image) for mask, image in zip(marks, pictures, strict=True)]
        classes = 1 + max(int(label.max()) for label in labels)
        if classes < 2:
            raise UserError("All masks are empty: give masks with at least two classes.")
    scaled = [normalised(image, "real") for image in micrographs]
    kept = len(images) - (max(len(images) // 8, 1) if len(images) > 1 else 0)
    apart = slice(kept, None) if kept < len(images) else slice(None)
    return Material(
        simulated=Domain(images[:kept], labels and labels[:kept]),
        held_out=Domain(images[apart], labels and labels[apart]),
        real=Domain([image for image, _, _ in scaled]),
        grey=(
            float(np.mean([low for _, low, _ in scaled])),
            float(np.mean([high for _, _, high in scaled])),
        ),
        classes=classes if labels else 0,
    )


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
        training = _Training(game, material, device, batch)
        result = yield from training.run(guarded=attempt < RESTARTS)
    yield Progress(result.steps, settings.steps, "translation: checking the masks")
    model = TranslationModel(settings, game, material.grey, training.strip(), device=str(device))
    metrics = _measured(model, material) | {
        "restarts": float(attempt),
        "steps": float(result.steps),
    }
    seconds = time.perf_counter() - began
    return TranslationModel(
        settings=settings,
        game=game,
        grey=material.grey,
        strip=model.strip,
        metrics=metrics,
        history=result.history,
        summary=_summary(settings, metrics, result, seconds, device),
        device=str(device),
    )


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


class _Training:
    """One attempt: the loss of a step, the live figures and pictures, the guard."""

    def __init__(self, game: Game, material: Material, device: torch.device, batch: int) -> None:
        self._game = game
        self._device = device
        self._batch = batch
        self._settings = game.settings
        self._simulated = material.simulated.to(device)
        self._real = material.real.to(device)
        self._shown = material.held_out
        side = min(self._settings.crop, self._simulated.smallest, self._real.smallest)
        self._crop = side // MULTIPLE * MULTIPLE
        self._draw = game.random("crops")
        self._terms: dict[str, Tensor] = {}
        self._probe = self._simulated.cut(self._crop, _PROBE, game.random("probe"))

    def run(self, guarded: bool) -> Job[FitResult | None]:
        """Fit the networks; None if the guard ended it."""
        settings, steps = self._settings, self._settings.steps
        optimizer = torch.optim.Adam(self._game.groups())
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, 2 * (1 - step / steps))
        )
        message = "translation"
        if self._game.attempt:
            message += f" (start {self._game.attempt + 1}: dark and bright were exchanged)"
        job = fit(
            self._game,
            self._loss,
            optimizer=optimizer,
            steps=steps,
            device=self._device,
            message=message,
            precision=resolve_precision(settings.precision, self._device),
            schedule=schedule,
            ema=settings.average or None,
            metrics=lambda: {name: float(term) for name, term in self._terms.items()},
            preview=lambda: strip_outputs(self.strip()),
        )
        return (yield from self._watched(job, guarded))

    def _loss(self, model: nn.Module, step: int) -> Tensor:
        image, labels = self._simulated.cut(self._crop, self._batch, self._draw)
        real, _ = self._real.cut(self._crop, self._batch, self._draw)
        warm = self._settings.warm_up * self._settings.steps
        ramp = min(1.0, step / warm) if warm else 1.0
        terms: dict[str, Tensor] = model(image, labels, real, ramp)
        self._terms = {name: term.detach() for name, term in terms.items()}
        return torch.stack(list(terms.values())).sum()

    def _watched(
        self, job: Generator[Progress, Command | None, FitResult], guarded: bool
    ) -> Job[FitResult | None]:
        every = max(self._settings.steps // _CHECKS, 1)
        try:
            progress = next(job)
            while True:
                step = progress.step
                look = guarded and 0 < step <= self._settings.steps // 2 and step % every == 0
                if look and self.contrast() < INVERTED:
                    job.close()
                    return None
                progress = job.send((yield progress))
        except StopIteration as end:
            result: FitResult = end.value
            return result

    def contrast(self) -> float:
        """Return whether the translator keeps dark and bright as they are, see `contrast`."""
        image, labels = self._probe
        translated = self._applied(image, labels)
        return contrast(
            image.cpu().numpy()[:, 0],
            translated.cpu().numpy()[:, 0],
            None if labels is None else labels.cpu().numpy(),
        )

    def strip(self) -> dict[str, NDArray[np.float32]]:
        """Return a simulated image, its translation and a real image."""
        image = _middle(self._shown.images[0])
        labels = None if self._shown.labels is None else _middle(self._shown.labels[0])
        translated = self._applied(
            image[None, None].to(self._device),
            None if labels is None else labels[None].to(self._device),
        )
        return {
            "simulated": image.numpy(),
            "translated": translated[0, 0].cpu().numpy(),
            "real": _middle(self._real.images[0]).cpu().numpy(),
        }

    @torch.no_grad()
    def _applied(self, image: Tensor, labels: Tensor | None) -> Tensor:
        """Translate without leaving a trace in the training."""
        game = self._game
        random = None
        if game.noisy:
            draw = generator(self._settings.seed, "cpu", "look")
            size = (len(image), *image.shape[-2:])
            random = self._settings.noise * noise(size, draw).to(image.device)
        training = game.training
        game.eval()
        result: Tensor = game.translator(game.inputs(image, labels, random)).float()
        game.train(training)
        return result


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
            metrics[name] = _returned(network, fakes, known, material.classes)
        metrics["edge_shift_px"] = edge_shift(pictures, arrays, known)
    return metrics


@torch.inference_mode()
def _returned(
    network: nn.Module, fakes: list[Tensor], known: list[NDArray[np.int64]], classes: int
) -> float:
    """Return the mean IoU of what a segmenter reads off translated images."""
    device = next(network.parameters()).device
    found = [network(fake[None, None].to(device)).argmax(1)[0].cpu().numpy() for fake in fakes]
    return float(np.mean([mean_iou(a, b, classes) for a, b in zip(found, known, strict=True)]))


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


def _middle(image: Tensor) -> Tensor:
    """Return the middle of an image, not larger than a picture of the strip."""
    top, left = (max(0, n - _SHOWN) // 2 for n in image.shape)
    return image[top : top + _SHOWN, left : left + _SHOWN]
