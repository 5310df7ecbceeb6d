"""What a prior learns from, and how: the loss, the score and the check of its uncertainty.

One lesson per kind of data: clean images, noisy images with clean partners, images with masks,
noisy images alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_physgen.backend import generator
from napari_physgen.generative.images import Crops, varied
from napari_physgen.generative.losses import Terms, denoising_loss, recorrupted_loss
from napari_physgen.generative.network import NetworkDenoiser
from napari_physgen.generative.noise import per_image

if TYPE_CHECKING:
    from napari_physgen.generative.denoiser import Denoiser, Estimate
    from napari_physgen.generative.process import Process

DIRECT = 0.75
"""Share of the lessons of pairs that show the noisy partner alone: what one evaluation needs."""

DROPPED = 0.15
"""Share of the batches without their masks: the prior without a condition comes for free."""

STRENGTHS = (0.3, 1.2)
"""Added noise relative to that of noisy images, alpha of the recorruption."""

_SCORED, _AT_ONCE = 32, 16  # crops


@dataclass(frozen=True)
class Lesson:
    """Data and how to learn from them.

    Parameters
    ----------
    learn, score : Crops
        To learn from and to score with; channels are the image and its condition, or the standard
        deviation of its noise.
    process : Process
    sigma_data : float
    contrast : float
        Random changes of brightness and contrast.
    varied : int
        Leading channels that share these changes.
    sample : callable
        ``(count, rng)``: noise levels (batch,) of a batch; inf sees the condition only.
    noise_level : float
        Of noisy images; 0 for clean ones.
    noise_filter : callable
        Gives white noise the correlation of the noise of noisy images.
    dropped : float
        Share of batches that are shown without condition.
    """

    learn: Crops
    score: Crops
    process: Process
    sigma_data: float
    contrast: float
    varied: int
    sample: Callable[[int, torch.Generator], Tensor]
    noise_level: float = 0.0
    noise_filter: Callable[[Tensor], Tensor] = lambda n: n
    dropped: float = 0.0

    def loss(
        self, denoiser: NetworkDenoiser, batch: Tensor, rng: torch.Generator, strict: bool = False
    ) -> Terms:
        """Return the loss of a batch (batch, channel, ...); `strict` always shows conditions."""
        device = batch.device
        image, cond = batch[:, :1], batch[:, 1:] if batch.shape[1] > 1 else None
        if cond is not None and not strict and float(torch.rand((), generator=rng)) < self.dropped:
            cond = None
        if self.noise_level > 0:
            low, high = STRENGTHS
            alpha = low * (high / low) ** torch.rand(len(batch), generator=rng)
            n = self.noise_filter(torch.randn(image.shape, generator=rng).to(device))
            spread = batch[:, 1:2]
            return recorrupted_loss(denoiser, image, self.noise_level, spread, alpha.to(device), n)
        sigma = self.sample(len(batch), rng).float().to(device)
        n = self.process.noise.draw(image.shape, rng).to(device)
        return denoising_loss(denoiser, image, sigma, n, self.process, self.sigma_data, cond)

    def drawn(self, count: int, rng: torch.Generator) -> Tensor:
        """Return a batch to learn from."""
        return varied(self.learn.draw(count, rng), self.contrast, self.varied, rng)

    def scorer(
        self, denoiser: NetworkDenoiser, seed: int, device: torch.device
    ) -> Callable[[nn.Module], float]:
        """Return the error of the mean on fixed crops, levels and noise, never learned from.

        The likelihood is left out: a few pixels that are sure and wrong decide it.
        """
        batch = self.examples(seed).to(device)

        def score(net: nn.Module) -> float:
            rng = generator(seed, "cpu", "score")
            asked = replace(denoiser, net=net)
            parts = [
                self.loss(asked, batch[i : i + _AT_ONCE], rng, strict=True).squared
                for i in range(0, len(batch), _AT_ONCE)
            ]
            return float(torch.stack(parts).mean())

        return score

    def examples(self, seed: int, count: int = _SCORED) -> Tensor:
        """Return crops to score with."""
        return self.score.draw(count, generator(seed, "cpu", "held-out"))

    def observed(
        self, denoiser: Denoiser, batch: Tensor, sigma: float, rng: torch.Generator
    ) -> tuple[Tensor, Estimate]:
        """Return noisy images of a batch at one level and what the denoiser makes of them."""
        image, cond = batch[:, :1], batch[:, 1:] if batch.shape[1] > 1 else None
        if self.noise_level > 0:
            return image, denoiser(image, self.noise_level)
        levels = torch.full((len(batch),), sigma, device=batch.device)
        n = self.process.noise.draw(image.shape, rng).to(batch.device)
        finite = torch.where(levels.isinf(), torch.zeros_like(levels), levels)
        noisy = image + per_image(finite, image) * n
        return noisy, denoiser(noisy, levels, cond)


def quantile_95(lesson: Lesson, denoiser: Denoiser, seed: int, device: torch.device) -> float:
    """Return the 95 % quantile of |x0 - mean| / std on held-out crops; 1.96 is a normal law's.

    1.96 for noisy images, whose truth nobody knows.
    """
    if lesson.noise_level > 0:
        return 1.96
    rng = generator(seed, "cpu", "calibration")
    batch = lesson.examples(seed).to(device)
    levels = set(lesson.sample(8, rng).tolist())
    sizes = []
    with torch.no_grad():
        for sigma in sorted(levels):
            _, estimate = lesson.observed(denoiser, batch, sigma, rng)
            assert estimate.std is not None
            sizes.append(((batch[:, :1] - estimate.mean) / estimate.std).abs().flatten())
    return float(torch.cat(sizes).cpu().quantile(0.95)) if sizes else 1.96


def pairs_levels(process: Process) -> Callable[[int, torch.Generator], Tensor]:
    """Return levels for pairs: mostly inf, where the noisy partner is all there is to see."""

    def sample(count: int, rng: torch.Generator) -> Tensor:
        sigma = process.train_sigma(count, rng)
        direct = torch.rand(count, generator=rng) < DIRECT
        return torch.where(direct, torch.full_like(sigma, torch.inf), sigma)

    return sample
