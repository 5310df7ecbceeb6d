"""From settings to physics: what each material starts as, how it moves, what its masks are.

A batch of samples has one list of settings; grid shape and material are the same in all of them,
everything else becomes one value per sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.synthesis.phase_field import initial
from napari_physgen.synthesis.phase_field.dendrite import CELL, dendrite_model, dendrite_start
from napari_physgen.synthesis.phase_field.elasticity import elastic_symbol
from napari_physgen.synthesis.phase_field.grain_tracker import connected, kept_apart
from napari_physgen.synthesis.phase_field.models import (
    DoubleWell,
    GradientFlow,
    Grains,
    Precipitates,
)
from napari_physgen.synthesis.phase_field.spectral import NoFlux, Periodic
from napari_physgen.synthesis.settings import (
    PRECIPITATE_BARRIER,
    SPINODAL_BARRIER,
    PhaseFieldSettings,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.uint8] | NDArray[np.uint32]
    from torch import Tensor

    from napari_physgen.synthesis.phase_field.stepper import Model

Batch = Sequence[PhaseFieldSettings]
Box = Periodic | NoFlux

LOW, HIGH = 0.3, 0.7  # compositions of the two phases (PFHub BM1, BM2)
# Against PFHub's problem 2 (rho^2 = 2, M = L = 5): twice the driving force, so that particles of a
# few cells survive, and slower order parameters, so that diffusion sets the pace.
DRIVE, REPULSION, RELAXATION = 4.0, 5.0, 0.4
BOUNDARY = 0.85  # sum of the squared order parameters: 1 in a grain, about 0.6 on its boundary


@dataclass(frozen=True)
class Material:
    """How one material is simulated.

    Parameters
    ----------
    start : callable
        ``start(box, batch)`` gives the fields at time 0 (batch, field, *shape).
    model : callable
        ``model(box, batch, cooled)``; `cooled` once the second generation has appeared.
    picture : callable
        The field to look at (batch, *shape) of the fields.
    labels : callable
        ``labels(sample, first, periodic)`` masks one sample (field, *shape); `first` is where the
        second phase was before the second generation, or None.
    spacing : float
        Length of a cell in the units of the equations.
    cool : callable, optional
        ``cool(fields, batch, periodic)`` adds the second generation.
    tidy : callable, optional
        ``tidy(fields, periodic)``, called now and then, gives fields and which samples changed.
    """

    start: Callable[[Box, Batch], Tensor]
    model: Callable[[Box, Batch, bool], Model]
    picture: Callable[[Tensor], Tensor]
    labels: Callable[[Tensor, NDArray[np.bool_] | None, bool], Labels]
    spacing: float = 1.0
    cool: Callable[[Tensor, Batch, bool], Tensor] | None = None
    tidy: Callable[[Tensor, bool], tuple[Tensor, list[bool]]] | None = None


# ---- two phases that separate -----------------------------------------------------------------


def _composition(settings: PhaseFieldSettings) -> float:
    return LOW + settings.fraction * (HIGH - LOW)


def _spinodal_start(box: Box, batch: Batch) -> Tensor:
    return torch.stack(
        [initial.fluctuation(box.shape, _composition(s), s.noise, s.seed)[None] for s in batch]
    )


def _spinodal_model(box: Box, batch: Batch, cooled: bool) -> Model:
    # Landau's mean field: the gap closes as the square root of the distance to the critical point.
    half = _values(box, [(HIGH - LOW) / 2 * (1 - s.temperature) ** 0.5 for s in batch])
    middle = (HIGH + LOW) / 2
    return GradientFlow(
        box,
        DoubleWell(SPINODAL_BARRIER, middle - half, middle + half),
        conserved=(True,),
        mobility=(_values(box, [s.mobility for s in batch]),),
        gradient_energy=(_values(box, [s.gradient_energy for s in batch]),),
        elastic=_elastic(box, batch),
    )


def _spinodal_labels(
    sample: Tensor, first: NDArray[np.bool_] | None, periodic: bool
) -> NDArray[np.uint8]:
    return (sample[0] > (LOW + HIGH) / 2).cpu().numpy().astype(np.uint8)


# ---- ordered particles in a matrix ------------------------------------------------------------


def _precipitates_start(box: Box, batch: Batch) -> Tensor:
    return torch.stack([_nucleated(box, settings) for settings in batch])


def _nucleated(box: Box, settings: PhaseFieldSettings) -> Tensor:
    shape, periodic = box.shape, isinstance(box, Periodic)
    radius = settings.nucleus_radius
    points = initial.places(
        shape,
        _count(shape, settings.nuclei),
        2 * radius + 2 * initial.SOFT,
        settings.seed,
        "first",
        periodic=periodic,
    )
    eta = initial.nuclei(shape, points, radius, settings.seed, "first", periodic=periodic)
    noise = initial.fluctuation(shape, 0.0, settings.noise, settings.seed)
    return torch.cat([_with_mean(noise, eta, _composition(settings))[None], eta])


def _with_mean(noise: Tensor, eta: Tensor, mean: float) -> Tensor:
    """Return a composition that is HIGH in the particles and has this mean over all."""
    solid = eta.sum(0).clamp(0, 1)
    matrix = (mean - HIGH * solid.mean()) / (1 - solid.mean()).clamp(min=1e-6)
    matrix = matrix.clamp(LOW - 0.1, HIGH)
    c = solid * HIGH + (1 - solid) * (matrix + noise)
    return c + (mean - c.mean())


def _precipitates_model(box: Box, batch: Batch, cooled: bool) -> Model:
    lows = [_solubility(s) if cooled and s.second_nuclei > 0 else LOW for s in batch]
    heat = [(1 - (1 - s.temperature) ** 0.5) / 2 for s in batch]
    low = [c + h * (HIGH - c) for c, h in zip(lows, heat, strict=True)]
    high = [HIGH - h * (HIGH - c) for c, h in zip(lows, heat, strict=True)]
    mobility = _values(box, [s.mobility for s in batch])
    kappa = _values(box, [s.gradient_energy for s in batch])
    variants = initial.VARIANTS
    return GradientFlow(
        box,
        Precipitates(_values(box, low), _values(box, high), DRIVE, PRECIPITATE_BARRIER, REPULSION),
        conserved=(True, *(False,) * variants),
        mobility=(mobility, *(RELAXATION * mobility,) * variants),
        # The order parameters carry the interface; a third of their kappa in c keeps it thin.
        gradient_energy=(kappa / 3, *(kappa,) * variants),
        elastic=_elastic(box, batch),
    )


def _solubility(settings: PhaseFieldSettings) -> float:
    """Return the matrix composition after cooling: the same alloy, more of the second phase."""
    share = settings.fraction + settings.second_fraction
    return (_composition(settings) - share * HIGH) / (1 - share)


def _cool(fields: Tensor, batch: Batch, periodic: bool) -> Tensor:
    """Add the second generation to the samples that want one."""
    cooled = fields.detach().cpu().double()
    for sample, settings in zip(cooled, batch, strict=True):
        if settings.second_nuclei == 0:
            continue
        c, eta = sample[0], sample[1:]
        shape, radius = c.shape, settings.nucleus_radius
        # Far enough from the large particles not to be swallowed at once.
        room = _grown(eta.sum(0).numpy() > 0.1, radius + 2 * initial.SOFT, periodic)
        points = initial.places(
            shape,
            _count(shape, settings.second_nuclei),
            2 * radius + 2 * initial.SOFT,
            settings.seed,
            "second",
            periodic=periodic,
            allowed=~room,
        )
        more = initial.nuclei(shape, points, radius, settings.seed, "second", periodic=periodic)
        eta += more
        new, mean = more.sum(0), c.mean()
        matrix = (1 - eta.sum(0)).clamp(0, 1)
        c += new * (HIGH - c)
        c += matrix * ((mean - c.mean()) / matrix.mean().clamp(min=1e-6))
    return cooled


def _grown(mask: NDArray[np.bool_], distance: float, periodic: bool) -> NDArray[np.bool_]:
    """Return the cells within `distance` of a mask."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return mask
    margin = int(np.ceil(distance)) + 1
    padded = np.pad(mask, margin, mode="wrap" if periodic else "edge")
    near = distance_transform_edt(~padded) <= distance
    return np.asarray(near[(slice(margin, -margin),) * mask.ndim])


def second_phase(sample: Tensor) -> NDArray[np.bool_]:
    """Return where the particles of one sample (field, *shape) are."""
    inside: NDArray[np.bool_] = (sample[1:] > 0.5).any(0).cpu().numpy()
    return inside


def _precipitates_labels(
    sample: Tensor, first: NDArray[np.bool_] | None, periodic: bool
) -> NDArray[np.uint8]:
    """Return 0 matrix, 1 particles, 2 particles that touch no place of the first generation."""
    inside = second_phase(sample)
    labels = inside.astype(np.uint8)
    if first is not None:
        parts = connected(inside, periodic)
        old = np.unique(parts[first & inside])
        labels[inside & ~np.isin(parts, old)] = 2
    return labels


# ---- polycrystals -----------------------------------------------------------------------------


def _grains_start(box: Box, batch: Batch) -> Tensor:
    return torch.stack(
        [
            initial.coloured_grains(
                box.shape, s.grains, s.order_parameters, s.seed, isinstance(box, Periodic)
            )
            for s in batch
        ]
    )


def _grains_model(box: Box, batch: Batch, cooled: bool) -> Model:
    count = batch[0].order_parameters
    return GradientFlow(
        box,
        Grains(),
        conserved=(False,) * count,
        mobility=(_values(box, [s.mobility for s in batch]),) * count,
        gradient_energy=(_values(box, [s.gradient_energy for s in batch]),) * count,
    )


def _grains_labels(
    sample: Tensor, first: NDArray[np.bool_] | None, periodic: bool
) -> NDArray[np.uint32]:
    """Return grain numbers from 1: connected regions with the same largest order parameter."""
    largest = sample.argmax(0).cpu().numpy()
    labels = np.zeros(largest.shape, np.uint32)
    for colour in np.unique(largest):
        parts = connected(largest == colour, periodic)
        labels = np.where(parts > 0, parts + labels.max(), labels).astype(np.uint32)
    return labels


def boundaries(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return where grains meet (*shape), from the sum of the squared order parameters."""
    return (picture < BOUNDARY).astype(np.uint8)


def _apart(fields: Tensor, periodic: bool) -> tuple[Tensor, list[bool]]:
    """Keep grains of one orientation apart."""
    eta = fields.cpu().numpy().copy()
    moved = [kept_apart(sample, periodic) for sample in eta]
    return torch.as_tensor(eta), moved


# ---- a melt that freezes ----------------------------------------------------------------------


def _dendrite_model(box: Box, batch: Batch, cooled: bool) -> Model:
    return dendrite_model(box, batch)


def _dendrite_labels(
    sample: Tensor, first: NDArray[np.bool_] | None, periodic: bool
) -> NDArray[np.uint8]:
    return (sample[0] > 0).cpu().numpy().astype(np.uint8)


# ---- the four materials -----------------------------------------------------------------------


def _values(box: Box, numbers: Sequence[float]) -> Tensor:
    """Return one value per sample, to be broadcast over space."""
    values = torch.tensor(numbers, dtype=box.dtype, device=box.device)
    return values.reshape(-1, *(1,) * len(box.shape))


def _elastic(box: Box, batch: Batch) -> Tensor | None:
    if not any(s.elastic_strength for s in batch):
        return None
    columns = [
        torch.tensor([getattr(s, name) for s in batch], dtype=torch.float64)
        for name in ("elastic_strength", "elastic_anisotropy", "load", "orientation_deg")
    ]
    return elastic_symbol(box, *columns)


def _count(shape: Sequence[int], density: float) -> int:
    """Return how many particles a density per 100 cells along each axis means."""
    return max(1, round(density * np.prod(np.asarray(shape) / 100.0)))


def _first(fields: Tensor) -> Tensor:
    return fields[:, 0]


def _squares(fields: Tensor) -> Tensor:
    return fields.square().sum(1)


MATERIALS: dict[str, Material] = {
    "spinodal": Material(_spinodal_start, _spinodal_model, _first, _spinodal_labels),
    "precipitates": Material(
        _precipitates_start, _precipitates_model, _first, _precipitates_labels, cool=_cool
    ),
    "grains": Material(_grains_start, _grains_model, _squares, _grains_labels, tidy=_apart),
    "dendrite": Material(dendrite_start, _dendrite_model, _first, _dendrite_labels, spacing=CELL),
}
