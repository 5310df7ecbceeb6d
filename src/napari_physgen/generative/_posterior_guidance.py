"""Guidance along the gradient of the misfit: no linear systems, and no valid spread."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from napari_physgen.generative._posterior_base import (
    Conditioned,
    Posterior,
    linearise,
    spectral,
)
from napari_physgen.generative.denoiser import Estimate
from napari_physgen.generative.noise import per_image
from napari_physgen.generative.samplers import step
from napari_physgen.physics.operator import pseudo_inverse

if TYPE_CHECKING:
    from napari_physgen.generative._posterior_base import Measurement
    from napari_physgen.generative.denoiser import Denoiser
    from napari_physgen.generative.samplers import Draw


class _Sloped(Estimate):
    """An estimate that knows the gradient of the misfit with respect to the noisy image."""

    gradient: Tensor


def score_ald(denoiser: Denoiser, measurement: Measurement, *, gamma: float = 1.0) -> Posterior:
    """Add the gradient of a likelihood of x itself (Jalal et al. 2021).

    D_y = d + sigma^2 A^T (y - A x) / (Sy + (gamma sigma)^2).

    Parameters
    ----------
    denoiser : Denoiser
    measurement : Measurement
    gamma : float
        Noise of A x relative to that of x.
    """

    def estimate(x: Tensor, sigma: float | Tensor, cond: Tensor | None) -> Estimate:
        d = denoiser(x, sigma, cond).mean
        _, variance = measurement(d)
        residual, _ = measurement(x)
        total = variance + (gamma * per_image(sigma, variance)) ** 2
        likelier = measurement.operator.adjoint(residual / total)
        return Estimate(d + per_image(sigma, x) ** 2 * likelier)

    return Posterior(Conditioned(denoiser.noise, estimate))


def dps(denoiser: Denoiser, measurement: Measurement, *, zeta: float = 0.5) -> Posterior:
    """Step back as without data, then down the norm of the misfit (DPS; Chung et al. 2023, alg. 1).

    x' = step(x, d, a, b, eta = 1) - zeta sqrt((1 + a^2) (1 + b^2)) grad_x |y - A d|

    The root carries the published step, taken in the variance preserving variables
    x / sqrt(1 + sigma^2), over to x. Data of unequal noise are weighted by it.

    Parameters
    ----------
    denoiser : Denoiser
    measurement : Measurement
    zeta : float
        Published: 0.3 for deblurring, 0.5 for inpainting, 1 else.
    """

    def estimate(x: Tensor, sigma: float | Tensor, cond: Tensor | None) -> Estimate:
        d, pull = linearise(denoiser, x, sigma, cond)
        residual, variance = measurement(d.mean)
        weight = variance.mean() / variance
        norm = (weight * residual**2).flatten(1).sum(1).sqrt().clamp_min(1e-12)
        back = measurement.operator.adjoint(weight * residual / per_image(norm, residual))
        sloped = _Sloped(d.mean)
        sloped.gradient = -pull(back)
        return sloped

    def rule(x: Tensor, estimate: Estimate, a: float, b: float, draw: Draw) -> Tensor:
        assert isinstance(estimate, _Sloped)
        scale = math.sqrt((1 + a**2) * (1 + b**2))
        return step(x, estimate.mean, a, b, 1.0, draw()) - zeta * scale * estimate.gradient

    return Posterior(Conditioned(denoiser.noise, estimate), rule)


def mcg(denoiser: Denoiser, measurement: Measurement, *, zeta: float = 1.0) -> Posterior:
    """Do as `dps`, then replace what is measured by the data (MCG; Chung et al. 2022, alg. 1).

    x'' = x' + A^+ (y + b A z - A x')

    Parameters
    ----------
    denoiser : Denoiser
    measurement : Measurement
        With an operator that knows its singular values.
    zeta : float
        As `dps`.
    """
    A = spectral(measurement, "MCG")
    guided = dps(denoiser, measurement, zeta=zeta)

    def rule(x: Tensor, estimate: Estimate, a: float, b: float, draw: Draw) -> Tensor:
        assert guided.rule is not None
        moved = guided.rule(x, estimate, a, b, draw)
        y = measurement.y.to(x) + b * A(draw())
        return moved + pseudo_inverse(A, y - A(moved))

    return Posterior(guided.denoiser, rule)
