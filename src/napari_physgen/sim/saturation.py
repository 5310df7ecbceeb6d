"""Light that acts on the dye out of proportion: harmonics of the pattern from one parameter.

The dose of a frame is d = 1 + m cos(theta). What the dye emits is

    E(d) = d / (1 + s d)     for s >= 0 (saturation: broad bright lines, narrow dark ones),
    E(d) = d^(1 - s)         for s < 0  (several photons or a threshold: narrow bright lines).

Both are in proportion to the dose at s = 0. E is even in theta, so that the pattern is
the sum of the harmonics a_h cos(h theta), each at h times the wavevector and phase, a_h / a_0
following from m and s alone (Heintzmann et al., JOSA A 19, 1599 (2002); Gustafsson, PNAS 102,
13081 (2005)).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Tensor

from napari_physgen.sim.results import Waves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.sim.results import Patterns

HARMONICS = 4
"""Highest harmonic that is modelled; the next one of s = 3 has 2 % of the light."""

LARGEST = (-4.0, 20.0)
"""Range of s."""

SAMPLES = 64
"""Points of one period from which the harmonics are computed."""


def emission(dose: Tensor, saturation: Tensor) -> Tensor:
    """Return what the dye emits for a `dose` >= 0."""
    linear = saturation.clamp(min=0)
    power = 1 - saturation.clamp(max=0)
    return dose.clamp_min(1e-6) ** power / (1 + linear * dose)


def harmonics(modulation: Tensor, saturation: Tensor) -> Tensor:
    """Return a_h / a_0 for h = 1 to `HARMONICS`, (..., harmonic), of modulations (...)."""
    theta = 2 * torch.pi * torch.arange(SAMPLES, dtype=modulation.dtype) / SAMPLES
    theta = theta.to(modulation.device)
    value = emission(1 + modulation[..., None] * theta.cos(), saturation)
    order = torch.arange(1, HARMONICS + 1, device=theta.device)[:, None]
    parts = 2 * (value[..., None, :] * (order * theta).cos()).mean(-1)
    return parts / value.mean(-1, keepdim=True)


def fit_saturation(depths: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the modulation of the dose (angle,) and s that explain signed harmonics.

    Parameters
    ----------
    depths : numpy.ndarray
        (angle, harmonic), a_h / a_0 of the first two harmonics or more.
    """
    measured = torch.from_numpy(depths)
    count = len(depths)

    def misfit(x: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = harmonics(torch.from_numpy(x[:count]), torch.tensor(x[count]))
        return (parts[:, : depths.shape[1]] - measured).numpy().ravel()

    start = [*np.full(count, 0.9), float(np.sign(-depths[:, 1].sum()))]
    low, high = [*np.full(count, 0.05), LARGEST[0]], [*np.full(count, 1.0), LARGEST[1]]
    x = least_squares(misfit, start, bounds=(low, high)).x
    return x[:count], float(x[count])


def saturated(patterns: Patterns, saturation: float) -> Patterns:
    """Return what stripes of light with these doses make the dye emit."""
    depths = harmonics(
        torch.from_numpy(patterns.modulation), torch.tensor(saturation, dtype=torch.float64)
    ).numpy()
    order = np.arange(2, HARMONICS + 1)
    return replace(
        patterns,
        modulation=depths[:, 0],
        overtones=Waves(
            patterns.wavevectors[:, None] * order[:, None],
            np.angle(np.exp(1j * patterns.phases[..., None] * order)),
            depths[:, 1:],
        ),
        saturation=saturation,
    )
