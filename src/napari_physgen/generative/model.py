"""A trained prior with all that is needed to use it again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_physgen.backend import generator, load_model, save_model
from napari_physgen.errors import UserError
from napari_physgen.generative import precondition
from napari_physgen.generative.consistency import EPSILON
from napari_physgen.generative.network import NetworkDenoiser
from napari_physgen.generative.process import Process, presets
from napari_physgen.generative.scale import Scale
from napari_physgen.networks.denoiser import DenoiserUNet
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from torch import nn

KIND = "prior"
_WIDEST = 8  # times the features of the finest level


@dataclass(frozen=True)
class Design:
    """The shape of the network.

    Parameters
    ----------
    features, levels, blocks : int
        Features of the finest level, resolutions, residual blocks per level.
    conditions : int
        Channels of the condition, 0 for none.
    dimensions : {2, 3}
    """

    features: int = 16
    levels: int = 4
    blocks: int = 1
    conditions: int = 0
    dimensions: int = 2

    def build(self, seed: int = 0) -> DenoiserUNet:
        """Return a network with random weights."""
        told = self.conditions + 1 if self.conditions else 0
        return DenoiserUNet(
            1 + told,
            2,
            [self.features * min(2**level, _WIDEST) for level in range(self.levels)],
            blocks=self.blocks,
            dimensions=3 if self.dimensions == 3 else 2,
            generator=generator(seed, torch.device("cpu"), "prior"),
        )


@dataclass(frozen=True)
class GenerativeModel:
    """A prior: what images of one kind look like.

    Parameters
    ----------
    net : torch.nn.Module
        On the CPU, in evaluation mode.
    design : Design
    preset : str
        Name of the process, with `poisson_dimensions` D if not its own.
    poisson_dimensions : float or None
    scale : Scale
        Between grey levels and network units.
    sigma_data : float
        Standard deviation of the images in network units.
    learned : {"images", "pairs", "masks", "noisy"}
        What it learned from.
    condition_scale : Scale or None
        Of the noisy partners, for priors of pairs.
    classes : int
        Of the masks, for priors of masks.
    noise_level : float
        Of the images it learned from, network units; 0 for clean ones.
    noise_correlation : tuple of float
        Of that noise between neighbours along y and x.
    std_scale : float
        Factor on the network's standard deviation, from images held out.
    consistency : bool
        Whether it maps paths to their ends, in one evaluation.
    pixel_size_nm : float or None
    settings, history, metrics, record : mapping
    summary, device : str
    shown : tuple of Output
    """

    net: nn.Module
    design: Design
    preset: str
    scale: Scale
    sigma_data: float
    poisson_dimensions: float | None = None
    learned: str = "images"
    condition_scale: Scale | None = None
    classes: int = 0
    noise_level: float = 0.0
    noise_correlation: tuple[float, float] = (0.0, 0.0)
    std_scale: float = 1.0
    consistency: bool = False
    pixel_size_nm: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    device: str = ""
    shown: tuple[Output, ...] = ()

    @property
    def process(self) -> Process:
        """The forward process that it was trained for."""
        process = presets[self.preset]
        D = self.poisson_dimensions
        return process if D is None else process.with_noise(D)

    def denoiser(self, device: torch.device | str = "cpu") -> NetworkDenoiser:
        """Return the network as a denoiser on a device, in evaluation mode."""
        process = self.process
        scalings = precondition.consistency(EPSILON) if self.consistency else process.precondition
        form = torch.channels_last if self.design.dimensions == 2 else torch.channels_last_3d
        net = self.net.to(device, memory_format=form)  # type: ignore[call-overload]
        return NetworkDenoiser(
            net.eval().requires_grad_(False),
            scalings,
            self.sigma_data,
            process.sigma_max,
            process.noise,
            self.design.conditions,
            self.std_scale,
            certain=self.consistency,
        )

    def outputs(self) -> list[Output]:
        """Return what there is to show after training."""
        return list(self.shown)

    def header(self) -> dict[str, Any]:
        """Return all but the weights, as JSON values."""
        plain = {
            name: getattr(self, name)
            for name in (
                "preset",
                "poisson_dimensions",
                "sigma_data",
                "learned",
                "classes",
                "noise_level",
                "noise_correlation",
                "std_scale",
                "consistency",
                "pixel_size_nm",
                "summary",
            )
        }
        scales = {
            name: None if scale is None else asdict(scale)
            for name, scale in (("scale", self.scale), ("condition_scale", self.condition_scale))
        }
        return {
            "kind": KIND,
            "design": asdict(self.design),
            **plain,
            **scales,
            "settings": dict(self.settings),
            "metrics": {k: v for k, v in self.metrics.items() if math.isfinite(v)},
            "record": dict(self.record),
        }

    def save(self, path: str | Path, half: bool = False) -> None:
        """Write the model (safetensors); `half` stores 16-bit weights.

        Raises
        ------
        UserError
            If that cannot be done.
        """
        state = self.net.state_dict()
        if half:
            state = {name: tensor.half() for name, tensor in state.items()}
        save_model(path, state, self.header())


def load(path: str | Path) -> GenerativeModel:
    """Read a prior that `GenerativeModel.save` wrote.

    Raises
    ------
    UserError
        If the file is missing, damaged or another kind of model.
    """
    state, header = load_model(path)
    name = Path(path).name
    if header.pop("kind", None) != KIND:
        raise UserError(f"{name} is no prior: choose a file saved by Restore, Generate or 'prior'.")
    try:
        design = Design(**header.pop("design"))
        scales = {
            key: None if header[key] is None else Scale(**header.pop(key))
            for key in ("scale", "condition_scale")
        }
        header["noise_correlation"] = tuple(header["noise_correlation"])
        net = design.build()
        net.load_state_dict({key: tensor.float() for key, tensor in state.items()})
        model = GenerativeModel(net=net, design=design, **(header | scales))
        _ = model.process
    except (RuntimeError, TypeError, KeyError) as error:
        raise UserError(f"{name} is a prior of another version: train it again.") from error
    return replace(model, net=net.eval())
