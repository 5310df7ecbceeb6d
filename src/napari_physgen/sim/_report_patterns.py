"""Checks of the illumination: found, modulated, above the noise, and in accord with the frames.

Limits were measured on simulated filaments (NA 1.4, 525 nm, pattern at 0.6-1.1 cutoffs, 2-1000
photons per pixel, modulation 0.05-0.8) where nothing else is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.physics.optics import ideal_otf
from napari_physgen.sim._bands import Field, Wave
from napari_physgen.sim._damping import CLEAR, fit_damping, overlap_power
from napari_physgen.sim._refine import fit
from napari_physgen.sim._report_check import Check, Scale, advised, worst
from napari_physgen.sim.wiener import Bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.physics.optics import Otf
    from napari_physgen.sim.case import Case
    from napari_physgen.sim.results import Patterns

    Real = NDArray[np.float64]

PEAK = Scale(5, 4)
"""On measured stacks no peak of 5 was wrong, and one of 3.9 was."""
MODULATION = Scale(0.3, 0.15)
FULL = 1.1
CONTRAST = Scale(4, 1.5)
"""Resolution by ring correlation is then 85 % of the way from the lens to the finest, and none."""
PHASE = Scale(8, 20, "deg")
"""Right patterns differ by up to 5; from 10 on, stripes appear at low pattern frequencies."""
PERIOD = Scale(0.1, 0.5)
DEPTH = Scale(0.3, 0.6)
OTF = Scale(1.6, 2.5)
"""Right OTFs differ by up to 1.3."""

DIM = 2.0
"""Modulation contrast below which the frames do not tell which OTF or phases are right."""

BLOCK = 8
"""Side of the blocks of the contrast map, raw px."""


def contrast(case: Case, patterns: Patterns) -> Real:
    """Return the modulation contrast to noise (angle, y, x).

    Amplitude of the first order behind the detection OTF, which noise does not pass unhindered,
    over the amplitude that noise alone would have there: 1 is noise. SIMcheck averages over planes
    of a stack to the same end.
    """
    signal, camera = case.signal, case.camera
    h = case.otf.on_grid(case.shape, patterns.pixel_size_nm / 1000, real=True)

    def passed(image: Real) -> Real:
        return np.asarray(scipy.fft.irfft2(scipy.fft.rfft2(image) * h, case.shape))

    share = np.mean(case.otf.on_grid(case.shape, patterns.pixel_size_nm / 1000) ** 2)
    light = np.maximum(passed(signal.mean((0, 1))), 0)
    # The mean length of a complex Gaussian number with unit variance is sqrt(pi) / 2.
    noise = np.sqrt((camera.gain * light + camera.read_noise**2) * share * np.pi) / 2
    angles = []
    for a in range(len(signal)):
        band = Bands.separate(signal[a], patterns, a)
        waves = [
            np.hypot(passed(side.real), passed(side.imag)) * np.sqrt(weight * band.phases)
            for side, weight in zip(band.side, band.side_weight, strict=True)
        ]
        angles.append(np.max(waves, axis=0) / noise)
    return np.array(angles)


def features(image: Real) -> NDArray[np.bool_]:
    """Return where the sample is: brighter than Otsu's threshold of the smoothed image."""
    from scipy.ndimage import gaussian_filter
    from skimage.filters import threshold_otsu

    smooth = gaussian_filter(image, 1.5)
    return np.asarray(smooth >= threshold_otsu(smooth))  # type: ignore[no-untyped-call]


def blocks(image: Real) -> NDArray[np.float32]:
    """Return the mean over blocks (y, x); an incomplete block at an edge is left out."""
    rows, columns = (n // BLOCK for n in image.shape)
    cut = image[: rows * BLOCK, : columns * BLOCK]
    return np.asarray(cut.reshape(rows, BLOCK, columns, BLOCK).mean((1, 3)), np.float32)


def modulation_contrast(values: Real, sample: NDArray[np.bool_]) -> Check:
    """Judge the contrast to noise (angle, y, x) where the sample is."""
    angles = values[:, sample].mean(1)
    value = float(angles.mean())
    verdict = CONTRAST.verdict(value)
    each = " / ".join(f"{v:.1f}" for v in angles)
    return Check(
        "modulation contrast",
        value,
        "",
        verdict,
        f"In the sample the pattern stands {value:.1f} times above the noise (angles {each}; "
        "1 = noise alone).",
        advised(
            verdict,
            "More light, a longer exposure, less background or a coarser pattern; the finest "
            "detail drowns in noise where the map is dark.",
        ),
        CONTRAST.words,
    )


def peaks(patterns: Patterns) -> Check:
    """Judge how clearly the search found the pattern of each angle."""
    ratio = float(np.min(patterns.peak_ratio))
    verdict = PEAK.verdict(ratio)
    if patterns.verdict.startswith("failed"):
        verdict = "poor"
    elif patterns.verdict.startswith("usable"):
        verdict = worst([verdict, "fair"]) if verdict != "poor" else "fair"
    each = " / ".join(f"{r:.1f}" for r in patterns.peak_ratio)
    words = f"Peaks of the pattern search over what chance gives, by angle: {each}."
    if not np.isfinite(ratio):
        words = "The patterns were given, not searched for."
    if patterns.verdict != "good":
        words = f"{words} The estimate is {patterns.verdict}."
    return Check(
        "pattern search",
        ratio if np.isfinite(ratio) else float("nan"),
        "",
        verdict,
        words,
        advised(
            verdict,
            "Give the excitation NA and wavelength, check NA, pixel size and frame order, or take "
            "the patterns from a brighter stack of the same day.",
        ),
        PEAK.words,
    )


def modulation(patterns: Patterns) -> Check:
    """Judge the modulation depth of the weakest angle."""
    value = float(patterns.modulation.min())
    verdict = MODULATION.verdict(value)
    each = " / ".join(f"{m:.2f}" for m in patterns.modulation)
    words = f"Modulation depth of the light by angle: {each}."
    if patterns.modulation.max() > FULL:
        verdict = worst([verdict, "fair"])
        words = f"{words} More than 1 is impossible: it is not known well, or the OTF is wrong."
    return Check(
        "modulation",
        value,
        "",
        verdict,
        words,
        advised(
            verdict,
            "Check the polarisation at each angle, the alignment and coherence of the beams and "
            "the focus: at this depth the fine detail needs many more photons.",
        ),
        MODULATION.words,
    )


def _waves(case: Case, patterns: Patterns) -> tuple[Real, list[Wave]]:
    """Return frames of equal brightness (angle, phase, y, x) and the given first waves."""
    frames = case.signal.astype(float)
    frames = frames / frames.mean(axis=(2, 3), keepdims=True)
    count = patterns.phases.shape[1]
    return frames, [
        Wave(k, phases, np.ones(count), float(m))
        for k, phases, m in zip(
            patterns.wavevectors, patterns.phases, patterns.modulation, strict=True
        )
    ]


def agreement(case: Case, patterns: Patterns, clear: bool) -> Check:
    """Judge whether the frames show the patterns that they are reconstructed with.

    The likelihood fit of the pattern estimate starts again from the wavevectors alone.

    Parameters
    ----------
    case : Case
    patterns : Patterns
    clear : bool
        Whether the frames are bright enough to tell.
    """
    field = Field(case.shape, patterns.pixel_size_nm / 1000, case.otf)
    frames, given = _waves(case, patterns)
    middle = (np.array(case.shape) - 1) / 2 * field.pixel_um
    phase, period, depth = [], [], []
    for own, wave in zip(frames, given, strict=True):
        found = fit(own, field, wave.q, rounds=1)
        turn = 2 * np.pi * (found.q - wave.q) @ middle
        phase.append(np.angle(np.exp(1j * (found.phases - wave.phases + turn))))
        period.append(float(np.hypot(*((found.q - wave.q) / field.steps))))
        depth.append(abs(np.log(max(found.modulation, 0.01) / max(wave.modulation, 0.01))))
    value = float(np.degrees(np.sqrt(np.mean(np.square(phase)))))
    verdict = worst(
        [PHASE.verdict(value), PERIOD.verdict(max(period)), DEPTH.verdict(float(np.mean(depth)))]
    )
    words = (
        f"The frames show phases that differ from those used by {value:.0f} degrees (root mean "
        f"square), wavevectors by up to {max(period):.2f} DFT pixels and the modulation by "
        f"{100 * np.expm1(np.mean(depth)):.0f} %."
    )
    if not clear:
        verdict, words = "unknown", "The frames are too dark to tell whether the patterns fit them."
    return Check(
        "patterns against frames",
        value,
        "deg",
        verdict,
        words,
        advised(
            verdict,
            "Estimate the patterns from these frames again; patterns of another field, day or "
            "frame order do not fit.",
        ),
        PHASE.words,
    )


def otf_agreement(case: Case, patterns: Patterns, clear: bool) -> Check:
    """Judge whether the bands, which share the object, show the OTF that is used.

    Compared are the damping at the cutoff that the ratio of the bands' powers has and that of the
    OTF, both relative to the ideal one.
    """
    settings = case.settings
    ideal = type(case.otf).ideal(settings.na, settings.wavelength_nm)
    field = Field(case.shape, patterns.pixel_size_nm / 1000, ideal)
    frames, given = _waves(case, patterns)
    powers = [overlap_power(own, field, wave) for own, wave in zip(frames, given, strict=True)]
    shown, used = fit_damping(powers, ideal.cutoff), _damping_of(case.otf, ideal.cutoff)
    value = float(np.exp(abs(np.log(shown / used))))
    verdict = OTF.verdict(value)
    side = "less" if shown > used else "more"
    words = (
        f"The frames show an OTF that is damped {side} than the one used: {shown:.2f} of the "
        f"ideal one at the cutoff instead of {used:.2f}, a factor of {value:.1f}."
    )
    if not clear:
        verdict, words = "unknown", "The frames are too dark to tell whether the OTF fits them."
    return Check(
        "OTF",
        value,
        "",
        verdict,
        words,
        advised(
            verdict,
            "Check the NA, the emission wavelength and the pixel size; measure the OTF with beads "
            "in this channel, or leave it out so that its damping is fitted.",
        ),
        OTF.words,
    )


def _damping_of(otf: Otf, cutoff: float) -> float:
    """Return the damping of the ideal OTF of `cutoff` that is most like `otf`."""
    part = np.linspace(CLEAR, 0.9, 30)
    ratio = otf(part * cutoff, 0.0) / ideal_otf(part, 1.0)
    seen = ratio > 0
    if seen.sum() < 5:
        return 1e-3
    return float(np.exp(np.polyfit(part[seen], np.log(ratio[seen]), 1)[0]))
