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
from torch import Tensor, nn

from napari_physgen.sim.forward import SimOperator
from napari_physgen.sim.results import Waves

if TYPE_CHECKING:
    from typing import Any, Self

    from numpy.typing import NDArray

    from napari_physgen.physics.optics import Otf
    from napari_physgen.sim.forward import Canvas
    from napari_physgen.sim.results import Patterns

HARMONICS = 4
"""Highest harmonic that is modelled; the next one of s = 3 has 2 % of the light."""

LARGEST = (-4.0, 20.0)
"""Range of s."""

SATURATION_STEP = 2e-3
"""Step of s in the joint fit: small, since an image that is too smooth asks for less harmonics."""

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


def fit_saturation(
    depths: NDArray[np.float64], errors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return the modulation of the dose (angle,) and s that explain signed harmonics.

    Parameters
    ----------
    depths : numpy.ndarray
        (angle, harmonic), a_h / a_0 of the first two harmonics or more.
    errors : numpy.ndarray
        Their standard errors, same shape.
    """
    measured, weight = torch.from_numpy(depths), torch.from_numpy(1 / errors)
    count = len(depths)

    def misfit(x: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = harmonics(torch.from_numpy(x[:count]), torch.tensor(x[count]))
        return (weight * (parts[:, : depths.shape[1]] - measured)).numpy().ravel()

    start = [*np.full(count, 0.9), float(np.sign(-np.sum(depths[:, 1] / errors[:, 1] ** 2)))]
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


def dose_modulation(patterns: Patterns) -> NDArray[np.float64]:
    """Return the modulation of the dose (angle,) that gives the fundamentals of the patterns."""
    assert patterns.saturation is not None
    grid = np.linspace(0, 1, 201)
    s = torch.tensor(patterns.saturation, dtype=torch.float64)
    depths = harmonics(torch.from_numpy(grid), s)[:, 0].numpy()
    return np.interp(patterns.modulation, depths, grid)


class SaturatedOperator(SimOperator):
    """Image an object through stripes whose harmonics all follow from dose and saturation.

    `mixing` holds the phase and the logarithm of the brightness of each frame, (angle, phase, 2);
    learnable are also the modulation of the `dose` (angle, 1) and the `saturation`.
    """

    dose: nn.Parameter
    saturation: nn.Parameter

    @classmethod
    def sinusoidal(cls, patterns: Patterns, otf: Otf, canvas: Canvas) -> Self:
        """Return the operator of saturated patterns."""
        operator = super().sinusoidal(patterns, otf, canvas)
        brightness = patterns.intensities
        if brightness is None:
            brightness = np.ones_like(patterns.phases)
        frames = np.stack([patterns.phases, np.log(brightness)], -1)
        operator.mixing = _parameter(frames)
        operator.dose = _parameter(dose_modulation(patterns)[:, None])
        operator.saturation = _parameter(np.array(patterns.saturation))
        return operator

    def free_patterns(self, free: bool) -> None:
        """Let fits change phases, brightness, dose and saturation or not."""
        for part in (self.mixing, self.dose, self.saturation):
            part.requires_grad_(free)

    def pattern_steps(self) -> list[dict[str, Any]]:
        """Return what a fit may change of the patterns, with its step size."""
        return [
            *super().pattern_steps(),
            {"params": [self.dose], "lr": 1e-3},
            {"params": [self.saturation], "lr": SATURATION_STEP},
        ]

    def figures(self) -> dict[str, float]:
        """Return the saturation as refined with the image."""
        return {"saturation_refined": self.saturation.item()}

    def mixed(self) -> Tensor:
        """Return the mixing weights (angle, phase, basis) where the sample has not moved."""
        phase, log_brightness = self.mixing.unbind(-1)
        depths = harmonics(self.dose[:, 0], self.saturation)[:, None]
        theta = phase[..., None] * torch.arange(1, HARMONICS + 1).to(phase)
        waves = torch.stack([depths * theta.cos(), -depths * theta.sin()], -1).flatten(-2)
        constant = torch.ones_like(phase)[..., None]
        return log_brightness.exp()[..., None] * torch.cat([constant, waves], -1)


def _parameter(values: NDArray[np.float64]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(values, np.float32)))
