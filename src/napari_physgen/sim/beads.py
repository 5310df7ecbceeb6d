"""The detection OTF from an image of small fluorescent beads.

Beads that stand alone are cut out, freed from the background, moved to a common centre by a
fraction of a pixel, and averaged in Fourier space. There

    measured(k) = OTF(k) bead(k) pixel(k),

with the projection of a uniformly fluorescent sphere of diameter d, whose transform is that of a
sphere on a plane through its centre, bead(k) = 3 (sin x - x cos x) / x^3 with x = pi d k. The blur
pixel(k) of the camera's pixels is part of every image that the OTF is used for, and stays in.
The average over directions ends where the cutoff says that nothing can come. The cut-out misses the
faint tails of the PSF and its background is uncertain; both only matter at the lowest frequencies,
which are therefore continued: the ratio to an ideal OTF is exponential there, which is what
damping means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
from scipy.interpolate import UnivariateSpline

from napari_physgen.errors import UserError
from napari_physgen.physics.noise import estimate_camera
from napari_physgen.physics.optics import Otf, frequencies, ideal_otf
from napari_physgen.settings import Settings, setting

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Real = NDArray[np.float64]

FEWEST = 5
"""Beads below which chance (two beads in one, a bent PSF) is not averaged out."""

REACH = 3.0
"""Half width of the cut-out in units of wavelength / NA."""

LOWEST, MIDDLE = 1.5, 0.3
"""Frequencies that scale a bead and continue the OTF to 0: from LOWEST / width of the cut-out,
below which tails and background matter, up to MIDDLE times the cutoff."""

DARKEST = 0.25
"""Beads fainter than this part of the median are taken for dirt, brighter than 2.5 times for
clumps."""
BRIGHTEST = 2.5


class BeadSettings(Settings):
    """The microscope that recorded the beads."""

    na: float = setting(
        title="NA", description="Numerical aperture of the objective.", start=1.49, gt=0, le=1.7
    )
    wavelength_nm: float = setting(
        title="Emission",
        description="Emission wavelength of the beads.",
        unit="nm",
        start=525.0,
        gt=5,
        le=2000,
    )
    pixel_size_nm: float = setting(
        title="Pixel",
        description="Camera pixel size in the sample plane.",
        unit="nm",
        start=65.0,
        gt=5,
        le=5000,
    )
    bead_diameter_nm: float = setting(
        100.0, title="Bead", description="Diameter of the beads.", unit="nm", ge=0, le=500
    )

    @property
    def cutoff(self) -> float:
        """Cutoff frequency, 2 NA / wavelength, in 1/um."""
        return 2000 * self.na / self.wavelength_nm


@dataclass(frozen=True)
class BeadOtf:
    """A measured OTF.

    Parameters
    ----------
    profile, error : numpy.ndarray
        (k,), radial OTF from zero frequency on and its standard error over the beads.
    step : float
        Frequency step, 1/um.
    cutoff : float
        Where it ends, 1/um.
    positions : numpy.ndarray
        (bead, 2), y and x in pixels, of the beads that were used.
    left_out : mapping
        How many were left out and why.
    """

    profile: Real
    error: Real
    step: float
    cutoff: float
    positions: Real
    left_out: dict[str, int]

    @property
    def otf(self) -> Otf:
        """The OTF for the reconstruction."""
        return Otf.measured(self.profile, self.step, self.cutoff)

    @property
    def summary(self) -> str:
        """What it was made of, and how it compares with an ideal objective, in words."""
        half = np.interp(self.cutoff / 2, np.arange(self.profile.size) * self.step, self.profile)
        out = ", ".join(f"{count} {why}" for why, count in self.left_out.items() if count)
        words = f"OTF of {len(self.positions)} beads" + (f" (left out: {out})" if out else "")
        return (
            f"{words}: {half:.3f} at half the cutoff, an ideal objective has "
            f"{float(ideal_otf(0.5, 1)):.3f}; standard error {self.error.max():.3f} at most."
        )


def otf_from_beads(image: ArrayLike, settings: BeadSettings) -> BeadOtf:
    """Measure the OTF in an image of beads.

    Parameters
    ----------
    image : array
        (y, x), or (n, y, x): images of a stack are summed, as the raw frames of a SIM stack are;
        leave out those that are not in focus.
    settings : BeadSettings

    Raises
    ------
    UserError
        If there are too few single beads, or the pixels are too coarse.
    """
    raw = np.asarray(image)
    if raw.ndim not in (2, 3) or raw.dtype.kind not in "uif" or not np.isfinite(raw).all():
        raise UserError("Beads must be one grey image or a stack of them, without missing values.")
    frames = raw.reshape(-1, *raw.shape[-2:])
    pixel = settings.pixel_size_nm / 1000
    if 2 * settings.cutoff * pixel > 1.02:
        raise UserError(
            f"Pixels of {settings.pixel_size_nm:g} nm are too coarse for NA {settings.na:g} at "
            f"{settings.wavelength_nm:g} nm: check the pixel size, the NA and the wavelength."
        )
    saturated = _saturated(frames)
    plane = frames.sum(axis=0, dtype=float)
    half = max(4, round(REACH * settings.wavelength_nm / settings.na / settings.pixel_size_nm))
    positions, left_out = _single(plane, saturated, half, settings)
    spectra = np.array([_spectrum(plane, place, half) for place in positions])
    return _radial(spectra, positions, left_out, settings)


def _saturated(frames: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return where (y, x) the grey scale ends; a single pixel at the maximum is no end."""
    at_top = (frames == frames.max()).any(axis=0)
    return at_top if at_top.sum() > 3 else np.zeros_like(at_top)


def _single(
    plane: Real, saturated: NDArray[np.bool_], half: int, settings: BeadSettings
) -> tuple[NDArray[np.intp], dict[str, int]]:
    """Return the pixels (bead, 2) of beads that stand alone, and what was left out."""
    from skimage.feature import peak_local_max

    sigma = 0.21 * settings.wavelength_nm / settings.na / settings.pixel_size_nm
    smooth = scipy.ndimage.gaussian_filter(plane, sigma)
    level = np.median(smooth)
    camera = estimate_camera(plane[None], settings.cutoff, settings.pixel_size_nm)
    noise = np.sqrt(camera.variance(level)) / (2 * np.sqrt(np.pi) * max(sigma, 0.5))
    peaks = peak_local_max(  # type: ignore[no-untyped-call]
        smooth, min_distance=max(2, round(2 * sigma)), threshold_abs=level + 8 * noise
    )
    heights = smooth[tuple(peaks.T)] - level
    typical = np.median(heights) if heights.size else 0.0
    left_out = dict.fromkeys(("at the border", "saturated", "too close", "too faint or bright"), 0)
    kept = []
    for peak, height in zip(peaks, heights, strict=True):
        low, high = peak - half, peak + half + 1
        others = np.abs(peaks - peak).max(axis=1) <= 1.5 * half
        # Neighbours that are much fainter than the bead disturb less than its own noise.
        near = others & (heights > 0.05 * height) & (peaks != peak).any(axis=1)
        if (low < 0).any() or (high > plane.shape).any():
            left_out["at the border"] += 1
        elif saturated[low[0] : high[0], low[1] : high[1]].any():
            left_out["saturated"] += 1
        elif not DARKEST * typical < height < BRIGHTEST * typical:
            left_out["too faint or bright"] += 1
        elif near.any():
            left_out["too close"] += 1
        else:
            kept.append(peak)
    if len(kept) < FEWEST:
        out = ", ".join(f"{count} {why}" for why, count in left_out.items() if count) or "none"
        raise UserError(
            f"Only {len(kept)} single beads were found, but {FEWEST} are needed (left out: {out}): "
            "use a larger image, or beads that lie further apart and are not saturated."
        )
    return np.array(kept), left_out


def _spectrum(plane: Real, peak: NDArray[np.intp], half: int) -> NDArray[np.complex128]:
    """Return the spectrum of one bead, centred."""
    y, x = peak
    part = plane[y - half : y + half + 1, x - half : x + half + 1]
    edge = np.concatenate([part[0], part[-1], part[1:-1, 0], part[1:-1, -1]])
    light = part - np.median(edge)
    # From zero padding come samples finer than the cut-out gives by itself.
    size = 2 * light.shape[0]
    k_y, k_x = frequencies((size, size), 1.0)
    centre = _centre(light)
    spectrum = np.fft.fft2(light, (size, size))
    spectrum = spectrum * np.exp(2j * np.pi * (k_y * centre[0] + k_x * centre[1]))
    return np.asarray(spectrum)


def _centre(light: Real, rounds: int = 12) -> Real:
    """Return the centre (y, x) of a bead: the mean under a round window that moves with it."""
    y, x = (np.arange(n) for n in light.shape)
    centre = np.array(light.shape) / 2 - 0.5
    width = light.shape[0] / 8
    for _ in range(rounds):
        window = np.exp(-((y[:, None] - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * width**2))
        weight = window * np.maximum(light, 0)
        total = max(float(weight.sum()), 1e-300)
        centre = np.array([weight.sum(1) @ y, weight.sum(0) @ x]) / total
    return centre


def _radial(
    spectra: NDArray[np.complex128],
    positions: NDArray[np.intp],
    left_out: dict[str, int],
    settings: BeadSettings,
) -> BeadOtf:
    """Average over directions and beads, undo the bead, and smooth."""
    size = spectra.shape[-1]
    pixel = settings.pixel_size_nm / 1000
    step = 1 / (size * pixel)
    k = np.hypot(*frequencies((size, size), pixel))
    ring = np.rint(k / step).astype(int).ravel()
    count = np.bincount(ring)
    last = int(np.ceil(settings.cutoff / step))
    at = (np.bincount(ring, k.ravel()) / count)[: last + 1]
    rings = np.array([np.bincount(ring, s.real.ravel()) / count for s in spectra])[:, : last + 1]
    bead = _sphere(at, settings.bead_diameter_nm / 1000)
    if bead[-1] < 0.3:
        raise UserError(
            f"Beads of {settings.bead_diameter_nm:g} nm are too large for a resolution of "
            f"{1000 / settings.cutoff:.0f} nm: use beads of half that size or smaller."
        )
    rings = rings / bead
    scaling = (at > 2 * LOWEST * step) & (at < MIDDLE * settings.cutoff)
    rings = rings / rings[:, scaling].mean(axis=1, keepdims=True)
    mean = rings.mean(axis=0)
    error = rings.std(axis=0, ddof=1) / np.sqrt(len(rings))
    # Rings are twice as dense as the cut-out gives by itself: its width is 1 / (2 step).
    ideal = np.maximum(ideal_otf(at, settings.cutoff), 1e-6)
    ratio = np.polyfit(at[scaling], np.log(np.maximum(mean / ideal, 1e-3)[scaling]), 1)
    low = at <= 2 * LOWEST * step
    whole = np.exp(np.polyval(ratio, 0.0))
    mean = np.where(low, ideal * np.exp(np.polyval(ratio, at)), mean) / whole
    error = np.where(low, error[scaling].max(), error) / whole
    grid = np.arange(last + 1) * step
    smooth = _smoothed(at, mean, error, settings.cutoff)(grid)
    profile = np.where(grid < settings.cutoff, np.clip(smooth, 0, 1), 0.0)
    profile[0] = 1.0
    return BeadOtf(
        np.pad(profile, (0, 4)),
        np.pad(error, (0, 4)),
        step,
        settings.cutoff,
        positions.astype(float),
        left_out,
    )


def _smoothed(at: Real, mean: Real, error: Real, cutoff: float) -> UnivariateSpline:
    """Return a smooth curve through the rings, as far as their errors ask for, 0 at the cutoff.

    Chi-squared is allowed to be the number of rings: less would follow the noise.
    """
    inside = (at > 0) & (at < cutoff)
    floor = max(float(np.median(error[inside])), 1e-4)
    x = np.concatenate([[0.0], at[inside], [cutoff]])
    y = np.concatenate([[1.0], mean[inside], [0.0]])
    weight = 1 / np.concatenate([[floor / 10], np.maximum(error[inside], floor / 2), [floor / 10]])
    return UnivariateSpline(x, y, weight, k=3, s=0.5 * x.size)


def _sphere(k: Real, diameter: float) -> Real:
    """Return the transform of a uniformly bright sphere, 1 at k = 0 (`diameter` in um)."""
    x = np.maximum(np.pi * diameter * k, 1e-3)
    return np.asarray(3 * (np.sin(x) - x * np.cos(x)) / x**3)
