"""Noise2Void: a network learns from noisy images alone (Krull, Buchholz & Jug, CVPR 2019).

A few pixels of a patch are replaced by neighbours, and the network guesses what they were. It can
only use the surroundings, and noise that is independent of them averages out. Where neighbours
share noise along x, these neighbours are replaced, too (Broaddus et al., ISBI 2020).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from napari_physgen.networks.unet import UNet

PATCH, BATCH = 64, 16
RATE = 4e-4
_STEPS = torch.cartesian_prod(torch.arange(-2, 3), torch.arange(-2, 3))
_STEPS = _STEPS[_STEPS.any(1)]
"""To the 24 pixels around one."""


def masked(
    patches: torch.Tensor, share: float, along_x: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return patches (batch, 1, y, x) with pixels replaced, and which of them count.

    One pixel is drawn in each square that holds 1 / `share` of them, so that they are spread
    evenly; every one becomes one of its 24 neighbours, or of those in other rows if pixels beside
    it share its noise.
    """
    batch, _, height, width = patches.shape
    side = max(2, round(share**-0.5))
    rows, columns = (-(-n // side) for n in (height, width))
    shape = (batch, rows, columns)
    y, x = (
        torch.randint(side, shape, generator=generator) + side * torch.arange(count).view(view)
        for count, view in ((rows, (1, -1, 1)), (columns, (1, 1, -1)))
    )
    inside = (y < height) & (x < width)
    image = torch.arange(batch).view(-1, 1, 1).expand(shape)[inside]
    y, x = y[inside], x[inside]
    counts = torch.zeros(batch, height, width, dtype=torch.bool)
    counts[image, y, x] = True
    replaced = patches[:, 0].clone()
    steps = _STEPS[_STEPS[:, 0] != 0] if along_x else _STEPS
    for shift in range(-along_x, along_x + 1):
        at = (x + shift).clamp(0, width - 1)
        step = steps[torch.randint(len(steps), y.shape, generator=generator)]
        replaced[image, y, at] = patches[(image, 0, *_neighbour(y, at, step, height, width))]
    return replaced[:, None], counts[:, None]


def _neighbour(
    y: torch.Tensor, x: torch.Tensor, step: torch.Tensor, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    other = [y + step[:, 0], x + step[:, 1]]
    # Beyond a border: the mirror image, which is never the pixel itself unless it lies on it.
    mirrored = [
        torch.where((place < 0) | (place >= size), 2 * centre - place, place)
        for place, centre, size in zip(other, (y, x), (height, width), strict=True)
    ]
    return mirrored[0], mirrored[1]


def noise2void(
    noisy: Sequence[NDArray[np.float64]],
    seconds: float,
    *,
    channels: Sequence[int] = (32, 64, 128),
    share: float = 0.015,
    along_x: int = 0,
    seed: int = 0,
) -> list[NDArray[np.float64]]:
    """Train on noisy images (y, x) for some time, and return them denoised.

    Parameters
    ----------
    noisy : sequence of numpy.ndarray
    seconds : float
        Of processor time for training, on one thread: other programs do not shorten it.
    channels : sequence of int
        Size of the U-Net.
    share : float
        Of pixels that are masked: 0.002 in the first version, 0.015 to 0.02 in later ones.
    along_x : int
        Pixels to the left and right of a masked one that are replaced, too.
    seed : int
    """
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    values = np.concatenate([image.ravel() for image in noisy])
    mean, std = values.mean(), values.std()
    images = [torch.from_numpy((image - mean) / std).float() for image in noisy]
    net = UNet(1, 1, channels, generator=generator).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(net.parameters(), RATE)
    began = time.process_time()
    while (elapsed := time.process_time() - began) < seconds:
        # Constant, then down to zero: the best use of a given time.
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, 2 * (1 - elapsed / seconds)) + 1e-6
        patches = _patches(images, turned=along_x == 0, generator=generator)
        given, counts = masked(patches, share, along_x, generator)
        guess = net(given.contiguous(memory_format=torch.channels_last))
        loss = F.mse_loss(guess[counts], patches[counts])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return [net(image[None, None])[0, 0].double().numpy() * std + mean for image in images]


def _patches(
    images: Sequence[torch.Tensor], turned: bool, generator: torch.Generator
) -> torch.Tensor:
    """Draw patches, mirrored and `turned`, or mirrored only."""

    def draw(number: int) -> int:
        return int(torch.randint(number, (1,), generator=generator))

    areas = torch.tensor([float(image.numel()) for image in images])
    chosen = torch.multinomial(areas, BATCH, replacement=True, generator=generator)
    patches = []
    for index in chosen.tolist():
        height, width = images[index].shape
        y, x = draw(height - PATCH + 1), draw(width - PATCH + 1)
        patch = images[index][y : y + PATCH, x : x + PATCH]
        patch = patch.flip(0) if draw(2) else patch
        patches.append(torch.rot90(patch, draw(4) if turned else 2 * draw(2)))
    return torch.stack(patches)[:, None]
