"""From settings to physics: what each material starts as, how it moves, what its masks are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.synthesis.phase_field import mixtures, polycrystals
from napari_physgen.synthesis.phase_field.dendrite import CELL, dendrite_model, dendrite_start

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_physgen.synthesis.phase_field.batches import Batch, Box, Labels
    from napari_physgen.synthesis.phase_field.stepper import Model


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


def _dendrite_model(box: Box, batch: Batch, cooled: bool) -> Model:
    return dendrite_model(box, batch)


def _dendrite_labels(
    sample: Tensor, first: NDArray[np.bool_] | None, periodic: bool
) -> NDArray[np.uint8]:
    return (sample[0] > 0).cpu().numpy().astype(np.uint8)


def _first(fields: Tensor) -> Tensor:
    return fields[:, 0]


def _squares(fields: Tensor) -> Tensor:
    return fields.square().sum(1)


MATERIALS: dict[str, Material] = {
    "spinodal": Material(
        mixtures.spinodal_start, mixtures.spinodal_model, _first, mixtures.spinodal_labels
    ),
    "precipitates": Material(
        mixtures.precipitates_start,
        mixtures.precipitates_model,
        _first,
        mixtures.precipitates_labels,
        cool=mixtures.cool,
    ),
    "grains": Material(
        polycrystals.grains_start,
        polycrystals.grains_model,
        _squares,
        polycrystals.grains_labels,
        tidy=polycrystals.apart,
    ),
    "dendrite": Material(dendrite_start, _dendrite_model, _first, _dendrite_labels, spacing=CELL),
}
