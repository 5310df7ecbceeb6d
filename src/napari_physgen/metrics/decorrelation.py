"""Resolution of a single image by decorrelation analysis.

With the Fourier transform I(k) of the image and I_n = I / |I|, which keeps its phases only,

    d(r) = sum_{|k| < r} Re I conj(I_n) / sqrt(sum |I|^2 * sum_{|k| < r} |I_n|^2)
         = sum_{|k| < r} |I| / sqrt(sum |I|^2 * N(r)),

N(r) counting the frequencies within r. Where signal is added with r, d rises; where only noise is,
it falls. High-pass filters 1 - exp(-2 s^2 k^2) move the maximum outwards, and the maximum at the
highest frequency over all filters is the cutoff of what is above the noise
(Descloux, Grussmayer & Radenovic, Nat. Methods 16, 918, 2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.fft

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Real = NDArray[np.float64]

FILTERS = 10
"""High-pass filters of each of the two rounds, as in the paper."""

LEAST_PEAK = 0.05
"""Height of a maximum below which it counts as none, as in the paper."""

LEAST_FALL = 5e-4
"""By how much a curve must fall after a maximum; less is rounding, as in the paper."""

NARROWEST = 0.15
"""Width of the filter that leaves the least, as in the paper, where frequencies count in Nyquist
frequencies."""

EDGE = 20
"""Pixels along the edges over which the image is faded to its mean, as in the paper."""


class Decorrelation(NamedTuple):
    """Curves of the analysis and what they say.

    Parameters
    ----------
    frequency : numpy.ndarray
        (r,), 1 / unit of the pixel size.
    curves : numpy.ndarray
        (filter, r), d(r): the image itself first, then high-pass filters from weak to strong and
        once more around the best one.
    resolution : float
        1 / highest frequency of a maximum, a length; infinite if there is no maximum.
    height : float
        d at the maximum of the image itself: the more of the power is signal, the higher.
    """

    frequency: Real
    curves: Real
    resolution: float
    height: float


def decorrelation(image: ArrayLike, pixel_size: float = 1.0) -> Decorrelation:
    """Analyse one image.

    The frequencies are those of the DFT, the finest that there are, where the paper refines a
    coarse grid.

    Parameters
    ----------
    image : array
        (y, x).
    pixel_size : float
        Length of a pixel, in the unit that the resolution shall have.
    """
    amplitude, ring, count = _rings(image)
    k = np.arange(count.size) / (count.size - 1)
    seen = np.sqrt(np.maximum(np.cumsum(count), 1))

    def curve(width: float | None) -> Real:
        """Return d(r) behind a high-pass filter, which passes more with a larger `width`."""
        gain = 1.0 if width is None else 1 - np.exp(-2 * (width * k) ** 2)
        total = float(np.sqrt(np.sum(gain**2 * ring)))
        return np.asarray(np.cumsum(gain * amplitude) / (seen * max(total, 1e-300)))

    plain = curve(None)
    first = _peak(plain)
    widest = 2 / k[first] if first else k.size
    widths = [k.size / 2, *np.geomspace(widest, NARROWEST, FILTERS)]
    curves = [plain, *(curve(width) for width in widths)]
    best = int(np.argmax([_peak(c) for c in curves[1:]]))
    low, high = max(best - 1, 0), min(best + 1, len(widths) - 1)
    curves += [curve(width) for width in np.geomspace(widths[low], widths[high], FILTERS)]
    highest = max(_peak(c) for c in curves)
    frequency = k / (2 * pixel_size)
    return Decorrelation(
        frequency,
        np.array(curves),
        float(1 / frequency[highest]) if highest else float("inf"),
        float(plain[first]) if first else 0.0,
    )


def _rings(image: ArrayLike) -> tuple[Real, Real, Real]:
    """Return sums of |I|, of |I|^2 and the number of frequencies by |k| up to Nyquist."""
    array = np.asarray(image, float)
    array = (array - array.mean()) * np.outer(*(_fade(n) for n in array.shape))
    spectrum = np.abs(scipy.fft.fft2(array))
    last = min(array.shape) // 2
    k_y, k_x = np.ix_(*(np.fft.fftfreq(n) * 2 * last for n in array.shape))
    index = np.rint(np.hypot(k_y, k_x)).astype(int)
    inside = index <= last
    # The mean says nothing about detail.
    inside[0, 0] = False

    def total(values: Real) -> Real:
        return np.asarray(np.bincount(index[inside], values[inside], minlength=last + 1), float)

    return total(spectrum), total(spectrum**2), total(np.ones_like(spectrum))


def _fade(size: int) -> Real:
    """Return a window that falls to 0 at both ends by a cosine."""
    edge = min(EDGE, size // 4)
    inside = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5)
    return np.asarray(np.sin(np.pi / 2 * np.minimum(inside / edge, 1)) ** 2)


def _peak(curve: Real) -> int:
    """Return where the curve has its last local maximum of any height, or 0.

    A curve that still rises at its end has no maximum there: it is cut back until one remains.
    """
    end = curve.size
    while end > 1:
        best = int(np.argmax(curve[:end]))
        if best == end - 1:
            end -= 1
        elif best == 0 or curve[best] - curve[best:end].min() >= LEAST_FALL:
            return best if curve[best] >= LEAST_PEAK else 0
        else:
            end = best
    return 0
