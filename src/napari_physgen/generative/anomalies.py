"""Where an image is unlike anything that a prior learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from napari_physgen.backend import generator
from napari_physgen.generative.tiled import Tiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.generative.model import GenerativeModel
    from napari_physgen.generative.scale import Scale
    from napari_physgen.generative.settings import RestoreSettings

LEVELS = (0.1, 0.2, 0.4)
"""Noise levels, network units: from fine texture to shapes."""

_WINDOW = 1.5  # px


def anomaly(
    image: NDArray[np.float32],
    model: GenerativeModel,
    scale: Scale,
    device: torch.device,
    settings: RestoreSettings,
) -> NDArray[np.float32]:
    """Return how badly a prior repairs an image, relative to what it expects; 1 is usual.

    The root mean square of (x - D(x + sigma n)) / std over three levels.
    """
    denoiser = Tiled(model.denoiser(device), settings.tile)
    x = torch.from_numpy(scale(image))[None, None].to(device)
    total = np.zeros(image.shape)
    with torch.inference_mode():
        for index, sigma in enumerate(LEVELS):
            rng = generator(settings.seed, device, "anomalies", index)
            estimate = denoiser(x + sigma * model.process.noise.draw(x.shape, rng, device), sigma)
            assert estimate.std is not None
            total += ((x - estimate.mean) / estimate.std).square()[0, 0].cpu().numpy()
    window = (0.0,) * (image.ndim - 2) + (_WINDOW, _WINDOW)
    return np.asarray(np.sqrt(gaussian_filter(total / len(LEVELS), window)), np.float32)
