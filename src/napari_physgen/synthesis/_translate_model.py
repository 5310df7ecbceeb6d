"""A trained translation: from simulated to realistic images of any size, and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from napari_physgen.backend import generator, load_model, resolve_device, save_model
from napari_physgen.backend.tiles import tiles
from napari_physgen.errors import UserError
from napari_physgen.metrics.segmentation import class_overlaps, mean_iou
from napari_physgen.networks.translation import MULTIPLE
from napari_physgen.outputs import Output
from napari_physgen.synthesis._translate_games import Game, new_game
from napari_physgen.synthesis._translate_images import class_mask, listed, noise, normalised
from napari_physgen.synthesis.translation_settings import TranslationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.generic]

History = Mapping[str, list[tuple[int, float]]]

_KIND = "translation"
STRIP = ("simulated", "translated", "real")

_POINTS = 500
"""Of a curve that a file keeps."""

TILE = 1024
"""Largest side of what is translated at once, px."""

_GAP = 8
"""Pixels between the pictures of the strip."""


@dataclass(frozen=True)
class TranslationModel:
    """A translator with all networks that were trained beside it.

    Parameters
    ----------
    settings : TranslationSettings
    game : Game
        The networks, in evaluation mode.
    grey : tuple of float
        Grey levels of the real images that stand for black and white.
    strip : mapping
        "simulated", "translated", "real": an example of each, (y, x) float32.
    metrics : mapping
        contrast; with masks also mask_iou, mask_iou_independent, edge_shift_px; restarts, steps.
    history : mapping
        (step, value) pairs of the terms of the loss.
    summary : str
    device : str
    """

    settings: TranslationSettings
    game: Game
    grey: tuple[float, float]
    strip: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: History = field(default_factory=dict)
    summary: str = ""
    device: str = ""

    @property
    def halo(self) -> int:
        """Pixels around a tile that its translation depends on."""
        return self.game.translator.halo

    def outputs(self) -> list[Output]:
        """Return the example: simulated, translated, real, side by side."""
        return strip_outputs(self.strip)

    def translate(
        self,
        images: Sequence[Image] | Image,
        masks: Sequence[Image] | Image | None = None,
        *,
        seed: int = 0,
        noise: float = 1.0,
    ) -> list[NDArray[np.float32]]:
        """Make simulated images look like the real ones.

        Parameters
        ----------
        images : sequence of numpy.ndarray
            Simulated images (y, x), any grey levels and any size from 16 px on.
        masks : sequence of numpy.ndarray, optional
            Their masks (y, x), classes as in training.
        seed : int
            Another seed, another image of the same mask (if trained with noise).
        noise : float
            Amount, relative to training; 0: the same image for every seed.

        Returns
        -------
        list of numpy.ndarray
            float32 (y, x), in grey levels of the real images.

        Raises
        ------
        UserError
            If an image or a mask is unfit, see `train_translation`.
        """
        pictures = listed(images)
        marks = self._masks(pictures, masks)
        low, high = self.grey
        drawn = (
            self.normal(image, mask, (seed, k), noise)
            for k, (image, mask) in enumerate(zip(pictures, marks, strict=True))
        )
        return [(low + (high - low) / 2 * (image + 1)).numpy() for image in drawn]

    def normal(
        self, image: Image, mask: Tensor | None, stream: tuple[int, int], amount: float
    ) -> Tensor:
        """Return one translated image (y, x) in [-1, 1], on the CPU."""
        scaled, _, _ = normalised(image, "simulated", smallest=16)
        seed, number = stream
        random = None
        if self.game.noisy:
            draw = generator(seed, "cpu", "translate", number)
            random = amount * self.settings.noise * noise((1, *scaled.shape), draw)
        labels = None if mask is None else mask[None]
        inputs = self.game.inputs(scaled[None, None], labels, random)
        return self._translated(inputs)[0, 0].clamp(-1, 1)

    def agreement(
        self, images: Sequence[Image] | Image, masks: Sequence[Image] | Image
    ) -> list[float]:
        """Return how well the masks can be read off translated images, to leave out the worst.

        Parameters
        ----------
        images : sequence of numpy.ndarray
            (y, x) as `translate` returns them; tiles, to find bad places.
        masks : sequence of numpy.ndarray
            (y, x), the masks that they were made from.

        Returns
        -------
        list of float
            IoU, mean over the classes, 0 to 1, per image.

        Raises
        ------
        UserError
            If the model was trained without masks, or a mask is unfit.
        """
        pictures = listed(images)
        if self.game.segmenter is None:
            raise UserError("This translation was trained without masks: train it with masks.")
        low, high = self.grey
        values = []
        for image, mask in zip(pictures, self._masks(pictures, masks), strict=True):
            scaled = torch.from_numpy((np.asarray(image, np.float32) - low) * 2 / (high - low) - 1)
            found = _applied(self.game.segmenter, scaled[None, None]).argmax(1)[0].numpy()
            assert mask is not None
            values.append(mean_iou(class_overlaps(found, mask.numpy()).values()))
        return values

    def save(self, path: str | Path) -> None:
        """Write the model as safetensors; raises UserError where that cannot be done."""
        state = {f"game.{name}": value for name, value in self.game.state_dict().items()}
        state |= {f"strip.{name}": torch.tensor(image) for name, image in self.strip.items()}
        header = {
            "kind": _KIND,
            "settings": self.settings.model_dump(mode="json"),
            "classes": self.game.classes,
            "grey": list(self.grey),
            "metrics": {name: v for name, v in self.metrics.items() if np.isfinite(v)},
            "history": {name: _thinned(points) for name, points in self.history.items()},
            "summary": self.summary,
            "device": self.device,
        }
        save_model(path, state, header)

    @classmethod
    def load(cls, path: str | Path, device: Literal["auto", "cpu", "cuda", "mps"] = "auto") -> Self:
        """Read what `save` wrote; raises UserError if that cannot be done."""
        state, header = load_model(path)
        if header.get("kind") != _KIND:
            raise UserError(f"{Path(path).name} is no translation: choose one saved by this tool.")
        settings = TranslationSettings.parse(header["settings"])
        game = new_game(settings, int(header["classes"]))
        try:
            game.load_state_dict(_under("game.", state))
        except RuntimeError:
            raise UserError(
                f"{Path(path).name} does not fit this version of napari-physgen: train it again."
            ) from None
        pictures = _under("strip.", state)
        low, high = header["grey"]
        return cls(
            settings=settings,
            game=game.to(resolve_device(device)).eval(),
            grey=(low, high),
            strip={name: pictures[name].numpy() for name in STRIP if name in pictures},
            metrics=header["metrics"],
            history={name: [(k, v) for k, v in old] for name, old in header["history"].items()},
            summary=header["summary"],
            device=header["device"],
        )

    def _masks(
        self, images: list[Image], masks: Sequence[Image] | Image | None
    ) -> list[Tensor] | list[None]:
        if masks is None:
            return [None] * len(images)
        marks = listed(masks)
        if len(marks) != len(images):
            raise UserError(f"There are {len(images)} images and {len(marks)} masks: give as many.")
        known = [class_mask(mask, image) for mask, image in zip(marks, images, strict=True)]
        highest = max(int(label.max()) for label in known)
        if self.game.classes and highest >= self.game.classes:
            raise UserError(
                f"A mask holds class {highest}, the model knows 0 to {self.game.classes - 1}: "
                "train with masks that have all classes."
            )
        return known

    def _translated(self, inputs: Tensor) -> Tensor:
        """Return what the translator makes of an image, in tiles if it is large."""
        y, x = inputs.shape[-2:]
        # Instance normalisation looks at all of the image.
        size = max(y, x) if self.settings.norm == "instance" else TILE
        result = torch.empty(1, 1, y, x)
        for tile in tiles((y, x), size, self.halo, MULTIPLE):
            (rows, columns), (top, left) = tile.read, tile.place
            part = _applied(self.game.translator, inputs[..., rows, columns])
            result[..., top, left] = part[..., tile.take[0], tile.take[1]]
        return result


def load_translation(
    path: str | Path, device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
) -> TranslationModel:
    """Read a model that `TranslationModel.save` wrote.

    Raises
    ------
    UserError
        If the file is absent, damaged or of another kind.
    """
    return TranslationModel.load(path, device)


def _applied(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return what a network makes of an image, on the CPU."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        result: Tensor = network(inputs.to(device)).float().cpu()
    return result


def strip_outputs(strip: Mapping[str, NDArray[np.float32]]) -> list[Output]:
    """Return pictures side by side, each beginning where the last one ended."""
    outputs, left = [], 0
    for name, image in strip.items():
        display = {"colormap": "gray"}
        outputs.append(Output(name, image, offset=(0.0, float(left)), display=display))
        left += image.shape[1] + _GAP
    return outputs


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    step = -(-len(points) // _POINTS) or 1
    return [(int(k), float(v)) for k, v in points[::step] if np.isfinite(v)]
