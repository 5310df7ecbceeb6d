"""Samplers: from noise to images by asking a denoiser again and again.

All in sigma space (x = x0 + sigma n), where the probability flow of every process is

    dx / dsigma = (x - D(x; sigma)) / sigma

(Karras et al. 2022, eq. 1; the same for Poisson flows, Xu et al. 2023) and the score of a diffusion
is (D(x; sigma) - x) / sigma^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_physgen.errors import UserError
from napari_physgen.generative.denoiser import Estimate

if TYPE_CHECKING:
    from napari_physgen.generative.denoiser import Denoiser
    from napari_physgen.generative.noise import Noise


@dataclass(frozen=True)
class State:
    """Where a sampler stands: after step `index` of `total`, x is at the level `sigma`."""

    index: int
    total: int
    sigma: float
    x: Tensor
    estimate: Estimate


@dataclass(frozen=True)
class Churn:
    """Fresh noise before steps (Karras et al. 2022, algorithm 2).

    Parameters
    ----------
    amount : float
        S_churn, shared among the steps.
    low, high : float
        Noise levels at which to add it.
    inflate : float
        S_noise, standard deviation of the fresh noise.
    """

    amount: float
    low: float = 0.0
    high: float = float("inf")
    inflate: float = 1.0

    def gamma(self, sigma: float, steps: int) -> float:
        """Return by which share the level rises before a step from `sigma`."""
        inside = self.low <= sigma <= self.high
        return min(self.amount / steps, math.sqrt(2) - 1) if inside else 0.0


Callback = Callable[[State], None]
Draw = Callable[[], Tensor]
Rule = Callable[[Tensor, Estimate, float, float, Draw], Tensor]


def step(
    x: Tensor, mean: Tensor, a: float, b: float, eta: float = 0.0, z: Tensor | None = None
) -> Tensor:
    """Step from the noise level a down to b, given the denoised image.

    eta = 0 is DDIM, Euler's method on the probability flow; eta = 1 is the exact reverse step of
    DDPM; in between as in Song et al., DDIM (2021), eq. 16.

    Parameters
    ----------
    x, mean : torch.Tensor
        The noisy image and D(x; a).
    a, b : float
        a > b >= 0.
    eta : float
    z : torch.Tensor, optional
        Standard normal noise, needed for eta > 0.
    """
    up = eta * b * math.sqrt(a**2 - b**2) / a
    down = math.sqrt(b**2 - up**2)
    moved = mean + down / a * (x - mean)
    return moved if z is None else moved + up * z


def integrate(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    eta: float = 0.0,
    heun: bool = True,
    churn: Churn | None = None,
    cond: Tensor | None = None,
    generator: torch.Generator | None = None,
    rule: Rule | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Follow the reverse process along falling noise levels.

    Parameters
    ----------
    denoiser : Denoiser
    x : torch.Tensor
        Image at the first level, for synthesis ``sigmas[0]`` times noise of the denoiser's law.
    sigmas : sequence of float
        Falling levels; the last one may be 0.
    eta : float
        Fresh noise per step; then there are no Heun corrections.
    heun : bool
        Correct each step by the slope at its end (second order), twice the work.
    churn : Churn, optional
        Fresh noise before steps.
    cond : torch.Tensor, optional
        Handed to the denoiser.
    generator : torch.Generator, optional
    rule : callable, optional
        ``rule(x, estimate, a, b, draw)``: another step than `step`.
    callback : callable, optional
        Called with the `State` after every step; what it raises ends the run.

    Returns
    -------
    torch.Tensor
        The image at the last level.

    Raises
    ------
    UserError
        If fresh Gaussian noise is asked for and the noise law has no Gaussian marginals.
    """
    levels = [float(sigma) for sigma in sigmas]
    if any(b >= a for a, b in pairwise(levels)) or levels[-1] < 0:
        raise UserError("The noise levels must fall from step to step, to 0 at the lowest.")
    steps = len(levels) - 1
    for what, wanted in (
        ("Sampling with fresh noise (eta)", eta > 0),
        ("Churn", churn is not None),
    ):
        if wanted:
            denoiser.noise.require_gaussian(what)

    def draw() -> Tensor:
        denoiser.noise.require_gaussian("This sampler")
        return _normal(x, generator)

    for index, (a, b) in enumerate(pairwise(levels)):
        if churn is not None:
            # One draw per step even where nothing is added, as in the reference.
            z = churn.inflate * draw()
            raised = a * (1 + churn.gamma(a, steps))
            x, a = x + math.sqrt(raised**2 - a**2) * z, raised
        estimate = denoiser(x, a, cond)
        if rule is not None:
            after = rule(x, estimate, a, b, draw)
        else:
            after = step(x, estimate.mean, a, b, eta, draw() if eta > 0 else None)
            if heun and eta == 0 and b > 0:
                slope = (x - estimate.mean) / a
                end = (after - denoiser(after, b, cond).mean) / b
                after = x + (b - a) * (slope + end) / 2
        x = after
        if callback is not None:
            callback(State(index + 1, steps, b, x, estimate))
    return x


def midpoint(
    denoiser: Denoiser, x: Tensor, sigmas: Sequence[float] | Tensor, cond: Tensor | None = None
) -> Tensor:
    """Follow the probability flow with DPM-Solver-2 (Lu et al. 2022), as in k-diffusion."""
    levels = [float(sigma) for sigma in sigmas]
    for a, b in pairwise(levels):
        middle = ((a ** (1 / 3) + b ** (1 / 3)) / 2) ** 3
        half = step(x, denoiser(x, a, cond).mean, a, middle)
        x = x + (b - a) / middle * (half - denoiser(half, middle, cond).mean)
    return x


def langevin(
    denoiser: Denoiser,
    x: Tensor,
    sigma: float,
    *,
    snr: float = 0.316,
    steps: int = 100,
    shrink: float = 1.0,
    cond: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Annealed Langevin dynamics at one noise level (NCSN, in the form of Song et al. 2021).

    x <- x + alpha score + sqrt(2 alpha) z with alpha = 2 shrink (snr sigma)^2.

    Parameters
    ----------
    shrink : float
        1 - beta of the step for variance preserving processes.

    Returns
    -------
    (torch.Tensor, torch.Tensor)
        The image, and the one before its last noise.

    Raises
    ------
    UserError
        If the noise law has no Gaussian marginals.
    """
    denoiser.noise.require_gaussian("Langevin dynamics")
    alpha = 2 * shrink * (snr * sigma) ** 2
    calm = x
    for _ in range(steps):
        score = (denoiser(x, sigma, cond).mean - x) / sigma**2
        calm = x + alpha * score
        x = calm + math.sqrt(2 * alpha) * _normal(x, generator)
    return x, calm


def correct(
    denoiser: Denoiser,
    x: Tensor,
    sigma: float,
    *,
    snr: float = 0.16,
    steps: int = 1,
    shrink: float = 1.0,
    cond: Tensor | None = None,
    generator: torch.Generator | None = None,
    mean: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Corrector of Song et al. 2021 (algorithm 4): Langevin steps as long as the noise allows.

    alpha = 2 shrink (snr |z| / |score|)^2, norms averaged over the batch. Returns, takes and raises
    as `langevin`; `mean` is D(x; sigma), where it is known already.
    """
    denoiser.noise.require_gaussian("The corrector")
    calm = x
    for _ in range(steps):
        clean = denoiser(x, sigma, cond).mean if mean is None else mean
        score, mean = (clean - x) / sigma**2, None
        z = _normal(x, generator)
        sizes = [part.flatten(1).norm(dim=1).mean() for part in (z, score)]
        alpha = 2 * shrink * (snr * sizes[0] / sizes[1]) ** 2
        calm = x + alpha * score
        x = calm + (2 * alpha).sqrt() * z
    return x, calm


def predictor_corrector(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    eta: float = 1.0,
    snr: float = 0.16,
    correctors: int = 1,
    cond: Tensor | None = None,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Alternate Langevin corrections and reverse steps (Song et al. 2021, algorithms 2 and 3).

    Returns
    -------
    torch.Tensor
        The image without the noise of the last step.
    """

    def rule(x: Tensor, estimate: Estimate, a: float, b: float, draw: Draw) -> Tensor:
        x, _ = correct(
            denoiser,
            x,
            a,
            snr=snr,
            steps=correctors,
            cond=cond,
            generator=generator,
            mean=estimate.mean,
        )
        return step(x, denoiser(x, a, cond).mean, a, b, eta, draw())

    return integrate(
        denoiser, x, sigmas, cond=cond, generator=generator, rule=rule, callback=callback
    )


def annealed_langevin(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    snr: float = 0.316,
    steps: int = 100,
    cond: Tensor | None = None,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Sample as NCSN does: Langevin dynamics at each level, denoised at the end."""
    levels = [float(sigma) for sigma in sigmas if sigma > 0]
    for index, sigma in enumerate(levels):
        x, calm = langevin(denoiser, x, sigma, snr=snr, steps=steps, cond=cond, generator=generator)
        if callback is not None:
            callback(State(index + 1, len(levels), sigma, x, Estimate(calm)))
    return denoiser(x, levels[-1], cond).mean


def multistep(
    consistency: Denoiser,
    x: Tensor,
    sigmas: Sequence[float] | Tensor,
    *,
    epsilon: float = 0.002,
    cond: Tensor | None = None,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Sample from a consistency model in one or more steps (Song et al. 2023, algorithm 1).

    Fresh noise has the law that the model was trained with.

    Parameters
    ----------
    consistency : Denoiser
        f(x, sigma), which maps any point of a path to its end.
    x : torch.Tensor
        Image at the first level.
    sigmas : sequence of float
        Falling levels, one evaluation each; 0 at the end is ignored.
    epsilon : float
        The level at which paths end.
    """
    levels = [float(sigma) for sigma in sigmas if sigma > 0]
    for index, sigma in enumerate(levels):
        if index > 0:
            z = consistency.noise.draw(x.shape, generator, x.device, x.dtype)
            x = x + math.sqrt(max(sigma**2 - epsilon**2, 0)) * z
        estimate = consistency(x, sigma, cond)
        x = estimate.mean
        if callback is not None:
            callback(State(index + 1, len(levels), 0.0, x, estimate))
    return x


def start(
    noise: Noise, shape: Sequence[int], sigma: float, generator: torch.Generator | None = None
) -> Tensor:
    """Return pure noise of a law at the level `sigma`, with which a sampler starts."""
    device = "cpu" if generator is None else generator.device
    return sigma * noise.draw(shape, generator, device)


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
