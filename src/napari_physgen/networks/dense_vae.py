"""A variational autoencoder of a whole scan in one pass.

A node x of the scan belongs to region k with probability q_k(x), and varies within its region by
a latent variable u that changes slowly from node to node (thickness, mistilt, strain):

    z_k(x) = c_k + s_k u(x),   u ~ N(0, 1)   (so that z ~ N(c_k, s_k^2): a mixture prior)
    mean of what is measured in region k: prototype_k + basis (g(z_k) - g(c_k))

One fully convolutional encoder gives q and u of all nodes, so that the length of the walls between
the regions is a function of its weights. Slow means: u lives on a grid that is `slow` times
coarser and is interpolated, hence every latent number is supported by slow^2 nodes.
Mixture prior: Jiang et al., VaDE, IJCAI 2017; here the encoder gives z for each region (c_k + s_k u
for region k), which makes the KL term one of u alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_SLOPE = 0.1
DILATIONS = (1, 2, 4)
LARGEST_LOGIT = 4.0
"""How sure the start may be (e^4 = 55 to 1): enough to keep it, little enough to leave it."""


class Code(NamedTuple):
    """What the encoder says about a scan.

    Parameters
    ----------
    logits : torch.Tensor
        (region, y, x) unnormalised log-probabilities of the regions.
    mu, logvar : torch.Tensor
        (latent, coarse y, coarse x) mean and log-variance of the slow variables.
    """

    logits: Tensor
    mu: Tensor
    logvar: Tensor

    @property
    def q(self) -> Tensor:
        """Soft assignments (region, y, x)."""
        return self.logits.softmax(0)

    def kl(self) -> Tensor:
        """Return KL(N(mu, var) || N(0, 1)) of all slow variables, nats."""
        return 0.5 * (self.mu.square() + self.logvar.exp() - 1 - self.logvar).sum()


class DenseEncoder(nn.Module):
    """Map descriptors of all nodes to regions and slow variables of all nodes.

    The regions start as those of `start`: the last layer is 0 before training.

    Parameters
    ----------
    features, regions, latent : int
    slow : int
        Nodes per node of the coarse grid, along y and x.
    width : int
        Channels of the hidden layers.
    generator : torch.Generator, optional
        Source of the first weights, on the CPU.
    """

    def __init__(
        self,
        features: int,
        regions: int,
        latent: int,
        slow: int,
        width: int = 16,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.slow = slow
        # On no device yet: the usual first weights would come from torch's global generator.
        self.first = nn.Conv2d(features + regions, width, 1, device="meta")
        self.context = nn.ModuleList(
            nn.Conv2d(width, width, 3, dilation=reach, device="meta") for reach in DILATIONS
        )
        self.regions = nn.Conv2d(width, regions, 1, device="meta")
        self.slowly = nn.Conv2d(width, width, 1, device="meta")
        self.latent = nn.Conv2d(width, 2 * latent, 1, device="meta")
        _initialise(self, generator or torch.Generator().manual_seed(0))
        with torch.no_grad():
            self.regions.weight.zero_()
            self.latent.weight.mul_(0.1)

    @property
    def halo(self) -> int:
        """Nodes around a node that its regions depend on."""
        return sum(DILATIONS)

    def forward(self, features: Tensor, start: Tensor, valid: Tensor) -> Code:
        """Encode a scan.

        Parameters
        ----------
        features : torch.Tensor
            (feature, y, x), 0 where there are no data.
        start : torch.Tensor
            (region, y, x) soft assignments to start from.
        valid : torch.Tensor
            (y, x) bool.
        """
        logits = _clipped_log(start)
        seen = valid.to(features.dtype)
        hidden = functional.leaky_relu(
            self.first(torch.cat([features, logits * seen])[None]), _SLOPE
        )
        for reach, layer in zip(DILATIONS, self.context, strict=True):
            wide = functional.pad(hidden * seen, (reach,) * 4, mode="replicate")
            hidden = hidden + functional.leaky_relu(layer(wide), _SLOPE)
        slow = functional.leaky_relu(self.slowly(_pooled(hidden, seen, self.slow)), _SLOPE)
        mu, logvar = self.latent(slow)[0].chunk(2)
        return Code(logits + self.regions(hidden)[0], mu, logvar - 2.0)


class RegionDecoder(nn.Module):
    """Say what is measured in each region when the slow variables are u.

    Parameters
    ----------
    prototypes : torch.Tensor
        (region, feature): mean, or log of the mean spectrum, of each region.
    basis : torch.Tensor
        (feature, latent): how the first slow variables change what is measured.
    centres : torch.Tensor
        (region, latent): place of each region in the latent space.
    whiten : torch.Tensor
        (region, feature, feature): lower triangular A_k, the noise of the region is white behind
        it. Not learned by descent but estimated (`regions/vae.py`); not used for counts.
    generator : torch.Generator, optional
        Source of the first weights, on the CPU.
    """

    whiten: Tensor
    hidden = 16
    extra = 2
    """Directions of change beyond those that are linear in u."""

    def __init__(
        self,
        prototypes: Tensor,
        basis: Tensor,
        centres: Tensor,
        whiten: Tensor,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        latent = centres.shape[1]
        self.prototypes = nn.Parameter(prototypes.clone())
        self.basis = nn.Parameter(
            torch.cat([basis, basis.new_zeros(len(basis), self.extra)], dim=1)
        )
        self.centres = nn.Parameter(centres.clone())
        self.log_scale = nn.Parameter(torch.zeros_like(centres))
        self.register_buffer("whiten", whiten.clone())
        self.bend = nn.Linear(latent, self.hidden, device="meta")
        self.along = nn.Linear(self.hidden, latent + self.extra, device="meta")
        draw = generator or torch.Generator().manual_seed(0)
        for layer in (self.bend, self.along):
            _initialise(layer, draw)
        with torch.no_grad():
            self.along.weight.mul_(0.1)

    def positions(self, u: Tensor) -> Tensor:
        """Return z_k (region, latent, y, x) of slow variables (latent, y, x)."""
        return self.centres[..., None, None] + self.log_scale.exp()[..., None, None] * u

    def change(self, u: Tensor) -> Tensor:
        """Return g(z_k) - g(c_k) (region, direction, y, x); what it changes is basis times it."""
        z = self.positions(u).movedim(1, -1)
        moved: Tensor = self._g(z) - self._g(self.centres[:, None, None])
        return moved.movedim(-1, 1)

    def _g(self, z: Tensor) -> Tensor:
        """Return z itself, some further directions of change, and a correction of both."""
        bent: Tensor = self.along(torch.tanh(self.bend(z)))
        return functional.pad(z, (0, self.extra)) + bent


class DenseVAE(nn.Module):
    """Encoder and decoder of one scan."""

    def __init__(self, encoder: DenseEncoder, decoder: RegionDecoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, features: Tensor, start: Tensor, valid: Tensor) -> Code:
        """Encode; the decoder is called by what measures the misfit."""
        code: Code = self.encoder(features, start, valid)
        return code


def spread_out(coarse: Tensor, slow: int, shape: tuple[int, int]) -> Tensor:
    """Interpolate (..., coarse y, coarse x) to all nodes (..., y, x)."""
    flat = coarse.reshape(1, -1, *coarse.shape[-2:])
    size = (flat.shape[-2] * slow, flat.shape[-1] * slow)
    fine = functional.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    return fine[..., : shape[0], : shape[1]].reshape(*coarse.shape[:-2], *shape)


def _pooled(hidden: Tensor, seen: Tensor, slow: int) -> Tensor:
    """Average over the nodes with data of each coarse node (1, channel, coarse y, coarse x)."""
    rows, columns = seen.shape
    margin = (0, -columns % slow, 0, -rows % slow)
    share = functional.avg_pool2d(functional.pad(seen[None, None], margin), slow)
    total = functional.avg_pool2d(functional.pad(hidden * seen, margin), slow)
    return total / share.clamp_min(1 / slow**2)


def _clipped_log(start: Tensor) -> Tensor:
    """Return log-probabilities at most LARGEST_LOGIT apart, centred."""
    log = start.clamp_min(1e-12).log()
    log = (log - log.amax(0)).clamp_min(-LARGEST_LOGIT)
    return log - log.mean(0)


def _initialise(module: nn.Module, generator: torch.Generator) -> None:
    module.to_empty(device="cpu")
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, _SLOPE, generator=generator)
            assert part.bias is not None
            nn.init.zeros_(part.bias)
