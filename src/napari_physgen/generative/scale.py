"""From grey levels to the numbers that networks see, and back with the standard deviation.

linear: u = g. square root: u = sqrt(g - offset + gain / 4), in which counted photons have the same
noise everywhere, sqrt(gain) / 2 (Bartlett 1936; with gain / 4 the mean of u is sqrt(g - offset) to
first order, so that one prior serves every gain). Then low..high becomes -1..1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import poisson

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_physgen.physics.noise import Camera

    Real = NDArray[np.float32]

_AROUND = 2.0  # px
_FAINTEST = 1e-3  # grey levels per photon: below, there is only read noise
_PHOTONS = np.concatenate([np.linspace(0, 5, 101), np.geomspace(5.1, 1e4, 100)])
_DARKEST, _BRIGHTEST = 0.1, 99.9
"""Percentiles that become -1 and 1."""


@dataclass(frozen=True)
class Scale:
    """A map between grey levels and network units.

    Parameters
    ----------
    domain : {"linear", "square root"}
    low, high : float
        What becomes -1 and 1, after the square root if there is one.
    offset : float
        Grey level without light; matters for the square root only.
    """

    domain: Literal["linear", "square root"] = "linear"
    low: float = -1.0
    high: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(
        cls,
        images: Sequence[NDArray[np.generic]],
        domain: Literal["linear", "square root"] = "linear",
        offset: float = 0.0,
        gain: float = 0.0,
    ) -> Self:
        """Return the scale that spreads images over -1 to 1.

        Raises
        ------
        UserError
            If they have no contrast.
        """
        plain = cls(domain, -1, 1, offset)
        values = np.concatenate([plain._domain(image, gain).ravel() for image in images])
        low, high = (float(v) for v in np.percentile(values, (_DARKEST, _BRIGHTEST)))
        if not high > low:
            low, high = float(values.min()), float(values.max())
        if not high > low:
            raise UserError("The images have no contrast: all pixels are equal.")
        return cls(domain, low, high, offset)

    @property
    def unit(self) -> float:
        """Grey levels (or their square roots) per network unit."""
        return (self.high - self.low) / 2

    def __call__(self, grey: NDArray[np.generic], gain: float = 0.0) -> Real:
        """Return network units of grey levels recorded with a camera's gain (0: without noise)."""
        return np.asarray((self._domain(grey, gain) - self.low) / self.unit - 1, np.float32)

    def level(self, camera: Camera, grey: NDArray[np.generic]) -> float:
        """Return the noise level of an image in network units: its root mean square."""
        if self.domain == "linear":
            return float(np.sqrt(camera.variance(grey).mean())) / self.unit
        light = np.maximum(np.asarray(grey, float) - camera.offset, camera.gain)
        # The read noise counts where there is light to see by.
        variance = camera.gain / 4 + camera.read_noise**2 / (4 * float(light.mean()))
        return math.sqrt(variance) / self.unit

    def spread(self, camera: Camera, grey: NDArray[np.generic]) -> Real:
        """Return the noise of each pixel in network units, from the light around it.

        Less than a photon has less noise in its square root than many: none where it is dark.
        """
        sigma = (0.0,) * (grey.ndim - 2) + (_AROUND, _AROUND)
        light = gaussian_filter(np.asarray(grey, float), sigma)
        if self.domain == "linear":
            return np.asarray(np.sqrt(camera.variance(light)) / self.unit, np.float32)
        photons = np.maximum(light - camera.offset, 0) / max(camera.gain, _FAINTEST)
        table = _root_spread(camera.read_noise / max(camera.gain, _FAINTEST))
        root = np.interp(photons, _PHOTONS, table) * math.sqrt(max(camera.gain, _FAINTEST))
        return np.asarray(root / self.unit, np.float32)

    def inverse(self, mean: Real, std: Real) -> tuple[Real, Real]:
        """Return mean and standard deviation in grey levels of a posterior in network units.

        Of v^2 with v ~ N(m, s^2) for the square root: m^2 + s^2 and sqrt(4 m^2 s^2 + 2 s^4).
        """
        m, s = (mean + 1) * self.unit + self.low, std * self.unit
        if self.domain == "linear":
            return m, s
        square, spread = m**2 + s**2 + self.offset, np.sqrt(4 * m**2 * s**2 + 2 * s**4)
        return np.asarray(square, np.float32), np.asarray(spread, np.float32)

    def grey(self, units: Real) -> Real:
        """Return the grey levels of network units without spread."""
        return self.inverse(units, np.zeros_like(units))[0]

    def _domain(self, grey: NDArray[np.generic], gain: float) -> Real:
        values = np.asarray(grey, np.float32)
        if self.domain == "linear":
            return values
        return np.asarray(np.sqrt(np.maximum(values - self.offset + gain / 4, 0)), np.float32)


@cache
def _root_spread(read_noise: float) -> NDArray[np.float64]:
    """Return the standard deviation of sqrt(max(n + z + 1/4, 0)) at `_PHOTONS` on average.

    n is a Poisson variable and z read noise, in photons; beyond some light it is that of the slope.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    counts = np.arange(80)
    values = np.sqrt(np.maximum(counts[:, None] + read_noise * nodes + 0.25, 0))
    chance = poisson.pmf(counts[:, None], _PHOTONS[_PHOTONS < 40])
    first, second = (((values**power) @ (weights / weights.sum())) @ chance for power in (1, 2))
    few = np.sqrt(np.maximum(second - first**2, 0))
    many = np.sqrt(0.25 + read_noise**2 / (4 * _PHOTONS[_PHOTONS >= 40]))
    return np.concatenate([few, many])
