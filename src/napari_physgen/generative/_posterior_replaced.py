"""Methods for data that are the image itself: inpainting by replacement, denoising in one step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_physgen.errors import UserError
from napari_physgen.generative._posterior_base import Conditioned, Posterior
from napari_physgen.generative.denoiser import Estimate
from napari_physgen.generative.noise import per_image
from napari_physgen.generative.samplers import step
from napari_physgen.physics.operator import Identity, Mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_physgen.generative._posterior_base import Measurement
    from napari_physgen.generative.denoiser import Denoiser
    from napari_physgen.generative.samplers import Draw

EQUAL = 0.1
"""Largest coefficient of variation of the noise variance that still counts as equal noise."""


class _Repeatable(Estimate):
    """An estimate that can be had again for another image at the same level."""

    again: Callable[[Tensor], Estimate]


def repaint(denoiser: Denoiser, measurement: Measurement, *, repeats: int = 5) -> Posterior:
    """Replace measured pixels by the data with fresh noise (RePaint; Lugmayr et al. 2022, alg. 1).

    x' = y + b n where measured, step(x, d, a, b, eta = 1) elsewhere; then back to the level a by
    fresh noise and again. One pass is the inpainting of Song et al. 2021 (score SDE).

    Parameters
    ----------
    denoiser : Denoiser
    measurement : Measurement
        Of a mask.
    repeats : int
        Passes per step.
    """
    mask = measurement.operator
    if not isinstance(mask, Mask):
        raise UserError("RePaint fills in missing pixels only: choose another method here.")
    denoiser.noise.require_gaussian("RePaint")

    def estimate(x: Tensor, sigma: float | Tensor, cond: Tensor | None) -> Estimate:
        repeatable = _Repeatable(*denoiser(x, sigma, cond))
        repeatable.again = lambda x: denoiser(x, sigma, cond)
        return repeatable

    def rule(x: Tensor, estimate: Estimate, a: float, b: float, draw: Draw) -> Tensor:
        assert isinstance(estimate, _Repeatable)
        again = estimate.again
        for left in reversed(range(repeats if b > 0 else 1)):
            unknown = step(x, estimate.mean, a, b, 1.0, draw())
            known = measurement.y.to(x) + b * draw()
            moved = torch.where(mask.kept.to(x.device), known, unknown)
            if left:
                x = moved + math.sqrt(a**2 - b**2) * draw()
                estimate = again(x)
        return moved

    return Posterior(Conditioned(denoiser.noise, estimate), rule)


def direct(denoiser: Denoiser, measurement: Measurement) -> Posterior:
    """Denoise: the data are an image at their own noise level sy, and nothing has to be solved.

    x and y together are one image m with the noise s, 1 / s^2 = 1 / sigma^2 + 1 / sy^2 and
    m = s^2 (x / sigma^2 + y / sy^2), so that D_y = D(m, s) exactly; without x, D(y, sy). A Poisson
    flow knows the latter only: the product of two Student-t laws is none.

    Parameters
    ----------
    denoiser : Denoiser
    measurement : Measurement
        Of the image itself. Unequal noise counts by its mean variance; then the spread is not
        calibrated.
    """
    if not isinstance(measurement.operator, Identity):
        raise UserError(
            "One step removes noise only: choose moment matching (MMPS) for blurred, coarse or "
            "incomplete data."
        )
    _, variance = measurement(measurement.y)
    sy2 = variance.flatten(1).mean(1)
    equal = bool((variance.flatten(1).std(1) <= EQUAL * sy2).all())

    def estimate(x: Tensor, sigma: float | Tensor, cond: Tensor | None) -> Estimate:
        y, noise = measurement.y.to(x).expand_as(x), per_image(sy2, x)
        trust = 1 / (1 + noise / per_image(sigma, x) ** 2)
        if not denoiser.noise.gaussian:
            trust = torch.ones_like(trust)
        s = (trust * noise).sqrt().flatten().expand(len(x))
        return denoiser(x + trust * (y - x), s, cond)

    return Posterior(Conditioned(denoiser.noise, estimate), calibrated=equal)
