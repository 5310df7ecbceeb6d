"""Where regions are: smooth random fields and the walls between them.

Every geometry is a label image (y, x), numbered from 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Labels = NDArray[np.uint8]
    Shape = tuple[int, int]

_TRIES = 32
_FAIR = 0.25  # least share of a region, of that of equal ones
_HOLD = 0.4  # of the scale: how far shares move per step when they are made equal
_ROUNDS = 30


def smooth(random: np.random.Generator, shape: Shape, length: float) -> Real:
    """Return a Gaussian random field (y, x) of mean 0, variance 1.

    Parameters
    ----------
    random : numpy.random.Generator
    shape : (int, int)
    length : float
        Standard deviation of the Gaussian that makes it smooth, px.
    """
    padded = [scipy.fft.next_fast_len(n + int(4 * length), real=True) for n in shape]
    k_y, k_x = scipy.fft.fftfreq(padded[0]), scipy.fft.rfftfreq(padded[1])
    window = np.exp(-2 * (np.pi * length) ** 2 * (k_y[:, None] ** 2 + k_x**2))
    noise = scipy.fft.rfft2(random.standard_normal(padded))
    field = scipy.fft.irfft2(noise * window, padded)
    field /= field.std()
    return np.asarray(field[: shape[0], : shape[1]])


def wavy_halves(random: np.random.Generator, shape: Shape, wave: float = 0.1) -> Labels:
    """Return two halves, left and right, parted by a wavy wall through the middle.

    Parameters
    ----------
    random : numpy.random.Generator
    shape : (int, int)
    wave : float
        Amplitude of the wall, of the width.
    """
    rows = np.arange(shape[0]) / shape[0]
    periods, phase = random.uniform(1, 1.8), random.uniform(0, 2 * np.pi)
    middle = random.uniform(0.46, 0.54)
    wall = shape[1] * (middle + wave * np.sin(2 * np.pi * periods * rows + phase))
    return np.asarray(np.arange(shape[1]) >= wall[:, None], np.uint8)


def blobs(random: np.random.Generator, shape: Shape, regions: int, length: float) -> Labels:
    """Return where each of `regions` smooth fields is the largest; none has a tiny share.

    Parameters
    ----------
    random : numpy.random.Generator
    shape : (int, int)
    regions : int
    length : float
        Standard deviation of the Gaussian that makes the fields smooth, px.
    """
    best, largest = np.zeros(shape, np.uint8), -1.0
    for _ in range(_TRIES):
        found = np.stack([smooth(random, shape, length) for _ in range(regions)]).argmax(0)
        smallest = np.bincount(found.ravel(), minlength=regions).min() / found.size
        if smallest > largest:
            best, largest = found.astype(np.uint8), smallest
        if largest * regions > _FAIR:
            break
    return best


def grains(
    random: np.random.Generator, shape: Shape, shares: tuple[float, ...], bend: float = 0.04
) -> Labels:
    """Return one connected-looking grain per share: bent power diagram of well parted centres.

    Parameters
    ----------
    random : numpy.random.Generator
    shape : (int, int)
    shares : tuple of float
        Wanted share of the area of each grain; they sum to 1.
    bend : float
        How far the walls stray from straight lines, of the shorter side.
    """
    side = min(shape)
    sites = _parted(random, shape, len(shares))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    y += bend * side * smooth(random, shape, side / 10)
    x += bend * side * smooth(random, shape, side / 10)
    distances = np.stack([(y - p) ** 2 + (x - q) ** 2 for p, q in sites])
    offsets = np.zeros(len(shares))
    for _ in range(_ROUNDS):
        found = (distances - offsets[:, None, None]).argmin(0)
        have = np.bincount(found.ravel(), minlength=len(shares)) / found.size
        offsets += _HOLD * side**2 * (np.asarray(shares) - have)
    return np.asarray(found, np.uint8)


def stripes(random: np.random.Generator, shape: Shape, period: float, share: float) -> Labels:
    """Return slightly bent stripes (1) that cover a share of the picture (0).

    Parameters
    ----------
    random : numpy.random.Generator
    shape : (int, int)
    period : float
        Distance of neighbouring stripes, px.
    share : float
        Of the area.
    """
    angle = np.radians(random.uniform(20, 70) * random.choice([-1, 1]))
    y, x = np.mgrid[: shape[0], : shape[1]]
    along, across = (x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle))
    bend = 0.2 * period * np.sin(2 * np.pi * along / (5 * period) + random.uniform(0, 2 * np.pi))
    wave = np.cos(2 * np.pi * (across + bend) / period + random.uniform(0, 2 * np.pi))
    return np.asarray(wave > np.cos(np.pi * share), np.uint8)


def _parted(random: np.random.Generator, shape: Shape, count: int) -> Real:
    """Return `count` points (y, x) in the picture, the best parted of a few random draws."""
    best, farthest = np.zeros((count, 2)), -1.0
    for _ in range(_TRIES):
        points = random.uniform(0.1, 0.9, (count, 2)) * shape
        apart = np.linalg.norm(points[:, None] - points, axis=-1)
        nearest = float(apart[~np.eye(count, dtype=bool)].min(initial=np.inf))
        if nearest > farthest:
            best, farthest = points, nearest
    return best
