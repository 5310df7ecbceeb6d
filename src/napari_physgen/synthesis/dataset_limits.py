"""What fits: samples side by side into memory, and all of them onto the disk."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from napari_physgen.synthesis.dataset_settings import DatasetSettings
    from napari_physgen.synthesis.settings import PhaseFieldSettings

# Arrays of the size of the fields that a step needs at once: spectra, stages, FFT buffers.
ARRAYS = 40
GPU_SHARE = 0.5  # of its free memory
LARGEST_BATCH = 256
SPARE_BYTES = 64 * 2**20  # that the disk keeps free


def batch_size(settings: PhaseFieldSettings, device: torch.device) -> int:
    """Return how many samples to simulate side by side.

    On a CPU one: from 128 x 128 cells on more of them are no faster (measured), and the pixels do
    not even differ in rounding after an interruption.
    """
    if device.type == "cpu":
        return 1
    fields = {"grains": settings.order_parameters, "precipitates": 5}.get(settings.material, 2)
    size = math.prod(settings.shape) * fields * 4 * ARRAYS
    return max(1, min(LARGEST_BATCH, int(GPU_SHARE * _free_memory(device) / size)))


def _free_memory(device: torch.device) -> int:
    """Return free bytes of a GPU."""
    import torch

    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()


def check_room(settings: DatasetSettings, count: int, folder: Path) -> None:
    """Raise UserError if the disk cannot hold the samples still to come, uncompressed."""
    simulation = settings.simulation
    cells = simulation.size**2 * len(settings.slices)
    # field, labels, boundaries
    each = cells * (4 + (4 + 1 if simulation.material == "grains" else 1))
    needed, free = count * each, shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise UserError(
            f"{count} samples need up to {needed / 2**30:.1f} GB and {folder} has "
            f"{free / 2**30:.1f} GB free: make fewer or smaller samples, or choose another disk."
        )
