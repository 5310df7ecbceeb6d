"""Small blocks of an image in cosines: which of them are flat, and what is fine in them.

Orthonormal DCT of 8 x 8 pixels, indices u along y and v along x. Structure is strong in the low
cosines, and hardly there in the finest ones.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]

SIDE = 8
FINE = 5  # first index of fine cosines
_MOST = 250_000  # blocks
_SPARSE = 2**20  # pixels from which blocks do not overlap
_RARE, _SPIKE = 0.995, 3.0

_U, _V = np.mgrid[:SIDE, :SIDE]
_LOW = (_U + _V >= 1) & (_U + _V <= 4) & (np.maximum(_U, _V) <= 3)
_FINEST = (_U >= FINE) & (_V >= FINE)
_MIDDLE = (_U + _V >= 1) & ~_LOW & ~_FINEST
FINEST_COUNT = int(_FINEST.sum())


@dataclass(frozen=True)
class Blocks:
    """Blocks of an image, all arrays (block,).

    Parameters
    ----------
    grey : numpy.ndarray
        Mean grey level.
    low, middle, finest : numpy.ndarray
        Mean square of cosines: those of structure, those between, those with u, v >= 5.
    fine_y, fine_x : numpy.ndarray
        The same for fine u and any v, and for any u and fine v.
    floor, ceiling : numpy.ndarray
        Share of pixels at the lowest and at the highest grey level of the image.
    """

    grey: Real
    low: Real
    middle: Real
    finest: Real
    fine_y: Real
    fine_x: Real
    floor: Real
    ceiling: Real

    def low_over_middle(self) -> Real:
        """Return how many times stronger the low cosines are than in blocks without structure.

        1 on average in the flattest blocks of the image, whose noise may be red.
        """
        ratio = self.low / self.middle
        by_chance = scipy.stats.f(_LOW.sum(), _MIDDLE.sum()).ppf(0.05)
        return np.asarray(ratio / (np.quantile(ratio, 0.05) / by_chance))

    def low_over_noise(self, variance: Real) -> tuple[Real, float]:
        """Return the same against a known noise variance (block,), and the flattest blocks' power.

        The latter is 1 where the flattest blocks hold white noise alone.
        """
        ratio = self.low / variance
        by_chance = scipy.stats.chi2(_LOW.sum()).ppf(0.05) / _LOW.sum()
        flattest = float(np.quantile(ratio, 0.05) / by_chance)
        return ratio, flattest


def cut(stack: Real, floor: float, ceiling: float) -> Blocks:
    """Cut frames (frame, y, x) into blocks, leaving out constant ones and hot pixels."""
    stride = SIDE if stack.size > _SPARSE else SIDE // 2
    per_frame = stack[0].size // stride**2
    step = max(1, round(len(stack) * per_frame / _MOST))
    parts = [_measure(frame, stride, floor, ceiling) for frame in stack[step // 2 :: step]]
    return Blocks(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Blocks))
    )


def _measure(frame: Real, stride: int, floor: float, ceiling: float) -> Blocks:
    windows = np.lib.stride_tricks.sliding_window_view(without_spikes(frame), (SIDE, SIDE))
    skip = max(1, round(windows[::stride, ::stride].shape[0] * windows.shape[1] / stride / _MOST))
    block = windows[:: stride * skip, ::stride].reshape(-1, SIDE, SIDE)
    block = block[np.ptp(block, axis=(1, 2)) > 0]
    power = scipy.fft.dctn(block, axes=(1, 2), norm="ortho") ** 2
    tiny = np.finfo(float).tiny
    return Blocks(
        grey=block.mean((1, 2)),
        low=power[:, _LOW].mean(1),
        middle=np.maximum(power[:, _MIDDLE].mean(1), tiny),
        finest=power[:, _FINEST].mean(1),
        fine_y=power[:, FINE:].mean((1, 2)),
        fine_x=power[:, :, FINE:].mean((1, 2)),
        floor=(block <= floor).mean((1, 2)),
        ceiling=(block >= ceiling).mean((1, 2)),
    )


def without_spikes(frame: Real) -> Real:
    """Replace hot and dead pixels by the median of their neighbours.

    They stick out three times as far as one pixel in two hundred does: single photons, too, stick
    out of dark surroundings, but there are many of them.
    """
    calm = scipy.ndimage.median_filter(frame, 3)
    light = calm - calm.min()
    relative = np.abs(frame - calm) / np.sqrt(light + 0.1 * light.mean() + np.finfo(float).tiny)
    return np.where(relative > _SPIKE * np.quantile(relative, _RARE), calm, frame)


def pile(stack: Real, highest: bool) -> float:
    """Return the highest (lowest) grey level where pixels pile up at it, else one beyond it.

    They do if it has three times as many pixels as the next five grey levels have on average.
    """
    levels, counts = np.unique(stack, return_counts=True)
    if highest:
        levels, counts = levels[::-1], counts[::-1]
    near = counts[1:6].mean() if counts.size > 1 else 0
    if counts[0] >= 10 and counts[0] > 3 * near:
        return float(levels[0])
    return float("inf" if highest else "-inf")
