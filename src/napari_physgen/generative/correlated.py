"""White noise made to correlate between neighbours, as scanning and interpolation leave it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_LARGEST = 0.65  # of the correlation of neighbours that three taps can give
_NEGLIGIBLE = 0.02


def correlating(correlation: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """Return a filter that keeps the variance and gives neighbours a correlation.

    Three taps (a, 1, a) along each axis, correlation 2 a / (1 + 2 a^2).

    Parameters
    ----------
    correlation : sequence of float
        Of neighbours along y and x.
    """
    taps = [_taps(float(c)) for c in correlation]

    def apply(n: Tensor) -> Tensor:
        for axis, kernel in zip((-2, -1), taps, strict=True):
            if kernel is not None:
                moved = n.movedim(axis, -1)
                flat = moved.reshape(-1, 1, moved.shape[-1])
                padded = F.pad(flat, (1, 1), mode="circular")
                mixed = F.conv1d(padded, kernel.to(n)[None, None])
                n = mixed.reshape(moved.shape).movedim(-1, axis)
        return n

    return apply


def _taps(correlation: float) -> Tensor | None:
    c = min(max(correlation, -_LARGEST), _LARGEST)
    if abs(c) < _NEGLIGIBLE:
        return None
    a = (1 - math.sqrt(1 - 2 * c**2)) / (2 * c)
    return torch.tensor([a, 1.0, a]) / math.sqrt(1 + 2 * a**2)
