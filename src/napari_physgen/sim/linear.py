"""Linear images: what a few iterations of conjugate gradients make of the frames.

    (S A^T W A S + e) v = S A^T W y,      rho = S v,

with the forward model A, the weights W of the camera pixels and the local brightness S, which
brings bright and dark places to the same scale. Early iterations hold what is bright and
coarse, later ones fine detail and noise: together they say all that the frames say of the object,
whatever their number and their patterns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_physgen.sim.forward import SimOperator
    from napari_physgen.sim.measurement import Measurement

START = 0.5
"""First v: `local_brightness` is twice the widefield image."""

RIDGE = 1e-3
"""e, relative to the mean of S A^T W A S 1."""

SMOOTH = 3.0
"""Raw px over which the brightness of the angles is compared."""

GAIN_SPREAD = 0.15
"""Prior standard deviation of the logarithm of the gains at that scale."""


def linear_images(
    operator: SimOperator, measurement: Measurement, brightness: Tensor, after: Sequence[int]
) -> Tensor:
    """Return the images v after some numbers of iterations.

    Parameters
    ----------
    operator : SimOperator
        Frozen.
    measurement : Measurement
        Only its fitted pixels count.
    brightness : torch.Tensor
        S (y, x) on the fine canvas, grey levels.
    after : sequence of int
        Increasing numbers of iterations, 1 or more.

    Returns
    -------
    torch.Tensor
        (image, y, x), in units of the brightness.
    """
    weight = measurement.weight * measurement.fitted

    def adjoint(frames: Tensor) -> Tensor:
        with torch.enable_grad():
            # The model is linear: its derivative at any place is its adjoint.
            v = torch.zeros_like(brightness).requires_grad_(True)
            return torch.autograd.grad(operator(brightness * v), v, frames)[0]

    def normal(v: Tensor) -> Tensor:
        with torch.no_grad():
            frames = operator(brightness * v)
        return adjoint(weight * frames)

    ridge = RIDGE * float(normal(torch.ones_like(brightness)).mean())
    v = torch.full_like(brightness, START)
    residual = adjoint(weight * measurement.frames) - normal(v)
    direction, power = residual, residual.square().sum()
    images = []
    for iteration in range(1, max(after) + 1):
        image = normal(direction) + ridge * direction
        step = power / (direction * image).sum()
        v = v + step * direction
        residual = residual - step * image
        earlier, power = power, residual.square().sum()
        direction = residual + power / earlier * direction
        if iteration in after:
            images.append(v)
    return torch.stack(images)


def set_gains(operator: SimOperator, measurement: Measurement) -> None:
    """Set the gains of the angles to the ratio of their smoothed images without pattern.

    Shrunk towards 1 where the frames are too dark to tell.
    """
    # Where the steps are unequal, the mean of the phases still holds a part of the pattern.
    share = _unpatterned(operator)
    light = np.einsum("ap,apyx->ayx", share, measurement.bridged())
    mean = gaussian_filter(light, (0.0, SMOOTH, SMOOTH))
    mean = mean.clip(0.05 * mean.mean())
    variance = np.einsum("ap,apyx->ayx", share**2, measurement.variance.cpu().numpy())
    noise = variance / (4 * np.pi * SMOOTH**2)
    certain = GAIN_SPREAD**2 / (GAIN_SPREAD**2 + noise / mean**2)
    log_gain = np.log(mean) - np.log(mean).mean(0)
    place = measurement.frames.device
    operator.set_log_gain(
        torch.as_tensor(log_gain * certain, dtype=torch.float32, device=place)[:, None]
    )


def _unpatterned(operator: SimOperator) -> NDArray[np.floating]:
    """Return the weights (angle, phase) that give the image without pattern of each angle."""
    mixing = operator.mixed().detach().cpu().numpy()
    if operator.wavevectors is None:
        return np.full(mixing.shape[:2], 1 / mixing.shape[1])
    return np.asarray(np.linalg.pinv(mixing)[:, 0])
