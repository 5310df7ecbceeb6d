"""A denoiser that can be interrupted between any two passes through its network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from napari_physgen.generative.denoiser import Denoiser, Estimate
    from napari_physgen.generative.noise import Noise


@dataclass(frozen=True)
class Watched:
    """Call `check` before every evaluation and before every derivative; what it raises ends both.

    Parameters
    ----------
    denoiser : Denoiser
    check : callable
    """

    denoiser: Denoiser
    check: Callable[[], None]

    @property
    def noise(self) -> Noise:
        """The law of the noise."""
        return self.denoiser.noise

    def __call__(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Estimate:
        """Return the denoiser's estimate."""
        self.check()
        estimate = self.denoiser(x, sigma, cond)
        if estimate.mean.requires_grad:
            estimate.mean.register_hook(lambda _: self.check())  # type: ignore[no-untyped-call]
        return estimate
