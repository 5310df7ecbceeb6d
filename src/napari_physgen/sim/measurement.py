"""Raw frames with their noise: what a reconstruction has to explain.

A few camera pixels are held out of every fit. The mean squared weighted residual on them,
the held-out chi2, chooses regularisation and stopping and judges the result: 1 is noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from napari_physgen.backend import generator
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_physgen.physics.noise import Camera

HELD_OUT = 0.1
"""Share of the camera pixels, drawn per frame, that no fit sees."""

SMOOTHING = 0.5
"""Raw px by which neighbours help out where pixels are held out."""


FILL = 0.6
"""Raw px by which neighbours stand in for pixels that are held out."""


@dataclass(frozen=True)
class Measurement:
    """Frames above the camera offset.

    Parameters
    ----------
    frames : torch.Tensor
        (angle, phase, y, x), grey levels.
    weight : torch.Tensor
        Same shape, 1 / noise variance.
    fitted : torch.Tensor
        Same shape, 1 where a fit may look, 0 where held out.
    """

    frames: Tensor
    weight: Tensor
    fitted: Tensor

    @classmethod
    def of(
        cls, frames: NDArray[np.float32], camera: Camera, seed: int, device: torch.device
    ) -> Measurement:
        """Prepare raw frames (angle, phase, y, x), grey levels with the offset still in.

        The variance follows the smoothed frames: the pixel's own noise must not choose its weight.
        """
        smooth = gaussian_filter(frames, (0, 0, 1.5, 1.5))
        variance = torch.as_tensor(camera.variance(smooth), dtype=torch.float32)
        draw = torch.rand(frames.shape, generator=generator(seed, "cpu", "held-out"))
        return cls(
            torch.as_tensor(frames - camera.offset, dtype=torch.float32, device=device),
            (1 / variance).to(device),
            (draw >= HELD_OUT).float().to(device),
        )

    def cropped(self, y: slice, x: slice, device: torch.device) -> Measurement:
        """Return a part of the field on `device`, with the same pixels held out."""
        parts = (self.frames, self.weight, self.fitted)
        return Measurement(*(whole[..., y, x].contiguous().to(device) for whole in parts))

    @property
    def variance(self) -> Tensor:
        """Noise variance, same shape as the frames."""
        return 1 / self.weight

    @property
    def noise(self) -> float:
        """Typical standard deviation of the noise, grey levels."""
        return float(self.variance.mean().sqrt())

    @property
    def widefield(self) -> Tensor:
        """Mean of the frames (y, x) from the fitted pixels alone, lightly smoothed, grey levels.

        What is held out must not show through here: fits and networks start from this image.
        """
        light = (self.fitted * self.frames).sum((0, 1)).cpu().numpy()
        count = self.fitted.sum((0, 1)).cpu().numpy()
        mean = gaussian_filter(light, SMOOTHING) / gaussian_filter(count, SMOOTHING)
        return torch.as_tensor(mean, device=self.frames.device)

    @property
    def level(self) -> float:
        """Mean of the fitted pixels, grey levels above the offset."""
        return float((self.fitted * self.frames).sum() / self.fitted.sum())

    def residual(self, predicted: Tensor) -> Tensor:
        """Return (predicted - measured) / noise, same shape as the frames."""
        return (predicted - self.frames) * self.weight.sqrt()

    def misfit(self, predicted: Tensor) -> Tensor:
        """Return the negative log-likelihood, half the sum of squares on the fitted pixels."""
        return 0.5 * (self.fitted * self.residual(predicted) ** 2).sum()

    def chi2(self, predicted: Tensor) -> Tensor:
        """Return the mean squared weighted residual on the held-out pixels."""
        held_out = 1 - self.fitted
        return (held_out * self.residual(predicted) ** 2).sum() / held_out.sum()

    def bridged(self) -> NDArray[np.float32]:
        """Return the frames (angle, phase, y, x) with held-out pixels taken from their neighbours.

        No fit may see them, neither through the image that it starts from.
        """
        frames, fitted = (t.cpu().numpy() for t in (self.frames, self.fitted))
        blur = (0, 0, FILL, FILL)
        around = gaussian_filter(frames * fitted, blur) / gaussian_filter(fitted, blur)
        return np.asarray(np.where(fitted > 0, frames, around), np.float32)

    def filled(self, predicted: Tensor) -> Tensor:
        """Return the frames with the held-out pixels replaced by their prediction."""
        return torch.where(self.fitted > 0, self.frames, predicted)


def image_preview(image: Tensor, zoom: int, name: str = "SIM") -> list[Output]:
    """Return the current image (y, x) as the live preview."""
    data = image.detach().float().cpu().numpy()
    return [Output(name, data, zoom=zoom, display={"colormap": "inferno"})]
