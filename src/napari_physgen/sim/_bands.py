"""Spectra of the frames of one angle and how much of them is noise.

Model of frame p, with S the object's spectrum, H the OTF and k the pattern's wavevector q:

    D_p(k) = s_p [H(k) S(k) + m/2 e^{i phi_p} H(k) S(k - q) + m/2 e^{-i phi_p} H(k) S(k + q)]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.physics.optics import frequencies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.physics.optics import Otf

    Real = NDArray[np.float64]
    Complex = NDArray[np.complex128]

NOTCH = 0.15
"""Frequencies below this part of the cutoff are left out: out-of-focus light and uneven
illumination live there."""


SHARPEST = 0.05
"""OTF value below which frames are not sharpened further."""


@dataclass(frozen=True)
class Field:
    """The frames' grid: pixel size, OTF, apodisation.

    Parameters
    ----------
    shape : (int, int)
        Raw frame size (y, x).
    pixel_um : float
        Raw pixel size, um.
    otf : Otf
        Detection OTF.
    """

    shape: tuple[int, int]
    pixel_um: float
    otf: Otf

    @property
    def cutoff(self) -> float:
        """Detection cutoff, 1/um."""
        return self.otf.cutoff

    @property
    def steps(self) -> Real:
        """Frequency per DFT pixel along (y, x), 1/um."""
        return 1 / (np.array(self.shape) * self.pixel_um)

    @cached_property
    def window(self) -> Real:
        """Tukey window (y, x) that falls to 0 over a twelfth of the field at each edge."""
        y, x = (_tukey(n, edge=n / 12) for n in self.shape)
        return np.asarray(y[:, None] * x)

    @cached_property
    def interior(self) -> Real:
        """Window (y, x) for products of filtered images, 0 at its edges.

        Filters mix the slope of `window` into the phase of what they filter: with opposite
        signs at opposite edges, which looks like a shift of the wavevector.
        """
        y, x = (_tukey(n, edge=n / 8, start=n / 16) for n in self.shape)
        return np.asarray(y[:, None] * x)

    @cached_property
    def k(self) -> tuple[Real, Real]:
        """Frequencies (k_y, k_x), broadcastable, 1/um."""
        return frequencies(self.shape, self.pixel_um)

    @cached_property
    def radius(self) -> Real:
        """|k| on the DFT grid, 1/um."""
        return np.asarray(np.hypot(*self.k))

    def sharpening(self, k: tuple[Real, Real]) -> Real:
        """Return the gain of `sharpened` at frequencies k = (k_y, k_x)."""
        h = self.otf(*k)
        return np.asarray(h / (h**2 + SHARPEST**2) * (1 + SHARPEST**2))

    def transfer(self, k: tuple[Real, Real]) -> Real:
        """Return the transfer function of `sharpened` frames: nearly flat."""
        return np.asarray(self.otf(*k) * self.sharpening(k))

    def sharpened(self, frames: Real) -> Real:
        """Return frames (..., y, x) with the OTF mostly undone and the field's edge faded out.

        Undoing the OTF before the final window, not after, keeps the window from mixing
        neighbouring frequencies that the OTF passed with different strength.
        """
        spectra = scipy.fft.rfft2(frames * self.window)
        gain = self.sharpening(frequencies(self.shape, self.pixel_um, real=True))
        return np.asarray(scipy.fft.irfft2(spectra * gain, self.shape) * self.interior)

    def sharpened_noise(self, frames: Real) -> float:
        """Return the noise power |n(k)|^2 of `sharpened` frames, before the gain."""
        share = np.sum((self.interior * self.window) ** 2) / np.sum(self.window**2)
        return self.noise_power(self.spectrum(frames)) * float(share)

    def carrier(self, q: Real) -> Complex:
        """Return exp(2 pi i q.r) with r from the centre of pixel (0, 0)."""
        y, x = (np.arange(n) * self.pixel_um for n in self.shape)
        return np.asarray(np.exp(2j * np.pi * q[0] * y)[:, None] * np.exp(2j * np.pi * q[1] * x))

    def spectrum(self, images: Real | Complex) -> Complex:
        """Return the DFT of apodised images (..., y, x)."""
        return np.asarray(scipy.fft.fft2(images * self.window))

    def radial_mean(self, power: Real) -> Real:
        """Return the azimuthal mean of `power` at every grid point, interpolated between rings."""
        ring = self.radius / self.steps.max()
        index = ring.astype(int).ravel()
        count = np.bincount(index)
        mean = np.bincount(index, power.ravel()) / np.maximum(count, 1)
        return np.asarray(np.interp(ring, np.arange(mean.size) + 0.5, mean))

    def noise_power(self, spectra: Complex) -> float:
        """Return the mean noise power |n(k)|^2 in spectra (..., y, x).

        From frequencies beyond 1.1 cutoff; where the pixels are too coarse for that, from the
        darkest twentieth of the spectrum (an upper bound, the corners of the square).
        """
        outside = self.radius > 1.1 * self.cutoff
        if outside.mean() < 0.02:
            outside = self.radius >= np.quantile(self.radius, 0.95)
        power = np.abs(spectra[..., outside]) ** 2
        # The median of exponentially distributed power is ln 2 of its mean, and ignores the
        # cross of a bright edge.
        return float(np.median(power) / np.log(2))


def _tukey(n: int, edge: float, start: float = 0.0) -> Real:
    """Return a window that rises over `edge` pixels, beginning `start` pixels from the ends."""
    inside = np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) - start
    return np.asarray(np.sin(np.pi / 2 * np.clip(inside / edge, 0, 1)) ** 2)


def mixing(phases: Real, strengths: Real) -> Real | Complex:
    """Return M (phase, band) that mixes bands (0, +1, -1) into frames; m/2 stays in the bands."""
    wave = np.exp(1j * phases)
    return np.asarray(strengths[:, None] * np.stack([np.ones_like(wave), wave, wave.conj()], -1))


def equal_phases(count: int) -> Real:
    """Return phases (count,) in equal steps over one period."""
    return 2 * np.pi * np.arange(count) / count
