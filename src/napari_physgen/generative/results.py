"""What the jobs of priors return: restored and new images with what is needed to judge them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter

from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.physics.noise import Camera

    Real = NDArray[np.float32]

_WINDOW = 9  # px, of the local contrast
_LEAST = 0.1  # of the range of the image: less contrast is none


@dataclass(frozen=True)
class Restoration:
    """A restored image.

    Parameters
    ----------
    mean : numpy.ndarray
        (..., zoom * y, zoom * x), posterior mean, grey levels.
    std : numpy.ndarray
        Same shape: its standard deviation, or that of the samples (`calibrated`).
    samples : numpy.ndarray
        (sample, ..., y, x), images that explain the data equally well; none: length 0.
    residual : numpy.ndarray
        Same shape as the data: (data - prediction) / noise; white, with variance 1, where all is
        well.
    noise : Camera
        Of the data.
    calibrated : bool
        Whether `std` may be called uncertainty.
    zoom : float
        Result pixels per pixel of the data.
    method : str
    trust : float
        Share of the local contrast up to which a standard deviation counts as sure.
    anomaly : numpy.ndarray or None
        How unlike the learned images each place is; 1 is usual.
    axes : tuple of str
        Of `mean`.
    summary, device : str
    metrics : mapping
    """

    mean: Real
    std: Real
    samples: Real
    residual: Real
    noise: Camera
    calibrated: bool
    zoom: float = 1.0
    method: str = "direct"
    trust: float = 1.0
    anomaly: Real | None = None
    axes: tuple[str, ...] = ("y", "x")
    summary: str = ""
    device: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def doubtful(self) -> NDArray[np.uint8]:
        """1 where the standard deviation is above `trust` times the local contrast, else 0."""
        return doubtful(self.mean, self.std, self.trust)

    def outputs(self) -> list[Output]:
        """Return the mean, its spread, and what helps to judge them."""
        spread = "uncertainty" if self.calibrated else "sample spread"
        shown = [
            Output("restored", self.mean, zoom=self.zoom, axes=self.axes),
            self._hidden(spread, self.std, "magma"),
            Output(
                "not sure",
                self.doubtful,
                "labels",
                zoom=self.zoom,
                axes=self.axes,
                display={"opacity": 0.4, "visible": False},
            ),
        ]
        if self.anomaly is not None:
            shown.append(self._hidden("unusual", self.anomaly, "inferno"))
        residual_axes = self.axes if self.residual.ndim == len(self.axes) else ("frame", *self.axes)
        shown.append(
            Output(
                "residual",
                self.residual,
                axes=residual_axes,
                display={"colormap": "gray", "visible": False, "contrast_limits": (-4.0, 4.0)},
            )
        )
        if len(self.samples):
            shown.append(
                Output(
                    "samples",
                    self.samples,
                    zoom=self.zoom,
                    axes=("sample", *self.axes),
                    display={"visible": False},
                )
            )
        return shown

    def _hidden(self, name: str, data: Real, colormap: str) -> Output:
        display = {"colormap": colormap, "visible": False}
        return Output(name, data, zoom=self.zoom, axes=self.axes, display=display)


def doubtful(mean: Real, std: Real, trust: float) -> NDArray[np.uint8]:
    """Return 1 where the standard deviation exceeds `trust` times the local contrast.

    Both are those of a small window; the contrast is at least a share of the range of the whole
    image, so that an even background is not in doubt for being even.
    """
    window = [1] * (mean.ndim - 2) + [_WINDOW, _WINDOW]
    centred = (mean - mean.mean()).astype(float)
    local = uniform_filter(centred, window)
    variance = uniform_filter(centred**2, window) - local**2
    least = _LEAST * float(np.subtract(*np.percentile(mean, (99, 1))))
    contrast = np.maximum(np.sqrt(np.maximum(variance, 0)), least)
    spread = np.sqrt(uniform_filter(std.astype(float) ** 2, window))
    return np.asarray(spread > trust * contrast, np.uint8)


@dataclass(frozen=True)
class Generated:
    """New images.

    Parameters
    ----------
    images : numpy.ndarray
        (image, [z,] y, x), grey levels.
    masks : numpy.ndarray or None
        The masks that they follow, same shape.
    pixel_size_nm : float or None
    summary, device : str
    metrics : mapping
    """

    images: Real
    masks: NDArray[np.integer] | None = None
    pixel_size_nm: float | None = None
    summary: str = ""
    device: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def outputs(self) -> list[Output]:
        """Return the images and their masks."""
        axes = ("image", *("z", "y", "x")[-(self.images.ndim - 1) :])
        shown = [Output("generated", self.images, axes=axes)]
        if self.masks is not None:
            shown.append(Output("masks", self.masks, "labels", axes=axes, display={"opacity": 0.4}))
        return shown
