"""A melt freezes into dendrites: the thin-interface model of Karma and Rappel.

The phase phi is 1 in the solid and -1 in the melt, U is the temperature above the melting point in
units of latent heat / heat capacity. Lengths are in units of W0, times in units of tau0:

    a^2 dphi/dt = (phi - lambda U (1 - phi^2)) (1 - phi^2) + div j
    dU/dt = D laplacian(U) + 1/2 dphi/dt
    j = a^2 grad phi + a a' (-dphi/dy, dphi/dx),       a(theta) = 1 + eps cos(m (theta - theta0))

theta is the direction out of the solid, -grad phi, and j the derivative of the interface energy
1/2 a^2 |grad phi|^2 by grad phi. With lambda = D / 0.6267 the interface follows the heat flow
without kinetics of its own. A. Karma, W.-J. Rappel, Phys. Rev. E 57, 4323 (1998), eqs. 39-41, 62;
PFHub benchmark 3, A. M. Jokisaari et al., Comput. Mater. Sci. 149, 336 (2018).

The state is phi and the heat H = U + undercooling: zero in the fresh melt, exactly conserved with
phi (the integral of H - phi / 2), and free to be cooled further while the crystal grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.errors import UserError
from napari_physgen.synthesis.phase_field import initial
from napari_physgen.synthesis.phase_field.spectral import NoFlux, Periodic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_physgen.synthesis.phase_field.spectral import Grid
    from napari_physgen.synthesis.settings import PhaseFieldSettings

A1, A2 = 0.8839, 0.6267  # Karma and Rappel, eqs. 61 and 62
CELL = 0.8  # of W0; at half of it the tip of benchmark 3 moves by 0.3 % (t = 200)
SEED_RADIUS = 3.0
# Frozen-in differences of the melting point, relative to the undercooling, and their extent: they
# do what thermal noise does in an experiment, start side arms (3 times as much splits the tips).
DISORDER, DISORDER_LENGTH = 0.02, 1.0
# Sixth-order central difference: du/dx = sum of c_j (u(x + j dx) - u(x - j dx)) / dx.
STENCIL = (45 / 60, -9 / 60, 1 / 60)


@dataclass(eq=False)
class Dendrite:
    """Karma and Rappel's model; parameters are numbers or tensors (batch, 1, 1).

    Parameters
    ----------
    grid : Periodic or NoFlux
        Two-dimensional, spacing in units of W0.
    undercooling : float or torch.Tensor
        Temperature of the melt below the melting point, latent heat / heat capacity.
    diffusivity : float or torch.Tensor
        D, of heat, W0^2 / tau0.
    anisotropy, symmetry, orientation : float or torch.Tensor
        eps, m and theta0 (rad, from x towards y) of the interface energy. From
        eps = 1 / (m^2 - 1) on some orientations are unstable and the crystal has edges.
    disorder : float or torch.Tensor
        Local shift of the melting point (batch, y, x), in units of U.
    even : bool
        phi relaxes as fast in all directions, dphi/dt instead of a^2 dphi/dt: the interface then
        has kinetics, arms grow faster.
    """

    grid: Grid
    undercooling: float | Tensor
    diffusivity: float | Tensor
    anisotropy: float | Tensor = 0.05
    symmetry: float | Tensor = 4
    orientation: float | Tensor = 0.0
    disorder: float | Tensor = 0.0
    even: bool = False

    @property
    def scale(self) -> float:
        """Difference of the phases in phi."""
        return 2.0

    @cached_property
    def stiffness(self) -> Tensor:
        # Interfaces are stiffest along their troughs of a: 1 + (m^2 - 1) eps. A constant for the
        # reactions would allow longer steps, but costs more accuracy than it saves time.
        bend = 1 + (self.symmetry**2 - 1) * self.anisotropy
        rates = (bend * self._k2, self.diffusivity * self._k2)
        both = rates[0] + rates[1]
        return torch.stack([rate.expand_as(both) for rate in rates], 1)

    @property
    def _k2(self) -> Tensor:
        return self.grid.k2[None]

    def rate(self, spectrum: Tensor) -> Tensor:
        """Return the rates of change of phi and H (batch, field, *spectrum)."""
        v, w = spectrum.unbind(1)
        fields = self.grid.inverse(torch.stack([v, w, -self._k2 * v], 1))
        phi, heat, div = fields.unbind(1)
        x, y, angle = self._gradient(phi)
        a = 1 + self.anisotropy * torch.cos(angle)
        turn = -self.symmetry * self.anisotropy * a * torch.sin(angle)
        # The isotropic part of div j is the Laplacian, exact on the grid; the rest is small.
        rest = a.square() - 1
        div = div + self._slope(rest * x - turn * y, -1, odd=True)
        div = div + self._slope(rest * y + turn * x, -2, odd=True)
        melt = 1 - phi.square()
        drive = (phi - self.coupling * self._temperature(heat) * melt) * melt
        dphi = drive + div
        dv = self.grid.forward(dphi if self.even else dphi / a.square())
        return torch.stack([dv, dv / 2 - self.diffusivity * self._k2 * w], 1)

    def energy(self, spectrum: Tensor) -> Tensor:
        """Return the free energy of benchmark 3 (batch,), barrier height x W0^2."""
        phi, heat = self.grid.inverse(spectrum).unbind(1)
        x, y, angle = self._gradient(phi)
        a = 1 + self.anisotropy * torch.cos(angle)
        interface = 0.5 * a.square() * (x.square() + y.square())
        chemical = _chemical_energy(phi, self.coupling * self._temperature(heat))
        return self.grid.integral(interface + chemical)

    @property
    def coupling(self) -> float | Tensor:
        """lambda, how strongly the heat drives the interface."""
        return self.diffusivity / A2

    def _temperature(self, heat: Tensor) -> Tensor:
        return heat - self.undercooling + self.disorder

    def _gradient(self, phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return dphi/dx, dphi/dy and m (theta - theta0), which is finite where phi is flat."""
        x, y = self._slope(phi, -1), self._slope(phi, -2)
        return x, y, self.symmetry * (torch.atan2(y, x) - (self.orientation + math.pi))

    def _slope(self, u: Tensor, axis: int, *, odd: bool = False) -> Tensor:
        """Return du/dx along an axis; at a no-flux edge u is mirrored, and changes sign if odd."""
        n, width = u.shape[axis], len(STENCIL)
        before, after = u.narrow(axis, n - width, width), u.narrow(axis, 0, width)
        if isinstance(self.grid, NoFlux):
            sign = -1 if odd else 1
            before, after = sign * after.flip(axis), sign * before.flip(axis)
        wide = torch.cat([before, u, after], axis)
        total = torch.zeros_like(u)
        for j, c in enumerate(STENCIL, 1):
            right, left = wide.narrow(axis, width + j, n), wide.narrow(axis, width - j, n)
            total.add_(right - left, alpha=c / self.grid.spacing)
        return total


def _chemical_energy(phi: Tensor, drive: Tensor | float) -> Tensor:
    """Return f(phi, lambda U) of benchmark 3."""
    p = phi.square()
    return -p / 2 + p.square() / 4 + drive * phi * (1 - 2 / 3 * p + p.square() / 5)


def dendrite_model(grid: Periodic | NoFlux, settings: Sequence[PhaseFieldSettings]) -> Dendrite:
    """Return the model of a batch.

    The surface anisotropy is that of four arms; with m arms eps = anisotropy x 15 / (m^2 - 1)
    gives the same contrast of stiffness between the tips and the flanks.
    """

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=grid.dtype, device=grid.device).reshape(-1, 1, 1)

    return Dendrite(
        grid,
        undercooling=column([s.undercooling for s in settings]),
        diffusivity=column([s.diffusivity for s in settings]),
        anisotropy=column([s.surface_anisotropy * 15 / (s.symmetry**2 - 1) for s in settings]),
        symmetry=column([s.symmetry for s in settings]),
        orientation=column([math.radians(s.orientation_deg) for s in settings]),
        disorder=torch.stack([_disorder(grid, s) for s in settings]),
    )


def _disorder(grid: Periodic | NoFlux, settings: PhaseFieldSettings) -> Tensor:
    """Return a smooth random field (y, x) of zero mean."""
    white = initial.fluctuation(grid.shape, 0.0, 1.0, settings.seed).to(grid.device, grid.dtype)
    smooth = grid.forward(white) * torch.exp(-0.5 * DISORDER_LENGTH**2 * grid.k2)
    field = grid.inverse(smooth)
    return DISORDER * settings.undercooling * field / field.std()


def dendrite_start(grid: Periodic | NoFlux, settings: Sequence[PhaseFieldSettings]) -> Tensor:
    """Return small crystals in a melt (batch, 2, y, x): one in the middle, more at random places.

    Raises
    ------
    UserError
        If a crystal that grows does not fit into the melt.
    """
    return torch.stack([_crystals(grid, s) for s in settings])


def _crystals(grid: Periodic | NoFlux, settings: PhaseFieldSettings) -> Tensor:
    # A crystal of radius d0 / undercooling neither grows nor melts.
    capillary = A1 * A2 / settings.diffusivity
    radius = max(SEED_RADIUS, 3 * capillary / settings.undercooling)
    if radius > min(grid.shape) * grid.spacing / 6:
        raise UserError(
            "crystals that grow do not fit into this melt: raise the undercooling, the heat "
            "diffusivity or the size"
        )
    periodic = isinstance(grid, Periodic)
    centres = np.array([grid.shape]) / 2
    if settings.seeds > 1:
        apart = 0.6 * math.sqrt(math.prod(grid.shape) / settings.seeds)
        centres = initial.places(
            grid.shape, settings.seeds, apart, settings.seed, "crystals", periodic=periodic
        )
    distance, _ = initial.distances(grid.shape, centres, periodic)
    phi = torch.tanh((radius - distance * grid.spacing) / math.sqrt(2))
    return torch.stack([phi, torch.zeros_like(phi)]).to(grid.device, grid.dtype)
