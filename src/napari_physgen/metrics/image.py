"""How close an image is to the truth: PSNR, SSIM, at matched blur, and Fourier ring correlation.

Brightness and offset carry no information here: images are first fitted to the truth by the
affine intensity map with the least squared error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.optimize

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Real = NDArray[np.float64]


class Scores(NamedTuple):
    """PSNR in dB and SSIM."""

    psnr: float
    ssim: float


class MatchedScores(NamedTuple):
    """Standard deviation of the best blur in px, with PSNR and SSIM after it."""

    sigma: float
    psnr: float
    ssim: float


class RingCorrelation(NamedTuple):
    """Fourier ring correlation against frequency, and where it falls below 1/7 (a length)."""

    frequency: Real
    frc: Real
    resolution: float


def fit_intensity(image: ArrayLike, truth: ArrayLike) -> Real:
    """Return ``a * image + b`` with the least squared difference to `truth`."""
    x, y = np.asarray(image, float), np.asarray(truth, float)
    deviation = x - x.mean()
    power = float(np.mean(deviation**2))
    slope = float(np.mean(deviation * (y - y.mean()))) / power if power > 0 else 0.0
    return np.asarray(slope * deviation + y.mean())


def psnr(image: ArrayLike, truth: ArrayLike, data_range: float) -> float:
    """Return the peak signal-to-noise ratio, 10 log10(data_range^2 / mean squared error), in dB."""
    error = float(np.mean((np.asarray(image, float) - np.asarray(truth, float)) ** 2))
    return float(10 * np.log10(data_range**2 / error)) if error > 0 else float("inf")


def ssim(image: ArrayLike, truth: ArrayLike, data_range: float) -> float:
    """Return the mean structural similarity (Wang et al. 2004: Gaussian window, sigma 1.5)."""
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            np.asarray(image, float),
            np.asarray(truth, float),
            data_range=data_range,
            gaussian_weights=True,
            use_sample_covariance=False,
        )
    )


def compare(
    image: ArrayLike, truth: ArrayLike, border: int = 8, data_range: float | None = None
) -> Scores:
    """Score an image against the truth after an affine intensity fit.

    Parameters
    ----------
    image, truth : array
        (y, x) on the same grid.
    border : int
        Pixels left out along every edge, of the fit too.
    data_range : float, optional
        Range of possible values; default 255 for 8-bit truths, else the truth's own range.
    """
    data_range = data_range or _range(truth)
    image, truth = _inner(image, border), _inner(truth, border)
    fitted = fit_intensity(image, truth)
    return Scores(psnr(fitted, truth, data_range), ssim(fitted, truth, data_range))


def match_blur(
    image: ArrayLike,
    truth: ArrayLike,
    border: int = 8,
    data_range: float | None = None,
    largest: float = 8.0,
) -> MatchedScores:
    """Score an image after the Gaussian blur that brings it closest to the truth.

    For truths that are images themselves: a result sharper than its truth is not punished.

    Parameters
    ----------
    image, truth, border, data_range
        As in `compare`.
    largest : float
        Upper limit of the blur's standard deviation, px.
    """
    inside = _inner(truth, border)
    source = np.asarray(image, float)

    def blurred(sigma: float) -> Real:
        return np.asarray(scipy.ndimage.gaussian_filter(source, sigma) if sigma > 0 else source)

    def error(sigma: float) -> float:
        fitted = fit_intensity(_inner(blurred(sigma), border), inside)
        return float(np.mean((fitted - inside) ** 2))

    # The error may have more than one minimum: a coarse scan first.
    grid = np.linspace(0, largest, 17)
    best = int(np.argmin([error(s) for s in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    found = scipy.optimize.minimize_scalar(error, bounds=(low, high), method="bounded")
    sigma = float(found.x) if found.fun < error(grid[best]) else float(grid[best])
    return MatchedScores(sigma, *compare(blurred(sigma), truth, border, data_range))


def fourier_ring_correlation(
    a: ArrayLike, b: ArrayLike, pixel_size: float = 1.0
) -> RingCorrelation:
    """Correlate two images of the same object ring by ring in Fourier space.

    Their noise must be independent (two recordings, or one split by binomial thinning).

    Parameters
    ----------
    a, b : array
        (y, x), same shape.
    pixel_size : float
        Length of a pixel, in the unit that the resolution shall have.

    Returns
    -------
    RingCorrelation
        `resolution` is 1 / frequency of the first fall below 1/7 (Nieuwenhuizen et al. 2013),
        infinite if never above, two pixels if never below.
    """
    first, second = (_spectrum(image) for image in (a, b))
    shape = np.shape(a)
    k = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    width = 1 / min(shape)
    ring = np.rint(k / width).astype(int)
    rings = min(shape) // 2
    inside = ring <= rings

    def total(values: Real) -> Real:
        return np.asarray(np.bincount(ring[inside], values[inside], minlength=rings + 1))

    cross = total((first * second.conj()).real)
    power = total(np.abs(first) ** 2) * total(np.abs(second) ** 2)
    frc = cross / np.sqrt(np.maximum(power, np.finfo(float).tiny))
    frequency = np.arange(rings + 1) * width / pixel_size
    return RingCorrelation(frequency, frc, _crossing(frequency, frc, pixel_size))


def _crossing(frequency: Real, frc: Real, pixel_size: float) -> float:
    """Return the length at which the smoothed curve first falls below 1/7."""
    smooth = scipy.ndimage.uniform_filter1d(frc, 3, mode="nearest")
    below = np.flatnonzero(smooth[1:] < 1 / 7) + 1
    if below.size == 0:
        return 2 * pixel_size
    i = int(below[0])
    if i == 1:
        return float("inf")
    part = (smooth[i - 1] - 1 / 7) / (smooth[i - 1] - smooth[i])
    return float(1 / (frequency[i - 1] + part * (frequency[i] - frequency[i - 1])))


def _spectrum(image: ArrayLike) -> NDArray[np.complex128]:
    array = np.asarray(image, float)
    window = np.hanning(array.shape[0])[:, None] * np.hanning(array.shape[1])
    return np.asarray(scipy.fft.rfft2((array - array.mean()) * window))


def _inner(image: ArrayLike, border: int) -> Real:
    array = np.asarray(image, float)
    return array[border : array.shape[0] - border, border : array.shape[1] - border]


def _range(truth: ArrayLike) -> float:
    array = np.asarray(truth)
    return 255.0 if array.dtype == np.uint8 else float(np.ptp(array))
