"""The classic VAE of windows, with a wall length that has a gradient.

Biswas, Ziatdinov and Kalinin, Mach. Learn.: Sci. Technol. 4 (2023) 045004: windows of the scan
are encoded as content, shift and angle, and discontinuities of the content's maps are penalised:

    loss = evidence (misfit + KL) + wall_cost length(content) / nodes

per node. The length needs neighbours, so that every step sees a crop of the grid, not shuffled
windows. Regions are a mixture on the latent maps.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from math import cos, pi
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_physgen.backend import Command, Progress, generator
from napari_physgen.backend.fit import FitResult, fit
from napari_physgen.errors import UserError
from napari_physgen.networks.vae import Pose, PoseVAE
from napari_physgen.outputs import Output
from napari_physgen.regions import mixture
from napari_physgen.regions._classic_samples import Samples, Windows, samples
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
_LATENT_EVIDENCE = 0.5
"""Least weight of the latents of a node in the mixture on them. They say less than the window does,
and at the weight of windows the walls come out too short (half of the true length; at 0.5 1.02)."""

_TILES = 9
_QUANTILES = torch.linspace(0.05, 0.95, _TILES)


@dataclass(frozen=True)
class ClassicResult:
    """Latent maps of the classic VAE and the regions in them.

    Parameters
    ----------
    latent, sigma : numpy.ndarray
        (variable, grid y, grid x) float32: mean and standard deviation of the content.
    shift : numpy.ndarray
        (2, grid y, grid x) float32: shift of each window along y and x, px.
    angle : numpy.ndarray
        (grid y, grid x) float32, rad.
    q : numpy.ndarray
        (region, grid y, grid x) float32 probability of each region.
    manifold : numpy.ndarray
        (y, x) float32: what the decoder makes of 9 x 9 normal quantiles of the first two
        variables (first along y); spectra as rows. Channels are below each other.
    error : float
        Mean squared error of the reconstruction, in variances of the data; of counts the misfit
        per count, nats.
    length : float
        Walls of the content's maps at the end, grid steps (see `latent_length`).
    state : mapping
        Weights of the network.
    history : mapping
        Lists of (step, value): "loss", "misfit" (nats per node, before `evidence`), "length"
        (grid steps per node).
    step, start : (float, float)
        Pixels between nodes and position of the first one, (y, x).
    device : str
    """

    latent: Maps
    sigma: Maps
    shift: Maps
    angle: Maps
    q: Maps
    manifold: Maps
    error: float
    length: float
    state: Mapping[str, Tensor]
    history: Mapping[str, list[tuple[int, float]]]
    step: tuple[float, float] = (1.0, 1.0)
    start: tuple[float, float] = (0.0, 0.0)
    device: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        """Error of the reconstruction and length of the walls."""
        return {"error": self.error, "latent_length": self.length}

    @property
    def summary(self) -> str:
        """What came out, in one sentence."""
        return (
            f"{len(self.latent)} latent maps with walls of {self.length:.0f} grid steps, "
            f"reconstructed with an error of {self.error:.2f}."
        )

    def outputs(self) -> list[Output]:
        """Return latent maps, shifts, angle and the picture of the latent space."""
        place = {"zoom": 1 / self.step[0], "offset": self.start}
        hidden = {"visible": False}
        return [
            _maps("latent", self.latent, place, {"colormap": "viridis"}),
            _maps("shift", self.shift, place, hidden),
            _maps("angle", self.angle[None], place, hidden),
            Output("latent space", self.manifold, display=hidden),
        ]


def classic(
    image: NDArray[np.floating] | None,
    features: Features,
    settings: RegionSettings,
    *,
    regions: int,
    device: torch.device,
    period: float | None = None,
) -> Generator[Progress, Command | None, ClassicResult]:
    """Train the shift/rotation VAE on a scan and map its regions.

    Parameters
    ----------
    image : numpy.ndarray or None
        (channel, y, x): windows around the nodes are cut from it. None: samples are the features
        themselves (spectra, or channels of a point), without shift and angle.
    features : Features
        Grid, window, weight of the evidence and family.
    settings : RegionSettings
        latent, invariances, perimeter, wall_cost (tunable), steps, restarts, seed.
    regions : int
        How many regions the mixture on the latent maps has.
    device : torch.device
    period : float, optional
        Lattice period, px: half of it is the scale of the prior of the shift. Default a third
        of the window.

    Returns
    -------
    generator
        A job; its preview is the latent maps. `Stop` keeps what is there.

    Raises
    ------
    UserError
        If no node has data, or the window is larger than the image.
    """
    if not features.valid.any():
        raise UserError("No point of this scan has data: check the mask.")
    scan = samples(image, features, device)
    training = _Training(scan, features, settings, device, period)
    result: FitResult = yield from training.run()
    if not result.stopped:
        yield Progress(settings.steps, settings.steps, "Finding regions in the latent maps")
    latent, sigma, shift, angle = training.maps()
    found = mixture.fit(
        _comparable(latent, features),
        regions,
        training.wall_cost,
        settings.restarts,
        settings.seed,
    )
    model = training.model.cpu()
    return ClassicResult(
        latent=latent,
        sigma=sigma,
        shift=(shift * (features.window / 2)).astype(np.float32),
        angle=angle[0],
        q=found.probabilities,
        manifold=manifold(model, latent[:, features.valid]),
        error=training.error,
        length=training.length,
        state=model.state_dict(),
        history=result.history,
        step=features.step,
        start=features.start,
        device=str(device),
    )


def _comparable(latent: Maps, features: Features) -> Features:
    """Return latent maps as features, the widest one with unit variance."""
    scale = float(latent[:, features.valid].std(1).max()) or 1.0
    return replace(
        features,
        values=np.where(features.valid, latent / scale, 0).astype(np.float32),
        family="gaussian",
        evidence=max(features.evidence, _LATENT_EVIDENCE),
    )


class _Training:
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
        return [_maps("latent", self.maps()[0], {"zoom": 1 / step[0], "offset": start}, {})]


def manifold(model: PoseVAE, latent: Maps) -> Maps:
    """Return one picture of what the decoder makes of the first two variables.

    Parameters
    ----------
    model : PoseVAE
    latent : numpy.ndarray
        (variable, node) content, whose mean and scatter say where the quantiles lie.
    """
    content = torch.from_numpy(latent)
    centre, spread = content.mean(1), content.std(1, correction=0)
    normal = torch.special.ndtri(_QUANTILES)
    moves = torch.cartesian_prod(normal, normal if len(content) > 1 else normal[4:5])
    z = centre.repeat(len(moves), 1)
    z[:, :2] += moves * spread[:2] if len(content) > 1 else moves[:, :1] * spread
    with torch.no_grad():
        drawn = model.decode(z)
    if drawn.ndim == 2:
        return drawn.numpy()
    tiles = drawn.reshape(_TILES, -1, *drawn.shape[1:])
    picture = tiles.permute(2, 0, 3, 1, 4)
    return picture.reshape(picture.shape[:3].numel(), -1).contiguous().numpy()


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


def _maps(name: str, maps: Maps, place: Mapping[str, Any], display: Mapping[str, Any]) -> Output:
    if len(maps) == 1:
        return Output(name, maps[0], display=display, **place)
    return Output(name, maps, axes=("variable", "y", "x"), display=display, **place)
