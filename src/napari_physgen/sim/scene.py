"""An object under the microscope, and what makes it an unlikely one.

The object is rho = s softplus(u), with s the local brightness: never negative, and steps of the
same size in u are steps of the same relative size in dark and in bright places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from napari_physgen.sim.forward import Canvas, SimOperator
    from napari_physgen.sim.measurement import Measurement

GAIN_SPREAD, GAIN_STEP = 0.5, 0.05
"""Prior standard deviation of the logarithm of the gain and of its steps between knots."""

EDGE = 1e-3
"""Curvatures below this share of the local brightness count quadratically."""


FAINTEST = 0.02
"""Least share of the local brightness that a fit starts from: from 0 it could not rise."""


class Scene(nn.Module):
    """An object under the microscope: the image, the operator and how they are penalised.

    Parameters
    ----------
    operator : SimOperator
    start : torch.Tensor
        First guess of the object (y, x) on the fine canvas, grey levels.
    brightness : torch.Tensor
        Local brightness s > 0 (y, x) on the fine canvas, grey levels.
    """

    brightness: Tensor

    def __init__(self, operator: SimOperator, start: Tensor, brightness: Tensor) -> None:
        super().__init__()
        self.operator = operator
        self.register_buffer("brightness", brightness)
        self.u = nn.Parameter(inverse_softplus(start / brightness))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the object (y, x) and the frames (angle, phase, y, x) it would give."""
        rho = self.rho()
        return rho, self.operator(rho)

    def rho(self) -> Tensor:
        """Return the object on the fine canvas, grey levels."""
        return self.brightness * functional.softplus(self.u)

    def start(self, rho: Tensor) -> None:
        """Go on from another object (y, x) on the fine canvas, grey levels."""
        with torch.no_grad():
            bright = rho.maximum(FAINTEST * self.brightness)
            self.u.copy_(inverse_softplus(bright / self.brightness))

    def image(self) -> Tensor:
        """Return the object within the camera's field, (zoom * y, zoom * x)."""
        canvas = self.operator.canvas
        return canvas.crop(self.rho().detach(), canvas.zoom)


def first_guess(operator: SimOperator, measurement: Measurement) -> Scene:
    """Return a scene that starts from the widefield image."""
    canvas = operator.canvas
    brightness = local_brightness(canvas, measurement)
    start = enlarged(canvas, measurement.widefield).clamp_min(FAINTEST * brightness)
    return Scene(operator, start, brightness)


def local_brightness(canvas: Canvas, measurement: Measurement) -> Tensor:
    """Return twice the widefield image on the fine canvas (y, x), bounded from below.

    The bound lets dark pixels light up.
    """
    floor = max(0.1 * measurement.level, 0.5 * measurement.noise)
    return 2 * enlarged(canvas, measurement.widefield).clamp_min(floor)


def enlarged(canvas: Canvas, field: Tensor) -> Tensor:
    """Return a raw field (y, x) interpolated onto the fine canvas."""
    padded = canvas.pad(field)[None, None]
    return functional.interpolate(padded, scale_factor=canvas.zoom, mode="bilinear")[0, 0]


def curvature(image: Tensor, softness: Tensor, sigma: Tensor) -> Tensor:
    """Return the sum over (y, x) of |Hessian| / sigma.

    `softness` (y, x) rounds the norm off at 0; `sigma` (y, x) is the local noise, which
    makes the best weight the same at any dose and in dark and bright places.
    """
    xx = image[1:-1, 2:] - 2 * image[1:-1, 1:-1] + image[1:-1, :-2]
    yy = image[2:, 1:-1] - 2 * image[1:-1, 1:-1] + image[:-2, 1:-1]
    xy = (image[2:, 2:] - image[2:, :-2] - image[:-2, 2:] + image[:-2, :-2]) / 4
    inner = slice(1, -1), slice(1, -1)
    norm = torch.sqrt(xx**2 + yy**2 + 2 * xy**2 + softness[inner] ** 2)
    return (norm / sigma[inner]).sum()


def roughness(log_gain: Tensor) -> Tensor:
    """Return the negative log-prior of gain maps (angle, 1, y, x): smooth, about 1."""
    down, right = log_gain.diff(dim=-2), log_gain.diff(dim=-1)
    steps = down.square().sum() + right.square().sum()
    return 0.5 * (steps / GAIN_STEP**2 + (log_gain / GAIN_SPREAD).square().sum())


def inverse_softplus(value: Tensor) -> Tensor:
    """Return u with softplus(u) = value > 0, without overflow."""
    return value + torch.log(-torch.expm1(-value))
