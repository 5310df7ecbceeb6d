"""Particles drawn where we know them: discs, squares and their micrographs."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

Shape = tuple[int, int]


def discs(
    shape: Shape, radii: np.ndarray | list[float], seed: int = 0, gap: float = 3.0
) -> np.ndarray:
    """A mask with a disc of every radius that finds room at a random place, the large ones first.

    Discs stay `gap` pixels apart from each other and from the edge of the picture.
    """
    random = np.random.default_rng(seed)
    y, x = np.indices(shape)
    room = np.full(shape, np.inf)  # to the nearest disc
    edge = np.minimum.reduce([y, x, shape[0] - 1 - y, shape[1] - 1 - x])
    for radius in sorted(radii, reverse=True):
        free = np.flatnonzero(np.minimum(room, edge) > radius + gap)
        if not free.size:
            continue
        cy, cx = np.unravel_index(random.choice(free), shape)
        room = np.minimum(room, np.hypot(y - cy, x - cx) - radius)
    return np.asarray(room <= 0)


def field(shape: Shape, length: float, seed: int = 0, width: float = 0.3) -> np.ndarray:
    """A periodic Gaussian random field of unit variance whose waves are about `length` long."""
    random = np.random.default_rng(seed)
    k = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")) * length
    noise = np.fft.fft2(random.standard_normal(shape))
    waves = np.fft.ifft2(noise * np.exp(-0.5 * ((k - 1) / width) ** 2)).real
    return np.asarray(waves / waves.std())


def smooth_noise(shape: Shape, sigma: float, seed: int = 0) -> np.ndarray:
    """Noise of unit variance with the autocorrelation exp(-r^2 / (4 sigma^2))."""
    random = np.random.default_rng(seed)
    blurred = scipy.ndimage.gaussian_filter(random.standard_normal(shape), sigma, mode="wrap")
    return np.asarray(blurred / blurred.std())


def micrograph(
    mask: np.ndarray, seed: int = 0, noise: float = 0.06, gain: float = 1.0, offset: float = 0.0
) -> np.ndarray:
    """Bright particles in a dark matrix, blurred a little, with noise: float32."""
    random = np.random.default_rng([seed, 7])
    picture = scipy.ndimage.gaussian_filter(0.3 + 0.4 * (mask > 0), 0.8)
    picture = picture + noise * random.standard_normal(mask.shape)
    return np.asarray(gain * picture + offset, np.float32)
