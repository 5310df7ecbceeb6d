"""From the trained weights to a map: hard where it is judged, soft where it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from napari_physgen.networks.dense_vae import spread_out
from napari_physgen.regions._potts import Potts, agreeing
from napari_physgen.regions._vae_misfit import changes, means, misfit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_physgen.networks.dense_vae import Code, RegionDecoder
    from napari_physgen.regions._vae_judge import Judge, Verdict
    from napari_physgen.regions._vae_scan import Scan
    from napari_physgen.regions.features import Features


@dataclass(frozen=True)
class Outcome:
    """A map, the verdict on the network's map, and what the decoder makes of the map.

    Parameters
    ----------
    q : torch.Tensor
        (region, y, x), the start where the network was not better.
    latent, logvar : torch.Tensor
        (variable, y, x).
    reconstruction : torch.Tensor
        (feature, y, x).
    verdict : Verdict
    """

    q: Tensor
    latent: Tensor
    logvar: Tensor
    reconstruction: Tensor
    verdict: Verdict

    @property
    def better(self) -> bool:
        """Whether the network's map is above the start."""
        return self.verdict.gain > 0


def settle(
    features: Features,
    scan: Scan,
    decoder: RegionDecoder,
    code: Code,
    judge: Judge,
    wall_cost: float,
    start: NDArray[np.float32],
) -> Outcome:
    """Return the network's map, or the start where that is the better one."""
    q, verdict = _settled(features, scan, decoder, code, judge, wall_cost)
    if verdict.gain <= 0:
        q = torch.from_numpy(start).to(q)
    slow = verdict.slow and verdict.gain > 0
    mu = code.mu if slow else torch.zeros_like(code.mu)
    place = (q[:, None] * decoder.positions(spread_out(mu, scan.slow, scan.shape))).sum(0)
    spread = 2 * torch.einsum("kyx,kd->dyx", q, decoder.log_scale)
    spread = spread + spread_out(code.logvar, scan.slow, scan.shape)
    expected = _expected(decoder, scan, q, mu)
    return Outcome(q, place * scan.valid, spread * scan.valid, expected, verdict)


def _settled(
    features: Features,
    scan: Scan,
    decoder: RegionDecoder,
    code: Code,
    judge: Judge,
    wall_cost: float,
) -> tuple[Tensor, Verdict]:
    """Return the probabilities around the best hard map at or near that of the network.

    The network's map and what the mixture's convex solve makes of it, with the misfit of the
    decoder, are judged; nodes then get their probabilities given their neighbours.
    """
    labels = code.logits.argmax(0)
    verdict = judge(decoder, labels, code, wall_cost)
    mu = code.mu if verdict.slow else torch.zeros_like(code.mu)
    nll = misfit(decoder, scan, mu)
    cost = features.evidence * (nll - nll.amin(0)) * scan.valid
    potts = Potts(features.spacing, scan.valid)
    solved = potts.solve(cost, wall_cost, code.q).argmax(0)
    other = judge(decoder, solved, code, wall_cost)
    if other.gain > verdict.gain:
        labels, verdict = solved, other
    hard = functional.one_hot(labels, len(nll)).movedim(-1, 0).float()
    return agreeing(potts.soften(cost, wall_cost, hard), hard), verdict


def _expected(decoder: RegionDecoder, scan: Scan, q: Tensor, mu: Tensor) -> Tensor:
    """Return the descriptors that the decoder expects (feature, y, x), row by row."""
    change = changes(decoder, scan, mu)
    rows = []
    for row in range(scan.shape[0]):
        expected = means(decoder, change[:, :, row])
        own = q[:, None, row]
        if scan.family == "counts":
            rows.append(scan.total[row] * (own * expected.softmax(1)).sum(0))
        else:
            white = (own * expected).sum(0)
            rows.append(torch.linalg.solve(scan.whiten, white) + scan.mean[:, None])
    return torch.stack(rows, dim=1) * scan.valid
