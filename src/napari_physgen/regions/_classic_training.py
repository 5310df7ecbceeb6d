"""The training of the classic VAE on one scan: its loss on crops of the grid, and its maps."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from math import cos, pi
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_physgen.backend import Command, Progress, generator
from napari_physgen.backend.fit import FitResult, fit
from napari_physgen.networks.vae import Pose, PoseVAE
from napari_physgen.outputs import Output
from napari_physgen.regions._classic_samples import Samples, Windows
from napari_physgen.regions._classic_walls import latent_length, stiffness

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features
    from napari_physgen.regions.settings import RegionSettings

    Maps = NDArray[np.float32]

WALL_COST = 1.0
"""Nats per grid step where the settings leave it open."""

_CROP = 32  # nodes
_PIXELS = 24  # of every window that the decoder draws per step
_SPREAD = 16  # nodes along each axis that say how wide the latent maps spread
_RATE, _NOISE_RATE = 5e-3, 5e-2
_ANGLE = pi / 4
"""Standard deviation of the prior of the angle, rad."""


class Training:
    """The network on one scan: its loss, its maps and what may change meanwhile."""

    def __init__(
        self,
        scan: Samples,
        features: Features,
        settings: RegionSettings,
        device: torch.device,
        period: float | None,
    ) -> None:
        self.scan, self.features, self.settings, self.device = scan, features, settings, device
        self.wall_cost = WALL_COST if settings.wall_cost is None else settings.wall_cost
        self.model = _model(scan, features, settings, period).to(device)
        self._draw = generator(settings.seed, "cpu", "classic", "steps")
        self._valid = torch.from_numpy(features.valid).to(device)
        self._latest: dict[str, Tensor] = {}
        nodes = zip(features.shape, (_SPREAD, _SPREAD), strict=True)
        self._every = [max(size // count, 1) for size, count in nodes]

    def run(self) -> Generator[Progress, Command | None, FitResult]:
        """Fit the network."""
        steps, noise = self.settings.steps, self.model.log_noise
        others = [one for one in self.model.parameters() if one is not noise]
        optimizer = torch.optim.Adam(
            [{"params": others, "lr": _RATE}, {"params": [noise], "lr": _NOISE_RATE}]
        )
        return fit(
            self.model,
            self.loss,
            optimizer=optimizer,
            steps=steps,
            device=self.device,
            message="Training the classic VAE",
            schedule=torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: _rate(k / steps)),
            clip=10.0,
            metrics=lambda: {name: float(value) for name, value in self._latest.items()},
            preview=self.preview,
            on_tune=self.tune,
        )

    def tune(self, changes: Mapping[str, Any]) -> None:
        """Take a new wall cost."""
        if changes.get("wall_cost") is not None:
            self.wall_cost = float(changes["wall_cost"])

    def loss(self, net: torch.nn.Module, step: int) -> Tensor:
        """Return evidence (misfit + KL) + wall_cost length / nodes on a crop of the grid."""
        rows, columns = self._crop()
        valid = self._valid[rows[:, None], columns]
        windows = self.scan.at(rows, columns)
        noise = torch.randn(len(windows), self.model.variables, generator=self._draw)
        misfit, divergence, mean = net(windows, noise.to(self.device), self._pixels(len(windows)))
        nodes = valid.sum()
        bound = ((misfit + divergence) * valid.flatten()).sum() / nodes
        length = self._length(mean.T.reshape(-1, *valid.shape), valid) / nodes
        self._latest = {"misfit": (misfit * valid.flatten()).sum() / nodes, "length": length}
        self._latest = {name: value.detach() for name, value in self._latest.items()}
        stiff = self.wall_cost * stiffness(self.settings.perimeter, step / self.settings.steps)
        total: Tensor = self.features.evidence * bound + stiff * length
        return total

    def _length(self, mean: Tensor, valid: Tensor) -> Tensor:
        start = torch.stack([self._random(every) for every in self._every])
        nodes = [
            torch.arange(int(first), size, every, device=self.device)
            for first, size, every in zip(start, self.features.shape, self._every, strict=True)
        ]
        seen = self._valid[nodes[0][:, None], nodes[1]].flatten()
        content = self.model.encode(self.scan.at(*nodes)).content[seen]
        if len(content) < 2:
            content = mean.flatten(1).T
        name, spacing = self.settings.perimeter, self.features.spacing
        length: Tensor = latent_length(name, mean, content, spacing, valid)
        return length

    def _crop(self) -> tuple[Tensor, Tensor]:
        """Return rows and columns of neighbouring nodes, some of which have data."""
        while True:
            rows, columns = (
                torch.arange(min(_CROP, size)) + self._random(max(size - _CROP, 0) + 1)
                for size in self.features.shape
            )
            if self.features.valid[rows[:, None], columns].any():
                return rows.to(self.device), columns.to(self.device)

    def _pixels(self, count: int) -> Tensor | None:
        if len(self.scan.shape) == 1:
            return None
        side = self.scan.shape[-1]
        drawn = torch.randint(side**2, (count, min(_PIXELS, side**2)), generator=self._draw)
        return drawn.to(self.device)

    def _random(self, below: int) -> Tensor:
        return torch.randint(below, (), generator=self._draw)

    @torch.no_grad()
    def maps(self) -> tuple[Maps, Maps, Maps, Maps]:
        """Return content, its standard deviation, shift and angle, each (variable, y, x)."""
        height, width = self.features.shape
        columns = torch.arange(width, device=self.device)
        rows = torch.split(torch.arange(height, device=self.device), max(4096 // width, 1))
        parts = [self.model.encode(self.scan.at(part, columns)) for part in rows]
        content, sigma, shift, angle = (torch.cat(one) for one in zip(*parts, strict=True))
        return tuple(  # type: ignore[return-value]
            one.reshape(height * width, -1).T.reshape(-1, height, width).cpu().numpy()
            for one in (content, sigma, shift, angle)
        )

    @property
    @torch.no_grad()
    def error(self) -> float:
        """Mean squared error of reconstructions, or misfit per count, over the scan."""
        nodes = [
            torch.arange(0, size, every, device=self.device)
            for size, every in zip(self.features.shape, self._every, strict=True)
        ]
        seen = self._valid[nodes[0][:, None], nodes[1]].flatten()
        windows = self.scan.at(*nodes)
        return self.model.error(windows[seen] if seen.any() else windows)

    @property
    @torch.no_grad()
    def length(self) -> float:
        """Length of the walls of the content's maps, grid steps."""
        content = torch.from_numpy(self.maps()[0])
        valid = torch.from_numpy(self.features.valid)
        spread = content[:, valid].T
        name, spacing = self.settings.perimeter, self.features.spacing
        return float(latent_length(name, content, spread, spacing, valid))

    def preview(self) -> list[Output]:
        """Return the latent maps as they are."""
        step, start = self.features.step, self.features.start
        return [latent_maps("latent", self.maps()[0], {"zoom": 1 / step[0], "offset": start}, {})]


def _model(
    scan: Samples, features: Features, settings: RegionSettings, period: float | None
) -> PoseVAE:
    cell = (period or features.window / 3) / features.window
    pose = Pose()
    if isinstance(scan, Windows):
        pose = Pose(
            shift=cell if "shift" in settings.invariances else 0.0,
            angle=_ANGLE if "rotation" in settings.invariances else 0.0,
        )
    counts = features.family == "counts" and not isinstance(scan, Windows)
    return PoseVAE(
        scan.shape,
        settings.latent,
        pose,
        likelihood="counts" if counts else "gaussian",
        waves=pi / cell,
        generator=generator(settings.seed, "cpu", "classic", "weights"),
    )


def _rate(progress: float) -> float:
    """Return the factor of the learning rate: a short rise, then half a cosine."""
    return min(1.0, 0.1 + 9 * progress) * (0.5 + 0.5 * cos(pi * min(progress, 1.0)))


def latent_maps(
    name: str, maps: Maps, place: Mapping[str, Any], display: Mapping[str, Any]
) -> Output:
    """Return maps (variable, y, x) as one output."""
    if len(maps) == 1:
        return Output(name, maps[0], display=display, **place)
    return Output(name, maps, axes=("variable", "y", "x"), display=display, **place)
