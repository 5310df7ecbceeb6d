"""Data steps after the denoiser: nearest image that explains the data, no derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_physgen.errors import UserError
from napari_physgen.generative._posterior_base import (
    Conditioned,
    Measurement,
    Posterior,
    spectral,
)
from napari_physgen.generative.denoiser import Estimate
from napari_physgen.generative.noise import per_image
from napari_physgen.physics.operator import Identity, pseudo_inverse
from napari_physgen.physics.proximal import poisson_prox

if TYPE_CHECKING:
    from napari_physgen.generative.denoiser import Denoiser
    from napari_physgen.generative.samplers import Draw

Nearest = Callable[[Measurement, Tensor, Tensor], Tensor]
"""(measurement, guess z, weight rho (batch,)) -> argmin_x misfit(x) + rho |x - z|^2."""


def photons(gain: float, offset: float) -> Nearest:
    """Return the data step of counted photons without blur and without read noise.

    Parameters
    ----------
    gain, offset : float
        Value per photon and value without light, in the units of the data.
    """

    def nearest(measurement: Measurement, z: Tensor, rho: Tensor) -> Tensor:
        if not isinstance(measurement.operator, Identity):
            raise UserError(
                "The data step of counted photons is for denoising only: take the one of a "
                "variance that follows the light."
            )
        return poisson_prox(z, measurement.y.to(z), per_image(rho, z), gain, offset)

    return nearest


def diffpir(
    denoiser: Denoiser,
    measurement: Measurement,
    *,
    balance: float = 1.0,
    zeta: float = 0.3,
    nearest: Nearest = Measurement.nearest,
) -> Posterior:
    """Take the nearest image that explains the data (DiffPIR; Zhu et al. 2023, alg. 1).

    z = argmin_x |y - A x|^2 / Sy + lambda / sigma^2 |x - d|^2
    x' = z + b (sqrt(1 - zeta) (x - z) / a + sqrt(zeta) n)

    Parameters
    ----------
    denoiser : Denoiser
    measurement : Measurement
    balance : float
        lambda; published 7, but 1 comes nearer to the posterior.
    zeta : float
        Fresh noise, 0 to 1.
    nearest : callable
        The data step; `photons` for counted light.
    """
    if zeta > 0:
        denoiser.noise.require_gaussian("DiffPIR with fresh noise (zeta)")

    def estimate(x: Tensor, sigma: float | Tensor, cond: Tensor | None) -> Estimate:
        d = denoiser(x, sigma, cond).mean
        level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
        return Estimate(nearest(measurement, d, balance / level**2))

    def rule(x: Tensor, estimate: Estimate, a: float, b: float, draw: Draw) -> Tensor:
        z = estimate.mean
        moved = z + b * math.sqrt(1 - zeta) * (x - z) / a
        return moved + b * math.sqrt(zeta) * draw() if zeta > 0 else moved

    return Posterior(Conditioned(denoiser.noise, estimate), rule)


def ddnm(
    denoiser: Denoiser, measurement: Measurement, *, eta: float = 0.85, cutoff: float = 1e-3
) -> Posterior:
    """Replace what is measured by the data, as if they had no noise (DDNM; Wang et al. 2023).

    z = d + A^+ (y - A d),   x' = z + b (eta n + sqrt(1 - eta^2) (x - d) / a)

    Parameters
    ----------
    denoiser : Denoiser
    measurement : Measurement
        With an operator that knows its singular values.
    eta : float
        Share of fresh noise.
    cutoff : float
        Singular values below this part of the largest count as not measured.
    """
    A = spectral(measurement, "DDNM")
    if eta > 0:
        denoiser.noise.require_gaussian("DDNM with fresh noise (eta)")

    def rule(x: Tensor, estimate: Estimate, a: float, b: float, draw: Draw) -> Tensor:
        d = estimate.mean
        residual, _ = measurement(d)
        z = d + pseudo_inverse(A, residual, cutoff)
        moved = z + b * math.sqrt(1 - eta**2) * (x - d) / a
        return moved + b * eta * draw() if eta > 0 else moved

    return Posterior(denoiser, rule)
