"""Length of the walls between soft regions, with a gradient.

All terms take maps (..., region or channel, y, x) on a grid with a `spacing`, leave out what has
no data and return lengths (...) in units of the spacing:

    cauchy_crofton    1/2 sum_k sum_edges w_e |dq_k|            any width of the wall
    total_variation   1/2 sum_k integral |grad q_k|             any width of the wall
    modica_mortola    3/2 sum_k integral e |grad q_k|^2 + q_k^2 (1 - q_k)^2 / e
    mumford_shah      sum_edges w_e (1 - exp(-|dmu|^2 / t^2))   latent maps: jumps only

The factor 1/2 is there because a wall belongs to two regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from typing import TYPE_CHECKING

import torch

from napari_physgen.physics.wall_edges import edges, ends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

Spacing = tuple[float, float]

SQUARE: Spacing = (1.0, 1.0)
SURFACE_TENSION = 1 / 3
"""2 integral_0^1 sqrt(W(q)) dq of the double well W = q^2 (1 - q)^2 (Modica and Mortola 1977)."""
CHECKERBOARD = 0.1
"""Weight of the difference of the diagonals in `total_variation`: the smallest round one that
keeps a checkerboard from being free; it lengthens hard walls at 45 degrees by 2.5 %."""


def cauchy_crofton(
    q: Tensor, spacing: Spacing = SQUARE, valid: Tensor | None = None, epsilon: float = 1e-3
) -> Tensor:
    """Return the Cauchy-Crofton length over eight neighbours.

    A wall may have any width: what counts is that `q` rises from 0 to 1 along a line. A hard
    map costs what `wall_edges.label_length` says.

    Parameters
    ----------
    q : torch.Tensor
        (..., region, y, x) soft assignments.
    spacing : (float, float)
        Distance of two nodes along y and x.
    valid : torch.Tensor, optional
        (y, x) bool: nodes with data. Walls against the others have no length.
    epsilon : float
        Steps of `q` well below this one cost their square instead of their size.

    Returns
    -------
    torch.Tensor
        (...) length in units of `spacing`.
    """
    return sum_edges(q, lambda step: _smooth_abs(step, epsilon).sum(-3) / 2, spacing, valid)


def total_variation(
    q: Tensor, spacing: Spacing = SQUARE, valid: Tensor | None = None, epsilon: float = 1e-3
) -> Tensor:
    """Return the isotropic total variation of soft regions; parameters as `cauchy_crofton`.

    The gradient is taken in the middle of four nodes (Roberts' cross), where hard walls along
    the axes and at 45 degrees have their true length.
    """
    dy, dx = spacing
    a, b, c, d = _corners(q)
    along_y, along_x = (c + d - a - b) / (2 * dy), (b + d - a - c) / (2 * dx)
    crossed = CHECKERBOARD * ((a + d - b - c) / 2) ** 2 / (dy * dx)
    steepness = torch.sqrt(along_y**2 + along_x**2 + crossed + epsilon**2) - epsilon
    if valid is not None:
        steepness = steepness * torch.stack(_corners(valid)).all(0)
    return dy * dx / 2 * steepness.sum((-3, -2, -1))


def modica_mortola(
    q: Tensor, spacing: Spacing = SQUARE, valid: Tensor | None = None, width: float = 4.0
) -> Tensor:
    """Return the diffuse-interface energy in units of its surface tension.

    A flat wall in equilibrium, q = 1 / (1 + exp(-x / e)), costs its length; any other profile
    costs more.

    Parameters
    ----------
    q, spacing, valid
        As `cauchy_crofton`.
    width : float
        Distance from q = 0.1 to q = 0.9 of a wall in equilibrium, 2 ln(9) e; at least 4 grid
        steps, or the grid cannot show the profile.

    References
    ----------
    L. Modica, S. Mortola, Boll. Un. Mat. Ital. B 14 (1977) 285.
    """
    e = width / (2 * log(9))
    cell = spacing[0] * spacing[1]
    well = (q * (1 - q)) ** 2
    if valid is not None:
        well = well * valid
    energy = well.sum((-3, -2, -1)) / e
    for offset, step in (((1, 0), spacing[0]), ((0, 1), spacing[1])):
        first, second = ends(offset)
        slope = ((q[second] - q[first]) / step) ** 2
        if valid is not None:
            slope = slope * (valid[first] & valid[second])
        energy = energy + e * slope.sum((-3, -2, -1))
    return cell * energy / (2 * SURFACE_TENSION)


def mumford_shah(
    mu: Tensor, spacing: Spacing = SQUARE, valid: Tensor | None = None, threshold: float = 1.0
) -> Tensor:
    """Return the length of the jumps of latent maps; slow changes cost their square.

    An edge costs w (v |dmu|^2 / t^2 + v log v - v + 1) with an edge field `v` (1 inside of a
    region, 0 on a wall) at its optimum v = exp(-|dmu|^2 / t^2), which leaves
    w (1 - exp(-|dmu|^2 / t^2)): 0.993 of the length for a jump of 2.2 t, 0.01 w for one of t / 10.

    Parameters
    ----------
    mu : torch.Tensor
        (..., channel, y, x) latent maps. Their scale must be held by something else: maps that
        shrink below the threshold have no walls.
    spacing, valid
        As `cauchy_crofton`.
    threshold : float
        Change between neighbours, in units of `mu`, from which on it counts as a wall.

    References
    ----------
    A. Chambolle, SIAM J. Appl. Math. 55 (1995) 827 (the functional on a grid); M. J. Black and
    A. Rangarajan, Int. J. Comput. Vision 19 (1996) 57 (edge fields in closed form, Leclerc's).
    """

    def cost(step: Tensor) -> Tensor:
        return -torch.expm1(-step.square().sum(-3) / threshold**2)

    return sum_edges(mu, cost, spacing, valid)


def sum_edges(
    maps: Tensor,
    cost: Callable[[Tensor], Tensor],
    spacing: Spacing = SQUARE,
    valid: Tensor | None = None,
) -> Tensor:
    """Sum `cost` of the differences (..., channel, y, x) over all edges, weighted as walls."""
    total = maps.new_zeros(maps.shape[:-3])
    for weight, step, seen in _edges(maps, spacing, valid):
        paid = cost(step)
        total = total + weight * (paid if seen is None else paid * seen).sum((-2, -1))
    return total


def _edges(
    maps: Tensor, spacing: Spacing, valid: Tensor | None
) -> Iterator[tuple[float, Tensor, Tensor | None]]:
    for offset, weight in edges(spacing):
        first, second = ends(offset)
        seen = None if valid is None else valid[first] & valid[second]
        yield weight, maps[second] - maps[first], seen


def _smooth_abs(step: Tensor, epsilon: float) -> Tensor:
    """Return |step|, rounded off at 0 and exact at 0 and 1."""
    whole = sqrt(1 + epsilon**2) - epsilon
    return (torch.sqrt(step**2 + epsilon**2) - epsilon) / whole


def _corners(maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the four nodes around the middle of each square of nodes."""
    top, bottom = maps[..., :-1, :], maps[..., 1:, :]
    return top[..., :-1], top[..., 1:], bottom[..., :-1], bottom[..., 1:]


@dataclass(frozen=True)
class Perimeter:
    """One way to measure walls.

    Parameters
    ----------
    length : callable
        (maps, spacing, valid) -> length.
    latent : bool
        Whether it measures latent maps (channel, y, x) instead of soft regions.
    """

    length: Callable[[Tensor, Spacing, Tensor | None], Tensor]
    latent: bool = False


PERIMETERS: Mapping[str, Perimeter] = {
    "crofton": Perimeter(cauchy_crofton),
    "tv": Perimeter(total_variation),
    "modica-mortola": Perimeter(modica_mortola),
    "mumford-shah": Perimeter(mumford_shah, latent=True),
}


def wall_length(
    name: str,
    q: Tensor,
    mu: Tensor,
    spacing: Spacing = SQUARE,
    valid: Tensor | None = None,
) -> Tensor:
    """Return the length of the walls by the perimeter `name`.

    Parameters
    ----------
    name : str
        Key of `PERIMETERS`.
    q, mu : torch.Tensor
        (..., region, y, x) soft regions and (..., channel, y, x) latent maps in units of the
        change that counts as a wall; which of them counts is the perimeter's.
    spacing, valid
        As `cauchy_crofton`.
    """
    perimeter = PERIMETERS[name]
    return perimeter.length(mu if perimeter.latent else q, spacing, valid)
