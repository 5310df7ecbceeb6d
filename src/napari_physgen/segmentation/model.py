"""A trained segmentation network with all that is needed to use it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.backend.checkpoint import load_model, save_model
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from torch import nn

KIND = "segmentation"
LEVELS = 5
_WIDEST = 8  # times the features of the finest level


@dataclass(frozen=True)
class Design:
    """The shape of the network.

    Parameters
    ----------
    classes : int
    features : int
        Of the finest level; each of the coarser ones has twice as many.
    dimensions : {2, 3}
    """

    classes: int
    features: int
    dimensions: int = 2

    def build(self, seed: int = 0) -> nn.Module:
        """Return a network with random weights: normalised grey to one logit per class."""
        import torch

        from napari_physgen.backend import generator
        from napari_physgen.networks.unet import UNet

        channels = [self.features * min(2**level, _WIDEST) for level in range(LEVELS)]
        return UNet(
            1,
            self.classes,
            channels,
            generator=generator(seed, torch.device("cpu"), "segmentation"),
            batch_norm=True,
            dimensions=3 if self.dimensions == 3 else 2,
        )


@dataclass(frozen=True)
class SegmentationModel:
    """A network that labels micrographs.

    Parameters
    ----------
    net : torch.nn.Module
        Logits (batch, class, [z,] y, x) of images (batch, 1, [z,] y, x), normalised as
        `prepare.normalised` does; on the CPU, in evaluation mode.
    design : Design
    classes : tuple of str
        Names of the classes, the first one is the background (label 0).
    pixel_size_nm : float or None
        Of the images it was made for; None if they did not say.
    length : float or None
        Characteristic length of their structure, px, to warn about another scale.
    solid : bool
        Whether particles have no holes, as in the masks it was trained on; then holes that the
        network leaves in them are filled.
    settings : mapping
        As JSON values.
    history : mapping
        Curves of the training: (step, value) pairs by name.
    summary : str
    metrics : mapping
    device : str
        Where it was trained.
    record : mapping
        The history of the model, of `provenance.Record`; empty if none was made.
    shown : tuple of Output
        What to show after training, such as the labels of the user's own images.
    """

    net: nn.Module
    design: Design
    classes: tuple[str, ...]
    pixel_size_nm: float | None = None
    length: float | None = None
    solid: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    summary: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    shown: tuple[Output, ...] = ()

    def outputs(self) -> list[Output]:
        """Return what there is to show."""
        return list(self.shown)

    def header(self) -> dict[str, Any]:
        """Return all but the weights, as JSON values."""
        return {
            "kind": KIND,
            "design": vars(self.design),
            "classes": list(self.classes),
            "pixel_size_nm": self.pixel_size_nm,
            "length": self.length,
            "solid": self.solid,
            "settings": dict(self.settings),
            "summary": self.summary,
            "metrics": {k: v for k, v in self.metrics.items() if np.isfinite(v)},
            "record": dict(self.record),
            "normalisation": "each image: its 0.5 and 99.5 percentiles become 0 and 1",
        }

    def save(self, path: str | Path) -> None:
        """Write the model (safetensors); raises UserError where that cannot be done."""
        save_model(path, self.net.state_dict(), self.header())


def load(path: str | Path) -> SegmentationModel:
    """Read a model that `SegmentationModel.save` wrote.

    Raises
    ------
    UserError
        If the file is missing, damaged or another kind of model.
    """
    state, header = load_model(path)
    if header.get("kind") != KIND:
        raise UserError(f"{path} is no segmentation model: choose one saved by Train or Run all.")
    try:
        design = Design(**header["design"])
        net = design.build()
        net.load_state_dict(state)
    except (RuntimeError, TypeError, KeyError) as error:
        name = Path(path).name
        raise UserError(f"{name} is a model of another version: train it again.") from error
    net.eval()
    return SegmentationModel(
        net=net,
        design=design,
        classes=tuple(header["classes"]),
        pixel_size_nm=header["pixel_size_nm"],
        length=header["length"],
        solid=header["solid"],
        settings=header["settings"],
        summary=header["summary"],
        metrics=header["metrics"],
        record=header.get("record", {}),
    )
