"""Camera noise, measured from the frames themselves.

Grey levels y of mean mu scatter with variance gain * (mu - offset) + read_noise^2
(Poisson light, Gaussian read-out). The optics pass nothing above their cutoff, so what is seen
there is noise: its local power against the local mean gives the line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import scipy.ndimage

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Real = NDArray[np.float64]

GUARD = 1.1
"""Frequencies above this multiple of the cutoff count as noise."""


@dataclass(frozen=True)
class Camera:
    """Noise model of a camera.

    Parameters
    ----------
    offset : float
        Grey level without light.
    gain : float
        Grey levels per detected photon (0: noise does not depend on the light).
    read_noise : float
        Standard deviation of the noise without light, grey levels.
    """

    offset: float
    gain: float
    read_noise: float

    def variance(self, grey: ArrayLike) -> NDArray[np.float64]:
        """Return the noise variance of pixels with the expected grey level `grey`."""
        light = np.maximum(np.asarray(grey, float) - self.offset, 0)
        return np.asarray(self.gain * light + self.read_noise**2)


def estimate_camera(
    frames: ArrayLike,
    cutoff_per_um: float,
    pixel_size_nm: float,
    offset: float | None = None,
    gain: float | None = None,
) -> Camera:
    """Estimate offset, gain and read noise from raw frames.

    Where the pixels are so coarse that less than 2 % of the frequencies lie above the
    cutoff, the highest 5 % are used: signal in them makes the noise look larger, never smaller.

    Without a given offset it lies between two bounds: the grey level at which the noise would
    vanish (no read noise) and the darkest grey level seen. The lower is taken, since a dense
    sample has no dark pixel; the variance of a pixel is the same for both.

    Parameters
    ----------
    frames : array
        (frame, y, x), grey levels.
    cutoff_per_um : float
        Detection cutoff, 1/um.
    pixel_size_nm : float
    offset, gain : float, optional
        Known values; the rest is estimated.
    """
    stack = np.asarray(frames, float)
    mask = _beyond(stack.shape[1:], cutoff_per_um * pixel_size_nm / 1000)
    stack = _without_spikes(stack, mask)
    power = _filtered(stack, mask) ** 2 / mask.mean()
    mean, variance, weight = _mean_variance(_spread(stack, mask), power)
    slope, level = _line(mean, variance, weight, gain)
    smooth = scipy.ndimage.gaussian_filter(stack, (0, 2, 2))
    floor = 1e-4 * float(np.average(variance, weights=weight))
    return camera_of_line(slope, level, float(np.percentile(smooth, 0.5)), floor, offset)


def camera_of_line(
    slope: float, level: float, dark: float, floor: float, offset: float | None = None
) -> Camera:
    """Return the camera whose noise variance is ``slope * grey + level``, and at least `floor`.

    The line alone does not tell the offset; `dark`, the darkest grey level, bounds it: see
    `estimate_camera`.
    """
    if offset is None:
        vanishing = -level / slope if slope > 0 else -np.inf
        offset = float(np.clip(vanishing, min(0.0, dark), dark))
    read = max(level + slope * offset, 0.0)
    return Camera(offset, slope, float(np.sqrt(max(read, floor))))


def _beyond(shape: tuple[int, ...], cutoff: float) -> NDArray[np.bool_]:
    """Return which frequencies of the cosine transform lie above `cutoff` (cycles per pixel)."""
    k = np.hypot(*np.ix_(*(np.arange(n) / (2 * n) for n in shape)))
    mask = k > GUARD * cutoff
    return mask if mask.mean() > 0.02 else np.asarray(k >= np.quantile(k, 0.95))


def _filtered(stack: Real, gain: NDArray[np.generic]) -> Real:
    """Multiply the spectrum by `gain`.

    The cosine transform continues the frames by reflection, so their edges leave no cross.
    """
    spectrum = scipy.fft.dctn(stack, axes=(1, 2), norm="ortho") * gain
    return np.asarray(scipy.fft.idctn(spectrum, axes=(1, 2), norm="ortho"))


def _without_spikes(stack: Real, mask: NDArray[np.bool_]) -> Real:
    """Replace hot pixels and cosmic rays by the median of their neighbours.

    They are recognised in the noise, where no structure of the sample can be mistaken for one.
    """
    noise = np.abs(_filtered(stack, mask))
    calm = scipy.ndimage.median_filter(stack, (1, 3, 3))
    light = calm - calm.min()
    relative = noise / np.sqrt(light + 0.1 * light.mean() + 1e-12)
    spikes = relative > 8 * np.median(relative) / 0.6745
    return np.where(spikes, calm, stack)


def _spread(stack: Real, mask: NDArray[np.bool_]) -> Real:
    """Blur the frames as the filter spreads the variance of each pixel over its neighbours."""
    whole = np.pad(mask, [(0, n) for n in mask.shape])
    for axis, n in enumerate(mask.shape):
        mirrored = (-np.arange(2 * n)) % (2 * n)
        whole |= np.take(whole, mirrored, axis=axis)
    kernel = scipy.fft.ifft2(whole).real ** 2
    transfer = scipy.fft.fft2(kernel).real / kernel.sum()
    return _filtered(stack, transfer[: mask.shape[0], : mask.shape[1]])


def _mean_variance(stack: Real, power: Real, bins: int = 24) -> tuple[Real, Real, Real]:
    """Return mean grey level, noise variance and weight in groups of equally bright blocks."""
    frames, height, width = stack.shape
    side = 8
    rows, columns = height // side, width // side
    cut = (frames, rows, side, columns, side)
    crop = np.s_[:, : rows * side, : columns * side]
    brightness = stack[crop].reshape(cut).mean(axis=(2, 4)).ravel()
    noise = power[crop].reshape(cut).mean(axis=(2, 4)).ravel()
    order = np.argsort(brightness)
    groups = np.array_split(order, min(bins, max(2, order.size // 30)))
    mean = np.array([brightness[g].mean() for g in groups])
    variance = np.array([_robust_mean(noise[g]) for g in groups])
    return mean, variance, np.array([g.size for g in groups], float)


def _robust_mean(values: Real) -> float:
    """Mean without outliers (hot pixels, cosmic rays, moving dirt)."""
    centre = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - centre))
    return float(values[np.abs(values - centre) <= 5 * spread + 1e-12].mean())


def _line(mean: Real, variance: Real, weight: Real, gain: float | None) -> tuple[float, float]:
    """Fit variance = slope * mean + level, slope >= 0, by reweighted least squares."""
    if gain is not None:
        w = weight / variance**2
        return gain, float(np.average(variance - gain * mean, weights=w))
    model = np.maximum(variance, 1e-3 * variance.max())
    slope = level = 0.0
    for _ in range(4):
        w = weight / model**2
        centre = np.average(mean, weights=w)
        spread = np.average((mean - centre) ** 2, weights=w)
        slope = float(np.average((mean - centre) * variance, weights=w) / max(spread, 1e-300))
        slope = max(slope, 0.0)
        level = float(np.average(variance - slope * mean, weights=w))
        model = np.maximum(slope * mean + level, 1e-3 * variance.max())
    return slope, level
