"""Checks of the raw frames that need no pattern: saturation, brightness, background, motion.

The limits for brightness are those of SIMcheck (Ball et al., Sci. Rep. 5, 15915, 2015), whose
authors expect artefacts where angles or frames differ by more than about 30 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from napari_physgen.sim._report_check import Check, Scale, advised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Frames = NDArray[np.float32]

SATURATED = Scale(0.0, 0.01)
BLEACHED = Scale(15, 30, "%")
UNEVEN = Scale(15, 30, "%")
FLICKER = Scale(5, 15, "%")
BACKGROUND = Scale(60, 85, "%")

FADING = (
    "Use less light per frame or a dye that lasts longer. The brightness of each frame is fitted, "
    "but the last angle has fewer photons and its detail is noisier."
)
BRIGHTENING = (
    "Let the laser warm up, or bring the dye into its bright state first. The brightness of each "
    "frame is fitted, but the first angle has fewer photons and its detail is noisier."
)

STEPS = 4.0
"""By how much steps between the angles must lower the variance around the exponential to count."""

BLOCK = 8.0
"""Side, in resolution lengths 1/cutoff, of the surroundings whose darkest place is background."""


def saturation(share: float) -> Check:
    """Judge the share of pixels at the top of the grey scale."""
    verdict = SATURATED.verdict(share)
    words = f"{share:.2%} of the pixels are saturated." if share else "No pixel is saturated."
    advice = (
        "Record with less light or a shorter exposure: what is cut off is missing in the pattern "
        "and comes back as stripes around bright places."
    )
    return Check(
        "saturation",
        100 * share,
        "%",
        verdict,
        words,
        advised(verdict, advice),
        "good at 0 %, poor from 1 %",
    )


def decay(brightness: Real, angle_of: NDArray[np.int_]) -> tuple[float, Real]:
    """Return the loss over the stack (0 to 1) and the exponential (frame,) fitted to brightness.

    Where the angles differ in steps, only what happens within them counts as fading.

    Parameters
    ----------
    brightness : numpy.ndarray
        (frame,), mean light per frame in the order of acquisition.
    angle_of : numpy.ndarray
        (frame,), the angle that each frame belongs to.
    """
    number = np.arange(brightness.size)
    logarithm = np.log(brightness)
    levels = (angle_of[:, None] == np.unique(angle_of)).astype(float)
    slopes, errors = [], []
    for offsets in (np.ones_like(levels[:, :1]), levels):
        model = np.column_stack([number, offsets])
        weights = np.linalg.lstsq(model, logarithm, rcond=None)[0]
        slopes.append(weights[0])
        rest = logarithm - model @ weights
        errors.append(float(rest @ rest) / (number.size - model.shape[1]))
    slope = slopes[1] if errors[0] > STEPS * errors[1] else slopes[0]
    fitted = np.exp(slope * number)
    return float(1 - fitted[-1]), np.asarray(fitted * brightness.mean() / fitted.mean())


def brightness(means: Real, angle_of: NDArray[np.int_]) -> list[Check]:
    """Judge bleaching, the balance of the angles and the flicker of single frames.

    Parameters
    ----------
    means : numpy.ndarray
        (frame,), mean light of the frames above the offset, in the order of acquisition.
    angle_of : numpy.ndarray
        (frame,), the angle that each frame belongs to.
    """
    lost, fitted = decay(means, angle_of)
    rest = means / fitted
    angles = np.array([rest[angle_of == a].mean() for a in range(angle_of.max() + 1)])
    spread = 100 * float(np.ptp(angles) / angles.max())
    within = rest / angles[angle_of]
    flicker = 100 * float(np.sqrt(np.sum((within - 1) ** 2) / (rest.size - angles.size)))
    return [_bleaching(100 * lost), _balance(spread), _flicker(flicker)]


def _bleaching(lost: float) -> Check:
    verdict = BLEACHED.verdict(abs(lost))
    change = f"{lost:.0f} % darker" if lost >= 0 else f"{-lost:.0f} % brighter"
    words = f"From the first to the last frame the sample gets {change} (exponential fit)."
    if abs(lost) < 1:
        words = "The brightness is the same from the first to the last frame."
    return Check(
        "bleaching",
        lost,
        "%",
        verdict,
        words,
        advised(verdict, FADING if lost > 0 else BRIGHTENING),
        BLEACHED.words,
    )


def _balance(spread: float) -> Check:
    verdict = UNEVEN.verdict(spread)
    return Check(
        "light of the angles",
        spread,
        "%",
        verdict,
        f"Apart from bleaching, the angles differ in brightness by {spread:.0f} %.",
        advised(
            verdict,
            "Adjust the laser power or the polarisation per angle; check that no beam is cut off "
            "at one of the angles.",
        ),
        UNEVEN.words,
    )


def _flicker(flicker: float) -> Check:
    verdict = FLICKER.verdict(flicker)
    return Check(
        "flicker",
        flicker,
        "%",
        verdict,
        f"Frames of one angle differ in brightness by {flicker:.1f} % (standard deviation).",
        advised(
            verdict,
            "Check the laser, the shutter and whether exposures are as long as they should be; a "
            "wrong frame order looks like this too.",
        ),
        FLICKER.words,
    )


def background(widefield: Frames, cutoff_px: float) -> Check:
    """Judge the share of light that does not come from visible structure.

    Parameters
    ----------
    widefield : numpy.ndarray
        (y, x), above the offset.
    cutoff_px : float
        Detection cutoff, cycles per pixel.
    """
    smooth = scipy.ndimage.gaussian_filter(widefield.astype(float), 0.5 / cutoff_px)
    size = max(3, round(BLOCK / cutoff_px))
    floor = scipy.ndimage.gaussian_filter(scipy.ndimage.minimum_filter(smooth, size), size / 2)
    share = 100 * float(np.clip(floor.mean() / max(smooth.mean(), 1e-12), 0, 1))
    verdict = BACKGROUND.verdict(share)
    return Check(
        "background",
        share,
        "%",
        verdict,
        f"{share:.0f} % of the light is a smooth background.",
        advised(
            verdict,
            "Out-of-focus light carries no pattern and only adds noise: use TIRF, a thinner or "
            "sparser sample, or a confocal method. In a dense flat sample this is no fault.",
        ),
        BACKGROUND.words,
    )


def shifts(images: Frames, variance: Real, cutoff_px: float) -> tuple[Real, Real]:
    """Return where each image lies relative to the first one, and the error, both in raw px.

    Parameters
    ----------
    images : numpy.ndarray
        (angle, y, x), the sample as each angle shows it, without the pattern.
    variance : numpy.ndarray
        (angle,), noise variance of a pixel.
    cutoff_px : float
        Detection cutoff, cycles per pixel.

    Returns
    -------
    shift : numpy.ndarray
        (angle, 2), y and x.
    error : numpy.ndarray
        (angle,), standard error along one axis.
    """
    from skimage.registration import phase_cross_correlation

    fine, coarse = 0.35 / cutoff_px, 2.5 / cutoff_px
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in images.shape[1:]))

    def passed(image: Real) -> Real:
        """Keep what every angle shows alike: no uneven light, no left-over pattern."""
        blurred = (scipy.ndimage.gaussian_filter(image, s) for s in (fine, coarse))
        return np.asarray(np.subtract(*blurred))

    filtered = [passed(image.astype(float)) * window for image in images]
    found = [np.zeros(2)]
    for image in filtered[1:]:
        shift, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
            filtered[0], image, upsample_factor=100, normalization=None
        )
        found.append(-np.asarray(shift, float))
    errors = []
    for image, noise in zip(filtered, variance, strict=True):
        slope = np.gradient(image, axis=0), np.gradient(image, axis=1)
        power = min(float(np.sum(part**2)) for part in slope)
        seen = min(float(np.sum(passed(part * window) ** 2)) for part in slope)
        errors.append(np.sqrt(2 * noise * seen) / max(power, 1e-300))
    return np.array(found), np.array(errors)


def motion(shift: Real, error: Real, pixel_nm: float, finest_nm: float) -> Check:
    """Judge how far the sample moved between the angles.

    Parameters
    ----------
    shift, error : numpy.ndarray
        From `shifts`.
    pixel_nm : float
    finest_nm : float
        Finest period that the reconstruction can hold.
    """
    steps = shift[:, None] - shift
    distance = float(np.hypot(steps[..., 0], steps[..., 1]).max())
    unsure = float(error.max())
    # At a quarter of the finest period two angles see it with opposite signs of its slope.
    scale = Scale(round(0.1 * finest_nm), round(0.25 * finest_nm), "nm")
    nm, unsure_nm = distance * pixel_nm, unsure * pixel_nm
    verdict = scale.verdict(max(nm - 2 * unsure_nm, 0.0))
    words = (
        f"Between the angles the sample moved by up to {nm:.0f} nm ({distance:.2f} px; "
        f"error {unsure_nm:.0f} nm)."
    )
    if unsure_nm > scale.poor:
        verdict, words = "unknown", "The frames are too dark or too empty to see a motion."
    return Check(
        "motion",
        nm,
        "nm",
        verdict,
        words,
        advised(
            verdict,
            "Let the stage settle, record faster, or fix the sample. The variational image fits "
            "one shift per angle; the Wiener image does not.",
        ),
        scale.words,
    )
