"""Local Fourier amplitudes: what a diffractogram of a small window around each point would show.

The image is shifted in frequency, weighted with a Gaussian and transformed back on the coarse
grid at once, for the Gaussian keeps a band only. Points without data weigh nothing (normalised
convolution), and neither do those outside of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter, maximum_filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HANN = 5.5
"""Side of a Hann window in standard deviations of the Gaussian with the same second moment."""

_REACH = 3.0
_BLUR = 5  # bins
_LEAST_WEIGHT = 0.05
_HIGHEST = 0.45  # cycles per pixel
_ABOVE_FLOOR = 8.0
_ABOVE_BLUR = 4.0
_SHARPEST = 6.0  # above its surroundings: filtered noise stays below 6, simulated lattices above
_STRONG = 0.04  # of the strongest spot: it may be the first order of the lattice
_MOST_ORDERS = 2.0  # the strongest spot is at most of this order of the lattice


@dataclass(frozen=True)
class Lattice:
    """Spots of the diffractogram.

    Parameters
    ----------
    spots : numpy.ndarray
        (spot, 2) frequencies (y, x), cycles per pixel, the strongest first, one of each pair.
    period : float
        Largest distance of lattice planes, px.
    """

    spots: NDArray[np.float64]
    period: float


def find_lattice(image: NDArray[np.floating], valid: NDArray[np.bool_]) -> Lattice | None:
    """Find the spots of a lattice in the power spectrum of an image; None where there are none."""
    height, width = image.shape
    mean = float(image[valid].mean())
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(fft.fft2(np.where(valid, image - mean, 0) * window, workers=-1)) ** 2
    power = gaussian_filter(power, 1.0, mode="wrap")
    y, x = np.meshgrid(fft.fftfreq(height), fft.fftfreq(width), indexing="ij")
    radius = np.hypot(y, x)
    floor = float(np.median(power[radius > 0.4]))
    half = (x > 0) | ((x == 0) & (y > 0))
    inside = (radius > 3 / min(height, width)) & (radius < _HIGHEST) & half
    peak = (
        (power == maximum_filter(power, 5, mode="wrap")) & inside & (power > _ABOVE_FLOOR * floor)
    )
    places = np.argwhere(peak)
    if len(places) == 0:
        return None
    places = places[np.argsort(-power[tuple(places.T)])]
    strength = power[tuple(places.T)]
    around = _around(power, places)
    sharpness = strength / np.maximum(around, 1e-30)
    if sharpness.max() < _SHARPEST:
        return None
    spots = np.stack([y[tuple(places.T)], x[tuple(places.T)]], 1)
    spots += _between_bins(power, places) / image.shape
    sharp = sharpness > _ABOVE_BLUR
    far = np.hypot(*spots.T)
    first = far[sharp][0]
    low = sharp & (strength > _STRONG * strength[sharp][0]) & (far >= 0.99 * first / _MOST_ORDERS)
    return Lattice(spots, float(1 / far[low].min()))


def _around(power: NDArray[np.floating], places: NDArray[np.integer]) -> NDArray[np.floating]:
    """Return the median of the bins around each place, up to _BLUR away."""
    near = np.arange(-_BLUR, _BLUR + 1)
    y, x = np.meshgrid(near, near, indexing="ij")
    rows, columns = (
        (places[:, axis, None] + offset.ravel()) % size
        for axis, (offset, size) in enumerate(zip((y, x), power.shape, strict=True))
    )
    made: NDArray[np.floating] = np.median(power[rows, columns], axis=1)
    return made


def _between_bins(power: NDArray[np.floating], places: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return how far (y, x) the tops of peaks are from their bins: parabolas through the logs."""
    offsets = []
    for axis in (0, 1):
        steps = [places + step * np.eye(2, dtype=int)[axis] for step in (-1, 0, 1)]
        below, here, above = (np.log(power[tuple((at % power.shape).T)] + 1e-30) for at in steps)
        curvature = np.minimum(below - 2 * here + above, -1e-6)
        offsets.append(np.clip(0.5 * (below - above) / curvature, -0.5, 0.5))
    return np.stack(offsets, 1)


class LocalFourier:
    """Local Fourier amplitudes of one image on a grid.

    Parameters
    ----------
    image : numpy.ndarray
        (y, x), its mean taken off.
    valid : numpy.ndarray
        (y, x) bool.
    sigma : float
        Standard deviation of the Gaussian window, px.
    stride : int
        Pixels between nodes; node (0, 0) is pixel (0, 0).

    Attributes
    ----------
    sides : tuple of int
        Sides of the transform, px.
    weight : numpy.ndarray
        (grid y, grid x) share of the window that holds data.
    """

    def __init__(
        self,
        image: NDArray[np.floating],
        valid: NDArray[np.bool_],
        sigma: float,
        stride: int,
    ) -> None:
        self.sigma = sigma
        self.stride = stride
        margin = -(-int(_REACH * sigma) // stride) * stride
        sides = [size + 2 * margin for size in image.shape]
        # The nodes of the padded image must be a regular grid for the short inverse transform.
        self.sides = tuple(stride * fft.next_fast_len(-(-side // stride)) for side in sides)
        self._pad = [
            (margin, side - margin - n) for side, n in zip(self.sides, image.shape, strict=True)
        ]
        first = margin // stride
        self._cut = tuple(slice(first, first - (-n // stride)) for n in image.shape)
        self._spectrum = self._transformed(np.where(valid, image, 0))
        known = self._transformed(valid.astype(np.float32))
        self.weight: NDArray[np.float32] = self._at(known, (0, 0)).real
        self._norm = np.maximum(self.weight, _LEAST_WEIGHT)

    def bin(self, frequency: Sequence[float]) -> tuple[int, int]:
        """Return the nearest frequency (y, x) of the transform, in its bins."""
        y, x = (round(f * side) for f, side in zip(frequency, self.sides, strict=True))
        return y, x

    def amplitude(self, where: tuple[int, int]) -> NDArray[np.complex64]:
        """Return the amplitude at a bin (grid y, grid x), with its phase at the node itself."""
        nodes_y, nodes_x = (np.arange(cut.start, cut.stop) for cut in self._cut)
        carrier = np.exp(2j * np.pi * where[0] / self.sides[0] * nodes_y * self.stride)[:, None]
        carrier = carrier * np.exp(2j * np.pi * where[1] / self.sides[1] * nodes_x * self.stride)
        found: NDArray[np.complex64] = self._at(self._spectrum, where) / self._norm * carrier
        return found.astype(np.complex64)

    def _transformed(self, image: NDArray[np.floating]) -> NDArray[np.complex64]:
        found: NDArray[np.complex64] = fft.fft2(
            np.pad(image.astype(np.float32), self._pad), workers=-1
        )
        return found

    def _at(self, spectrum: NDArray[np.complex64], where: tuple[int, int]) -> NDArray[np.complex64]:
        sizes = [side // self.stride for side in self.sides]
        index, gain = [], []
        for size, side, centre in zip(sizes, self.sides, where, strict=True):
            offset = fft.fftfreq(size, 1 / size).astype(int)
            index.append((offset + centre) % side)
            gain.append(np.exp(-2 * (np.pi * self.sigma * offset / side) ** 2).astype(np.float32))
        band = spectrum[np.ix_(*index)] * gain[0][:, None] * gain[1]
        found: NDArray[np.complex64] = fft.ifft2(band)[self._cut] / self.stride**2
        return found
