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


LOST, CLEAR_CUT = 2.0, 4.5
"""Modulation in standard errors: below, a pattern is not seen; above, it is there. Where no pattern
was, simulated stacks gave up to 3.9."""

DARKEST = 0.002
"""OTF value below which a frequency counts as not transmitted."""

SHARPEST = 0.02
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
        """Window (y, x) that falls to 0 at the edges, over about two resolution lengths."""
        return self._taper(0.0)

    @cached_property
    def interior(self) -> Real:
        """Window (y, x) for filtered images, 0 where `window` is still rising.

        Filters mix the slope of a window into the phase of what they filter: with opposite
        signs at opposite edges, which looks like a shift of the wavevector.
        """
        return self._taper(1.4)

    def _taper(self, start: float) -> Real:
        """Return a window that begins `start` resolution lengths 1/cutoff inside the field."""
        unit = 1 / (self.cutoff * self.pixel_um)
        y, x = (_tukey(n, 2.2 * unit, start * unit) for n in self.shape)
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


@dataclass(frozen=True)
class Wave:
    """One angle's pattern.

    Parameters
    ----------
    q : numpy.ndarray
        (2,) wavevector (y, x), 1/um.
    phases, strengths : numpy.ndarray
        (phase,) rad and relative brightness of the frames.
    modulation : float
        Modulation depth.
    error : float
        Power of the model error relative to the signal.
    q_error : float
        Standard error of each component of `q`, 1/um.
    offset_error, step_error : float
        Standard errors of the phases in the middle of the field: of their mean, and of each
        relative to the mean, rad.
    modulation_error : float
        Standard error of the modulation, relative.
    """

    q: Real
    phases: Real
    strengths: Real
    modulation: float
    error: float = 0.01
    q_error: float = np.inf
    offset_error: float = np.inf
    step_error: float = np.inf
    modulation_error: float = np.inf

    @property
    def lost(self) -> bool:
        """Whether the modulation is hardly larger than its error: nothing that stands out."""
        return 1 / LOST < self.modulation_error < np.inf

    @property
    def clear(self) -> bool:
        """Whether the modulation is so much larger than its error that the pattern is there."""
        return self.modulation_error < 1 / CLEAR_CUT


@dataclass(frozen=True)
class Overlap:
    """Frames' spectra where the bands 0 and +1 overlap.

    Parameters
    ----------
    here, there : numpy.ndarray
        (phase, k): D_p(k) and D_p(k - q).
    k_here, k_there : tuple of numpy.ndarray
        The frequencies k and k - q, (k,) each as (y, x), 1/um.
    index : tuple of numpy.ndarray
        Where the frequencies k lie on the DFT grid.
    """

    here: Complex
    there: Complex
    k_here: tuple[Real, Real]
    k_there: tuple[Real, Real]
    index: tuple[np.ndarray, np.ndarray]


def mixing(phases: Real, strengths: Real) -> Real | Complex:
    """Return M (phase, band) that mixes bands (0, +1, -1) into frames; m/2 stays in the bands."""
    wave = np.exp(1j * phases)
    return np.asarray(strengths[:, None] * np.stack([np.ones_like(wave), wave, wave.conj()], -1))


def equal_phases(count: int) -> Real:
    """Return phases (count,) in equal steps over one period."""
    return 2 * np.pi * np.arange(count) / count


def turn_of(phases: Real) -> int:
    """Return +1 or -1: the direction of the equal steps closest to `phases`."""
    equal = equal_phases(len(phases))
    match = [abs(np.exp(1j * (phases - sign * equal)).sum()) for sign in (1, -1)]
    return 1 if match[0] >= match[1] else -1


def overlap(sharp: Real, spectra: Complex, field: Field, q: Real) -> Overlap:
    """Cut the band overlap for wavevector `q` out of the spectra of one angle's frames."""
    k_y, k_x = (np.broadcast_to(k, field.shape) for k in field.k)
    distance = np.hypot(k_y - q[0], k_x - q[1])
    low, high = NOTCH * field.cutoff, 0.97 * field.cutoff
    inside = (field.radius > low) & (field.radius < high) & (distance > low) & (distance < high)
    where = np.nonzero(inside)
    contrasts = (field.otf(k_y[where] - d * q[0], k_x[where] - d * q[1]) for d in (0, 1))
    seen = np.minimum(*contrasts) > DARKEST
    index = (where[0][seen], where[1][seen])
    shifted = scipy.fft.fft2(sharp * field.carrier(q))
    here = (k_y[index], k_x[index])
    return Overlap(
        here=spectra[:, *index],
        there=shifted[:, *index],
        k_here=here,
        k_there=(here[0] - q[0], here[1] - q[1]),
        index=index,
    )


def bands(cut: Overlap, wave: Wave) -> tuple[Complex, Complex]:
    """Return b_1(k) and b_0(k - q) in the overlap."""
    inverse = np.linalg.pinv(mixing(wave.phases, wave.strengths))
    return inverse[1] @ cut.here, inverse[0] @ cut.there
