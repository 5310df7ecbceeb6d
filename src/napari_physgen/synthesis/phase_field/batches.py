"""A batch of samples: one list of settings, one grid, one value per sample of each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from napari_physgen.synthesis.phase_field.spectral import NoFlux, Periodic
from napari_physgen.synthesis.settings import PhaseFieldSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Labels = NDArray[np.uint8] | NDArray[np.uint32]

# Shape and material are the same in all samples of a batch, everything else may differ.
Batch = Sequence[PhaseFieldSettings]
Box = Periodic | NoFlux


def per_sample(box: Box, numbers: Sequence[float]) -> Tensor:
    """Return one value per sample, to be broadcast over space."""
    values = torch.tensor(numbers, dtype=box.dtype, device=box.device)
    return values.reshape(-1, *(1,) * len(box.shape))
