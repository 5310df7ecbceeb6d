"""Inverse problems y = A x0 + e: a denoiser that knows the data, for any sampler.

`posterior` turns a prior's denoiser D into the posterior's D_y; `integrate` then samples images
that explain the data. Only two methods are calibrated: their spread is the uncertainty. That of
the others is a spread of samples and no more (the table in the documentation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from napari_physgen.errors import UserError
from napari_physgen.generative._posterior_base import Measurement, Posterior, Variance
from napari_physgen.generative._posterior_guidance import dps, mcg, score_ald
from napari_physgen.generative._posterior_moments import moment_matching, pseudo_inverse_guidance
from napari_physgen.generative._posterior_proximal import ddnm, diffpir, photons
from napari_physgen.generative._posterior_replaced import direct, repaint
from napari_physgen.generative._posterior_spectral import ddrm
from napari_physgen.generative.schedule import karras

if TYPE_CHECKING:
    from torch import Tensor

    from napari_physgen.generative.denoiser import Denoiser
    from napari_physgen.physics.operator import Operator

__all__ = [
    "METHODS",
    "Measurement",
    "Method",
    "Posterior",
    "Variance",
    "levels",
    "photons",
    "posterior",
]


@dataclass(frozen=True)
class Method:
    """A way to bring data into sampling.

    Parameters
    ----------
    title : str
    build : callable
        ``build(denoiser, measurement, **options)`` -> `Posterior`.
    calibrated : bool
        Whether the spread of the samples may be called uncertainty.
    derivatives : bool
        Whether it needs derivatives of the denoiser: those are posterior covariances for Gaussian
        noise only (Tweedie's formula).
    """

    title: str
    build: Callable[..., Posterior]
    calibrated: bool = False
    derivatives: bool = False


METHODS: Mapping[str, Method] = {
    "mmps": Method("Moment matching (MMPS)", moment_matching, calibrated=True, derivatives=True),
    "direct": Method("One-step denoising", direct, calibrated=True),
    "pigdm": Method("PiGDM", pseudo_inverse_guidance, derivatives=True),
    "dps": Method("DPS", dps, derivatives=True),
    "mcg": Method("MCG", mcg, derivatives=True),
    "diffpir": Method("DiffPIR", diffpir),
    "ddnm": Method("DDNM", ddnm),
    "ddrm": Method("DDRM", ddrm),
    "ald": Method("Score-based Langevin (ALD)", score_ald),
    "repaint": Method("RePaint", repaint),
}


def posterior(
    denoiser: Denoiser,
    operator: Operator,
    y: Tensor,
    variance: Variance,
    method: str = "mmps",
    **options: Any,
) -> Posterior:
    """Return the posterior of images given data.

    Parameters
    ----------
    denoiser : Denoiser
        Of the prior.
    operator : Operator
        Images (batch, channel, [z,] y, x) to data; those that explain data have the shape of
        ``operator.adjoint(y)``.
    y : torch.Tensor
        (batch or 1, ...) data. What the operator does not measure may hold anything finite.
    variance : callable
        Noise variance of each datum, given the data without noise: constant, or one that follows
        the light. Taken anew at every step.
    method : str
        Key of `METHODS`.
    **options
        Those of the method.

    Raises
    ------
    UserError
        If the method is unknown or does not fit prior or operator, if shapes disagree, if data
        are not finite or the noise is not above 0.
    """
    if method not in METHODS:
        raise UserError(f"There is no method {method!r}: choose one of {', '.join(METHODS)}.")
    chosen = METHODS[method]
    if chosen.derivatives and not denoiser.noise.gaussian:
        free = [name for name, other in METHODS.items() if not other.derivatives]
        raise UserError(
            f"{chosen.title} takes the derivative of the denoiser for a posterior covariance, "
            f"which it is for Gaussian noise only; this prior has D = {denoiser.noise.D:g}. Choose "
            f"a method without derivatives ({', '.join(free)}) or a prior with D = inf."
        )
    if not bool(torch.isfinite(y).all()):
        raise UserError("The data have missing values: set them to 0 and mark them in a mask.")
    noise = torch.as_tensor(variance(y))
    if not (bool((noise >= 0).all()) and float(noise.sum()) > 0):
        raise UserError("The noise must have a variance above 0.")
    built = chosen.build(denoiser, Measurement(operator, _seen(operator, y), variance), **options)
    return replace(built, calibrated=chosen.calibrated and built.calibrated)


def levels(count: int, noise: float, spread: float = 0.5) -> Tensor:
    """Return noise levels for sampling a posterior, from `Posterior.start` on.

    From five standard deviations of the images to a fifth of that of the data: with moment
    matching and Heun's method 18 levels are then as good as 32 from 80 to 0.002 (table in the
    documentation). At higher levels derivatives of networks are not worth much anyway.

    Parameters
    ----------
    count : int
        Levels; 0 is appended.
    noise : float
        Standard deviation of the data.
    spread : float
        Standard deviation of the images.
    """
    return karras(count, min(0.2 * noise, spread), 5 * spread)


def _seen(operator: Operator, y: Tensor) -> Tensor:
    """Return y with 0 where the operator measures nothing: the rows of A A^T that are 0."""
    probe = torch.randn(y[:1].shape, generator=torch.Generator().manual_seed(0)).to(y)
    return torch.where(operator(operator.adjoint(probe)) == 0, 0.0, y)
