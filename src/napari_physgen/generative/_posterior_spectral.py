"""One step per singular value: each coefficient is taken from data or prior by its own noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_physgen.generative._posterior_base import Posterior, spectral

if TYPE_CHECKING:
    from napari_physgen.generative._posterior_base import Measurement
    from napari_physgen.generative.denoiser import Denoiser, Estimate
    from napari_physgen.generative.samplers import Draw


def ddrm(
    denoiser: Denoiser, measurement: Measurement, *, eta: float = 0.85, eta_b: float = 1.0
) -> Posterior:
    """Mix data and prior per singular value s (DDRM; Kawar et al. 2022, sec. 3.2).

    With coefficients d of the estimate, e of the noise (x - d) / a and y = U* y / s, whose noise
    is tau = sy / s, and fresh noise z,

        not measured (s = 0)   d + b (sqrt(1 - eta^2) e + eta z)
        cleaner than y (b < tau)    d + b (sqrt(1 - eta^2) (y - d) / tau + eta z)
        noisier than y (b >= tau)   (1 - eta_b) d + eta_b y + sqrt(b^2 - eta_b^2 tau^2) z

    With eta_b = 1 this is DDNM+ (Wang et al. 2023, eq. 17-19) too: its Lambda is
    b s sqrt(1 - eta^2) / sy.

    Parameters
    ----------
    denoiser : Denoiser
    measurement : Measurement
        With an operator that knows its singular values. Noise that differs from datum to datum
        counts as such for masks and camera pixels, by its mean for a blur.
    eta, eta_b : float
        Share of fresh noise, and of the data where they are the cleaner.
    """
    A = spectral(measurement, "DDRM")
    denoiser.noise.require_gaussian("DDRM")

    def rule(x: Tensor, estimate: Estimate, a: float, b: float, draw: Draw) -> Tensor:
        image, noise, z = (A.analyse(t) for t in (estimate.mean, (x - estimate.mean) / a, draw()))
        residual, variance = measurement(estimate.mean)
        s = A.singular_values(image)
        sy = A.measured(variance.sqrt()) if A.local else variance.mean().sqrt()
        seen = s > 0
        tau = torch.where(seen, sy / s, math.inf)
        excess = torch.where(seen, A.measured(residual) / s, 0.0)  # ybar - dbar
        calm = math.sqrt(1 - eta**2)
        missing = b * (calm * noise + eta * z)
        cleaner = b * (calm * excess / tau + eta * z)
        noisier = eta_b * excess + (b**2 - (eta_b * tau) ** 2).clamp_min(0).sqrt() * z
        moved = torch.where(b < tau, cleaner, noisier)
        return A.synthesise(image + torch.where(seen, moved, missing))

    return Posterior(denoiser, rule)
