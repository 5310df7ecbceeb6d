"""The noise of the images at hand: what the user knows, the rest estimated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_physgen.physics.noise_level import NoiseLevel, camera_of, estimate_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Known(Protocol):
    """Settings of which any may be None."""

    @property
    def camera_offset(self) -> float | None:
        """Grey level without light."""

    @property
    def camera_gain(self) -> float | None:
        """Grey levels per photon."""

    @property
    def read_noise(self) -> float | None:
        """Standard deviation without light, grey levels."""


def measured(images: Sequence[NDArray[np.generic]], known: Known) -> NoiseLevel:
    """Return the noise of images of one camera.

    Raises
    ------
    UserError
        If given values make no sense or the noise cannot be measured.
    """
    given = (known.camera_offset, known.camera_gain, known.read_noise)
    if None not in given:
        return NoiseLevel(camera_of(*(float(value) for value in given if value is not None)))
    found = _typical([estimate_noise(image) for image in images[:_ENOUGH]])
    camera = found.camera
    offset, gain, read = (
        own if own is not None else value
        for own, value in zip(given, (camera.offset, camera.gain, camera.read_noise), strict=True)
    )
    return replace(found, camera=camera_of(offset, gain, read))


_ENOUGH = 8  # images


def _typical(found: Sequence[NoiseLevel]) -> NoiseLevel:
    """Return the estimate whose noise is the median one."""
    noise = [np.hypot(item.camera.read_noise, item.camera.gain) for item in found]
    return found[int(np.argsort(noise)[len(found) // 2])]
