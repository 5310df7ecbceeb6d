"""Mixtures of two phases: spinodal decomposition, and ordered particles in a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.metrics.particles import connected
from napari_physgen.synthesis.phase_field import initial
from napari_physgen.synthesis.phase_field.batches import per_sample
from napari_physgen.synthesis.phase_field.elasticity import elastic_symbol
from napari_physgen.synthesis.phase_field.models import DoubleWell, GradientFlow, Precipitates
from napari_physgen.synthesis.phase_field.spectral import Periodic
from napari_physgen.synthesis.settings import PRECIPITATE_BARRIER, SPINODAL_BARRIER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_physgen.synthesis.phase_field.batches import Batch, Box
    from napari_physgen.synthesis.phase_field.stepper import Model
    from napari_physgen.synthesis.settings import PhaseFieldSettings

LOW, HIGH = 0.3, 0.7  # compositions of the two phases (PFHub BM1, BM2)
# Against PFHub's problem 2 (rho^2 = 2, M = L = 5): twice the driving force, so that particles of a
# few cells survive, and slower order parameters, so that diffusion sets the pace.
DRIVE, REPULSION, RELAXATION = 4.0, 5.0, 0.4


# ---- two phases that separate -----------------------------------------------------------------


def _composition(settings: PhaseFieldSettings) -> float:
    return LOW + settings.fraction * (HIGH - LOW)


def spinodal_start(box: Box, batch: Batch) -> Tensor:
    """Return a mixture that fluctuates (batch, 1, *shape)."""
    return torch.stack(
        [initial.fluctuation(box.shape, _composition(s), s.noise, s.seed)[None] for s in batch]
    )


def spinodal_model(box: Box, batch: Batch, cooled: bool) -> Model:
    """Return the Cahn-Hilliard model of a batch."""
    # Landau's mean field: the gap closes as the square root of the distance to the critical point.
    half = per_sample(box, [(HIGH - LOW) / 2 * (1 - s.temperature) ** 0.5 for s in batch])
    middle = (HIGH + LOW) / 2
    return GradientFlow(
        box,
        DoubleWell(SPINODAL_BARRIER, middle - half, middle + half),
        conserved=(True,),
        mobility=(per_sample(box, [s.mobility for s in batch]),),
        gradient_energy=(per_sample(box, [s.gradient_energy for s in batch]),),
        elastic=_elastic(box, batch),
    )


def spinodal_labels(
    sample: Tensor, first: NDArray[np.bool_] | None, periodic: bool
) -> NDArray[np.uint8]:
    """Return where the second phase is, 0 or 1 (*shape)."""
    return (sample[0] > (LOW + HIGH) / 2).cpu().numpy().astype(np.uint8)


# ---- ordered particles in a matrix ------------------------------------------------------------


def precipitates_start(box: Box, batch: Batch) -> Tensor:
    """Return round nuclei in a supersaturated matrix (batch, field, *shape)."""
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


def precipitates_model(box: Box, batch: Batch, cooled: bool) -> Model:
    """Return the model of a batch; cooling lowers the solubility of the matrix."""
    lows = [_solubility(s) if cooled and s.second_nuclei > 0 else LOW for s in batch]
    heat = [(1 - (1 - s.temperature) ** 0.5) / 2 for s in batch]
    low = [c + h * (HIGH - c) for c, h in zip(lows, heat, strict=True)]
    high = [HIGH - h * (HIGH - c) for c, h in zip(lows, heat, strict=True)]
    mobility = per_sample(box, [s.mobility for s in batch])
    kappa = per_sample(box, [s.gradient_energy for s in batch])
    variants = initial.VARIANTS
    return GradientFlow(
        box,
        Precipitates(
            per_sample(box, low), per_sample(box, high), DRIVE, PRECIPITATE_BARRIER, REPULSION
        ),
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


def cool(fields: Tensor, batch: Batch, periodic: bool) -> Tensor:
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


def precipitates_labels(
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


# ---- both --------------------------------------------------------------------------------------


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
