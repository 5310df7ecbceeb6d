"""A mixture in the plane, a small network that learns it, and a distance: shared by tests."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn

from napari_physgen.generative.losses import power_decay
from napari_physgen.generative.priors import MixturePrior

ANGLES = torch.arange(5) * 2 * math.pi / 5
MIXTURE = MixturePrior(torch.full((5,), 0.2), torch.stack([ANGLES.cos(), ANGLES.sin()], 1), 0.15)
"""Five spots on a circle."""

SPREAD = 0.72
"""Its standard deviation per axis."""


class PlaneNet(nn.Module):
    """Map points (batch, 1, 2) and a noise coordinate (batch,) to (batch, channels, 2)."""

    def __init__(self, width=96, channels=1):
        super().__init__()
        self.channels = channels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            sizes = [2 + 17, width, width, width]
            layers = [nn.Sequential(nn.Linear(a, b), nn.SiLU()) for a, b in pairwise(sizes)]
            self.layers = nn.Sequential(*layers, nn.Linear(width, 2 * channels))
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, x, coordinate):
        waves = coordinate[:, None] * torch.linspace(0.5, 4, 8)
        told = torch.cat([coordinate[:, None], waves.sin(), waves.cos()], 1)
        return self.layers(torch.cat([x.flatten(1), told], 1)).unflatten(1, (self.channels, 2))


def learn(net, loss, steps, rate=4e-3):
    """Minimise ``loss(step)``; leave the averaged weights in the network."""
    optimizer = torch.optim.Adam(net.parameters(), lr=rate, betas=(0.9, 0.99))
    averaged = [p.detach().clone() for p in net.parameters()]
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min((step + 1) / 50, 1, 2 * (1 - step / steps))
        optimizer.zero_grad()
        loss(step).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10)
        optimizer.step()
        for old, new in zip(averaged, net.parameters(), strict=True):
            old.lerp_(new.detach(), 1 - power_decay(0.1, step + 1))
    with torch.no_grad():
        for old, new in zip(averaged, net.parameters(), strict=True):
            new.copy_(old)


def sliced_w2(a, b):
    """Return the Wasserstein-2 distance of points (n, 2), averaged (squared) over 64 directions."""
    angles = torch.arange(64) * math.pi / 64
    directions = torch.stack([angles.cos(), angles.sin()])
    shadows = [(points @ directions).sort(0).values for points in (a, b)]
    return float((shadows[0] - shadows[1]).square().mean().sqrt())
