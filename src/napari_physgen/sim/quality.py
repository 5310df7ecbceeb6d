"""How well a raw stack is modulated: the contrast of the pattern over the noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.sim.wiener import Bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.physics.noise import Camera
    from napari_physgen.sim.results import Patterns

    Real = NDArray[np.float32]


def modulation_contrast(frames: Real, patterns: Patterns, camera: Camera) -> Real:
    """Return the modulation contrast-to-noise ratio at every pixel (y, x), mean of the angles.

    Amplitude of the first order over the phases, divided by the amplitude that noise alone would
    have there (SIMcheck; Ball et al. 2015). The noise follows from the camera, since three phases
    leave none over to measure it. A pattern close to the detection cutoff is hardly visible in the
    raw frames: the ratio is then low even where the reconstruction is good.

    Parameters
    ----------
    frames : numpy.ndarray
        (angle, phase, y, x), grey levels above the camera offset.
    patterns : Patterns
    camera : Camera
    """
    bands = [Bands.separate(frames[a], patterns, a) for a in range(len(frames))]
    brightness = np.maximum(frames.mean((0, 1)), 0)
    noise = np.sqrt(camera.gain * brightness + camera.read_noise**2)
    # Mean length of a complex Gaussian number with unit variance.
    rayleigh = np.sqrt(np.pi) / 2
    # With several waves the one that stands out most at each pixel counts.
    ratios = [
        np.max(np.abs(b.side) * np.sqrt(b.side_weight * b.phases)[:, None, None], axis=0) / rayleigh
        for b in bands
    ]
    return np.asarray(np.mean(ratios, axis=0) / noise, np.float32)


def mcnr(frames: Real, patterns: Patterns, camera: Camera) -> float:
    """Return the mean of `modulation_contrast` over the features of the sample.

    Below 4 inadequate, 4-8 low to moderate, above 8 good (SIMcheck, for patterns well below the
    cutoff). Features are the pixels above Otsu's threshold.
    """
    from skimage.filters import threshold_otsu

    contrast = modulation_contrast(frames, patterns, camera)
    return float(contrast[contrast >= threshold_otsu(contrast)].mean())  # type: ignore[no-untyped-call]
