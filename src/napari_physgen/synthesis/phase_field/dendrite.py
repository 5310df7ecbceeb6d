"""A melt freezes into dendrites: the thin-interface model of Karma and Rappel.

The phase phi is 1 in the solid and -1 in the melt, U is the temperature above the melting point in
units of latent heat / heat capacity. Lengths are in units of W0, times in units of tau0:

    a(n)^2 dphi/dt = (phi - lambda U (1 - phi^2)) (1 - phi^2) + div j
    dU/dt = D laplacian(U) + 1/2 dphi/dt
    j = a^2 grad phi + a a' (-dphi/dy, dphi/dx),       a(theta) = 1 + eps cos(m (theta - theta0))

theta is the direction of grad phi; j is minus the derivative of the interface energy
1/2 a^2 |grad phi|^2 by grad phi. lambda = D / 0.6267 is the coupling at which the interface answers
without kinetics. A. Karma, W.-J. Rappel, Phys. Rev. E 57, 4323 (1998); PFHub benchmark 3,
A. M. Jokisaari et al., Comput. Mater. Sci. 149, 336 (2018).

The second field of the state is the heat U + undercooling, zero in the fresh melt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_physgen.synthesis.phase_field.spectral import NoFlux, Periodic

if TYPE_CHECKING:
    from torch import Tensor

A2 = 0.6267
STENCIL = (45 / 60, -9 / 60, 1 / 60)


@dataclass
class Dendrite:
    grid: Periodic | NoFlux
    undercooling: Tensor | float
    diffusivity: Tensor | float = 10.0
    anisotropy: Tensor | float = 0.05
    symmetry: Tensor | float = 4
    orientation: Tensor | float = 0.0
    disorder: Tensor | float = 0.0
    damp: float = 4.0
    damp2: float = 1.75

    scale = 2.0

    @property
    def coupling(self):
        return self.diffusivity / A2

    @property
    def stiffness(self) -> Tensor:
        k2 = self.grid.k2[None]
        return torch.stack([self.damp2 * k2, self.diffusivity * k2], 1) + self.damp

    def rate(self, spectrum: Tensor) -> Tensor:
        grid, k2 = self.grid, self.grid.k2
        v, w = spectrum.unbind(1)
        phi, heat, curvature = grid.inverse(torch.stack([v, w, -k2 * v], 1)).unbind(1)
        x, y = self._slope(phi, -1), self._slope(phi, -2)
        angle = self.symmetry * (torch.atan2(y, x) - self.orientation)
        a = 1 + self.anisotropy * torch.cos(angle)
        turn = -self.anisotropy * self.symmetry * a * torch.sin(angle)
        a2 = a.square()
        bend = self._slope((a2 - 1) * x - turn * y, -1, odd=True)
        bend += self._slope((a2 - 1) * y + turn * x, -2, odd=True)
        melt = 1 - phi.square()
        u = heat - self.undercooling + self.disorder
        dphi = ((phi - self.coupling * u * melt) * melt + curvature + bend) / a2
        dv = grid.forward(dphi)
        return torch.stack([dv, dv / 2 - self.diffusivity * k2 * w], 1)

    def energy(self, spectrum: Tensor) -> Tensor:
        phi, heat = self.grid.inverse(spectrum).unbind(1)
        x, y = self._slope(phi, -1), self._slope(phi, -2)
        a = 1 + self.anisotropy * torch.cos(self.symmetry * (torch.atan2(y, x) - self.orientation))
        u = heat - self.undercooling + self.disorder
        p = phi.square()
        drive = self.coupling * u * phi * (1 - 2 / 3 * p + p.square() / 5)
        return self.grid.integral(a.square() * (x * x + y * y) / 2 - p / 2 + p * p / 4 + drive)

    def _slope(self, u: Tensor, axis: int, odd: bool = False) -> Tensor:
        n, width = u.shape[axis], len(STENCIL)
        first, last = u.narrow(axis, 0, width), u.narrow(axis, n - width, width)
        if isinstance(self.grid, NoFlux):
            sign = -1 if odd else 1
            first, last = sign * last.flip(axis), sign * first.flip(axis)
        wide = torch.cat([last, u, first], axis)
        total = 0
        for j, c in enumerate(STENCIL, 1):
            total = total + c / self.grid.spacing * (
                wide.narrow(axis, width + j, n) - wide.narrow(axis, width - j, n)
            )
        return total
