"""Linear forward models y = A x: what an instrument makes of an image.

Images x are tensors (batch, channel, [z,] y, x), data y are (batch, ...); the last axes are those
that a model acts on, so that everything here works in 1-D to 3-D. Models are values and compose:

    blur(psf)                                      a microscope, borders included
    Chain((blur(psf), Subsampling((4, 4))))        and its camera with large pixels
    Chain((blur(psf), Mask(kept)))                 and dead pixels
    LinearMap(function, shape)                     any linear function; its adjoint by autograd

Some know their singular value decomposition (`Spectral`), which makes inverses exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Operator(Protocol):
    """A linear map from images to data."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the data A x of images (batch, channel, [z,] y, x)."""

    def adjoint(self, y: Tensor) -> Tensor:
        """Return A^T y, shaped like the images."""


@runtime_checkable
class Spectral(Operator, Protocol):
    """An operator with a known singular value decomposition A = U S V*.

    Coefficients lie in tensors shaped like the image; those that A does not measure have the
    singular value 0.
    """

    @property
    def local(self) -> bool:
        """Whether U* only moves data to their place: then noise per datum stays diagonal."""

    def analyse(self, x: Tensor) -> Tensor:
        """Return the coefficients V* x."""

    def synthesise(self, coefficients: Tensor) -> Tensor:
        """Return the image V c."""

    def measured(self, y: Tensor) -> Tensor:
        """Return U* y, each at the place of its coefficient, 0 where nothing is measured."""

    def singular_values(self, coefficients: Tensor) -> Tensor:
        """Return S at the places of the coefficients (broadcasts against them)."""


@dataclass(frozen=True)
class Identity:
    """The image itself, as in denoising."""

    local: bool = field(default=True, init=False)

    def __call__(self, x: Tensor) -> Tensor:
        """Return x."""
        return x

    adjoint = analyse = synthesise = measured = __call__

    def singular_values(self, coefficients: Tensor) -> Tensor:
        """Return 1."""
        return torch.ones_like(coefficients)


@dataclass(frozen=True)
class Mask:
    """Pixels that were measured; the data are images that are 0 elsewhere.

    Parameters
    ----------
    kept : torch.Tensor
        ([z,] y, x) bool, or with a channel in front.
    """

    kept: Tensor
    local: bool = field(default=True, init=False)

    def __call__(self, x: Tensor) -> Tensor:
        """Return x where it is measured, whatever it holds elsewhere, and 0 there."""
        _require(x, self.kept.shape, "The mask of measured pixels")
        return torch.where(self.kept.to(x.device), x, 0.0)

    adjoint = measured = __call__

    def analyse(self, x: Tensor) -> Tensor:
        """Return x."""
        return x

    synthesise = analyse

    def singular_values(self, coefficients: Tensor) -> Tensor:
        """Return 1 where the pixel is measured."""
        return self(torch.ones_like(coefficients))


@dataclass(frozen=True)
class Subsampling:
    """Pixels of a coarse camera: the mean over blocks of fine pixels.

    V* turns the pixels of a block so that the first coefficient is their sum over sqrt(K), K
    pixels per block, by the Householder reflection that swaps the two; S = 1 / sqrt(K) there.

    Parameters
    ----------
    factor : tuple of int
        Fine pixels per coarse one along the last axes.
    """

    factor: tuple[int, ...]
    local: bool = field(default=True, init=False)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the means over blocks."""
        return self._blocks(x).mean(-1)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the pixels y / K repeated over their blocks."""
        size = math.prod(self.factor)
        return self._image((y / size)[..., None].expand(*y.shape, size))

    def analyse(self, x: Tensor) -> Tensor:
        """Return V* x; the coefficient that is measured lies at the first pixel of a block."""
        return self._image(_reflected(self._blocks(x)))

    synthesise = analyse  # a reflection is its own inverse

    def measured(self, y: Tensor) -> Tensor:
        """Return y at the first pixels of the blocks."""
        return self._image(functional.pad(y[..., None], (0, math.prod(self.factor) - 1)))

    def singular_values(self, coefficients: Tensor) -> Tensor:
        """Return 1 / sqrt(K) at the first pixels of the blocks."""
        one = self._blocks(coefficients)[..., 0]
        return self.measured(torch.full_like(one, 1 / math.sqrt(math.prod(self.factor))))

    def _blocks(self, x: Tensor) -> Tensor:
        """Return (..., blocks along each axis, pixel of the block)."""
        lead, axes = x.ndim - len(self.factor), range(len(self.factor))
        if lead < 1 or any(n % f for n, f in zip(x.shape[lead:], self.factor, strict=True)):
            raise UserError(
                f"An image of {size_text(x.shape[2:])} pixels cannot be divided into blocks of "
                f"{size_text(self.factor)}: crop it to a multiple."
            )
        counts = [n // f for n, f in zip(x.shape[lead:], self.factor, strict=True)]
        pairs = [n for pair in zip(counts, self.factor, strict=True) for n in pair]
        split = x.reshape(*x.shape[:lead], *pairs)
        order = [*range(lead), *(lead + 2 * a for a in axes), *(lead + 2 * a + 1 for a in axes)]
        return split.permute(order).flatten(lead + len(self.factor))

    def _image(self, blocks: Tensor) -> Tensor:
        """Undo `_blocks`."""
        count = len(self.factor)
        lead = blocks.ndim - 1 - count
        split = blocks.reshape(*blocks.shape[:-1], *self.factor)
        order = [*range(lead), *(lead + a + s for a in range(count) for s in (0, count))]
        sizes = [n * f for n, f in zip(blocks.shape[lead:-1], self.factor, strict=True)]
        return split.permute(order).reshape(*blocks.shape[:lead], *sizes)


@dataclass(frozen=True)
class Chain:
    """Operators one after the other, the first one first."""

    operators: tuple[Operator, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Return A_n ... A_1 x."""
        for operator in self.operators:
            x = operator(x)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """Return A_1^T ... A_n^T y."""
        for operator in reversed(self.operators):
            y = operator.adjoint(y)
        return y


@dataclass(frozen=True)
class LinearMap:
    """A linear function without an adjoint of its own.

    Parameters
    ----------
    function : callable
        (batch, channel, [z,] y, x) -> (batch, ...), linear, made of differentiable operations.
    shape : tuple of int
        (channel, [z,] y, x) of the images.
    """

    function: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the function of x."""
        _require(x, self.shape, "The forward model")
        return self.function(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the gradient of <A x, y> with respect to x."""
        with torch.enable_grad():
            x = y.new_zeros(len(y), *self.shape).requires_grad_()
            predicted = self.function(x)
            if predicted.shape != y.shape:
                raise UserError(
                    f"The data have the shape {size_text(y.shape[1:])}, but the forward model "
                    f"makes {size_text(predicted.shape[1:])} of an image of "
                    f"{size_text(self.shape)}."
                )
            return torch.autograd.grad(predicted, x, y)[0]


def pseudo_inverse(operator: Spectral, y: Tensor, cutoff: float = 1e-3) -> Tensor:
    """Return A^+ y; singular values below `cutoff` times the largest count as 0."""
    coefficients = operator.measured(y)
    values = operator.singular_values(coefficients)
    seen = values > cutoff * values.max()
    return operator.synthesise(torch.where(seen, coefficients / values, 0.0))


def _reflected(blocks: Tensor) -> Tensor:
    """Swap (1, 0, 0, ...) and (1, 1, 1, ...) / sqrt(K) by a reflection of the last axis."""
    first = 1 / math.sqrt(blocks.shape[-1])
    normal = torch.full_like(blocks[(0,) * (blocks.ndim - 1)], -first)
    normal[0] += 1
    along = (blocks * normal).sum(-1, keepdim=True) / max(1 - first, 1e-12)
    return blocks - along * normal


def _require(x: Tensor, shape: Sequence[int], what: str) -> None:
    if x.shape[max(x.ndim - len(shape), 1) :] != torch.Size(shape):
        raise UserError(
            f"{what} has the shape {size_text(shape)}, but the image has {size_text(x.shape[1:])}."
        )


def size_text(shape: Sequence[int]) -> str:
    """Return a shape in words."""
    return " x ".join(str(n) for n in shape)
