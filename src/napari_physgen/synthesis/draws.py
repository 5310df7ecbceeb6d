"""Random factors and fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray


def factor(spread: float, random: np.random.Generator) -> float:
    """Return a factor between 1 / (1 + spread) and 1 + spread."""
    return float(np.exp(random.uniform(-1, 1) * np.log1p(spread)))


def smooth_field(
    shape: tuple[int, ...], sigma: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return a periodic random field of correlation length `sigma` (px), standard deviation 1."""
    field = scipy.ndimage.gaussian_filter(random.standard_normal(shape), sigma, mode="wrap")
    return np.asarray(field / max(float(field.std()), 1e-9))
