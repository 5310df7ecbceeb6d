"""What the classic VAE sees at every node of the grid: a window of the image, or a spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_physgen.regions.features import Features

SIDE = 24
"""Most pixels of a window along one side; larger windows are sampled down by area."""

_SMALLEST = 5  # px: windows below this are values of a point, without a pose


class Samples(Protocol):
    """Samples at nodes, one after another: (node, *shape)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""

    def at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the samples of the nodes in some rows and columns, row by row."""


class Windows:
    """Square windows around the nodes, in standard deviations of each channel.

    Windows that would reach over the border are moved inside.

    Parameters
    ----------
    image : numpy.ndarray
        (channel, y, x); values that are not finite are taken for the mean.
    features : Features
        Grid and window.
    device : torch.device
    """

    def __init__(
        self, image: NDArray[np.floating], features: Features, device: torch.device
    ) -> None:
        window = features.window
        if window > min(image.shape[1:]):
            raise UserError(
                f"The window of {window} px is larger than the image: choose a smaller one."
            )
        self.side = min(window, SIDE)
        self.shape: tuple[int, ...] = (len(image), self.side, self.side)
        self._image = _standardised(torch.as_tensor(image, dtype=torch.float32)).to(device)
        reach = torch.arange(window, device=device)
        self._pixels = [
            _first(nodes, start, step, window, size).to(device)[:, None] + reach
            for nodes, start, step, size in zip(
                features.shape, features.start, features.step, image.shape[1:], strict=True
            )
        ]

    def at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return (node, channel, y, x) of the nodes in some rows and columns."""
        y, x = self._pixels[0][rows], self._pixels[1][columns]
        windows = self._image[:, y[:, None, :, None], x[None, :, None, :]]
        windows = windows.permute(1, 2, 0, 3, 4).flatten(0, 1)
        if windows.shape[-1] == self.side:
            return windows
        return F.interpolate(windows, size=(self.side, self.side), mode="area")


class Signals:
    """Spectra of the nodes, as they are.

    Parameters
    ----------
    features : Features
    device : torch.device
    """

    def __init__(self, features: Features, device: torch.device) -> None:
        self._values = torch.as_tensor(features.values, dtype=torch.float32).to(device)
        self.shape: tuple[int, ...] = (len(self._values),)

    def at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return (node, channel) of the nodes in some rows and columns."""
        return self._values[:, rows[:, None], columns[None]].flatten(1).T


def samples(
    image: NDArray[np.floating] | None, features: Features, device: torch.device
) -> Windows | Signals:
    """Return windows of an image, or the features themselves where there are no windows."""
    if image is None or features.window < _SMALLEST:
        return Signals(features, device)
    return Windows(image, features, device)


def _first(nodes: int, start: float, step: float, window: int, size: int) -> Tensor:
    """Return the first pixel (node,) of each window along one axis."""
    middle = start + step * torch.arange(nodes, dtype=torch.float64)
    return (middle - (window - 1) / 2).round().clamp(0, size - window).long()


def _standardised(image: Tensor) -> Tensor:
    seen = image.isfinite()
    count = seen.sum((1, 2), keepdim=True).clamp(min=1)
    mean = image.where(seen, 0).sum((1, 2), keepdim=True) / count
    centred = (image - mean).where(seen, 0)
    spread = (centred.square().sum((1, 2), keepdim=True) / count).sqrt()
    return centred / spread.where(spread > 0, 1)
