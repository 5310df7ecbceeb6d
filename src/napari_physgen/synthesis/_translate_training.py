"""One attempt to train a translation: its loss, what it shows, and the guard that may end it.

A translation that exchanges dark and bright phases can satisfy every published term of the loss
and is seldom left again once entered. So the guard looks often during the first half.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_physgen.backend import Command, Progress, generator, resolve_precision
from napari_physgen.backend.fit import FitResult, fit
from napari_physgen.networks.translation import MULTIPLE
from napari_physgen.synthesis._translate_checks import INVERTED, contrast
from napari_physgen.synthesis._translate_images import noise
from napari_physgen.synthesis._translate_model import strip_outputs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from napari_physgen.backend import Job
    from napari_physgen.synthesis._translate_games import Game
    from napari_physgen.synthesis._translate_material import Material

_CHECKS = 40
"""Looks of the guard per training; only those of the first half happen."""

_PROBE = 8
"""Squares that the guard looks at."""

_SHOWN = 256
"""Largest side of the pictures in the strip, px."""


class Training:
    """One attempt: the loss of a step, the live figures and pictures, the guard."""

    def __init__(
        self,
        game: Game,
        material: Material,
        device: torch.device,
        batch: int,
        warm_up: bool = True,
    ) -> None:
        self._game = game
        self._device = device
        self._batch = batch
        self._settings = game.settings
        self._warm_up = game.settings.warm_up * game.settings.steps if warm_up else 0
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
        ramp = min(1.0, step / self._warm_up) if self._warm_up else 1.0
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


def _middle(image: Tensor) -> Tensor:
    """Return the middle of an image, not larger than a picture of the strip."""
    top, left = (max(0, n - _SHOWN) // 2 for n in image.shape)
    return image[top : top + _SHOWN, left : left + _SHOWN]
