"""Optical transfer function of a widefield microscope, in 2-D.

The incoherent OTF of an aberration-free circular pupil (Goodman, Introduction to
Fourier Optics, eq. 6-32), times a damping a^(k/kc) that real microscopes show
(fairSIM's a-estimate: about 0.2-0.3 for oil objectives).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


TYPICAL_DAMPING = 0.3
"""Damping where none is given or fitted (fairSIM's default; measured on oil objectives)."""


def frequencies(
    shape: tuple[int, int], pixel_size_um: float, real: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (k_y, k_x) in 1/um, broadcastable to the FFT (or real FFT) of `shape`."""
    last = np.fft.rfftfreq if real else np.fft.fftfreq
    return (
        np.asarray(np.fft.fftfreq(shape[0], pixel_size_um)[:, None], float),
        np.asarray(last(shape[1], pixel_size_um)[None, :], float),
    )


def ideal_otf(k: ArrayLike, cutoff: float) -> NDArray[np.float64]:
    """Return the diffraction-limited OTF at spatial frequency `k` (same unit as `cutoff`)."""
    ratio = np.clip(np.abs(np.asarray(k, float)) / cutoff, 0, 1)
    return np.asarray(2 / np.pi * (np.arccos(ratio) - ratio * np.sqrt(1 - ratio**2)))


@dataclass(frozen=True)
class Otf:
    """A real, centred detection OTF, 1 at zero frequency.

    Parameters
    ----------
    cutoff : float
        Highest transmitted frequency, 1/um.
    damping : float
        Value at cutoff relative to the ideal OTF, 1 = ideal.
    table : numpy.ndarray, optional
        Measured radial profile (k,), replaces the ideal one (damping still applies).
    step : float
        Frequency step of `table`, 1/um.
    plane : numpy.ndarray, optional
        Measured OTF in 2-D with zero frequency in the middle (index n // 2), replaces both.
    """

    cutoff: float
    damping: float = 1.0
    table: NDArray[np.float64] | None = None
    step: float = 1.0
    plane: NDArray[np.float64] | None = None

    @classmethod
    def ideal(cls, na: float, wavelength_nm: float, damping: float = 1.0) -> Self:
        """Return the OTF of numerical aperture `na` at an emission wavelength."""
        return cls(2000 * na / wavelength_nm, damping)

    @classmethod
    def measured(cls, values: ArrayLike, step: float, cutoff: float) -> Self:
        """Return a measured OTF.

        Parameters
        ----------
        values : array
            Radial profile (k,) from zero frequency on, or a plane (k_y, k_x) with zero
            frequency at index n // 2; complex values are reduced to their modulus.
        step : float
            Frequency step, 1/um.
        cutoff : float
            Frequency above which the values are noise and set to 0, 1/um.

        Raises
        ------
        UserError
            If the array is not a 1-D or 2-D array that is largest at zero frequency.
        """
        profile = np.abs(np.asarray(values)).astype(float)
        if profile.ndim not in (1, 2) or profile.size < 4:
            raise UserError("The OTF must be a radial profile or a 2-D plane of numbers.")
        centre = profile[0] if profile.ndim == 1 else profile[tuple(n // 2 for n in profile.shape)]
        if not np.isfinite(profile).all() or centre <= 0 or profile.max() > 1.5 * centre:
            raise UserError(
                "The OTF must be largest at zero frequency: the first value of a radial "
                "profile, the middle of a plane. Is this file a PSF?"
            )
        profile /= centre
        if profile.ndim == 1:
            return cls(cutoff, table=profile, step=step)
        return cls(cutoff, plane=profile, step=step)

    @classmethod
    def from_psf(cls, psf: ArrayLike, pixel_size_um: float, cutoff: float) -> Self:
        """Return the OTF of a PSF image (y, x), centred at its centroid.

        Values below 0 are set to 0: near the cutoff they are rounding errors of the image, and the
        sign of a contrast matters when patterns are estimated.
        """
        image = np.asarray(psf, float)
        image = image / image.sum()
        size = 4 * max(image.shape)
        f_y, f_x = np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :]
        y = float(image.sum(1) @ np.arange(image.shape[0]))
        x = float(image.sum(0) @ np.arange(image.shape[1]))
        centred = np.fft.fft2(image, (size, size)) * np.exp(2j * np.pi * (f_y * y + f_x * x))
        plane = np.fft.fftshift(np.maximum(centred.real, 0))
        return cls(cutoff, step=1 / (size * pixel_size_um), plane=plane)

    def damped(self, damping: float) -> Self:
        """Return the same OTF with another damping."""
        return replace(self, damping=damping)

    def __call__(self, k_y: ArrayLike, k_x: ArrayLike) -> NDArray[np.float64]:
        """Evaluate at frequencies (1/um), broadcast against each other."""
        k_y, k_x = np.broadcast_arrays(np.asarray(k_y, float), np.asarray(k_x, float))
        k = np.hypot(k_y, k_x)
        if self.plane is not None:
            values = self._interpolate_plane(k_y, k_x)
        elif self.table is not None:
            values = np.interp(k, np.arange(self.table.size) * self.step, self.table, right=0)
        else:
            values = ideal_otf(k, self.cutoff)
        damping = self.damping ** np.minimum(k / self.cutoff, 1)
        return np.where(k < self.cutoff, values * damping, 0.0)

    def on_grid(
        self, shape: tuple[int, int], pixel_size_um: float, real: bool = False
    ) -> NDArray[np.float64]:
        """Evaluate on the FFT (or real FFT) grid of an image of `shape`."""
        return self(*frequencies(shape, pixel_size_um, real))

    def _interpolate_plane(
        self, k_y: NDArray[np.float64], k_x: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        assert self.plane is not None
        axes = [(np.arange(n) - n // 2) * self.step for n in self.plane.shape]
        lookup = RegularGridInterpolator(axes, self.plane, bounds_error=False, fill_value=0.0)
        return np.asarray(lookup(np.stack([k_y, k_x], -1)))
