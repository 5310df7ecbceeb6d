"""Statistics of microstructures: correlations, spectra, characteristic length and directions.

Pictures are (y, x) arrays. Those of a simulation may be `periodic`; those of a microscope are not:
their correlations count only pairs of pixels that both lie inside, their spectra are windowed.
All lengths are in pixels, all angles in degrees from x towards y.
S. Torquato, Random Heterogeneous Materials (Springer 2002), chapters 2 and 12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.fft
import scipy.ndimage

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Real = NDArray[np.float64]

# Waves that fit into the picture less often than this are shading, not structure.
FEWEST_PERIODS = 1.5
# Waves this much shorter than the characteristic length say how rough an edge was drawn.
FINEST_PART = 6.0
# The limit depends on the length; a few rounds settle both.
LIMIT_STEPS = 6
# Structures are compared up to this many characteristic lengths.
REACH = 1.5


class Curve(NamedTuple):
    """A radial average: distance (px) or spatial frequency (1/px), and the values there."""

    x: Real
    y: Real


class Direction(NamedTuple):
    """Direction of a structure in degrees from x towards y, and its strength from 0 to 1."""

    angle_deg: float
    strength: float


def two_point_correlation(
    phase: ArrayLike,
    reach: int,
    *,
    periodic: bool = False,
    inside: ArrayLike | None = None,
) -> Real:
    """Return S2(r), the probability that two points r apart both lie in the phase.

    Parameters
    ----------
    phase : array
        (y, x), 0 or 1 (or the probability of the phase).
    reach : int
        Largest lag along y and x, px.
    periodic : bool
        Whether the picture continues on its other side; otherwise only pairs inside count.
    inside : array, optional
        (y, x), true where the picture is known.

    Returns
    -------
    numpy.ndarray
        (2 reach + 1, 2 reach + 1), lag 0 in the centre; NaN where no pair is that far apart.
    """
    pairs, product, _, _ = _pairs(phase, reach, periodic, inside)
    return product / pairs


def autocorrelation(
    field: ArrayLike,
    reach: int,
    *,
    periodic: bool = False,
    inside: ArrayLike | None = None,
) -> Real:
    """Return the covariance of a field with its shifted self, 1 at lag 0.

    Corrected for the mean of the two overlapping parts. For a phase of fraction f it is
    (S2 - f^2) / (f - f^2), and the same for the other phase.

    Parameters
    ----------
    field, reach, periodic, inside
        As in `two_point_correlation`; the field may have any values.
    """
    pairs, product, first, second = _pairs(field, reach, periodic, inside)
    covariance = product / pairs - first * second / pairs**2
    variance = covariance[reach, reach]
    return covariance / variance if variance > 0 else np.zeros_like(covariance)


def radial_profile(lags: ArrayLike) -> Curve:
    """Average a map with lag 0 in its centre over all directions, in rings of one pixel."""
    values = np.asarray(lags, float)
    reach = values.shape[0] // 2
    axis = np.arange(-reach, reach + 1)
    distance = np.hypot(axis[:, None], axis)
    ring = np.rint(distance).astype(int)
    kept = (ring <= reach) & np.isfinite(values)
    count = np.bincount(ring[kept], minlength=reach + 1)

    def mean(of: Real) -> Real:
        return np.asarray(np.bincount(ring[kept], of[kept], minlength=reach + 1) / count)

    return Curve(mean(distance), mean(values))


def power_spectrum(field: ArrayLike, *, periodic: bool = False, rings: int = 0) -> Curve:
    """Return the power at each spatial frequency, averaged over directions.

    Parameters
    ----------
    field : array
        (y, x).
    periodic : bool
        Otherwise a Hann window hides the edges.
    rings : int
        Number of rings up to half a cycle per pixel; default one per period in the picture.

    Returns
    -------
    Curve
        Frequency in 1/px; its powers add up to 1 over the frequency plane inside the rings.
    """
    k, power = _spectrum(field, periodic)[1:]
    rings = rings or min(np.shape(field)) // 2
    ring = np.rint(k * 2 * rings).astype(int)
    kept = (ring <= rings) & (ring > 0)
    count = np.maximum(np.bincount(ring[kept], minlength=rings + 1)[1:], 1)
    total = np.bincount(ring[kept], power[kept], minlength=rings + 1)[1:]
    return Curve(np.arange(1, rings + 1) / (2 * rings), total / count / max(total.sum(), 1e-300))


def characteristic_length(field: ArrayLike, *, periodic: bool = False) -> float:
    """Return the wavelength that a structure is made of, px: the geometric mean over its power.

    ln L = - sum_k P(k) ln k / sum_k P(k), over the plane of spatial frequencies k from 1.5 periods
    in the picture to 6 / L. A sine has L = its period. The logarithm lets neither the long waves
    nor the sharpness of the edges (P ~ k^-3, for which the common first moment
    sum k P / sum P never converges) take over, and the upper limit makes L independent of the
    pixel size; grey levels and polarity do not matter. Inf for a flat picture.
    """
    _, k, power = _spectrum(field, periodic)
    kept = (k > _longest(field)) & (power > 0)
    k, power = k[kept], power[kept]
    limit = np.inf
    for _ in range(LIMIT_STEPS):
        below = k < limit
        total = power[below].sum()
        if total <= 0:
            return float("inf")
        length = float(np.exp(-(power[below] * np.log(k[below])).sum() / total))
        limit = FINEST_PART / length
    return length


def direction(field: ArrayLike, fold: int = 2, *, periodic: bool = False) -> Direction:
    """Return along which direction a structure is stretched (or its cubes are aligned).

    The harmonic sum_k P(k) exp(i fold theta_k) / sum_k P(k) of the power spectrum, over the waves
    from the longest to a sixth of the characteristic length.

    Parameters
    ----------
    field : array
        (y, x).
    fold : {2, 4}
        2: the long axis of stripes, rafts and ellipses, -90 to 90 deg; strength 1 for stripes.
        4: the edges of a square pattern, -45 to 45 deg.
    periodic : bool
        Otherwise a Hann window hides the edges.
    """
    (ky, kx), k, power = _spectrum(field, periodic)
    length = characteristic_length(field, periodic=periodic)
    power = np.where((k > _longest(field)) & (k < FINEST_PART / length), power, 0.0)
    harmonic = (power * np.exp(1j * fold * np.arctan2(ky, kx))).sum() / max(power.sum(), 1e-300)
    # Stripes vary across their length; cubes along their edges.
    angle = np.degrees(np.angle(-harmonic if fold == 2 else harmonic)) / fold
    return Direction(float(angle), float(abs(harmonic)))


def correlation_distance(
    first: ArrayLike, second: ArrayLike, reach: float, *, pixels: tuple[float, float] = (1, 1)
) -> float:
    """Return how far two maps of two-point correlations are apart.

    The root mean square difference at lags up to `reach`, all distances and directions weighing
    the same, so that sizes, spacing, shape and direction count.

    Parameters
    ----------
    first, second : array
        Maps with lag 0 in the centre, both S2 or both autocorrelations.
    reach : float
        Largest lag compared, in the unit of `pixels`.
    pixels : tuple of float
        Pixel sizes of the maps, in one unit; the maps must extend to `reach` along y and x.

    Raises
    ------
    ValueError
        If a map does not reach that far.
    """
    radius, angle = np.meshgrid(
        np.linspace(0, reach, 64)[1:], np.arange(96) * np.pi / 96, indexing="ij"
    )
    samples = []
    for lags, pixel in zip((first, second), pixels, strict=True):
        values = np.asarray(lags, float)
        centre = values.shape[0] // 2
        if reach > centre * pixel:
            raise ValueError(f"the map reaches {centre * pixel:g} only, not {reach:g}")
        r = radius / pixel
        where = np.array([centre + r * np.sin(angle), centre + r * np.cos(angle)])
        samples.append(scipy.ndimage.map_coordinates(values, where, order=1))
    return float(np.sqrt(np.mean((samples[0] - samples[1]) ** 2)))


def _pairs(
    field: ArrayLike, reach: int, periodic: bool, inside: ArrayLike | None
) -> tuple[Real, Real, Real, Real]:
    """Return, for each lag, the number of pairs, the sum of products and of either partner."""
    values = np.asarray(field, float)
    known = np.ones(values.shape) if inside is None else np.asarray(inside, float)
    shape = (
        values.shape if periodic else tuple(scipy.fft.next_fast_len(2 * n) for n in values.shape)
    )
    v, m = (scipy.fft.rfft2(part, shape) for part in (values * known, known))

    def at_lags(spectrum: NDArray[np.complex128]) -> Real:
        full = scipy.fft.irfft2(spectrum, shape)
        index = [np.arange(-reach, reach + 1) % n for n in shape]
        return np.asarray(full[np.ix_(*index)])

    pairs = np.rint(at_lags(m * m.conj()))
    pairs = np.where(pairs > 0, pairs, np.nan)
    return pairs, at_lags(v * v.conj()), at_lags(v.conj() * m), at_lags(v * m.conj())


def _spectrum(field: ArrayLike, periodic: bool) -> tuple[tuple[Real, Real], Real, Real]:
    """Return the frequencies (ky, kx) and k, 1/px, and the power of every plane wave."""
    values = np.asarray(field, float)
    window = np.ones(values.shape)
    if not periodic:
        window = np.outer(*(np.hanning(n + 2)[1:-1] for n in values.shape))
    values = (values - np.average(values, weights=window)) * window
    power = np.abs(scipy.fft.fft2(values)) ** 2
    ky, kx = (scipy.fft.fftfreq(n) for n in values.shape)
    return (ky[:, None], kx[None]), np.hypot(ky[:, None], kx), np.asarray(power)


def _longest(field: ArrayLike) -> float:
    return float(FEWEST_PERIODS / min(np.shape(field)) * (1 - 1e-9))
