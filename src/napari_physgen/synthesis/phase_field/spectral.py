"""Grids on which the Laplacian is a multiplication: plane waves, cosines, eigenmodes of a shape.

A field u (..., *shape) has a spectrum; ``-laplacian(u)`` has the spectrum times `k2`. All that the
time stepper and the models need of a boundary condition is in these three classes.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Grid(Protocol):
    """What a model may ask of a grid; fields carry leading axes (batch, field)."""

    shape: tuple[int, ...]
    spacing: float
    dtype: torch.dtype
    device: torch.device

    @property
    def k2(self) -> Tensor:
        """Eigenvalues of minus the Laplacian, of the spectrum's shape, 1 / length^2."""

    def forward(self, u: Tensor) -> Tensor:
        """Return the spectrum of a field."""

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Return the field of a spectrum."""

    def integral(self, density: Tensor) -> Tensor:
        """Return the integral over the domain, in float64."""

    def power(self, spectrum: Tensor) -> Tensor:
        """Return the share of every wave in the mean square of the field with this spectrum."""

    def rms(self, spectrum: Tensor) -> Tensor:
        """Return the root mean square over the domain of the field with this spectrum."""


class _Box:
    """A rectangular grid of square cells."""

    def __init__(
        self,
        shape: Sequence[int],
        spacing: float = 1.0,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape = tuple(shape)
        self.spacing = spacing
        self.dtype = dtype
        self.device = torch.device(device)
        self.axes = tuple(range(-len(self.shape), 0))

    def integral(self, density: Tensor) -> Tensor:
        """Return the integral over the domain, in float64."""
        cell = self.spacing ** len(self.shape)
        total: Tensor = _double(density).sum(self.axes) * cell
        return total

    def _column(self, values: Tensor, axis: int) -> Tensor:
        """Return `values` along `axis` (negative) of a grid, in the grid's type."""
        return values.to(self.device, self.dtype).reshape(-1, *(1,) * (-axis - 1))

    def _coordinates(self, k: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(self._column(values, axis) for values, axis in zip(k, self.axes, strict=True))


class Periodic(_Box):
    """A box that continues on the other side; spectra are half-complex (real FFT)."""

    @cached_property
    def k(self) -> tuple[Tensor, ...]:
        """Wavenumbers along each axis, rad / length, broadcastable to the spectrum."""
        full = [torch.fft.fftfreq(n, self.spacing, dtype=torch.float64) for n in self.shape[:-1]]
        half = torch.fft.rfftfreq(self.shape[-1], self.spacing, dtype=torch.float64)
        return self._coordinates([2 * math.pi * f for f in (*full, half)])

    @cached_property
    def k2(self) -> Tensor:
        """Squared wavenumbers, of the shape of the spectrum."""
        return torch.as_tensor(sum(k * k for k in self.k))

    @cached_property
    def _weight(self) -> Tensor:
        """Mean square of the plane waves that each coefficient of the half spectrum stands for."""
        weight = torch.full((self.shape[-1] // 2 + 1,), 2.0, dtype=self.dtype, device=self.device)
        weight[0] = 1
        if self.shape[-1] % 2 == 0:
            weight[-1] = 1
        return weight / math.prod(self.shape) ** 2

    def forward(self, u: Tensor) -> Tensor:
        """Return the spectrum of a field."""
        spectrum: Tensor = torch.fft.rfftn(u, dim=self.axes)
        return spectrum

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Return the field of a spectrum."""
        u: Tensor = torch.fft.irfftn(spectrum, s=self.shape, dim=self.axes)
        return u

    def rms(self, spectrum: Tensor) -> Tensor:
        """Return the root mean square of the field with this spectrum."""
        return self.power(spectrum).sum(self.axes).sqrt()

    def power(self, spectrum: Tensor) -> Tensor:
        """Return the share of every wave in the mean square."""
        return self._weight * (spectrum.real.square() + spectrum.imag.square())

    def derivative(self, spectrum: Tensor, axis: int) -> Tensor:
        """Return du/dx along `axis` (negative) as a field; the Nyquist wave has none."""
        return self.inverse(1j * self._odd[axis] * spectrum)

    def divergence(self, fluxes: Sequence[Tensor]) -> Tensor:
        """Return the spectrum of div j for the components of j (last axis last)."""
        pairs = zip(self._odd, fluxes, strict=True)
        return torch.as_tensor(sum(1j * k * self.forward(flux) for k, flux in pairs))

    @cached_property
    def _odd(self) -> tuple[Tensor, ...]:
        """Wavenumbers without the Nyquist frequency, whose derivative is not defined."""
        limit = math.pi / self.spacing * (1 - 1e-6)
        return tuple(torch.where(k.abs() < limit, k, torch.zeros_like(k)) for k in self.k)


class NoFlux(_Box):
    """A box that nothing leaves: cosines, by Makhoul's FFT of the same length.

    J. Makhoul, IEEE Trans. Acoust. 28, 27 (1980). Sample i lies at (i + 1/2) spacing.
    """

    @cached_property
    def k(self) -> tuple[Tensor, ...]:
        """Wavenumbers along each axis, rad / length, broadcastable to the spectrum."""
        return self._coordinates(
            [
                math.pi / (n * self.spacing) * torch.arange(n, dtype=torch.float64)
                for n in self.shape
            ]
        )

    @cached_property
    def k2(self) -> Tensor:
        """Squared wavenumbers, of the shape of the spectrum."""
        return torch.as_tensor(sum(k * k for k in self.k))

    @cached_property
    def _weight(self) -> Tensor:
        """Mean square of each cosine of the (unnormalised) DCT-II."""
        total = torch.ones((), dtype=self.dtype, device=self.device)
        for n, axis in zip(self.shape, self.axes, strict=True):
            weight = torch.full((n,), 0.5 / n**2, dtype=torch.float64)
            weight[0] = 0.25 / n**2
            total = total * self._column(weight, axis)
        return total

    def forward(self, u: Tensor) -> Tensor:
        """Return the spectrum of a field."""
        for axis in self.axes:
            u = self._dct(u, axis)
        return u

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Return the field of a spectrum."""
        for axis in self.axes:
            spectrum = self._idct(spectrum, axis)
        return spectrum

    def rms(self, spectrum: Tensor) -> Tensor:
        """Return the root mean square of the field with this spectrum."""
        return self.power(spectrum).sum(self.axes).sqrt()

    def power(self, spectrum: Tensor) -> Tensor:
        """Return the share of every wave in the mean square."""
        return self._weight * spectrum.square()

    def derivative(self, spectrum: Tensor, axis: int) -> Tensor:
        """Return du/dx along `axis` (negative) as a field: sines where u has cosines."""
        n = self.shape[axis]
        sines = torch.roll((-self.k[axis] * spectrum).flip(axis), 1, axis)
        # sin(pi (2i+1) k / 2n) = (-1)^i cos(pi (2i+1) (n-k) / 2n); the mean (k = 0) has none.
        for other in self.axes:
            sines = self._idct(sines, other)
        return sines * self._alternating(n, axis)

    def divergence(self, fluxes: Sequence[Tensor]) -> Tensor:
        """Return the spectrum of div j for the components of j, which vanish at the edges."""
        total: Tensor | int = 0
        for axis, flux in zip(self.axes, fluxes, strict=True):
            mirrored = self.forward(flux * self._alternating(self.shape[axis], axis))
            total = total + self.k[axis] * torch.roll(mirrored, -1, axis).flip(axis)
        return torch.as_tensor(total)

    def _alternating(self, n: int, axis: int) -> Tensor:
        return self._column(1.0 - 2.0 * (torch.arange(n) % 2), axis)

    @cached_property
    def _twiddles(self) -> dict[int, Tensor]:
        """2 exp(-i pi k / 2n) for each length."""
        return {
            n: 2
            * torch.exp(-0.5j * math.pi / n * torch.arange(n, dtype=torch.float64)).to(
                self.device, torch.complex64 if self.dtype == torch.float32 else torch.complex128
            )
            for n in set(self.shape)
        }

    def _dct(self, u: Tensor, axis: int) -> Tensor:
        """DCT-II along one axis, 2 sum u_i cos(pi (2i+1) k / 2n)."""
        u = u.movedim(axis, -1)
        n = u.shape[-1]
        folded = torch.cat([u[..., ::2], u[..., 1::2].flip(-1)], -1)
        half = torch.fft.rfft(folded) * self._twiddles[n][: n // 2 + 1]
        rest = -half[..., 1 : (n + 1) // 2].imag.flip(-1)
        return torch.cat([half.real, rest], -1).movedim(-1, axis)

    def _idct(self, spectrum: Tensor, axis: int) -> Tensor:
        """Inverse of `_dct`."""
        s = spectrum.movedim(axis, -1)
        n = s.shape[-1]
        mirrored = torch.nn.functional.pad(s[..., 1:].flip(-1), (1, 0))[..., : n // 2 + 1]
        half = torch.complex(s[..., : n // 2 + 1], -mirrored) / self._twiddles[n][: n // 2 + 1]
        folded = torch.fft.irfft(half, n)
        u = torch.empty_like(folded)
        u[..., ::2] = folded[..., : (n + 1) // 2]
        u[..., 1::2] = folded[..., (n + 1) // 2 :].flip(-1)
        return u.movedim(-1, axis)


class NoFluxShape:
    """Cells of any shape that nothing leaves: eigenmodes of a Laplacian of cosines on its lines.

    For domains of a few thousand cells, such as the T of PFHub BM1c: the modes are a dense
    (cell, cell) matrix. Fields are (..., cell).

    Parameters
    ----------
    mask : numpy.ndarray
        (y, x), true inside.
    spacing : float
        Cell size.
    """

    def __init__(
        self,
        mask: NDArray[np.bool_],
        spacing: float = 1.0,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        from scipy.linalg import eigh

        values, modes = eigh(_masked_laplacian(mask) / spacing**2)
        self.shape: tuple[int, ...] = (int(mask.sum()),)
        self.spacing = spacing
        self.dtype = dtype
        self.device = torch.device(device)
        self.k2 = torch.as_tensor(values).clamp(min=0).to(self.device, dtype)
        self.k2[0] = 0
        self._modes = torch.as_tensor(modes).to(self.device, dtype)

    def forward(self, u: Tensor) -> Tensor:
        """Return the spectrum of a field."""
        return u @ self._modes

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Return the field of a spectrum."""
        return spectrum @ self._modes.T

    def integral(self, density: Tensor) -> Tensor:
        """Return the integral over the domain, in float64."""
        total: Tensor = _double(density).sum(-1) * self.spacing**2
        return total

    def rms(self, spectrum: Tensor) -> Tensor:
        """Return the root mean square of the field with this spectrum."""
        return self.power(spectrum).sum(-1).sqrt()

    def power(self, spectrum: Tensor) -> Tensor:
        """Return the share of every mode in the mean square."""
        return spectrum.square() / self.shape[0]


def _masked_laplacian(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return minus the Laplacian between the cells of a mask, in units of 1 / spacing^2.

    Along every row and every column of cells without a gap the second derivative is that of the
    cosines on it, which nothing leaves.
    """
    import numpy as np

    number = np.full(mask.shape, -1)
    number[mask] = np.arange(mask.sum())
    matrix = np.zeros((mask.sum(),) * 2)
    for line in (*number, *number.T):
        edges = np.flatnonzero(np.diff(line >= 0, prepend=False, append=False))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            cells = line[start:end]
            matrix[np.ix_(cells, cells)] += _cosine_laplacian(len(cells))
    return matrix


def _cosine_laplacian(n: int) -> NDArray[np.float64]:
    """Return minus the second derivative (n, n) of the cosines on n cells."""
    import numpy as np
    from scipy.fft import dct

    cosines = dct(np.eye(n), axis=0, norm="ortho")
    k = np.pi * np.arange(n) / n
    return np.asarray(cosines.T @ (k[:, None] ** 2 * cosines))


def _double(values: Tensor) -> Tensor:
    """Return float64 where the device has it (Apple GPUs do not)."""
    return values if values.device.type == "mps" else values.double()
