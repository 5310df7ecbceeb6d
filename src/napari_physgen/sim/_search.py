"""Where the pattern's wavevector may be: significance of band correlation in a ring.

The frames of one angle, minus their mean, are correlated with their mean. Both pass a matched
filter, signal over noise as the OTF and a power law of the object let expect, and are scaled so
that the correlation at a wrong wavevector is circular complex Gaussian noise of equal size
everywhere. A peak of r times the median amplitude then happens by chance with probability
2^(-r^2) per cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.special

from napari_physgen.sim._bands import NOTCH
from napari_physgen.sim._whittle import power_law

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.sim._bands import Complex, Field, Real


@dataclass(frozen=True)
class Landscape:
    """Evidence for each wavevector cell of the search grid, for one angle.

    Parameters
    ----------
    k_y, k_x : numpy.ndarray
        (cell,), wavevectors of the half plane of the ring, 1/um.
    evidence : numpy.ndarray
        (cell,), -ln of the chance that noise alone gives such a correlation.
    products : numpy.ndarray
        (band, y, x), products of the whitened images whose DFT is the correlation.
    pixel_um : (float, float)
        Pixel size of `products` along (y, x).
    """

    k_y: Real
    k_x: Real
    evidence: Real
    products: Complex
    pixel_um: tuple[float, float]

    @property
    def steps(self) -> Real:
        """Cell size along (y, x), 1/um."""
        shape = self.products.shape[-2:]
        return np.array([1 / (n * p) for n, p in zip(shape, self.pixel_um, strict=True)])

    def lookup(self, k_y: Real, k_x: Real) -> Real:
        """Return the highest evidence within one cell of given wavevectors (0 outside the ring)."""
        shape = self.products.shape[-2:]
        table = np.zeros(shape)
        rows = np.round(self.k_y / self.steps[0]).astype(int)
        columns = np.round(self.k_x / self.steps[1]).astype(int)
        for sign in (1, -1):
            table[sign * rows % shape[0], sign * columns % shape[1]] = self.evidence
        table = scipy.ndimage.maximum_filter(table, 3, mode="wrap")
        i = np.round(k_y / self.steps[0]).astype(int) % shape[0]
        j = np.round(k_x / self.steps[1]).astype(int) % shape[1]
        return np.asarray(table[i, j])

    def peak(self, where: NDArray[np.bool_] | None = None) -> tuple[Real, float]:
        """Return the wavevector (2,) of the most significant cell and its evidence.

        Evidence is corrected for the number of cells looked at (Bonferroni).
        """
        cells = np.arange(self.evidence.size) if where is None else np.flatnonzero(where)
        best = cells[np.argmax(self.evidence[cells])]
        found = float(self.evidence[best])
        return np.array([self.k_y[best], self.k_x[best]]), found - np.log(cells.size)

    def ratio(self, evidence: float) -> float:
        """Return the amplitude ratio peak/median in complex Gaussian noise for raw `evidence`."""
        return float(np.sqrt(max(evidence, 0) / np.log(2)))


def landscape(frames: Real, field: Field, low: float, high: float) -> Landscape:
    """Correlate the bands of one angle at all wavevectors with low <= |k| <= high.

    Parameters
    ----------
    frames : numpy.ndarray
        (phase, y, x), above the offset, of equal brightness.
    field : Field
    low, high : float
        Search ring, 1/um.
    """
    count = len(frames)
    even = frames - frames.mean()
    mean = field.spectrum(even.mean(axis=0))
    rows = scipy.fft.fft(frames, axis=0)[1 : count // 2 + 1] / np.sqrt(count)
    sides = field.spectrum(rows)
    noise = field.noise_power(sides)
    grid = _grid(field, high)
    ratio = field.radius / field.cutoff
    transfer = np.where((ratio > NOTCH) & (ratio < 0.98), field.otf(*field.k), 0.0)
    signal = _signal_to_noise(even, field)
    mean_power = 1 + transfer**2 * signal * count
    products, numerators, weights = [], [], []
    for side in sides:
        # Frames are never of quite the same brightness: take out what is like their mean.
        like = np.sum((side * mean.conj())[transfer > 0]) / np.sum(np.abs(mean[transfer > 0]) ** 2)
        side = side - like * mean
        power = np.maximum(field.radial_mean(np.abs(side) ** 2) / noise, 1)
        # The same filter for both keeps the peak the highest point of its surroundings.
        gain = transfer * np.sqrt(signal / (power * mean_power))
        a = scipy.fft.ifft2(_padded(side * gain, grid))
        b = scipy.fft.ifft2(_padded(mean * gain, grid))
        a_weight = _padded(gain**2 * power, grid).real
        b_weight = _padded(gain**2 * mean_power, grid).real
        products.append(a * b.conj())
        numerators.append(np.abs(scipy.fft.fft2(products[-1])) ** 2)
        overlap = scipy.fft.ifft2(scipy.fft.fft2(a_weight) * scipy.fft.fft2(b_weight).conj())
        weights.append(np.maximum(overlap.real, 1e-3 * overlap.real.max()))
    pixel = tuple(field.pixel_um * n / g for n, g in zip(field.shape, grid, strict=True))
    k_y = np.fft.fftfreq(grid[0], pixel[0])[:, None] + np.zeros(grid)
    k_x = np.fft.fftfreq(grid[1], pixel[1])[None, :] + np.zeros(grid)
    radius = np.hypot(k_y, k_x)
    ring = (radius >= low) & (radius <= high)
    half = ring & ((k_x > 0) | ((k_x == 0) & (k_y > 0)))
    cells = np.nonzero(half)
    mirror = (-cells[0] % grid[0], -cells[1] % grid[1])
    evidence = _evidence(numerators, weights, ring, cells, mirror, count)
    return Landscape(k_y[cells], k_x[cells], evidence, np.array(products), (pixel[0], pixel[1]))


def _evidence(
    numerators: list[Real],
    weights: list[Real],
    ring: NDArray[np.bool_],
    cells: tuple[NDArray[np.intp], ...],
    mirror: tuple[NDArray[np.intp], ...],
    count: int,
) -> Real:
    """Turn correlation powers into -ln p per cell of the half plane.

    Two tests share the evidence: equal phase steps (one complex number per direction of the
    steps) and arbitrary phases (all `count - 1` differences between the frames).
    """
    total = np.zeros(len(cells[0]))
    best = np.zeros(len(cells[0]))
    for j, (numerator, weight) in enumerate(zip(numerators, weights, strict=True), 1):
        power = numerator / weight
        power = power / (np.median(power[ring]) / np.log(2))
        forward, backward = power[cells], power[mirror]
        real = 2 * j == count
        total += forward if real else forward + backward
        if j == 1:
            best = np.maximum(forward, backward) - np.log(2)
    any_phase = -_log_gamma_sf(count - 1, total)
    return np.asarray(np.maximum(best, any_phase) - np.log(2))


def _log_gamma_sf(shape: int, x: Real) -> Real:
    """Return ln of the survival function of the gamma distribution of integer `shape`."""
    terms = [j * np.log(np.maximum(x, 1e-12)) - scipy.special.gammaln(j + 1) for j in range(shape)]
    return np.asarray(scipy.special.logsumexp(terms, axis=0) - x)


def _grid(field: Field, high: float) -> tuple[int, int]:
    """Return a grid fine enough that no correlation at lags up to 2 cutoff folds into the ring."""
    smallest = (2 * field.cutoff + high) / field.steps
    return tuple(
        max(n, scipy.fft.next_fast_len(int(np.ceil(m))))
        for n, m in zip(field.shape, smallest, strict=True)
    )


def _signal_to_noise(frames: Real, field: Field) -> Real:
    """Return the object's power (y, x), before the OTF, over the noise power of one frame."""
    noise = field.sharpened_noise(frames)
    law = power_law(scipy.fft.fft2(field.sharpened(frames)), noise, field)
    return law(field.radius) / noise


def _padded(spectrum: Complex | Real, grid: tuple[int, int]) -> Complex:
    """Copy an unshifted spectrum into a larger one, zero beyond."""
    out = np.zeros(grid, complex)
    index = [
        np.fft.fftfreq(n, 1 / n).astype(int) % g for n, g in zip(spectrum.shape, grid, strict=True)
    ]
    out[np.ix_(*index)] = spectrum
    return out


def zoomed_peak(land: Landscape, start: Real, reach: float = 0.75) -> Real:
    """Refine a peak to a fraction of a DFT pixel by evaluating the DFT between its samples.

    Parameters
    ----------
    land : Landscape
    start : numpy.ndarray
        (2,), 1/um.
    reach : float
        Half width of the zoom in DFT pixels.
    """
    shape, steps = land.products.shape[-2:], land.steps
    fine = np.linspace(-reach, reach, 31)
    power = np.zeros((fine.size, fine.size))
    for product in land.products:
        for sign in (1, -1):
            kernels = [
                np.exp(-2j * np.pi * np.outer(sign * (s + fine * d), np.arange(n) * p))
                for s, d, n, p in zip(start, steps, shape, land.pixel_um, strict=True)
            ]
            power += np.abs(kernels[0] @ product @ kernels[1].T) ** 2
    i, j = np.unravel_index(np.argmax(power), power.shape)
    return np.array([start[0] + fine[i] * steps[0], start[1] + fine[j] * steps[1]])
