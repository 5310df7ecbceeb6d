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
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_physgen.backend import Command, Progress
from napari_physgen.backend.fit import FitResult
from napari_physgen.errors import UserError
from napari_physgen.networks.vae import PoseVAE
from napari_physgen.outputs import Output
from napari_physgen.regions import mixture
from napari_physgen.regions._classic_samples import samples
from napari_physgen.regions._classic_training import Training, latent_maps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features
    from napari_physgen.regions.settings import RegionSettings

    Maps = NDArray[np.float32]

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
            latent_maps("latent", self.latent, place, {"colormap": "viridis"}),
            latent_maps("shift", self.shift, place, hidden),
            latent_maps("angle", self.angle[None], place, hidden),
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
    training = Training(scan, features, settings, device, period)
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
