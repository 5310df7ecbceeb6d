"""The blur of a microscope as an operator, with a choice of what lies around the field of view.

Everything is made of a convolution on a periodic canvas, which the Fourier transform makes
diagonal, and of operators that lay images onto canvases and cut data out of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from napari_physgen.errors import UserError
from napari_physgen.physics.operator import Chain, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike

    from napari_physgen.physics.operator import Operator


@dataclass(frozen=True)
class Convolution:
    """Convolution on a periodic canvas, A = F* H F with the discrete Fourier transform F.

    Parameters
    ----------
    kernel : torch.Tensor
        ([z,] y, x), its middle at index n // 2; acts on the last axes.
    """

    kernel: Tensor
    local: bool = field(default=False, init=False)
    _transfer: dict[object, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, x: Tensor) -> Tensor:
        """Return kernel * x."""
        return self.synthesise(self.analyse(x) * self._otf(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the correlation of the kernel with y."""
        return self.synthesise(self.analyse(y) * self._otf(y).conj())

    def analyse(self, x: Tensor) -> Tensor:
        """Return F x, complex, with F unitary."""
        coefficients: Tensor = torch.fft.fftn(x, dim=self._axes, norm="ortho")
        return coefficients

    def synthesise(self, coefficients: Tensor) -> Tensor:
        """Return F* c, real."""
        x: Tensor = torch.fft.ifftn(coefficients, dim=self._axes, norm="ortho").real
        return x

    def measured(self, y: Tensor) -> Tensor:
        """Return U* y with U = F* H / |H|."""
        return self.analyse(y) * torch.sgn(self._otf(y)).conj()

    def singular_values(self, coefficients: Tensor) -> Tensor:
        """Return |H|."""
        return self._otf(coefficients.real).abs()

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-self.kernel.ndim, 0))

    def _otf(self, x: Tensor) -> Tensor:
        """Return H for images like x, kept from one call to the next."""
        shape, own = x.shape[-self.kernel.ndim :], self.kernel.shape
        key = (shape, x.dtype, x.device)
        if key not in self._transfer:
            if x.ndim < self.kernel.ndim + 1 or any(k > n for k, n in zip(own, shape, strict=True)):
                raise UserError(
                    f"The PSF of {size_text(own)} pixels does not fit into an image of "
                    f"{size_text(x.shape[2:])}: crop the PSF, or take one for these axes."
                )
            sides = [s for n, k in zip(shape, own, strict=True) for s in (n - k, 0)]
            padded = functional.pad(self.kernel.to(x), sides[::-1])
            centred = torch.roll(padded, [-(k // 2) for k in own], self._axes)
            self._transfer[key] = torch.fft.fftn(centred)
        return self._transfer[key]


@dataclass(frozen=True)
class Crop:
    """The middle of a canvas: what lies around the field of view is part of the image.

    Parameters
    ----------
    margin : tuple of int
        Pixels left out on both sides of the last axes.
    """

    margin: tuple[int, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the middle."""
        sizes = x.shape[-len(self.margin) :]
        if any(n <= 2 * m for m, n in zip(self.margin, sizes, strict=True)):
            raise UserError(
                f"An image of {size_text(sizes)} pixels is nothing but margin: "
                f"{size_text(self.margin)} pixels on each side are left out."
            )
        for axis, margin in enumerate(self.margin, -len(self.margin)):
            x = x.narrow(axis, margin, x.shape[axis] - 2 * margin)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """Return y with zeros around it."""
        return functional.pad(y, [m for margin in self.margin[::-1] for m in (margin, margin)])


@dataclass(frozen=True)
class Mirror:
    """The image continued by its mirror image.

    Parameters
    ----------
    margin : tuple of int
        Pixels added on both sides of the last axes.
    """

    margin: tuple[int, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the larger image."""
        for axis, margin in enumerate(self.margin, -len(self.margin)):
            x = x.index_select(axis, _mirrored(x.shape[axis], margin, x.device))
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the sum over all pixels that show the same one."""
        for axis, margin in enumerate(self.margin, -len(self.margin)):
            size = y.shape[axis] - 2 * margin
            shape = [*y.shape]
            shape[axis] = size
            y = y.new_zeros(shape).index_add_(axis, _mirrored(size, margin, y.device), y)
        return y


def _open(kernel: Tensor) -> Operator:
    return Chain((Convolution(kernel), Crop(_reach(kernel))))


def _mirror(kernel: Tensor) -> Operator:
    return Chain((Mirror(_reach(kernel)), Convolution(kernel), Crop(_reach(kernel))))


BORDERS: Mapping[str, Callable[[Tensor], Operator]] = {
    "open": _open,
    "mirror": _mirror,
    "periodic": Convolution,
}
"""What lies around the field of view.

``open``: more of the sample, of which nothing is known; the image is larger than the data by half
a PSF on every side. ``mirror``: the image mirrored. ``periodic``: the image repeated.
"""


def blur(psf: ArrayLike, border: str = "open") -> Operator:
    """Return the blur of a microscope, as bright as the image.

    Parameters
    ----------
    psf : array
        ([z,] y, x), its middle at index n // 2; divided by its sum.
    border : str
        Key of `BORDERS`.

    Raises
    ------
    UserError
        If the PSF has no positive finite sum.
    """
    kernel = torch.as_tensor(psf)
    total = float(kernel.sum())
    if not (math.isfinite(total) and total > 0):
        raise UserError("The PSF must be an image with a positive sum, without missing values.")
    return BORDERS[border](kernel / total)


def _reach(kernel: Tensor) -> tuple[int, ...]:
    return tuple(n // 2 for n in kernel.shape)


def _mirrored(size: int, margin: int, device: torch.device) -> Tensor:
    """Return which pixel of `size` each pixel of the continued line shows."""
    place = torch.arange(-margin, size + margin, device=device) % (2 * size)
    return torch.minimum(place, 2 * size - 1 - place)
