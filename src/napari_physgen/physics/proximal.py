"""Images between a guess and the data: proximal steps and the linear systems behind them.

    argmin_x |y - A x|^2_(1/Sy) + rho |x - z|^2  =  z + A^T (A A^T + rho Sy)^-1 (y - A z)

in closed form for operators with a known singular value decomposition, else by conjugate gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from napari_physgen.physics.operator import Spectral

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_physgen.physics.operator import Operator


def prox(
    operator: Operator,
    z: Tensor,
    y: Tensor,
    rho: float | Tensor,
    variance: float | Tensor,
    *,
    tolerance: float = 1e-5,
    iterations: int = 200,
) -> Tensor:
    """Return argmin_x |y - A x|^2 / variance + rho |x - z|^2.

    Parameters
    ----------
    operator : Operator
    z : torch.Tensor
        (batch, channel, [z,] y, x).
    y : torch.Tensor
        Data, shaped like A z.
    rho : float or torch.Tensor
        Weight of the guess, above 0; broadcasts against the data.
    variance : float or torch.Tensor
        Noise variance of each datum, above 0; broadcasts against the data.
    tolerance, iterations
        As `back_projected`.
    """
    residual = y - operator(z)
    level = torch.as_tensor(rho * variance, dtype=residual.dtype, device=residual.device)
    return z + back_projected(operator, residual, level, tolerance=tolerance, iterations=iterations)


def poisson_prox(z: Tensor, y: Tensor, rho: float | Tensor, gain: float, offset: float) -> Tensor:
    """Return argmin_x 2 (x - y log x) / gain + rho |x - z|^2 with x, y above `offset`.

    The proximal step of A = 1 and data gain * Poisson(x / gain) + offset without read noise:
    x = (m + sqrt(m^2 + 4 tau y)) / 2, m = z - tau, tau = 1 / (rho gain).

    Parameters
    ----------
    z, y : torch.Tensor
        Guess and data.
    rho : float or torch.Tensor
        As `prox`.
    gain, offset : float
        Value per photon and value without light, in the units of the data.
    """
    tau = 1 / (rho * gain)
    m = z - offset - tau
    root = torch.sqrt(m**2 + 4 * tau * (y - offset).clamp_min(0))
    # The second form of the same root does not cancel where m is far below 0.
    other = 2 * tau * (y - offset).clamp_min(0) / (root - m).clamp_min(1e-30)
    return offset + torch.where(m > 0, (m + root) / 2, other)


def back_projected(
    operator: Operator,
    residual: Tensor,
    level: Tensor,
    *,
    tolerance: float = 1e-5,
    iterations: int = 200,
) -> Tensor:
    """Return A^T (A A^T + diag(level))^-1 residual.

    Parameters
    ----------
    operator : Operator
    residual : torch.Tensor
        (batch, ...), data.
    level : torch.Tensor
        Above 0, broadcasts against the data.
    tolerance : float
        What may be left of the residual, relative to it; not used where there is a closed form.
    iterations : int
        At most so many where there is none.
    """
    level = level.expand_as(residual)
    if isinstance(operator, Spectral) and (operator.local or _uniform(level)):
        coefficients = operator.measured(residual)
        values = operator.singular_values(coefficients)
        damping = (
            operator.measured(level)
            if operator.local
            else _each(level.flatten(1)[:, 0], coefficients)
        )
        gain = torch.where(values > 0, values / (values**2 + damping), 0.0)
        return operator.synthesise(gain * coefficients)
    solution = conjugate_gradients(
        operator.adjoint,
        operator,
        level,
        residual,
        tolerance=tolerance * (residual**2 / level).flatten(1).mean(1).sqrt(),
        iterations=iterations,
    )
    return solution.image


class Solution(NamedTuple):
    """What `conjugate_gradients` found.

    Parameters
    ----------
    image : torch.Tensor
        pull u (a mere 0 if no iteration was needed).
    data : torch.Tensor
        u, the solution itself.
    iterations : int
        Calls of `pull` and of `push`.
    left : torch.Tensor
        (batch,) rms of the equations that is left, in standard deviations of the noise.
    """

    image: Tensor
    data: Tensor
    iterations: int
    left: Tensor


def conjugate_gradients(
    pull: Callable[[Tensor], Tensor],
    push: Callable[[Tensor], Tensor],
    variance: Tensor,
    residual: Tensor,
    *,
    tolerance: float | Tensor,
    iterations: int,
    start: Tensor | None = None,
) -> Solution:
    """Solve (push pull + diag(variance)) u = residual for u and pull u.

    In units of the noise, so that the spectrum begins at 1. The image is summed up along with u,
    which saves a last `pull`. Every image of a batch is solved on its own.

    Derivatives of networks are symmetric and positive only nearly: an image is given up where its
    curvature is not positive, and what is returned has minimal residual on the way (smoothing of
    Schoenauer and Weiss; for symmetric systems it is the MINRES iterate), which never grows.

    Parameters
    ----------
    pull, push : callable
        Data to image and image to data, linear; push pull symmetric, not negative.
    variance : torch.Tensor
        Noise, above 0; broadcasts against the data.
    residual : torch.Tensor
        (batch, ...), data.
    tolerance : float or torch.Tensor
        How much may be left, rms in standard deviations of the noise; one for all or (batch,).
    iterations : int
        At most so many.
    start : torch.Tensor, optional
        A guess of u, used where it is better than 0; costs one more call of each.
    """
    goal = residual[0].numel() * torch.as_tensor(tolerance) ** 2
    now = _begin(pull, push, variance, residual, start)
    count = 0 if start is None else 1
    best, size = now, _size(now.left, variance)
    direction, going = now.left / variance, size > goal
    while bool(going.any()) and count < iterations:
        count += 1
        image = pull(direction)
        pushed = variance * direction + push(image)
        curvature = _dot(direction, pushed)
        going = going & (curvature > 0)
        now = now.moved(
            torch.where(going, size / curvature, 0.0), _State(direction, image, -pushed)
        )
        change = now.minus(best)
        slope = _dot(best.left, change.left / variance) / _size(change.left, variance)
        best = best.moved(torch.where(going, -slope, 0.0), change)
        before, size = size, _size(now.left, variance)
        direction = (
            now.left / variance + _each(size / before.clamp_min(1e-30), direction) * direction
        )
        going = going & (_size(best.left, variance) > goal)
    rms = (_size(best.left, variance) / residual[0].numel()).sqrt()
    return Solution(best.image, best.data, count, rms)


class _State(NamedTuple):
    """u, pull u and what is left of the equations."""

    data: Tensor
    image: Tensor
    left: Tensor

    def moved(self, length: Tensor, along: _State) -> _State:
        return _State(*(a + _each(length, b) * b for a, b in zip(self, along, strict=True)))

    def minus(self, other: _State) -> _State:
        return _State(*(a - b for a, b in zip(self, other, strict=True)))


def _begin(
    pull: Callable[[Tensor], Tensor],
    push: Callable[[Tensor], Tensor],
    variance: Tensor,
    residual: Tensor,
    start: Tensor | None,
) -> _State:
    """Return the guess, or 0 where that explains more."""
    zero = _State(torch.zeros_like(residual), residual.new_zeros(()), residual)
    if start is None:
        return zero
    image = pull(start)
    guess = _State(start, image, residual - variance * start - push(image))
    better = _size(guess.left, variance) < _size(residual, variance)
    return _State(*(torch.where(_each(better, g), g, z) for g, z in zip(guess, zero, strict=True)))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return <a, b> for every image of a batch."""
    return (a * b).flatten(1).sum(1)


def _size(left: Tensor, variance: Tensor) -> Tensor:
    """Return |left|^2 in units of the noise."""
    return _dot(left, left / variance)


def _each(values: Tensor, like: Tensor) -> Tensor:
    """Return values (batch,) shaped to multiply `like`."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _uniform(level: Tensor) -> bool:
    """Whether every image of a batch has one level."""
    flat = level.flatten(1)
    return bool((flat == flat[:, :1]).all())
