"""The physics term of the classic VAE: length of the discontinuities of its latent maps.

Latents know the phase of the lattice much better than what the lattice is made of, and the phase
changes from node to node: nothing in the evidence bound keeps it out of the content. The length
of walls does, if it is high from the start, and if it has a gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_physgen.physics.perimeter import (
    cauchy_crofton,
    modica_mortola,
    mumford_shah,
    total_variation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from napari_physgen.regions.settings import Perimeter

    Length = Callable[[Tensor, tuple[float, float], Tensor], Tensor]

_STIFF, _SOFTENED = 20.0, 0.5
"""Walls cost this many times more at the start, falling linearly until this part of the steps."""


_STEEPNESS = 2.0
"""A variable one standard deviation from its mean is 0.88 of one phase."""


def stiffness(progress: float) -> float:
    """Return the factor of the wall cost at a part of the training, 0 to 1.

    Without it the latents of two of three simulated scans of two phases followed the phase of
    the lattice (adjusted Rand index 0.0 and 0.1; with it 0.7 and 0.7).
    """
    return max(1.0, _STIFF * (1 - progress / _SOFTENED))


def latent_length(
    name: Perimeter,
    mean: Tensor,
    spread_over: Tensor,
    spacing: tuple[float, float],
    valid: Tensor,
) -> Tensor:
    """Return the length of the discontinuities of latent maps, in grid steps.

    Maps are measured in their standard deviation over the scan (all variables together), so that
    shrinking them shortens nothing; a wall between two equal parts is a jump by 2 of these.

    Parameters
    ----------
    name : {"crofton", "tv", "modica-mortola", "mumford-shah"}
    mean : torch.Tensor
        (variable, y, x) content of neighbouring nodes.
    spread_over : torch.Tensor
        (node, variable) content of nodes all over the scan, to measure in.
    spacing : (float, float)
    valid : torch.Tensor
        (y, x) bool.
    """
    variance = spread_over.var(0).sum()
    maps = (mean - spread_over.mean(0)[:, None, None]) / (variance + 1e-8).sqrt()
    return _LENGTHS[name](maps, spacing, valid)


def _of_phases(length: Length) -> Length:
    """Measure the walls of each variable as those between two soft phases, q and 1 - q."""

    def measured(maps: Tensor, spacing: tuple[float, float], valid: Tensor) -> Tensor:
        q = torch.sigmoid(_STEEPNESS * maps)
        return length(torch.stack([q, 1 - q], 1), spacing, valid).sum()

    return measured


_LENGTHS: Mapping[Perimeter, Length] = {
    "crofton": _of_phases(cauchy_crofton),
    "tv": _of_phases(total_variation),
    "modica-mortola": _of_phases(modica_mortola),
    "mumford-shah": mumford_shah,
}
