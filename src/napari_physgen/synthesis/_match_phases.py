"""The two phases of a micrograph without labels: keep its steps, forget everything else.

Bright rims, shading and etching make the grey level of a phase differ from place to place, so that
a threshold fails; what tells the phases apart is the step between them. The gradient of the image
is set to zero wherever it is weak, and the picture that has the remaining gradient is found by
least squares (Poisson's equation): slow changes are gone, steps stay. It is thresholded at the
mean of its own steps nearby (S. D. Yanowitz, A. M. Bruckstein, Comput. Vis. Graph. Image Process.
46, 82 (1989)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.fft
import scipy.ndimage

from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import characteristic_length, power_spectrum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Mask = NDArray[np.bool_]

SMALLEST_SIDE = 64
# More pixels than this along the shorter side cost time and tell nothing more.
LARGEST_SIDE = 1024

# Chosen on seven images of ../shared/data/sem/nasa_super (spot1_0d_0, spot1_180d_5, spot3_0d_3,
# spot4_0d_3, spot5_0d_0, spot6_0d_2, spot7_0d_5) and on drawn structures with rims and noise.
EDGE, WEAK, STRONG = 1.3, 0.7, 1.2  # of Otsu's threshold of the gradient, and its hysteresis
NEIGHBOURHOOD = 12  # parts of the shorter side within which one threshold holds
# Pores, inclusions and dirt are darker or brighter than both phases: grey levels are cut off at
# this percentile, steps at so many edges.
CLIPPED, TALLEST = 0.5, 2.0
SMOOTHINGS = (1.0, 1.5, 2.0, 3.0, 4.0)  # px
CLEAR = 3.0  # strong edges against the most frequent gradient: enough smoothing
TEXTURE = 3.5  # white noise reaches 2.3, drawn structures under heavy noise start at 4
FEWEST_PERIODS, FINEST_TEXTURE = 5, 1 / 6  # of the waves compared, per picture and per px
PER_LENGTH = 8.0  # the characteristic length is at least so many smoothings


class Steps(NamedTuple):
    """A picture (y, x) that is negative in the dark phase, positive in the bright one.

    `scale` is the number of image pixels along the side of one of its pixels.
    """

    level: Real
    scale: int


def find_steps(image: NDArray[np.generic]) -> Steps:
    """Separate the dark from the bright phase of an image.

    Parameters
    ----------
    image : numpy.ndarray
        (y, x), any grey levels.

    Raises
    ------
    UserError
        If the image is no picture, too small, or has no texture.
    """
    picture = checked(image)
    scale = max(1, min(picture.shape) // LARGEST_SIDE)
    if scale > 1:
        picture = reduced(picture, scale)
    if not has_texture(picture):
        raise UserError(
            "The image shows no structure, only noise or shading: choose another image or region."
        )
    picture = clipped(picture)
    first = _level(picture, 1.5)
    length = characteristic_length(first < 0)
    level = _level(picture, _smoothing(picture, length / PER_LENGTH))
    return Steps(level, scale)


def checked(image: NDArray[np.generic]) -> Real:
    """Return an image as float64 (y, x) or say why it cannot be used."""
    picture = np.asarray(image, float)
    if picture.ndim != 2:
        raise UserError("Calibration needs two-dimensional grey images (y, x): choose one slice.")
    if min(picture.shape) < SMALLEST_SIDE:
        raise UserError(
            f"The image of {picture.shape[0]} x {picture.shape[1]} pixels is too small: "
            f"calibration needs at least {SMALLEST_SIDE} along both sides."
        )
    if not np.isfinite(picture).all():
        raise UserError("The image has pixels without a number (NaN or infinite): fill them first.")
    if np.ptp(picture) == 0:
        raise UserError("The image is flat, all its pixels are equal: choose one with texture.")
    return picture


def reduced(picture: Real, scale: int) -> Real:
    """Return the means over squares of `scale` pixels."""
    y, x = (n // scale for n in picture.shape)
    blocks = picture[: y * scale, : x * scale].reshape(y, scale, x, scale)
    return np.asarray(blocks.mean((1, 3)))


def clipped(picture: Real) -> Real:
    """Return a picture without its darkest and brightest grey levels."""
    low, high = np.percentile(picture, (CLIPPED, 100 - CLIPPED))
    return np.asarray(np.clip(picture, low, high)) if low < high else picture


def has_texture(picture: Real) -> bool:
    """Return whether some wavelengths above 6 px carry much more power than others.

    Noise, blurred by up to a pixel or so, has about the same power at all of them.
    """
    reach = min(picture.shape) / NEIGHBOURHOOD
    frequency, power = power_spectrum(picture - scipy.ndimage.gaussian_filter(picture, reach))
    lowest = FEWEST_PERIODS / min(picture.shape)
    octaves = np.log2(FINEST_TEXTURE / lowest)
    edges = np.geomspace(lowest, FINEST_TEXTURE, max(3, round(2 * octaves) + 1))
    band = np.digitize(frequency, edges)
    means = [np.mean(power[band == i]) for i in range(1, len(edges)) if (band == i).any()]
    return bool(max(means) > TEXTURE * min(means))


def matrix_is_bright(dark: Mask) -> bool:
    """Return whether the dark phase is the particles: the phase that hangs together less."""
    return _largest_part(dark) < _largest_part(~dark)


def _largest_part(phase: Mask) -> float:
    """Return the share of a phase's area that is in its largest connected part."""
    area = np.bincount(scipy.ndimage.label(phase)[0].ravel())[1:]
    return float(area.max() / area.sum()) if area.size else 0.0


def _smoothing(picture: Real, largest: float) -> float:
    """Return the least smoothing (px) at which edges stand out from the noise."""
    best, clearest = SMOOTHINGS[0], 0.0
    for sigma in SMOOTHINGS:
        if sigma > max(largest, SMOOTHINGS[0]):
            break
        clearness = _clearness(picture, sigma)
        if clearness >= CLEAR:
            return sigma
        if clearness > clearest:
            best, clearest = sigma, clearness
    return best


def _clearness(picture: Real, sigma: float) -> float:
    """Return the gradient of strong edges over the standard deviation of the noise's gradient."""
    slope = _slope(scipy.ndimage.gaussian_filter(picture, sigma))
    rayleigh = float(np.median(slope)) / np.sqrt(2 * np.log(2))
    return float(STRONG * _edge_slope(slope) / max(rayleigh, 1e-300))


def _slope(smooth: Real) -> Real:
    return np.asarray(np.hypot(*np.gradient(smooth)))


def _edge_slope(slope: Real) -> float:
    from skimage.filters import threshold_otsu

    return EDGE * float(threshold_otsu(slope))  # type: ignore[no-untyped-call]


def _level(picture: Real, sigma: float) -> Real:
    """Return the picture of the steps alone, relative to the mean of the steps nearby."""
    from skimage.filters import apply_hysteresis_threshold

    smooth = scipy.ndimage.gaussian_filter(picture, sigma)
    slope = _slope(smooth)
    edge = _edge_slope(slope)
    strong = apply_hysteresis_threshold(slope, WEAK * edge, STRONG * edge)  # type: ignore[no-untyped-call]
    strong = scipy.ndimage.maximum_filter(strong, 3)
    dy = np.diff(smooth, axis=0) * (strong[1:] & strong[:-1])
    dx = np.diff(smooth, axis=1) * (strong[:, 1:] & strong[:, :-1])
    level = integrate(dy, dx)
    weight = strong * np.minimum(slope, TALLEST * edge) ** 2
    reach = min(picture.shape) / NEIGHBOURHOOD
    nearby = scipy.ndimage.gaussian_filter(weight, reach)
    middle = scipy.ndimage.gaussian_filter(weight * level, reach)
    # Far from any step the threshold of the whole picture holds.
    few = 1e-6 * nearby.max()
    middle = (middle + few * np.average(level, weights=weight)) / (nearby + few)
    return np.asarray(level - middle)


def integrate(dy: Real, dx: Real) -> Real:
    """Return the picture whose differences are closest to (dy, dx), up to a constant.

    Parameters
    ----------
    dy, dx : numpy.ndarray
        Differences between neighbours, (y - 1, x) and (y, x - 1).
    """
    shape = (dx.shape[0], dy.shape[1])
    source = np.zeros(shape)
    source[:-1] += dy
    source[1:] -= dy
    source[:, :-1] += dx
    source[:, 1:] -= dx
    eigenvalues = [2 * np.cos(np.pi * np.arange(n) / n) - 2 for n in shape]
    laplacian = eigenvalues[0][:, None] + eigenvalues[1]
    laplacian[0, 0] = 1
    spectrum = scipy.fft.dctn(source, type=2) / laplacian
    spectrum[0, 0] = 0
    return np.asarray(scipy.fft.idctn(spectrum, type=2))
