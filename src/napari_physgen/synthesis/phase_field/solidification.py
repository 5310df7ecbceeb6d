"""PFHub benchmark 3: a quarter of a four-armed crystal grows into a large undercooled melt.

A. M. Jokisaari, P. W. Voorhees, J. E. Guyer, J. A. Warren, O. G. Heinonen, Comput. Mater. Sci. 149,
336 (2018). Far from the crystal the melt is as it was, so that the grid follows the heat: it is
enlarged whenever heat arrives at its edge, up to the 960 x 960 of the problem.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_physgen.synthesis.phase_field.dendrite import A2, CELL, Dendrite
from napari_physgen.synthesis.phase_field.spectral import NoFlux
from napari_physgen.synthesis.phase_field.stepper import Evolution

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

SIZE, RADIUS = 960.0, 8.0
UNDERCOOLING, DIFFUSIVITY, ANISOTROPY = 0.3, 10.0, 0.05
# The grid grows by this length, in units of W0, once this share of the undercooling is gone
# anywhere on its edge.
STAGE, WARM = 96.0, 1e-4
TRIES = 20


@dataclass(frozen=True)
class Crystal:
    """What benchmark 3 asks for at one time, in units of W0 and tau0.

    Attributes
    ----------
    tip : float
        Where phi = 0 on the x axis.
    fraction : float
        Share of the 960 x 960 domain that is solid.
    energy : float
        Free energy of the whole domain.
    phi : torch.Tensor
        (y, x), the part of the domain that the heat has reached; cells lie at
        ((i + 1/2) spacing, (j + 1/2) spacing).
    """

    time: float
    tip: float
    fraction: float
    energy: float
    phi: Tensor


def solidification(
    times: Sequence[float],
    *,
    spacing: float = CELL,
    tolerance: float = 1e-4,
    radius: float = RADIUS,
    even: bool = False,
    kind: type[Dendrite] = Dendrite,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Iterator[Crystal]:
    """Yield the crystal of benchmark 3 at every time.

    Parameters
    ----------
    times : sequence of float
        Increasing, tau0.
    spacing : float
        Cell size, W0; a divisor of 96.
    tolerance : float
        Of the time steps, see `Evolution`.
    radius : float
        Of the crystal at the start, W0; the problem says 8.
    even : bool
        See `Dendrite`; the problem says false. The published run of AMPE, the usual reference,
        has a seed of 16 cells (10.67 W0) and one mobility for all directions.
    kind : type of Dendrite
        Another discretisation of the model, to compare with.
    dtype, device
        Where and in which arithmetic to compute.
    """
    cells = round(STAGE / spacing)
    grid = NoFlux((cells, cells), spacing, dtype=dtype, device=device)
    model = kind(grid, UNDERCOOLING, DIFFUSIVITY, ANISOTROPY, even=even)
    evolution = Evolution(model, quarter_seed(grid, radius), tolerance)
    for time in times:
        while bool(evolution.time < time):
            evolution.advance(TRIES, time)
            if _warm_edge(evolution.fields) and model.grid.shape[0] * spacing < SIZE:
                model = _enlarge(evolution, model, cells)
        yield _measure(evolution, model, time)


def quarter_seed(grid: NoFlux, radius: float) -> Tensor:
    """Return a quarter of a round crystal in the corner of a melt (1, 2, y, x)."""
    centres = (torch.arange(grid.shape[0], dtype=torch.float64) + 0.5) * grid.spacing
    distance = torch.hypot(centres[:, None], centres)
    phi = torch.tanh((radius - distance) / math.sqrt(2))
    return torch.stack([phi, torch.zeros_like(phi)])[None]


def tip_position(phi: Tensor, spacing: float) -> float:
    """Return where phi (y, x) changes sign on the x axis, in the unit of `spacing`."""
    # phi is even in y: this is its parabola through the first two rows, at y = 0.
    axis = ((9 * phi[0] - phi[1]) / 8).double()
    last = int((axis > 0).sum()) - 1
    return (last + 0.5 + float(axis[last] / (axis[last] - axis[last + 1]))) * spacing


def _warm_edge(fields: Tensor) -> bool:
    heat = fields[0, 1]
    edge = torch.maximum(heat[-1].abs().max(), heat[:, -1].abs().max())
    return bool(edge > WARM * UNDERCOOLING)


def _enlarge(evolution: Evolution, model: Dendrite, cells: int) -> Dendrite:
    """Let an evolution go on in a larger box, fresh melt around what it has."""
    grid, phi_heat = model.grid, evolution.fields
    n = grid.shape[0] + cells
    fields = torch.zeros((1, 2, n, n), dtype=grid.dtype, device=grid.device)
    fields[:, 0] = -1
    fields[..., :-cells, :-cells] = phi_heat
    wider = NoFlux((n, n), grid.spacing, dtype=grid.dtype, device=grid.device)
    model = replace(model, grid=wider)
    evolution.model, evolution.spectrum = model, wider.forward(fields)
    return model


def _measure(evolution: Evolution, model: Dendrite, time: float) -> Crystal:
    grid, phi = model.grid, evolution.fields[0, 0]
    solid = float(grid.integral((phi + 1) / 2)) / SIZE**2
    melt = -0.25 + UNDERCOOLING * DIFFUSIVITY / A2 * (1 - 2 / 3 + 1 / 5)
    untouched = SIZE**2 - math.prod(grid.shape) * grid.spacing**2
    energy = float(evolution.energy[0]) + melt * untouched
    return Crystal(time, tip_position(phi, grid.spacing), solid, energy, phi)
