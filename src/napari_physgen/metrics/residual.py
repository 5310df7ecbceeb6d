"""What a restoration leaves over, and whether its error bars are honest.

With the right image and the right noise, r = (y - A x) / sigma is white and has a mean square of
1. Structure in r has been taken out of the image; a mean square well below 1 says that noise has
been left in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import scipy.special
import scipy.stats

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Real = NDArray[np.float64]

_NEAR = 3  # px, lags that are judged
_CORRELATED, _OFF = 0.03, 0.1  # of autocorrelation and of mean square: less does not matter
_ERRORS = 4.0  # standard errors beyond which a deviation is not chance


@dataclass(frozen=True)
class Whiteness:
    """How far a residual is from white noise of variance 1.

    Parameters
    ----------
    autocorrelation : numpy.ndarray
        (2 lags + 1, 2 lags + 1), lag 0 in the centre, where it is 1; that of the noise itself is
        subtracted.
    chi2 : numpy.ndarray
        (row, column) mean square of tiles over the expected one; NaN where nothing was measured.
    tile : int
        Side of the tiles, px.
    mean_chi2 : float
        Mean square of all pixels over the expected one.
    p_value : float
        Probability that white noise is correlated as much at lags up to 3 px.
    verdict : {"white", "structure", "noise kept", "too small", "too large"}
        Neighbours are alike where detail was taken away, and unlike where the image follows the
        noise a little.
    summary : str
        The verdict in a sentence.
    """

    autocorrelation: Real
    chi2: Real
    tile: int
    mean_chi2: float
    p_value: float
    verdict: str
    summary: str


def whiteness(
    residual: ArrayLike,
    *,
    correlation: tuple[float, float] = (0.0, 0.0),
    expected: float = 1.0,
    lags: int = 8,
    tile: int = 32,
) -> Whiteness:
    """Judge a residual in units of the noise.

    Parameters
    ----------
    residual : array
        (y, x) or (frame, y, x): measured minus predicted, over the standard deviation of the
        noise; NaN where nothing was measured.
    correlation : (float, float)
        Of the noise of neighbours along y and along x.
    expected : float
        Mean square of a right residual. That of a posterior mean is 1 - (std / sigma)^2, on
        average, since it follows the noise a little.
    lags : int
        Largest lag of the picture, px.
    tile : int
        Side of the tiles, px.

    Raises
    ------
    UserError
        If the residual is too small.
    """
    stack = np.atleast_3d(np.asarray(residual, float).T).T
    known = np.isfinite(stack)
    if stack.ndim != 3 or min(stack.shape[1:]) <= 2 * lags or known.sum() < 100:
        raise UserError(
            f"A residual of shape {np.shape(residual)} is too small to be judged: take an image "
            f"of more than {2 * lags} pixels along y and x."
        )
    values = np.where(known, stack, 0)
    mean_chi2 = float((values**2).sum() / known.sum() / expected)
    centred = np.where(known, stack - values.sum() / known.sum(), 0)
    found, pairs = _autocorrelation(centred, known, lags)
    own = _of_noise(correlation, lags)
    excess = found - own
    # Bartlett's formula for the variance of autocorrelations.
    error = np.sqrt((own**2).sum() / np.maximum(pairs, 1))
    p_value = _probability(excess, error)
    strongest = _strongest(excess, error)
    verdict = _verdict(strongest, mean_chi2, int(known.sum()))
    return Whiteness(
        autocorrelation=excess + (own > 0.99),
        chi2=_tiles(values, known, tile) / expected,
        tile=tile,
        mean_chi2=mean_chi2,
        p_value=p_value,
        verdict=verdict,
        summary=_sentence(verdict, excess, mean_chi2),
    )


def coverage(mean: ArrayLike, std: ArrayLike, truth: ArrayLike, level: float = 0.95) -> float:
    """Return the share of true values within the intervals that should hold `level` of them.

    Parameters
    ----------
    mean, std, truth : array
        Same shape; the intervals are those of normal distributions. Pixels where any is NaN do
        not count.
    level : float
        Between 0 and 1.
    """
    if not 0 < level < 1:
        raise UserError(f"The level of an interval lies between 0 and 1, not at {level:g}.")
    half = math.sqrt(2) * float(scipy.special.erfinv(level)) * np.asarray(std, float)
    off = np.abs(np.asarray(truth, float) - np.asarray(mean, float))
    known = np.isfinite(off) & np.isfinite(half)
    return float((off <= half)[known].mean())


def _autocorrelation(values: Real, known: NDArray[np.bool_], lags: int) -> tuple[Real, Real]:
    """Return the autocorrelation up to `lags` and the number of pairs behind it."""
    products, pairs = (_correlate(part, lags) for part in (values, known.astype(float)))
    covariance = products / np.maximum(pairs, 1)
    return covariance / max(covariance[lags, lags], np.finfo(float).tiny), pairs


def _correlate(stack: Real, lags: int) -> Real:
    shape = [scipy.fft.next_fast_len(n + lags, real=True) for n in stack.shape[1:]]
    power = (np.abs(scipy.fft.rfft2(stack, shape)) ** 2).sum(0)
    whole = np.roll(scipy.fft.irfft2(power, shape), (lags, lags), (0, 1))
    return np.asarray(whole[: 2 * lags + 1, : 2 * lags + 1])


def _of_noise(correlation: tuple[float, float], lags: int) -> Real:
    """Return the autocorrelation of noise that only neighbours share."""
    along = np.zeros((2, 2 * lags + 1))
    for line, value in zip(along, correlation, strict=True):
        line[lags - 1 : lags + 2] = value, 1, value
    return np.outer(*along)


def _near(values: Real) -> Real:
    """Return one of each pair of opposite lags up to `_NEAR`."""
    lags = values.shape[0] // 2
    centre = values[lags - _NEAR : lags + _NEAR + 1, lags - _NEAR : lags + _NEAR + 1].ravel()
    return centre[centre.size // 2 + 1 :]


def _probability(excess: Real, error: Real) -> float:
    """Box & Pierce's portmanteau test."""
    scores = _near(excess) / _near(error)
    return float(scipy.stats.chi2(scores.size).sf(float((scores**2).sum())))


def _strongest(excess: Real, error: Real) -> float:
    """Return the largest correlation that matters and is not chance, or 0."""
    near, errors = _near(excess), _near(error)
    counts = np.abs(near) > np.maximum(_CORRELATED, _ERRORS * errors)
    return float(near[counts][np.abs(near[counts]).argmax()]) if counts.any() else 0.0


def _verdict(strongest: float, mean_chi2: float, pixels: int) -> str:
    off = max(_OFF, _ERRORS * math.sqrt(2 / pixels))
    if mean_chi2 < 1 - off:
        return "too small"
    if strongest != 0:
        return "structure" if strongest > 0 else "noise kept"
    return "too large" if mean_chi2 > 1 + off else "white"


def _sentence(verdict: str, excess: Real, mean_chi2: float) -> str:
    lags = excess.shape[0] // 2
    y, x = excess[lags + 1, lags], excess[lags, lags + 1]
    return {
        "white": f"Only noise is left over (mean square {mean_chi2:.2f} of the expected one).",
        "structure": f"What is left over holds structure (correlation of neighbours {y:+.2f} "
        f"along y, {x:+.2f} along x): detail was taken out of the image.",
        "noise kept": f"Neighbours in what is left over differ more than noise does (correlation "
        f"{y:+.2f} along y, {x:+.2f} along x): a little noise was kept in the image.",
        "too small": f"Less than the noise is left over (mean square {mean_chi2:.2f} of the "
        "expected one): noise was kept in the image, or is weaker than assumed.",
        "too large": f"More than the noise is left over (mean square {mean_chi2:.2f} of the "
        "expected one): the noise is stronger than assumed.",
    }[verdict]


def _tiles(values: Real, known: NDArray[np.bool_], tile: int) -> Real:
    """Return the mean square of tiles (row, column), over all frames; those at the end are cut."""
    squares, counts = (
        np.add.reduceat(
            np.add.reduceat(part.sum(0), np.arange(0, part.shape[1], tile), axis=0),
            np.arange(0, part.shape[2], tile),
            axis=1,
        )
        for part in (values**2, known.astype(float))
    )
    return np.where(counts > 0, squares / np.maximum(counts, 1), np.nan)
