"""Polycrystals: grains of few order parameters that are kept from merging."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.metrics.particles import connected
from napari_physgen.synthesis.phase_field import initial
from napari_physgen.synthesis.phase_field.batches import per_sample
from napari_physgen.synthesis.phase_field.grain_tracker import kept_apart
from napari_physgen.synthesis.phase_field.models import GradientFlow, Grains
from napari_physgen.synthesis.phase_field.spectral import Periodic

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_physgen.synthesis.phase_field.batches import Batch, Box
    from napari_physgen.synthesis.phase_field.stepper import Model

BOUNDARY = 0.85  # sum of the squared order parameters: 1 in a grain, about 0.6 on its boundary


def grains_start(box: Box, batch: Batch) -> Tensor:
    """Return Voronoi grains (batch, order parameter, *shape)."""
    return torch.stack(
        [
            initial.coloured_grains(
                box.shape, s.grains, s.order_parameters, s.seed, isinstance(box, Periodic)
            )
            for s in batch
        ]
    )


def grains_model(box: Box, batch: Batch, cooled: bool) -> Model:
    """Return the Allen-Cahn model of a batch."""
    count = batch[0].order_parameters
    return GradientFlow(
        box,
        Grains(),
        conserved=(False,) * count,
        mobility=(per_sample(box, [s.mobility for s in batch]),) * count,
        gradient_energy=(per_sample(box, [s.gradient_energy for s in batch]),) * count,
    )


def grains_labels(
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


def apart(fields: Tensor, periodic: bool) -> tuple[Tensor, list[bool]]:
    """Keep grains of one orientation apart."""
    eta = fields.cpu().numpy().copy()
    moved = [kept_apart(sample, periodic) for sample in eta]
    return torch.as_tensor(eta), moved
