"""The probability flow in a process's own time and scale (Karras et al. 2022, algorithm 1).

    dx / dt = (sigma'/sigma + s'/s) x - sigma' s / sigma D(x / s; sigma)

In sigma space (`samplers.integrate`) the exact flow is the same; discrete steps differ where s is
not constant, and published samplers of scaled processes are these.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from napari_physgen.generative.schedule import with_zero

if TYPE_CHECKING:
    from torch import Tensor

    from napari_physgen.generative.denoiser import Denoiser
    from napari_physgen.generative.schedule import Schedule


def probability_flow(
    denoiser: Denoiser,
    noise: Tensor,
    sigmas: Tensor,
    schedule: Schedule,
    heun: bool = True,
) -> Tensor:
    """Integrate from pure noise along the times at which sigma(t) takes the given levels.

    Parameters
    ----------
    denoiser : Denoiser
        In sigma space.
    noise : torch.Tensor
        Noise of unit scale (batch, channel, ...).
    sigmas : torch.Tensor
        Falling levels with 0 at the end.
    schedule : Schedule
    heun : bool
        Second order steps.

    Returns
    -------
    torch.Tensor
        The image at time 0.
    """
    times = with_zero(schedule.inverse(sigmas[:-1]))
    x = noise * schedule.sigma(times[0]) * schedule.scale(times[0])

    def slope(x: Tensor, t: Tensor) -> Tensor:
        sigma, s = schedule.sigma(t), schedule.scale(t)
        rise = schedule.slope(t) / sigma
        clean = denoiser(x / s, float(sigma)).mean
        return (rise + schedule.scale_slope(t) / s) * x - rise * s * clean

    for now, then in pairwise(times):
        first = slope(x, now)
        after = x + (then - now) * first
        if heun and then > 0:
            after = x + (then - now) * (first + slope(after, then)) / 2
        x = after
    return x
