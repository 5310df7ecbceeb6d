"""The physics VAE: regions, slow variables and the length of all walls in one loss.

    loss = evidence sum_x sum_k q_k(x) misfit_k(x)          what was measured
         + T sum_x KL(q(x) || 1 / K) + KL(u || N(0, 1)) / e what is known before
         + wall_cost length(q)                              what walls cost
         + price of regions that vanish

per node with data (e: part of the evidence that counts for slow changes, T: small). It starts
from a map of the mixture model, whose regions are homogeneous, and may leave it where slow
changes within a region (thickness, mistilt, strain) explain the data better. Both are judged by
one objective of hard maps (`_vae_judge`), and the better one is returned. The model is that of
`networks/dense_vae`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_physgen.backend import Command, Progress, Stop, Tune, generator
from napari_physgen.regions._vae_judge import Judge
from napari_physgen.regions._vae_outcome import Outcome, settle
from napari_physgen.regions._vae_scan import first_model, prepare
from napari_physgen.regions._vae_training import Training
from napari_physgen.regions._vae_trend import other_start

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features
    from napari_physgen.regions.settings import RegionSettings


@dataclass(frozen=True)
class DenseResult:
    """What the physics VAE says about a scan.

    Parameters
    ----------
    q : numpy.ndarray
        (region, y, x) float32 probability of each region at each node.
    latent, logvar : numpy.ndarray
        (variable, y, x) float32: place of each node in the latent space, which is the centre of
        its region and what changes slowly, and the log-variance of it.
    reconstruction : numpy.ndarray
        (feature, y, x) float32: what the decoder expects in place of the features.
    history : mapping
        Lists of (step, value): "loss", "misfit" (tempered, nats per node), "length" (grid steps)
        and "held-out" (objective of the start less that of the map, nats per node).
    better : bool
        Whether the map is the network's; otherwise `q` is the start.
    gain : float
        By how much the objective is above that of the start, nats; never negative.
    plain_gain : float
        The part of it that the mixture's objective sees, which takes regions for homogeneous;
        may be negative where `slow`.
    slow : bool
        Whether slow changes within regions are part of the map.
    stopped : bool
        Whether a `Stop` ended it.
    """

    q: NDArray[np.float32]
    latent: NDArray[np.float32]
    logvar: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    history: Mapping[str, list[tuple[int, float]]]
    better: bool
    gain: float
    plain_gain: float
    slow: bool
    stopped: bool = False


def dense_vae(
    features: Features,
    start: NDArray[np.float32],
    settings: RegionSettings,
    wall_cost: float,
    device: torch.device,
) -> Generator[Progress, Command | None, DenseResult]:
    """Train the physics VAE on one scan (a job).

    `Stop` keeps the best so far; ``Tune(wall_cost=...)`` goes on with another price of walls.

    Parameters
    ----------
    features : Features
        Descriptors on the nodes.
    start : numpy.ndarray
        (region, y, x) soft map of the mixture; the likeliest regions are what is to be beaten.
    settings : RegionSettings
        `latent`, `perimeter`, `steps`, `restarts` and `seed`.
    wall_cost : float
        Nats per grid step.
    device : torch.device

    Returns
    -------
    DenseResult
    """
    command = yield Progress(0, settings.steps, "physics VAE: looking for slow changes")
    if isinstance(command, Tune):
        wall_cost = float(command.changes.get("wall_cost") or wall_cost)
    stopped = isinstance(command, Stop)
    first, drifts = start, False
    if not stopped:
        first, drifts = other_start(features, start, settings, wall_cost)
    scan = prepare(features, first, device)
    model = first_model(scan, settings.latent, generator(settings.seed, "cpu", "dense vae"))
    judge = Judge(features, scan, start.argmax(0))
    training = Training(features, scan, model, settings, wall_cost, judge, drifts)
    if not stopped:
        stopped = yield from training.run()
    with torch.no_grad():
        code = training.encode()
        outcome = settle(features, scan, model.decoder, code, judge, training.wall_cost, start)
    return _result(outcome, start, training, stopped)


def _result(
    outcome: Outcome, start: NDArray[np.float32], training: Training, stopped: bool
) -> DenseResult:
    verdict, better = outcome.verdict, outcome.better
    return DenseResult(
        outcome.q.cpu().numpy() if better else start,
        outcome.latent.cpu().numpy(),
        outcome.logvar.cpu().numpy(),
        outcome.reconstruction.cpu().numpy(),
        training.history,
        better,
        verdict.gain if better else 0.0,
        verdict.plain if better else 0.0,
        better and verdict.slow,
        stopped,
    )
