"""Phase-field models as values: a free energy, and how its fields run downhill.

F[u] = integral f(u) + sum_i kappa_i / 2 |grad u_i|^2  +  1/2 sum_k B(k) |u_0(k)|^2

du_i/dt = M_i laplacian(dF/du_i)   (conserved: J. W. Cahn, J. E. Hilliard, 1958)
du_i/dt = -M_i dF/du_i             (not conserved: S. M. Allen, J. W. Cahn, 1979)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_physgen.synthesis.phase_field.spectral import Grid


class Bulk(Protocol):
    """A free energy density f(u) of the fields u (batch, field, *shape)."""

    @property
    def curvature(self) -> tuple[float | Tensor, ...]:
        """Largest d2f/du_i^2 that matters, for each kind of field (the last one repeats)."""

    @property
    def scale(self) -> float:
        """Difference of the phases in the first field."""

    def density(self, u: Tensor) -> Tensor:
        """Return f (batch, *shape)."""

    def slope(self, u: Tensor) -> Tensor:
        """Return df/du (batch, field, *shape)."""


@dataclass(frozen=True)
class DoubleWell:
    """Two phases that separate: ``f = barrier (c - low)^2 (high - c)^2`` (PFHub BM1).

    A. M. Jokisaari et al., Comput. Mater. Sci. 126, 139 (2017), eq. 4.
    """

    barrier: float | Tensor = 5.0
    low: float | Tensor = 0.3
    high: float | Tensor = 0.7
    scale: float = 0.4

    @property
    def curvature(self) -> tuple[float | Tensor, ...]:
        """F'' in the wells."""
        return (2 * self.barrier * (self.high - self.low) ** 2,)

    def density(self, u: Tensor) -> Tensor:
        """Return f (batch, *shape)."""
        c = u[:, 0]
        return self.barrier * ((c - self.low) * (self.high - c)).square()

    def slope(self, u: Tensor) -> Tensor:
        """Return df/dc (batch, 1, *shape)."""
        c = u[:, 0]
        well = (c - self.low) * (self.high - c)
        return (2 * self.barrier * well * (self.low + self.high - 2 * c))[:, None]


@dataclass(frozen=True)
class Precipitates:
    """A disordered matrix and ordered particles of several variants (PFHub BM2).

    ::

        f = f_a (1 - h) + f_b h + w g,    f_a = rho^2 (c - low)^2,  f_b = rho^2 (c - high)^2
        h = sum eta^3 (6 eta^2 - 15 eta + 10)
        g = sum eta^2 (1 - eta)^2 + alpha sum_{i != j} eta_i^2 eta_j^2

    The fields are c, eta_1 ... eta_p. Particles of different variants do not merge, which keeps the
    matrix connected at any fraction. A. M. Jokisaari et al., 2017, eq. 8-12.
    """

    low: float | Tensor = 0.3
    high: float | Tensor = 0.7
    rho2: float = 2.0
    barrier: float = 1.0
    alpha: float = 5.0
    scale: float = 0.4

    @property
    def curvature(self) -> tuple[float | Tensor, ...]:
        """2 rho^2 for c, which is exact; for eta that of its well and of the other variants."""
        return 2 * self.rho2, 2 * self.barrier * (1 + self.alpha)

    def density(self, u: Tensor) -> Tensor:
        """Return f (batch, *shape)."""
        c, eta = u[:, 0], u[:, 1:]
        h = (eta**3 * (6 * eta.square() - 15 * eta + 10)).sum(1)
        square = eta.square()
        pairs = square.sum(1).square() - square.square().sum(1)
        wells = (square * (1 - eta).square()).sum(1) + self.alpha * pairs
        matrix, particle = (c - self.low).square(), (c - self.high).square()
        return self.rho2 * (matrix + (particle - matrix) * h) + self.barrier * wells

    def slope(self, u: Tensor) -> Tensor:
        """Return df/du (batch, field, *shape)."""
        c, eta = u[:, 0], u[:, 1:]
        gap = self.high - self.low
        square = eta * eta
        flat = eta - square  # eta (1 - eta): 0 in both phases, h' = 30 flat^2
        # Half of a simulation is spent here: few passes over memory, few temporaries.
        h = torch.add(square, eta, alpha=-2.5).mul_(6).add_(10).mul_(square).mul_(eta).sum(1)
        drive = (self.low + self.high - 2 * c) * (30 * self.rho2 * gap)  # 30 (f_b - f_a)
        slope = torch.empty_like(u)
        slope[:, 0] = 2 * self.rho2 * (c - self.low - gap * h)
        second = slope[:, 1:]
        torch.mul(flat, drive[:, None], out=second)
        second.add_(eta, alpha=-4 * self.barrier).add_(2 * self.barrier).mul_(flat)
        others = (square.sum(1, keepdim=True) - square).mul_(eta)
        second.add_(others, alpha=4 * self.barrier * self.alpha)
        return slope


@dataclass(frozen=True)
class Grains:
    """A polycrystal, one order parameter per orientation.

    ::

        f = 1/4 + sum (-eta^2 / 2 + eta^4 / 4) + 3/2 sum_{i < j} eta_i^2 eta_j^2

    D. Fan, L.-Q. Chen, Acta Mater. 45, 611 (1997), eq. 3 with alpha = beta = 1, gamma = 3/2.
    """

    scale: float = 1.0

    @property
    def curvature(self) -> tuple[float | Tensor, ...]:
        """F'' in the wells."""
        return (2.0,)

    def density(self, u: Tensor) -> Tensor:
        """Return f (batch, *shape)."""
        square = u.square()
        total, fourth = square.sum(1), square.square().sum(1)
        return 0.25 - total / 2 + fourth / 4 + 0.75 * (total.square() - fourth)

    def slope(self, u: Tensor) -> Tensor:
        """Return df/du (batch, field, *shape)."""
        square = u.square()
        return u * (3 * square.sum(1, keepdim=True) - 2 * square - 1)


@dataclass(frozen=True)
class GradientFlow:
    """A free energy on a grid with the kinetics of its fields.

    Parameters
    ----------
    grid : Grid
    bulk : Bulk
    conserved : tuple of bool
        For each field, whether it diffuses (Cahn-Hilliard) or relaxes (Allen-Cahn).
    mobility, gradient_energy : tuple of (float or torch.Tensor)
        M and kappa of each field; tensors hold one value per sample.
    elastic : torch.Tensor, optional
        B(k) of the first field (batch, *spectrum).
    """

    grid: Grid
    bulk: Bulk
    conserved: tuple[bool, ...]
    mobility: tuple[float | Tensor, ...]
    gradient_energy: tuple[float | Tensor, ...]
    elastic: Tensor | None = None

    @property
    def scale(self) -> float:
        """Difference of the phases in the first field."""
        return self.bulk.scale

    @cached_property
    def _uphill(self) -> Tensor:
        """-M k^2 or -M: what turns dF/du into du/dt."""
        k2 = self.grid.k2
        parts = [
            -m * (k2 if conserved else torch.ones_like(k2))
            for m, conserved in zip(self.mobility, self.conserved, strict=True)
        ]
        return self._stacked(parts)

    @cached_property
    def _quadratic(self) -> Tensor:
        """Kappa k^2 + B(k): the part of dF/du that is linear in u."""
        parts = [kappa * self.grid.k2 for kappa in self.gradient_energy]
        if self.elastic is not None:
            parts[0] = parts[0] + self.elastic
        return self._stacked(parts)

    @cached_property
    def _linear(self) -> Tensor:
        return self._uphill * self._quadratic

    @cached_property
    def stiffness(self) -> Tensor:
        """M k^2 (f'' + kappa k^2 + B), or without the first k^2 (batch or 1, field, *spectrum)."""
        curvature = self.bulk.curvature
        one = torch.ones_like(self.grid.k2)
        parts = [curvature[min(i, len(curvature) - 1)] * one for i in range(len(self.conserved))]
        return -self._uphill * (self._quadratic + self._stacked(parts))

    def rate(self, spectrum: Tensor) -> Tensor:
        """Return the spectrum of du/dt."""
        slope = self.grid.forward(self.bulk.slope(self.grid.inverse(spectrum)))
        return self._uphill * slope + self._linear * spectrum

    def energy(self, spectrum: Tensor) -> Tensor:
        """Return F (batch,)."""
        u = self.grid.inverse(spectrum)
        tension = self.grid.inverse(self._quadratic * spectrum)
        return self.grid.integral(self.bulk.density(u) + 0.5 * (u * tension).sum(1))

    def _stacked(self, parts: list[Tensor]) -> Tensor:
        """Return (batch or 1, field, *spectrum) of parts that may have a batch axis or not."""
        parts = [part if part.ndim > self.grid.k2.ndim else part[None] for part in parts]
        batch = max(len(part) for part in parts)
        return torch.stack([part.expand(batch, *self.grid.k2.shape) for part in parts], 1)
