"""Check a raw SIM stack once, at the border, and hand on plain float frames.

Grey levels are left as the camera gave them: offset, gain and the brightness of each
frame belong to the noise model and to the pattern estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.errors import UserError
from napari_physgen.physics.noise import estimate_camera
from napari_physgen.physics.optics import frequencies
from napari_physgen.sim._arrangement import Arrangement
from napari_physgen.sim.settings import LAYOUT

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.physics.noise import Camera
    from napari_physgen.sim.settings import SimSettings

SMALLEST = 64
"""Fewest pixels along y and x: below, the pattern is not found reliably."""


@dataclass(frozen=True)
class Stack:
    """Raw frames that passed the checks.

    Parameters
    ----------
    frames : numpy.ndarray
        (frame, y, x), float32, in the order of acquisition.
    angles, phases : int
        Number of pattern orientations and of shifts per orientation.
    order : {"auto", "angle-phase", "phase-angle"}
        Which index is slow in `frames`, as far as known.
    warnings : tuple of str
        What is doubtful about the data, one sentence each.
    """

    frames: NDArray[np.float32]
    angles: int
    phases: int
    order: str
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Frame size (y, x) in pixels."""
        return (self.frames.shape[1], self.frames.shape[2])

    def by_angle(self, order: str) -> NDArray[np.float32]:
        """Return the frames as (angle, phase, y, x) for a given acquisition order."""
        if order == "phase-angle":
            return self.frames.reshape(self.phases, self.angles, *self.shape).swapaxes(0, 1)
        return self.frames.reshape(self.angles, self.phases, *self.shape)

    def camera(self, settings: SimSettings) -> Camera:
        """Return offset, gain and noise: what the settings say, else estimated."""
        return estimate_camera(
            self.frames,
            settings.cutoff,
            settings.pixel_size_nm,
            settings.camera_offset,
            settings.camera_gain,
        )


def ingest(raw: ArrayLike, settings: SimSettings) -> Stack:
    """Turn a raw stack into checked float32 frames.

    Parameters
    ----------
    raw : array
        (frame, y, x), or (slow, fast, y, x) where the two are angle and phase, of any
        real number type; with a frame order that says so, a montage (y, x), or frames among
        which one of plain light is left out.
    settings : SimSettings

    Raises
    ------
    UserError
        If the stack cannot be reconstructed: wrong dimensions or frame number, frames that are
        too small, constant, not finite or mostly saturated.
    """
    array = np.asarray(raw)
    _check_type(array, settings)
    order = Arrangement.parse(settings.order).plain
    if order != settings.order:
        array = _one_plane(array, settings)
    elif array.ndim == 4:
        order = _order_of_axes(array.shape[:2], settings)
        array = array.reshape(-1, *array.shape[2:])
    _check_shape(array, settings)
    frames = np.ascontiguousarray(array, dtype=np.float32)
    _check_values(frames)
    saturation = saturated_share(array)
    if saturation > 0.05:
        raise UserError(
            f"{saturation:.0%} of the pixels are saturated: record the stack again with less "
            "light or a shorter exposure."
        )
    warnings = _warnings(frames, saturation)
    return Stack(frames, settings.angles, settings.phases, order, warnings)


def _check_type(array: NDArray[np.generic], settings: SimSettings) -> None:
    if array.dtype == bool:
        raise UserError("This is a mask (true/false): choose the raw camera frames instead.")
    if array.dtype.kind not in "uif":
        raise UserError(
            f"Raw frames must be real numbers, not {array.dtype}: choose the raw camera frames."
        )
    if array.ndim in (3, 4) and array.shape[-1] in (3, 4) and min(array.shape[-3:-1]) >= SMALLEST:
        raise UserError(
            "This looks like a colour (RGB) picture: SIM needs the grey raw frames, "
            "so convert it or choose one channel."
        )
    montage = "montage" in settings.order
    if array.ndim == 2 and not montage:
        raise UserError(
            "This is one picture without the axes (frame, y, x): choose the raw stack or, if the "
            "frames lie side by side in it, a frame order that begins with 'montage'."
        )
    if array.ndim not in ((2, 3, 4) if montage else (3, 4)):
        raise UserError(
            "The raw stack must have the axes (frame, y, x) or (angle, phase, y, x), "
            f"but it has {array.ndim} axes: choose one time point, slice and channel."
        )


def _one_plane(array: NDArray[np.generic], settings: SimSettings) -> NDArray[np.generic]:
    """Return the frames (frame, y, x) of an order that names more than angles and phases."""
    frames = Arrangement.parse(settings.order).frames(array, settings)
    if frames.size != np.prod(frames.shape[-3:]):
        raise UserError(
            f"In the frame order {settings.order} these are {np.prod(frames.shape[:-3])} planes "
            f"of {frames.shape[-3]} frames: choose one plane or time point."
        )
    return frames.reshape(frames.shape[-3:])


def _order_of_axes(slow_fast: tuple[int, ...], settings: SimSettings) -> str:
    """Tell which of the leading axes is the angle; equal numbers leave it to the settings."""
    angles, phases = settings.angles, settings.phases
    if slow_fast == (angles, phases):
        return settings.order if angles == phases else "angle-phase"
    if slow_fast == (phases, angles):
        return "phase-angle"
    raise UserError(
        f"The first two axes have {slow_fast[0]} and {slow_fast[1]} entries, but the settings "
        f"say {angles} angles and {phases} phases: change the settings or the axes."
    )


def _check_shape(array: NDArray[np.generic], settings: SimSettings) -> None:
    count = array.shape[0]
    if count != settings.frames:
        angles, phases = LAYOUT[settings.pattern]
        most = 1 if settings.pattern == "hexagonal" else 9
        fits = [
            f"{a} x {count // a}"
            for a in range(angles, most + 1)
            if count % a == 0 and phases <= count // a <= 15
        ]
        advice = (
            f"{count} frames would fit {' or '.join(fits)} (angles x phases)"
            if fits
            else f"no number of angles ({angles} or more) and phases ({phases} or more) "
            f"gives {count} frames"
        )
        raise UserError(
            f"The stack has {count} frames, but {settings.angles} angles x {settings.phases} "
            f"phases need {settings.frames}: {advice}."
        )
    if min(array.shape[1:]) < SMALLEST:
        raise UserError(
            f"The frames are {array.shape[1]} x {array.shape[2]} pixels, too few to find the "
            f"pattern: choose a field of at least {SMALLEST} x {SMALLEST} pixels."
        )


def _check_values(frames: NDArray[np.float32]) -> None:
    bad = ~np.isfinite(frames).all(axis=(1, 2))
    if bad.any():
        raise UserError(
            f"{_frames(bad)} not finite everywhere (NaN or infinity): "
            "fill or crop these pixels first."
        )
    constant = np.ptp(frames, axis=(1, 2)) == 0
    if constant.any():
        raise UserError(f"{_frames(constant)} constant, without any image: record the stack again.")


def _frames(which: ArrayLike) -> str:
    """Name frames for a sentence: 'Frame 2 is', 'Frames 2, 5 are' (counted from 1)."""
    numbers = [str(i + 1) for i in np.flatnonzero(which)]
    verb = "s {} are" if len(numbers) > 1 else " {} is"
    return "Frame" + verb.format(", ".join(numbers))


def saturated_share(array: NDArray[np.generic]) -> float:
    """Share of pixels on the plateau at the top of the grey scale.

    One or few pixels at the maximum are no plateau: rescaled data reach it by construction.
    """
    top = array.max()
    share = float(np.mean(array == top))
    return share if share > max(1e-4, 20 / array.size) else 0.0


def _warnings(frames: NDArray[np.float32], saturation: float) -> tuple[str, ...]:
    sentences = []
    if saturation:
        sentences.append(
            f"{saturation:.1%} of the pixels are saturated; expect artefacts around them."
        )
    means = frames.mean(axis=(1, 2)) - np.percentile(frames, 0.1)
    loss = 1 - means[-1] / max(means[0], 1e-12)
    if loss > 0.3:
        sentences.append(
            f"The last frame is {loss:.0%} darker than the first (bleaching); "
            "the brightness of each frame is fitted."
        )
    if _is_interpolated(frames):
        sentences.append(
            "The frames have no detail and no noise above half the camera's frequency range: they "
            "look interpolated, so the noise model is not valid; use the original camera frames."
        )
    return tuple(sentences)


def _is_interpolated(frames: NDArray[np.float32]) -> bool:
    """Whether the spectrum is empty above half Nyquist, where white camera noise should be."""
    window = np.hanning(frames.shape[1])[:, None] * np.hanning(frames.shape[2])
    image = frames[0] - frames[0].mean()
    power = np.abs(scipy.fft.fft2(image * window)) ** 2
    k_y, k_x = frequencies((frames.shape[1], frames.shape[2]), 1.0)
    largest = np.maximum(np.abs(k_y), np.abs(k_x))
    outer = float(np.median(power[largest > 0.3]))
    inner = float(np.median(power[(largest > 0.05) & (largest < 0.2)]))
    # White noise fills the whole square; its level inside is at least that outside. Interpolation
    # leaves rounding errors only: 1/12 grey level squared per pixel for integer data.
    rounding = float(np.sum(window**2)) / 12
    return outer < max(1e-4 * inner, 2 * rounding) and outer < 1e-2 * inner
