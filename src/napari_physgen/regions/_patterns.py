"""The repeated pattern of a region of a lattice image, with the place of every repeat.

A patch model with a pose per place: the image near a point is the pattern `T` of its region,
shifted to the best match nearby. Pattern and matches are found by EM, all places at once with
Fourier correlations:

    misfit(m) = sum_d g(d) (I(m + d) - T(d))^2,   p(m) ~ exp(-misfit(m) / 2 sigma^2) per cell
    T(d) = sum_m p(m) I(m + d) / sum_m p(m)

The picture that the pattern can make of the image is the mean of the matched patterns. Where it
fails, the region does not go on: this evidence is as fine as a pixel, while every descriptor of
a window is blurred by the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft
from scipy.ndimage import distance_transform_edt, maximum_filter, uniform_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float32]

_RADIUS = 1.2  # of the pattern, lattice periods
_CELL = 0.5  # half side of the cell in which one match is counted, lattice periods
_CROP = 256  # px: patterns are learned on this much of a region
_SEEDS = 4
_FIRST, _LAST = 4, 10  # EM steps for every seed, and for the best one
_FAINTEST = -50.0
_NEVER = 1e9
_LEAST_HELD = 0.3  # of a patch must lie in the image for a match


@dataclass(frozen=True)
class Pattern:
    """What a region repeats.

    Parameters
    ----------
    values : numpy.ndarray
        (2 r + 1, 2 r + 1) mean patch.
    error : numpy.ndarray
        The same shape: standard error of the mean.
    matches : float
        Number of places that it was averaged over.
    """

    values: Real
    error: Real
    matches: float


class Correlator:
    """Correlations of one image with small patches.

    Centres may lie outside of the image by up to the radius of a patch: what lies outside, or
    holds no data, has no weight.

    Parameters
    ----------
    image : numpy.ndarray
        (y, x) float32.
    valid : numpy.ndarray
        (y, x) bool.
    period : float
        Lattice period, px.
    """

    def __init__(self, image: Real, valid: NDArray[np.bool_], period: float) -> None:
        self.image = image
        self.radius = int(np.ceil(_RADIUS * period))
        self.cell = max(round(_CELL * period), 1)
        offsets = np.arange(-self.radius, self.radius + 1)
        near = np.exp(-0.5 * (offsets / (0.5 * self.radius)) ** 2)
        self.weight = np.outer(near, near).astype(np.float32)
        margin = 2 * self.radius
        self._padded = np.pad(np.where(valid, image, 0), margin).astype(np.float32)
        known = np.pad(valid, margin).astype(np.float32)
        self._shape = tuple(n + margin for n in image.shape)
        self._sides = tuple(fft.next_fast_len(n, real=True) for n in self._padded.shape)
        self._spectrum = self._transformed(self._padded)
        self._known = self._transformed(known)
        self._squares = self._transformed(self._padded**2)
        held = self._correlated(self._known, self.weight)
        self._gain = float(self.weight.sum()) / np.maximum(held, 1e-6)
        self.usable = held > _LEAST_HELD * float(self.weight.sum())
        self._power = self._correlated(self._squares, self.weight)

    def _transformed(self, values: Real) -> NDArray[np.complex64]:
        made: NDArray[np.complex64] = fft.rfft2(values, self._sides, workers=-1)
        return made

    def _correlated(self, spectrum: NDArray[np.complex64], patch: Real) -> Real:
        """Return sum_d patch(d) image(m + d) at every centre m."""
        height, width = self._shape
        product = spectrum * self._transformed(patch).conj()
        made: Real = fft.irfft2(product, self._sides, workers=-1)[:height, :width]
        return made

    def centres(self, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the centres (larger than the image) at pixels of the image."""
        return np.pad(inside, self.radius)

    def patch(self, y: int, x: int) -> Real:
        """Return the image around a pixel."""
        size = 2 * self.radius + 1
        first = y + self.radius, x + self.radius
        return self._padded[first[0] : first[0] + size, first[1] : first[1] + size].copy()

    def misfit(self, pattern: Real) -> Real:
        """Return the weighted squared misfit of a pattern at every centre."""
        weighted = self.weight * pattern
        cross = self._correlated(self._spectrum, weighted)
        own = self._correlated(self._known, weighted * pattern)
        misfit = np.maximum(self._power - 2 * cross + own, 0) * self._gain
        return np.where(self.usable, misfit, _NEVER).astype(np.float32)

    def matches(self, pattern: Real, inside: NDArray[np.bool_] | None = None) -> Real:
        """Return how much each centre is a place of the pattern, about 1 per cell."""
        misfit = self.misfit(pattern)
        side = 2 * self.cell + 1
        best = -maximum_filter(-misfit, side)
        seen = best[self.usable if inside is None else inside]
        noise = max(float(np.median(seen)) / float(self.weight.sum()), 1e-12)
        chance = np.exp(np.maximum(-0.5 * (misfit - best) / noise, _FAINTEST)) * self.usable
        made: Real = chance / (uniform_filter(chance, side) * side**2 + 1e-12)
        return made

    def mean_patch(self, places: Real, power: int = 1) -> Real:
        """Return the mean of the image (1) or of its square (2) around weighted places."""
        spectrum = {1: self._spectrum, 2: self._squares}[power]
        size = 2 * self.radius + 1
        product = spectrum * self._transformed(places).conj()
        patch = fft.irfft2(product, self._sides, workers=-1)[:size, :size]
        known = self._known * self._transformed(places).conj()
        held = fft.irfft2(known, self._sides, workers=-1)[:size, :size]
        mean: Real = (patch / np.maximum(held, 1e-6 * float(places.sum()) + 1e-12)).astype(
            np.float32
        )
        return mean

    def picture(self, pattern: Real) -> Real:
        """Return the picture that the pattern makes of the image."""
        spectrum = self._transformed(self.matches(pattern))
        narrow = self.weight**2
        drawn = self._spread(spectrum, narrow * pattern)
        weight = self._spread(spectrum, narrow)
        return (drawn / np.maximum(weight, 1e-6 * float(weight.max()))).astype(np.float32)

    def _spread(self, spectrum: NDArray[np.complex64], patch: Real) -> Real:
        """Return sum_m places(m) patch(x - m) at every pixel x."""
        height, width = self.image.shape
        product = spectrum * self._transformed(patch)
        drawn = fft.irfft2(product, self._sides, workers=-1)
        first = 2 * self.radius
        made: Real = drawn[first : first + height, first : first + width]
        return made


def learn(
    image: Real,
    valid: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    period: float,
    rng: np.random.Generator,
) -> Pattern | None:
    """Learn the pattern of the region `inside`; None where the region is too small."""
    part = _crop(inside)
    image, valid, inside = image[part], valid[part], inside[part]
    correlator = Correlator(image, valid, period)
    depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    for least in (1.0, 0.5, 0.0):
        deep = depth > least * correlator.radius
        if deep.sum() >= 200:
            break
    else:
        return None
    points = np.argwhere(deep)
    deep = correlator.centres(deep)
    best: tuple[float, Real] = (np.inf, np.zeros(0, np.float32))
    for _ in range(_SEEDS):
        y, x = points[rng.integers(len(points))]
        pattern = _settled(correlator, correlator.patch(y, x), deep, _FIRST)
        misfit = -maximum_filter(-correlator.misfit(pattern), 2 * correlator.cell + 1)
        best = min(best, (float(np.median(misfit[deep])), pattern), key=lambda one: one[0])
    pattern = _settled(correlator, best[1], deep, _LAST)
    places = correlator.matches(pattern, deep) * deep
    spread = np.maximum(correlator.mean_patch(places, 2) - pattern**2, 0)
    count = float(places.sum())
    return Pattern(pattern, np.sqrt(spread / max(count, 1)).astype(np.float32), count)


def _settled(correlator: Correlator, pattern: Real, deep: NDArray[np.bool_], steps: int) -> Real:
    for _ in range(steps):
        pattern = correlator.mean_patch(correlator.matches(pattern, deep) * deep)
    return pattern


def _crop(inside: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the part, at most _CROP px wide, that holds most of a region."""
    rows = _fullest(inside.sum(1))
    return rows, _fullest(inside[rows].sum(0))


def _fullest(counts: NDArray[np.integer]) -> slice:
    length = min(_CROP, len(counts))
    total = np.concatenate([[0], np.cumsum(counts)])
    start = int((total[length:] - total[: len(total) - length]).argmax())
    return slice(start, start + length)
