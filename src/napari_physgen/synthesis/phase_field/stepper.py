"""Time steps of any phase-field model: linearly implicit, second order, error-controlled.

With the spectrum v of the fields, dv/dt = R(v), and a diagonal estimate A >= 0 of the stiffness
(-dR/dv), one step of Verwer's W-method ROS2 is

    (1 + gamma dt A) k1 = R(v)
    (1 + gamma dt A) k2 = R(v + dt k1) - 2 k1
    v(t + dt) = v + dt (3 k1 + k2) / 2,        gamma = 1 - 1/sqrt(2).

It is of second order whatever A is (J. G. Verwer, E. J. Spee, J. G. Blom, W. Hundsdorfer, SIAM J.
Sci. Comput. 20, 1456 (1999)), damps what A resolves at any dt, and v + dt k1 is a first-order
solution, so dt (k1 + k2) / 2 measures the error. Every sample of a batch has its own time and
time step, held on the device, so that its history does not depend on its neighbours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_physgen.synthesis.phase_field.spectral import Grid

GAMMA = 1 - math.sqrt(0.5)
SAFETY, SHRINK, GROW = 0.9, 0.2, 2.0
FIRST_STEP = 1e-3
AFRESH = 0.1  # of the time step, after the fields were changed from outside
LOOK = 8  # steps between two looks at whether all samples have arrived
# What moves slowly through a field at rest, such as the wall of a large domain, changes the field
# less than the tolerance in any step; too long ones would then damp it unnoticed. The error may
# therefore not exceed this share of the change either, unless it is negligible (a share of the
# tolerance).
LAG, NEGLIGIBLE = 0.42, 0.05
ROUNDING = 8  # rounding errors of a step, in units of the last digit of the field
# No time step may fall below this share of the time already passed.
SMALLEST = 1e-9


class Model(Protocol):
    """A phase-field model on a grid."""

    @property
    def grid(self) -> Grid:
        """The grid of its fields."""

    @property
    def stiffness(self) -> Tensor:
        """Estimate A of the stiffness, broadcastable to (batch, field, *spectrum)."""

    @property
    def scale(self) -> float:
        """Difference of the phases in the first field, the unit of the tolerance."""

    def rate(self, spectrum: Tensor) -> Tensor:
        """Return R(v), the spectrum of the fields' rates of change."""

    def energy(self, spectrum: Tensor) -> Tensor:
        """Return the free energy of every sample (batch,)."""


class Evolution:
    """The state of a batch of samples, and how it moves on.

    Parameters
    ----------
    model : Model
        May be exchanged while it runs (temperature, load).
    fields : torch.Tensor
        (batch, field, *shape), the initial condition.
    tolerance : float
        Error allowed per step: root mean square over the domain, of the worst field, relative to
        the difference of the phases.
    negligible : float
        Errors below this share of the tolerance are allowed, however slow the change is; less
        keeps creeping structures on time.
    """

    def __init__(
        self,
        model: Model,
        fields: Tensor,
        tolerance: float = 1e-3,
        negligible: float = NEGLIGIBLE,
    ) -> None:
        grid = model.grid
        self.model = model
        self.tolerance = tolerance
        self.negligible = negligible
        self.spectrum = grid.forward(fields.to(grid.device, grid.dtype))
        batch = fields.shape[0]
        real = torch.float32 if grid.device.type == "mps" else torch.float64
        self.time = torch.zeros(batch, dtype=real, device=grid.device)
        self.dt = torch.full_like(self.time, FIRST_STEP)
        self.steps = torch.zeros_like(self.time)

    @property
    def fields(self) -> Tensor:
        """The current fields (batch, field, *shape)."""
        return self.model.grid.inverse(self.spectrum)

    @property
    def energy(self) -> Tensor:
        """The current free energies (batch,)."""
        return self.model.energy(self.spectrum)

    @property
    def stuck(self) -> Tensor:
        """Whether a sample's time step has become meaningless (batch,); its state is still good."""
        return self.dt < SMALLEST * (self.time + FIRST_STEP)

    def put(self, fields: Tensor, changed: Sequence[bool]) -> None:
        """Go on with other fields in the changed samples, with smaller time steps at first."""
        grid = self.model.grid
        new = torch.as_tensor(changed, device=grid.device)
        spectrum = grid.forward(fields.to(grid.device, grid.dtype))
        space = (-1,) + (1,) * (spectrum.ndim - 1)
        self.spectrum = torch.where(new.reshape(space), spectrum, self.spectrum)
        self.dt = torch.where(new, AFRESH * self.dt, self.dt)

    def advance(self, steps: int, until: Tensor | float) -> None:
        """Try `steps` time steps; samples that reach the time `until` wait there."""
        end = torch.as_tensor(until, dtype=self.time.dtype, device=self.time.device)
        for step in range(steps):
            # Asking the device costs more than a few idle steps.
            if step % LOOK == 0 and bool((self.time >= end).all()):
                return
            self._step(end)

    def _step(self, end: Tensor) -> None:
        left = end - self.time
        last = self.dt >= left
        dt = torch.minimum(self.dt, left).clamp(min=0)
        v, error = self._ros2(dt)
        small = torch.nan_to_num(error, nan=math.inf) <= 1
        moved = small & (dt > 0)
        shape = (-1,) + (1,) * (self.spectrum.ndim - 1)
        self.spectrum = torch.where(moved.reshape(shape), v, self.spectrum)
        self.time = torch.where(moved, torch.where(last, end, self.time + dt), self.time)
        self.steps = self.steps + moved
        factor = (SAFETY * error.clamp(min=1e-12).rsqrt()).nan_to_num(nan=SHRINK)
        proposal = dt * factor.clamp(SHRINK, GROW)
        # A step cut short to end on time says little about the next one.
        proposal = torch.where(last & small, torch.maximum(proposal, self.dt), proposal)
        self.dt = torch.where(dt > 0, proposal, self.dt)

    def _ros2(self, dt: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after dt and the error in units of the tolerance (batch,)."""
        grid, v = self.model.grid, self.spectrum
        h = dt.to(grid.dtype).reshape((-1,) + (1,) * (v.ndim - 1))
        damping = 1 / (1 + GAMMA * h * self.model.stiffness)
        k1 = damping * self.model.rate(v)
        k2 = damping * (self.model.rate(v + h * k1) - 2 * k1)
        step = 0.5 * h * (3 * k1 + k2)
        allowed = self.tolerance * self.model.scale
        error, change = grid.rms(0.5 * h * (k1 + k2)), grid.rms(step).norm(dim=1)
        noise = ROUNDING * torch.finfo(grid.dtype).eps * grid.rms(v).norm(dim=1)
        lag = error.norm(dim=1) / (LAG * change + self.negligible * allowed + noise)
        return v + step, torch.maximum(error.amax(1) / allowed, lag).to(dt.dtype)
