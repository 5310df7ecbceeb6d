"""Pictures to judge the patterns by: the Fourier spectrum with its circles, the illumination."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.sim.results import Patterns
    from napari_physgen.sim.settings import SimSettings


def figures(
    frames: NDArray[np.float32], patterns: Patterns, settings: SimSettings
) -> tuple[Output, ...]:
    """Return the spectrum, its circles and the fitted illumination.

    Parameters
    ----------
    frames : numpy.ndarray
        (angle, phase, y, x), raw.
    patterns : Patterns
    settings : SimSettings
    """
    shape = (frames.shape[2], frames.shape[3])
    # Beside the source, a tenth of the field away from its right edge.
    offset = (0.0, 1.1 * shape[1])
    steps = 1000 / (np.array(shape) * settings.pixel_size_nm)
    illumination = patterns.illumination(shape)
    return (
        Output(
            "spectrum",
            log_spectrum(frames),
            offset=offset,
            display={"colormap": "magma", "visible": False},
            export=False,
        ),
        Output(
            "OTF and pattern circles",
            _circles(patterns, settings.cutoff, shape, steps),
            kind="shapes",
            offset=offset,
            display={"visible": False},
            export=False,
        ),
        Output(
            "illumination",
            illumination,
            axes=("frame", "y", "x"),
            display={"colormap": "gray", "visible": False},
        ),
    )


def log_spectrum(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log10 of the power of the differences between phases, summed, k = 0 in the middle.

    The common part of the phases, which hides the pattern, adds with a hundredth of its power.
    """
    height, width = frames.shape[-2:]
    window = np.hanning(height)[:, None] * np.hanning(width)
    mean = frames.mean(axis=1, keepdims=True)
    images = np.concatenate([frames - mean, 0.1 * (mean - mean.mean())], axis=1)
    power = np.zeros((height, width))
    for image in images.reshape(-1, height, width):
        power += np.abs(scipy.fft.fft2(image * window)) ** 2
    power = scipy.fft.fftshift(power)
    return np.asarray(np.log10(power + 1e-6 * power.max()), np.float32)


def _circles(
    patterns: Patterns,
    cutoff: float,
    shape: tuple[int, int],
    steps: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return ellipses (n, 4, 2) in spectrum pixels: the OTF's edge, then +-k of every angle."""
    middle = np.array(shape) // 2
    centres = [np.zeros(2)]
    radii = [cutoff / steps]
    for k in patterns.waves.wavevectors.reshape(-1, 2):
        for sign in (1, -1):
            centres.append(sign * k / steps)
            radii.append(np.full(2, max(3.0, min(shape) / 60)))
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    boxes = [middle + c + corners * r for c, r in zip(centres, radii, strict=True)]
    return np.array(boxes, dtype=np.float32)
