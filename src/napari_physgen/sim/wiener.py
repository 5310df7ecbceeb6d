"""Generalised Wiener reconstruction: the instant image, without anything to tune.

The phases of one angle hold three bands, Y_0 = h * rho and Y_+- = m/2 h * (rho e^{+-2 pi i k.r}),
and two more for each further wave.
Moved back to their place in Fourier space, each sees the object R through an OTF of its own,
H_0 = H and H_+-(f) = m/2 H(f +- k), and all bands together give

    R(f) = A(f) sum_b c_b a_b H_b Y_b / (sum_b c_b a_b H_b^2 + N / S(f)),

with c_b the inverse noise of band b after separation, a_b a notch on the centre of each band
(out-of-focus light, left-over pattern) and A the apodisation (Gustafsson 2000; notch after
O'Holleran & Shaw 2014). N is the noise power; the object's power S(f) = S_0 |f|^p is fitted to
the data themselves (Lal, Shan & Xi 2016). A number given by the user replaces N / S by w^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
import torch

from napari_physgen.physics.noise import estimate_camera
from napari_physgen.physics.optics import frequencies
from napari_physgen.sim.forward import Canvas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.physics.noise import Camera
    from napari_physgen.physics.optics import Otf
    from napari_physgen.sim.results import Patterns
    from napari_physgen.sim.settings import SimSettings

    Real = NDArray[np.float32]
    Wide = NDArray[np.float64]
    Complex = NDArray[np.complex64]

NOTCH_STRENGTH = 0.9
NOTCH_WIDTH = 0.15
"""Standard deviation of the notch, in detection cutoffs."""

MARGIN = 16
"""Raw px added on every side against wrap-around: mirrored frames that fade to zero."""


def wiener(
    frames: Real,
    patterns: Patterns,
    otf: Otf,
    settings: SimSettings,
    camera: Camera | None = None,
) -> Real:
    """Reconstruct the object from raw frames.

    Parameters
    ----------
    frames : numpy.ndarray
        (angle, phase, y, x), grey levels above the camera offset.
    patterns : Patterns
    otf : Otf
        Detection OTF.
    settings : SimSettings
        `zoom`, and `wiener` where the user gave the constant w.
    camera : Camera, optional
        Noise of the frames (its offset is not used); default estimated from them.

    Returns
    -------
    numpy.ndarray
        (zoom * y, zoom * x), float32, on the scale of the widefield image. Pixel j lies at raw
        coordinate (j + 0.5) / zoom - 0.5.
    """
    field = (frames.shape[2], frames.shape[3])
    pixel = patterns.pixel_size_nm / 1000
    # The bands reach twice the cutoff: they need two fine pixels per raw one.
    canvas = Canvas.around(field, max(settings.zoom, 2), MARGIN)
    k = frequencies(canvas.fine_size, pixel / canvas.zoom, real=True)
    radius = np.hypot(*k)
    bands = [Bands.separate(frames[a], patterns, a) for a in range(len(frames))]
    matched = np.mean([_matched(band, canvas, otf, pixel) for band in bands], axis=0)
    numerator = scipy.fft.rfft2(matched, workers=2)
    weight = np.mean([_power(band, k, otf) for band in bands], axis=0)
    if settings.wiener is None:
        noise = _noise_power(frames, patterns, otf, camera, canvas.zoom)
        step = 1 / (min(field) * pixel)
        weight += noise / _object_power(numerator, weight, noise, radius, step)
    else:
        weight += settings.wiener**2
    reach = otf.cutoff + max(float(np.hypot(*k)) for band in bands for k in band.k)
    apodisation = np.cos(np.pi / 2 * np.minimum(radius / reach, 1))
    numerator *= (apodisation / weight).astype(np.float32)
    fine = torch.from_numpy(scipy.fft.irfft2(numerator, s=canvas.fine_size, workers=2))
    image: Real = canvas.crop(fine, canvas.zoom).numpy()
    if settings.zoom == 1:
        image = image.reshape(field[0], 2, field[1], 2).mean((1, 3))
    return image


@dataclass(frozen=True)
class Bands:
    """The bands that the phases of one angle hold, on raw pixels.

    Parameters
    ----------
    centre : numpy.ndarray
        (y, x), Y_0.
    side : numpy.ndarray
        (wave, y, x), complex, Y_+; Y_- is its conjugate.
    centre_weight : float
    side_weight : numpy.ndarray
        (wave,); c_b, inverse noise variance times that of the mean of the phases.
    k : numpy.ndarray
        (wave, 2), wavevectors (y, x), 1/um.
    modulation : numpy.ndarray
        (wave,).
    phases : int
        Number of phases.
    """

    centre: Real
    side: Complex
    centre_weight: float
    side_weight: Wide
    k: Wide
    modulation: Wide
    phases: int

    @classmethod
    def separate(cls, frames: Real, patterns: Patterns, angle: int) -> Bands:
        """Solve the frames (phase, y, x) of one angle for its bands, by least squares."""
        waves = patterns.waves
        wave = np.exp(1j * waves.phases[angle])
        mixing = np.concatenate([np.ones((len(wave), 1)), wave, wave.conj()], -1)
        if patterns.intensities is not None:
            mixing *= patterns.intensities[angle][:, None]
        unmix = np.linalg.pinv(mixing)
        weights = 1 / (len(wave) * np.sum(np.abs(unmix) ** 2, axis=1))
        sides = slice(1, 1 + wave.shape[1])
        return cls(
            np.tensordot(unmix[0].real.astype(np.float32), frames, 1),
            np.asarray(np.tensordot(unmix[sides].astype(np.complex64), frames, 1), np.complex64),
            float(weights[0]),
            weights[sides],
            waves.wavevectors[angle],
            waves.modulation[angle],
            len(wave),
        )


def _matched(band: Bands, canvas: Canvas, otf: Otf, pixel: float) -> Real:
    """Return sum_b c_b a_b H_b Y_b of one angle as a fine image (y, x)."""
    k = frequencies(canvas.size, pixel)
    h = (otf(*k) * _notch(np.hypot(*k), otf)).astype(np.float32)
    centre = _upsample(scipy.fft.fft2(_pad(band.centre, canvas)) * h, canvas)
    image = np.float32(band.centre_weight) * centre.real
    for plane, weight, m, wave in zip(
        band.side, band.side_weight, band.modulation, band.k, strict=True
    ):
        side = _upsample(scipy.fft.fft2(_pad(plane, canvas)) * h, canvas)
        side *= _carrier(wave, canvas, pixel)
        # Y_- adds the conjugate, half the modulation cancels the two.
        image += np.float32(weight * m) * side.real
    return np.asarray(image)


def _power(band: Bands, k: tuple[Wide, Wide], otf: Otf) -> Real:
    """Return sum_b c_b a_b H_b^2 of one angle at the frequencies k = (k_y, k_x)."""
    power = np.zeros((k[0].size, k[1].size), np.float32)
    sides = band.side_weight * (band.modulation / 2) ** 2
    shifts = [np.zeros(2), *(sign * q for q in band.k for sign in (1, -1))]
    for (s_y, s_x), weight in zip(shifts, [band.centre_weight, *sides.repeat(2)], strict=True):
        here_y, here_x = np.broadcast_arrays(k[0] + s_y, k[1] + s_x)
        inside = np.hypot(here_y, here_x) < otf.cutoff
        here_y, here_x = here_y[inside], here_x[inside]
        notch = _notch(np.hypot(here_y, here_x), otf)
        power[inside] += weight * notch * otf(here_y, here_x) ** 2
    return power


def _notch(radius: Wide, otf: Otf) -> Wide:
    depth = NOTCH_STRENGTH * np.exp(-0.5 * (radius / (NOTCH_WIDTH * otf.cutoff)) ** 2)
    return np.asarray(1 - depth)


def _noise_power(
    frames: Real, patterns: Patterns, otf: Otf, camera: Camera | None, zoom: int
) -> float:
    """Return N: the noise power per frequency of `_matched` is N times `_power`."""
    angles, phases, height, width = frames.shape
    if camera is None:
        stack = frames.reshape(-1, height, width)
        camera = estimate_camera(stack, otf.cutoff, patterns.pixel_size_nm, offset=0.0)
    variance = camera.gain * max(float(frames.mean()), 0.0) + camera.read_noise**2
    return float(variance * height * width * zoom**4 / (angles * phases))


def _object_power(
    numerator: Complex, weight: Real, noise: float, radius: Wide, step: float
) -> Wide:
    """Fit the object's power S_0 |f|^p to the rings in which it exceeds the noise.

    In a ring the numerator has the power weight^2 S + weight N.
    """
    ring = (radius / step).astype(int)
    seen = weight > 1e-3 * weight.max()

    def total(values: NDArray[np.floating]) -> Wide:
        return np.asarray(np.bincount(ring[seen], values[seen]), float)

    noisy = noise * total(weight)
    excess = total(np.abs(numerator) ** 2) - noisy
    power = excess / np.maximum(total(weight**2), 1e-30)
    # The first rings hold the shape of the field. Beyond the first one that is lost in noise,
    # only those that chance lifts would be used.
    lost = np.flatnonzero(excess[4:] < noisy[4:])
    use = np.arange(4, 4 + lost[0] if lost.size else power.size)
    floor = np.maximum(radius, step)
    if use.size < 4:
        # Too dark for a fit: lines have a power of 1 / |f|.
        level = float(np.maximum(power[1:5], 0).mean()) * 3 * step
        return np.asarray(max(level, 1e-6 * noise) / floor)
    count = total(np.ones_like(weight))[use]
    slope, level = np.polyfit(np.log((use + 0.5) * step), np.log(power[use]), 1, w=np.sqrt(count))
    return np.asarray(np.exp(level) * floor ** min(float(slope), 0.0))


def _pad(image: Real | Complex, canvas: Canvas) -> Real | Complex:
    """Continue the field (y, x) by its mirror image, fading to zero."""
    sides = [
        (c, s - c - n) for c, s, n in zip(canvas.corner, canvas.size, canvas.field, strict=True)
    ]
    y, x = (
        np.pad(np.ones(n, np.float32), side, "linear_ramp")
        for n, side in zip(canvas.field, sides, strict=True)
    )
    return np.asarray(np.pad(image, sides, "symmetric") * y[:, None] * x)


def _upsample(spectrum: Complex, canvas: Canvas) -> Complex:
    """Return the fine image (y, x), complex, of a spectrum on the raw canvas."""
    # The centre of fine pixel 0 is (1 / zoom - 1) / 2 raw px from that of raw pixel 0.
    offset = (1 / canvas.zoom - 1) / 2
    height, width = canvas.size
    ramp_y, ramp_x = (
        np.exp(2j * np.pi * np.fft.fftfreq(n) * offset).astype(np.complex64) for n in canvas.size
    )
    fine = np.zeros(canvas.fine_size, np.complex64)
    y, x = ((f - n) // 2 for f, n in zip(canvas.fine_size, canvas.size, strict=True))
    fine[y : y + height, x : x + width] = scipy.fft.fftshift(spectrum * ramp_y[:, None] * ramp_x)
    image = scipy.fft.ifft2(scipy.fft.ifftshift(fine), workers=2, overwrite_x=True)
    return np.asarray(image * np.float32(canvas.zoom**2))


def _carrier(k: Wide, canvas: Canvas, pixel: float) -> Complex:
    """Return exp(-2 pi i k.r) on the fine canvas, r from the centre of raw pixel (0, 0)."""
    y, x = (
        ((np.arange(n) + 0.5) / canvas.zoom - 0.5 - corner) * pixel
        for n, corner in zip(canvas.fine_size, canvas.corner, strict=True)
    )
    wave_y, wave_x = np.exp(-2j * np.pi * k[0] * y), np.exp(-2j * np.pi * k[1] * x)
    return np.asarray(wave_y.astype(np.complex64)[:, None] * wave_x.astype(np.complex64))
