"""Fine particles between large ones: as many and as large as in an image, in clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.synthesis.appearance import FINE, MATRIX
from napari_physgen.synthesis.draws import smooth_field
from napari_physgen.synthesis.texture import signed_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.synthesis.population import Population

    Labels = NDArray[np.uint8]

_GAP = 1.5  # px between fine particles and others
_CLUSTERED = 1.5  # standard deviation of the logarithm of their density


def add_fine(labels: Labels, like: Population, random: np.random.Generator) -> None:
    """Put fine particles into the matrix, in clusters, none touching another one."""
    matrix = labels == MATRIX
    number = random.poisson(like.fine_density * matrix.sum() * random.uniform(0.5, 1.5))
    free = signed_distance(matrix)
    density = np.where(
        matrix, np.exp(_CLUSTERED * smooth_field(labels.shape, like.length / 2, random)), 0
    )
    density = density.ravel()
    if not number or density.sum() == 0:
        return
    places = random.choice(density.size, size=4 * number, p=density / density.sum())
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]]
    done = 0
    for place in places:
        radius = 0.5 * float(random.choice(like.fine)) * random.uniform(0.85, 1.15)
        cy, cx = divmod(int(place), labels.shape[1])
        if free[cy, cx] < radius + _GAP:
            continue
        reach = int(radius + _GAP) + 2
        window = np.s_[max(cy - reach, 0) : cy + reach + 1, max(cx - reach, 0) : cx + reach + 1]
        stretch, angle = random.uniform(1, 1.25), random.uniform(0, np.pi)
        dy, dx = y[window] - cy, x[window] - cx
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = dy * np.cos(angle) - dx * np.sin(angle)
        r = np.hypot(along / stretch, across * stretch)
        if (labels[window][r < radius + _GAP] != MATRIX).any():
            continue
        labels[window][r < radius] = FINE
        done += 1
        if done == number:
            return
