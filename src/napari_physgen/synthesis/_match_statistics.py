"""What is compared between micrographs and simulations, pooled over several pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import (
    REACH,
    Direction,
    characteristic_length,
    correlation_distance,
    direction,
    power_spectrum,
    radial_profile,
    two_point_correlation,
)
from napari_physgen.metrics.particles import equivalent_diameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Mask = NDArray[np.bool_]

LAGS = 48  # of the pooled correlation map, from the centre to the edge
FEWEST_LENGTHS = 4.0  # that the shorter side of a micrograph must show
WAVES = np.geomspace(0.25, 6, 64)  # of the spectra, per characteristic length
DISTANCES = np.linspace(0, REACH, 64)  # of the correlations, in characteristic lengths


@dataclass(frozen=True)
class Statistics:
    """Statistics of the second phase; lengths in the unit of the pixel sizes.

    Parameters
    ----------
    fraction : float
    length : float
        Characteristic length.
    stretched, cubes : Direction
        Direction and strength of elongation (twofold) and of a square pattern (fourfold).
    correlation : numpy.ndarray
        (2 LAGS + 1, 2 LAGS + 1), S2 up to `reach`, lag 0 in the centre.
    reach : float
        Largest lag along y and x, at least REACH characteristic lengths.
    diameters : numpy.ndarray
        Equivalent diameters of whole particles, ascending.
    spectrum : numpy.ndarray
        (wave,), power at WAVES / length, 1 at its maximum.
    """

    fraction: float
    length: float
    stretched: Direction
    cubes: Direction
    correlation: Real
    reach: float
    diameters: Real
    spectrum: Real

    @property
    def step(self) -> float:
        """Distance between the lags of `correlation`."""
        return self.reach / LAGS

    @property
    def spread(self) -> float:
        """Standard deviation of the diameters over their mean; NaN for fewer than 3 particles."""
        return (
            float(self.diameters.std() / self.diameters.mean())
            if self.diameters.size > 2
            else np.nan
        )

    @property
    def profile(self) -> Real:
        """(distance,), radial autocorrelation at DISTANCES * length, 1 at 0."""
        r, s2 = radial_profile(self.correlation)
        f = self.fraction
        return np.interp(DISTANCES, r * self.step / self.length, (s2 - f * f) / (f - f * f))

    def distance(self, other: Statistics) -> float:
        """Return the distance of the correlations of another structure, per f (1 - f) of this one.

        0: the same; about 1: nothing in common. Sizes count, up to the `reach` of the other.
        """
        reach = REACH * self.length * (1 - 1e-9)
        maps, pixels = (self.correlation, other.correlation), (self.step, other.step)
        difference = correlation_distance(*maps, reach, pixels=pixels)
        return difference / (self.fraction * (1 - self.fraction))


def statistics(
    phases: Sequence[Mask],
    pixels: Sequence[float],
    *,
    periodic: bool = False,
    reach: float = 0.0,
) -> Statistics:
    """Measure the second phase in pictures of one material.

    Parameters
    ----------
    phases : sequence of numpy.ndarray
        (y, x) each, true in the second phase.
    pixels : sequence of float
        Their pixel sizes.
    periodic : bool
    reach : float
        Largest lag wanted, if more than REACH characteristic lengths.

    Raises
    ------
    UserError
        If one of the phases is missing, or a picture that is not periodic shows too few particles.
    """
    area = np.array([m.size * p**2 for m, p in zip(phases, pixels, strict=True)])
    share = area / area.sum()
    fraction = float(share @ [m.mean() for m in phases])
    if not 0 < fraction < 1:
        raise UserError("Only one phase was found: brush a few labels for matrix and particles.")
    lengths = [
        characteristic_length(m, periodic=periodic) * p for m, p in zip(phases, pixels, strict=True)
    ]
    length = float(np.exp(share @ np.log(np.minimum(lengths, 1e12))))
    reach = max(reach, REACH * length)
    sides = [min(m.shape) * p for m, p in zip(phases, pixels, strict=True)]
    if not periodic and min(sides) < FEWEST_LENGTHS * length:
        raise UserError(
            f"The image shows only {min(sides) / length:.1f} periods of its structure: choose one "
            f"of lower magnification, with at least {FEWEST_LENGTHS:.0f}."
        )
    return Statistics(
        fraction,
        length,
        _pooled_direction(phases, share, 2, periodic),
        _pooled_direction(phases, share, 4, periodic),
        sum(
            w * _lag_map(m, p, reach, periodic)
            for w, m, p in zip(share, phases, pixels, strict=True)
        ),
        reach,
        np.sort(
            np.concatenate(
                [
                    equivalent_diameters(m, periodic=periodic) * p
                    for m, p in zip(phases, pixels, strict=True)
                ]
            )
        ),
        _pooled_spectrum(phases, pixels, share, length, periodic),
    )


def curves(image: Statistics, simulation: Statistics) -> dict[str, tuple[Real, Real, Real]]:
    """Return what to plot: name -> (x, image, simulation).

    "spectrum" over spatial frequency (1 / unit of length), "correlation" over distance.
    """
    k, r = WAVES / image.length, DISTANCES * image.length
    simulated_k = np.interp(k, WAVES / simulation.length, simulation.spectrum)
    simulated_r = np.interp(r, DISTANCES * simulation.length, simulation.profile)
    return {
        "spectrum": (k, image.spectrum, simulated_k),
        "correlation": (r, image.profile, simulated_r),
    }


def _lag_map(phase: Mask, pixel: float, reach: float, periodic: bool) -> Real:
    """Return S2 on the common grid of lags."""
    lags = int(np.ceil(reach / pixel)) + 1
    s2 = two_point_correlation(phase, lags, periodic=periodic)
    axis = lags + np.linspace(-reach, reach, 2 * LAGS + 1) / pixel
    grid = np.meshgrid(axis, axis, indexing="ij")
    return np.asarray(scipy.ndimage.map_coordinates(s2, grid, order=1))


def _pooled_direction(phases: Sequence[Mask], share: Real, fold: int, periodic: bool) -> Direction:
    each = [direction(m, fold, periodic=periodic) for m in phases]
    total = complex(
        sum(
            w * d.strength * np.exp(1j * np.radians(fold * d.angle_deg))
            for w, d in zip(share, each, strict=True)
        )
    )
    return Direction(float(np.degrees(np.angle(total)) / fold), abs(total))


def _pooled_spectrum(
    phases: Sequence[Mask], pixels: Sequence[float], share: Real, length: float, periodic: bool
) -> Real:
    total = np.zeros(WAVES.size)
    for w, m, p in zip(share, phases, pixels, strict=True):
        k, power = power_spectrum(m, periodic=periodic)
        total += w * np.interp(WAVES / length, k / p, power * p**2, right=0.0)
    return np.asarray(total / total.max())
