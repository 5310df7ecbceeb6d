"""Noise of a micrograph of which nothing else is known: Poisson light, Gaussian read-out.

Blocks of 8 x 8 pixels are taken to cosines. Where the low ones are no stronger than the middle
ones a block holds no structure, and its finest ones hold noise alone: choosing by the first does
not bias the second, since those of white noise are independent. Their mean square against the mean
grey level is a line, variance = slope * grey + level. (After Foi et al., IEEE Trans. Image Process.
17, 1737, 2008: the line and clipped pixels; Ponomarenko et al., CADSM 2007: the cosines.)

Noise that is correlated along x lacks power at fine v, whatever u. Cosines with fine u and any v
hold all of it: their power over that of the finest tells how much is missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.physics._noise_blocks import FINE, FINEST_COUNT, SIDE, cut, pile
from napari_physgen.physics.noise import Camera, camera_of_line

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.physics._noise_blocks import Blocks

    Real = NDArray[np.float64]
    Indices = NDArray[np.intp]

_CLASSES, _FEWEST = 24, 20  # of grey levels; blocks of one
_RATIO, _NOISE = 1.5, 2.0  # times more than in the flattest blocks: low over middle, over noise
_SMALLEST = 24  # px, side of an image
_ERROR = 0.05  # of a class's variance besides chance: a little structure stays in it
_AT_FLOOR, _AT_CEILING = 0.02, 0.01  # most pixels of a class whose variance is not cut off
_DENSE = 30  # photons in a block from which its noise is nearly normal
_WHITE = 0.05  # correlation below this is none
_PIXELS = np.arange(SIDE)
_COSINES = np.cos(np.pi * (_PIXELS[None] + 0.5) * _PIXELS[FINE:, None] / SIDE) * math.sqrt(2 / SIDE)
_NEIGHBOURS = float((2 * _COSINES[:, 1:] * _COSINES[:, :-1]).sum(1).mean())
"""By how much a correlation of 1 of neighbours would change the power of fine cosines: -1.17."""


@dataclass(frozen=True)
class NoiseLevel:
    """What is known about the noise of an image.

    Parameters
    ----------
    camera : Camera
        Offset, gain and read noise; its variance is that of single pixels.
    correlation : (float, float)
        Of the noise of neighbours along y and along x; 0 if weaker than 0.05.
    at_floor, at_ceiling : float
        Share of pixels at the lowest and at the highest grey level where they pile up there
        (clipped, or no photon), else 0.
    """

    camera: Camera
    correlation: tuple[float, float] = (0.0, 0.0)
    at_floor: float = 0.0
    at_ceiling: float = 0.0

    @property
    def kind(self) -> str:
        """Return "Poisson-Gaussian", or "Gaussian" where noise does not grow with the light."""
        return "Poisson-Gaussian" if self.camera.gain > 0 else "Gaussian"

    @property
    def summary(self) -> str:
        """Say it in words."""
        camera = self.camera
        words = f"{camera.read_noise:.3g} grey levels of noise everywhere."
        if camera.gain > 0:
            words = (
                f"{camera.gain:.3g} grey levels per photon above an offset of {camera.offset:.3g}, "
                f"read noise {camera.read_noise:.3g}."
            )
        if any(self.correlation):
            along_y, along_x = self.correlation
            words += (
                f" Neighbours share noise: correlation {along_y:.2f} along y, {along_x:.2f} along "
                "x."
            )
        if self.at_ceiling > 0:
            words += f" {100 * self.at_ceiling:.2g} % of the pixels are saturated."
        if self.at_floor > 0:
            words += f" {100 * self.at_floor:.2g} % of the pixels have the lowest grey level."
        return words


def camera_of(offset: float, gain: float, read_noise: float) -> Camera:
    """Return a camera given by hand.

    Parameters
    ----------
    offset : float
        Grey level without light.
    gain : float
        Grey levels per photon; 0 if noise does not depend on the light.
    read_noise : float
        Standard deviation without light, grey levels.

    Raises
    ------
    UserError
        If a value is negative or not a number, or if there is no noise at all.
    """
    if not math.isfinite(offset):
        raise UserError(f"The offset must be a grey level, not {offset}.")
    for name, value in (("gain", gain), ("read noise", read_noise)):
        if not (math.isfinite(value) and value >= 0):
            raise UserError(f"The {name} must be 0 or more, not {value:g}.")
    if gain == 0 and read_noise == 0:
        raise UserError(
            "Gain and read noise are both 0, but an image without noise needs no restoration: "
            "enter one of them, or have the noise measured."
        )
    return Camera(float(offset), float(gain), float(read_noise))


def estimate_noise(image: ArrayLike) -> NoiseLevel:
    """Measure the noise of an image or stack of which nothing else is known.

    Hot pixels do not count. Fine texture that fills the image cannot be told from noise.

    Parameters
    ----------
    image : array
        (y, x), (z, y, x) or (frame, y, x), grey levels.

    Raises
    ------
    UserError
        If the image is too small, not finite, or constant nearly everywhere.
    """
    stack = _stack(image)
    floor, ceiling = pile(stack, highest=False), pile(stack, highest=True)
    blocks = cut(stack, floor, ceiling)
    line = _noise_line(blocks)
    score = _unevenness(blocks, blocks.low_over_middle(), line(blocks.grey))
    flat = _flattest(np.arange(score.size), score)
    along_y, along_x = _missing(blocks, line, flat)
    variance = along_y * along_x
    smallest = 1e-4 * variance * float(line(blocks.grey).mean())
    if np.asarray(image).dtype.kind in "iu":
        smallest = max(smallest, 1 / 12)  # of rounding to whole grey levels
    dark = float(np.percentile(blocks.grey[flat], 0.5))
    return NoiseLevel(
        camera_of_line(variance * line.slope, variance * line.level, dark, smallest),
        correlation=(_correlation(along_y), _correlation(along_x)),
        at_floor=float(np.mean(stack <= floor)),
        at_ceiling=float(np.mean(stack >= ceiling)),
    )


def _stack(image: ArrayLike) -> Real:
    stack = np.asarray(image, float)
    if stack.ndim not in (2, 3) or min(stack.shape[-2:], default=0) < _SMALLEST:
        raise UserError(
            f"Noise is measured on images of at least {_SMALLEST} x {_SMALLEST} pixels or stacks "
            f"of them, but the shape is {stack.shape}: choose a larger one, or enter the noise."
        )
    if not np.isfinite(stack).all():
        raise UserError("The image holds NaN or infinite values: replace them first.")
    return stack.reshape(-1, *stack.shape[-2:])


class _Line(NamedTuple):
    """Noise variance of the finest cosines against the grey level."""

    slope: float
    level: float
    smallest: float

    def __call__(self, grey: Real) -> Real:
        return np.maximum(self.slope * grey + self.level, self.smallest)


class _Classes(NamedTuple):
    """Blocks of like grey level: arrays (class,)."""

    grey: Real
    variance: Real
    number: Real
    floor: Real
    ceiling: Real

    def where(self, chosen: NDArray[np.bool_]) -> _Classes:
        return _Classes(*(values[chosen] for values in self))


def _noise_line(blocks: Blocks) -> _Line:
    """Choose flat blocks by the line, and fit the line to flat blocks, in turn."""
    if blocks.grey.size < 2 * _FEWEST:
        raise UserError(
            "The image is constant nearly everywhere, so its noise cannot be measured: enter it."
        )
    number = int(np.clip(blocks.grey.size // (3 * _FEWEST), 2, _CLASSES))
    groups = np.array_split(np.argsort(blocks.grey), number)
    ratio = blocks.low_over_middle()
    noise = np.empty_like(ratio)
    for group in groups:
        flat = group[np.argsort(ratio[group])[: max(_FEWEST, group.size // 4)]]
        noise[group] = blocks.finest[flat].mean()
    for _ in range(4):
        score = _unevenness(blocks, ratio, np.maximum(noise, np.finfo(float).tiny))
        chosen = [_flattest(group, score) for group in groups]
        line = _fit(_classes(blocks, chosen))
        noise = line(blocks.grey)
    return line


def _unevenness(blocks: Blocks, ratio: Real, noise: Real) -> Real:
    """Return how uneven blocks are; below 1 they count as flat."""
    low, flattest = blocks.low_over_noise(noise)
    # In an image full of structure even the flattest blocks hold some of it: `ratio` has that.
    return np.maximum(ratio / _RATIO, low / (_NOISE * max(flattest, 1.0)))


def _flattest(group: Indices, score: Real) -> Indices:
    flat = group[score[group] < 1]
    return flat if flat.size >= _FEWEST else group[np.argsort(score[group])[:_FEWEST]]


def _classes(blocks: Blocks, chosen: list[Indices]) -> _Classes:
    values = (blocks.grey, blocks.finest, blocks.floor, blocks.ceiling)
    grey, variance, floor, ceiling = (np.array([v[c].mean() for c in chosen]) for v in values)
    number = np.array([c.size for c in chosen], float)
    return _Classes(grey, variance, number, floor, ceiling)


def _fit(classes: _Classes) -> _Line:
    """Fit the line where pixels are not cut off at either end.

    Pixels at the lowest grey level are those without a photon, and belong to the line, or
    have been clipped there, which leaves the dark classes below the line of the others.
    """
    open_above = classes.ceiling <= max(_AT_CEILING, np.sort(classes.ceiling)[2:3].max(initial=0))
    classes = classes.where(open_above)
    line, misfit = _line(classes)
    cut_off = classes.floor > _AT_FLOOR
    if cut_off.any() and (~cut_off).sum() >= 4 and np.abs(misfit[cut_off]).mean() > 2.5:
        line, _ = _line(classes.where(~cut_off))
    return line


def _line(classes: _Classes) -> tuple[_Line, Real]:
    """Return a line and the misfit (class,) in standard errors.

    Structure makes a class noisier, never calmer: classes above the line lose weight.
    """
    grey, variance, number = classes[:3]
    # Overlapping blocks share pixels: half as many are independent.
    chance = 4 / (FINEST_COUNT * number) + _ERROR**2
    smallest = max(1e-3 * float(variance.max()), np.finfo(float).tiny)
    model, trust, slope = np.maximum(variance, smallest), np.ones_like(variance), 0.0
    for _ in range(30):
        # Noise puts a block into a wrong class, too: 1 / photons of a block.
        error = np.sqrt(chance + slope**2 / (SIDE**2 * model))
        weight = trust / (error * model) ** 2
        centre = np.average(grey, weights=weight)
        spread = max(float(np.sum(weight * (grey - centre) ** 2)), np.finfo(float).tiny)
        slope = max(float(np.sum(weight * (grey - centre) * variance)) / spread, 0.0)
        if slope < 2 / math.sqrt(spread):
            slope = 0.0
        level = float(np.average(variance - slope * grey, weights=weight))
        line = _Line(slope, level, smallest)
        model = line(grey)
        misfit = (variance - model) / (error * model)
        trust = 1 / (1 + (misfit / np.where(misfit > 0, 2, 4)) ** 2)
    return line, misfit


def _missing(blocks: Blocks, line: _Line, flat: Indices) -> tuple[float, float]:
    """Return the noise power over that of cosines that are fine along y, and along x.

    1 where the noise is white in that direction.
    """
    noise = line(blocks.grey)
    dense = SIDE**2 * noise[flat] > _DENSE * line.slope**2
    if dense.sum() >= 10 * _FEWEST:
        flat = flat[dense]
    low, flattest = blocks.low_over_noise(noise)
    flat = flat[np.argsort(low[flat])[: max(10 * _FEWEST, flat.size // 3)]]
    finest, fine_y, fine_x = (
        float(np.mean(power[flat] / noise[flat]))
        for power in (blocks.finest, blocks.fine_y, blocks.fine_x)
    )
    # Fine along x and all along y: lacks what is missing along x only.
    missing = np.array([fine_x, fine_y]) / finest
    correlation = np.array([_correlation(value) for value in missing])
    if flattest > 1.5 * np.prod(missing * (1 + 2 * correlation)):
        # Structure, not noise, is strong in the low cosines; it has no direction of its own.
        missing = missing / max(missing.min(), 1.0)
    y, x = (value if _correlation(value) else 1.0 for value in missing)
    return float(y), float(x)


def _correlation(missing: float) -> float:
    """Return the correlation of neighbours that leaves fine cosines 1 / `missing` of the power."""
    found = float(np.clip((1 / missing - 1) / _NEIGHBOURS, -0.45, 0.45))
    return found if abs(found) >= _WHITE else 0.0
