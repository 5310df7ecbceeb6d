"""Curves and pictures of the quality report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.sim._report_results import Curve, Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.metrics.decorrelation import Decorrelation
    from napari_physgen.metrics.image import RingCorrelation
    from napari_physgen.metrics.residual import Whiteness
    from napari_physgen.sim._report_resolution import Reach

    Real = NDArray[np.float64]
    Frames = NDArray[np.float32]


def brightness_curve(means: Real, angle_of: NDArray[np.int_], fitted: Real) -> Curve:
    """Return the mean light of each frame (frame,) with the exponential fitted to it."""
    number = np.arange(1.0, means.size + 1)
    scale = 1 / means.max()
    lines = {
        f"angle {a + 1}": (number[angle_of == a], scale * means[angle_of == a])
        for a in np.unique(angle_of)
    }
    return Curve(
        "brightness of the frames",
        "Mean light above the offset in the order of acquisition, and the exponential through it.",
        "frame",
        "mean light / brightest",
        lines | {"bleaching": (number, scale * fitted)},
        dots=True,
    )


def ring_curve(rings: RingCorrelation, reach: Reach) -> Curve:
    """Return the ring correlation against frequency, up to what can be measured."""
    shown = rings.frequency <= 1 / reach.finest_nm
    return Curve(
        "Fourier ring correlation",
        "Of two images with half of the light each; below 1/7 they share too little to be trusted.",
        "spatial frequency, 1/um",
        "correlation",
        {"halves": (1000 * rings.frequency[shown], rings.frc[shown])},
        _ends(reach) | {"resolution": 1000 / reach.capped(rings.resolution)},
        level=1 / 7,
    )


def decorrelation_curve(found: Decorrelation, reach: Reach) -> Curve:
    """Return the decorrelation curves of the image itself and behind the best filters."""
    frequency = 1000 * found.frequency
    count = len(found.curves)
    chosen = {"image": 0, "high-pass": count // 4, "stronger": count // 2, "best": count - 1}
    return Curve(
        "decorrelation analysis",
        "Curves of the image behind high-pass filters; the last maximum is where detail ends.",
        "spatial frequency, 1/um",
        "d",
        {name: (frequency, found.curves[i]) for name, i in chosen.items()},
        _ends(reach) | {"resolution": 1000 / reach.capped(found.resolution)},
    )


def _ends(reach: Reach) -> dict[str, float]:
    return {"lens": 1000 / reach.lens_nm, "lens and pattern": 1000 / reach.finest_nm}


def angles_in_colours(images: Frames) -> Picture:
    """Return the angles (angle, y, x) as cyan, magenta and yellow, as SIMcheck does.

    What all angles show alike is grey; what moved or changed is coloured.
    """
    three = images[np.linspace(0, len(images) - 1, 3).round().astype(int)]
    scaled = [image / max(float(np.percentile(image, 99.7)), 1e-12) for image in three]
    shades = np.stack([1 - np.eye(3)[i] for i in range(3)])
    colours = sum(
        np.clip(image, 0, 1)[..., None] * shade for image, shade in zip(scaled, shades, strict=True)
    )
    return Picture(
        "angles in colours",
        "Cyan, magenta and yellow for the angles: what moved or changed between them is coloured.",
        np.asarray(colours) / 2,
    )


def lag_picture(white: Whiteness) -> Picture:
    """Return the autocorrelation of what is left over, without the middle."""
    lags = white.autocorrelation.shape[0] // 2
    picture = white.autocorrelation.copy()
    picture[lags, lags] = 0
    return Picture(
        "residual autocorrelation",
        f"Of what is left over, up to {lags} px in each direction; grey is none.",
        picture,
        "RdBu_r",
        (-0.3, 0.3),
        bar=True,
    )


def log_power(frames: Frames) -> Frames:
    """Return log10 of the power spectrum of frames (angle, phase, y, x), k = 0 in the middle."""
    from napari_physgen.sim.spectrum import log_spectrum

    if frames.shape[1] > 1:
        return log_spectrum(frames)
    image = frames[0, 0] - frames[0, 0].mean()
    window = np.hanning(image.shape[0])[:, None] * np.hanning(image.shape[1])
    power = scipy.fft.fftshift(np.abs(scipy.fft.fft2(image * window)) ** 2)
    return np.asarray(np.log10(power + 1e-8 * power.max()), np.float32)
