"""The noise of a forward process: Gaussian, or the multivariate Student-t of a Poisson flow.

PFGM++ (Xu et al. 2023) perturbs data in N dimensions by the field of charges in N + D dimensions,

    p_r(x | y) ~ (|x - y|^2 + r^2)^(-(N + D) / 2),    r = sigma sqrt(D),

which is a Student-t law with D degrees of freedom and scale sigma:

    x = y + sigma n,    n = g sqrt(D / chi2_D),    g ~ N(0, 1).

One factor per image; N never enters, so that one model serves images of all sizes. D = inf is
Gaussian (diffusion), D = 1 is PFGM. The published recipe draws the radius from a Beta law and
clips it, which is wrong for most images of 256 px and more; this form has no such limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 10.0
"""Bound of the factor for D <= 4, whose variance is infinite or nearly so."""


@dataclass(frozen=True)
class Noise:
    """A noise law of unit scale.

    Parameters
    ----------
    D : float
        Augmented dimensions of the Poisson flow, above 0; inf for Gaussian noise. The smaller, the
        less a denoiser trained with it has to know the noise level.

    Raises
    ------
    UserError
        If D is not above 0.
    """

    D: float = math.inf

    def __post_init__(self) -> None:
        if not self.D > 0:
            raise UserError(f"The augmented dimensions D must be above 0, got {self.D:g}.")

    @property
    def gaussian(self) -> bool:
        """Whether the noise is Gaussian."""
        return math.isinf(self.D)

    def factor(
        self,
        count: int,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw sqrt(D / chi2_D) for `count` images (count,)."""
        if self.gaussian:
            return torch.ones(count, device=device, dtype=dtype)
        # chi2_D is twice a Gamma variable of shape D / 2; float64, for small D underflows.
        shape = torch.full((count,), self.D / 2, device=device, dtype=torch.float64)
        chi2 = 2 * torch._standard_gamma(shape, generator=generator)
        factor = torch.sqrt(self.D / chi2.clamp_min(torch.finfo(torch.float64).tiny))
        return (factor.clamp(max=LARGEST) if self.D <= 4 else factor).to(dtype)

    def draw(
        self,
        shape: Sequence[int],
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw noise of a `shape` (batch, ...)."""
        normal = torch.randn(*shape, generator=generator, device=device, dtype=dtype)
        if self.gaussian:
            return normal
        return normal * per_image(self.factor(shape[0], generator, device, dtype), normal)

    def require_gaussian(self, what: str) -> None:
        """Raise UserError if `what` needs Gaussian noise and this is none."""
        if not self.gaussian:
            raise UserError(
                f"{what} needs Gaussian noise, but this prior is a Poisson flow with D = {self.D:g}"
                ", whose noisy images have no Gaussian marginals: choose a diffusion prior (D = "
                "inf), or sampling without fresh noise (eta = 0)."
            )


GAUSSIAN = Noise()


def per_image(values: float | Tensor, like: Tensor) -> Tensor:
    """Return values (batch,) or a number shaped to multiply images `like` (batch, ...)."""
    tensor = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    return tensor.reshape(-1, *(1,) * (like.ndim - 1))
