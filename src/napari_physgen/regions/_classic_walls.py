"""The physics term of the classic VAE: length of the discontinuities of its latent maps.

Latents know the phase of the lattice much better than what the lattice is made of, and the phase
changes from node to node: nothing in the evidence bound keeps it out of the content. The length
of walls does, if it is high from the start, and if it has a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
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

_SOFTENED = 0.5
"""Part of the steps after which walls cost what they should; until then it falls linearly."""

_STEEPNESS = 2.0
"""A variable one standard deviation from its mean is 0.88 of one phase."""


@dataclass(frozen=True)
class _Measure:
    """A length (maps, spacing, valid), and how many times as much walls cost at the start."""

    length: Length
    stiff: float


def stiffness(name: Perimeter, progress: float) -> float:
    """Return the factor of the wall cost at a part of the training, 0 to 1.

    With a constant cost (Mumford-Shah), or none, the latents of two of three simulated scans of two
    phases followed the phase of the lattice (adjusted Rand index 0.0 and 0.1; with it 0.7 and 0.7).
    """
    return max(1.0, _MEASURES[name].stiff * (1 - progress / _SOFTENED))


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
    return _MEASURES[name].length(maps, spacing, valid)


def _of_phases(length: Length) -> Length:
    """Measure the walls of each variable as those between two soft phases, q and 1 - q."""

    def measured(maps: Tensor, spacing: tuple[float, float], valid: Tensor) -> Tensor:
        q = torch.sigmoid(_STEEPNESS * maps)
        return length(torch.stack([q, 1 - q], 1), spacing, valid).sum()

    return measured


# Measured on two simulated scans each: crofton keeps the network from learning one of them at 20
# (adjusted Rand index 0.69, error 0.34; at 5 0.81 and 0.29), modica-mortola is too soft for one of
# them at 5 (0.70; at 20 0.82).
_MEASURES: Mapping[Perimeter, _Measure] = {
    "crofton": _Measure(_of_phases(cauchy_crofton), 5.0),
    "tv": _Measure(_of_phases(total_variation), 5.0),
    "modica-mortola": _Measure(_of_phases(modica_mortola), 20.0),
    "mumford-shah": _Measure(mumford_shah, 20.0),
}
