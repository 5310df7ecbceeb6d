"""Elastic energy of a coherent misfit in a homogeneous cubic crystal (microelasticity).

A composition c with the stress-free strain e (c - mean) costs, once the lattice has relaxed,

    E = 1/2 sum_k B(k / |k|) |c_k|^2,    B(n) = e:C:e - t . Omega(n) t,
    t = (C:e) n,    (Omega^-1)_ij = C_ikjl n_k n_l

(A. G. Khachaturyan, Theory of Structural Transformations in Solids, 1983, eq. 8.1; the mean is
stress-free, so B(0) = 0). Two-dimensional grids are sections in plane strain: n lies in the plane,
e has all its components.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_physgen.synthesis.phase_field.spectral import NoFlux, Periodic

# Moduli relative to C11, near those of nickel alloys; C44 follows from the Zener ratio.
C12 = 0.6
USUAL_ZENER = 3.0


def kernel(n: Tensor, zener: Tensor, misfit: Tensor) -> Tensor:
    """Return B(n) in units of C11.

    Parameters
    ----------
    n : torch.Tensor
        (..., 3), unit vectors in the frame of the crystal.
    zener : torch.Tensor
        Broadcastable to (...), 2 C44 / (C11 - C12).
    misfit : torch.Tensor
        Broadcastable to (..., 3, 3), stress-free strain per unit of composition, crystal frame.

    Returns
    -------
    torch.Tensor
        (...), not negative.
    """
    c44 = zener * (1 - C12) / 2
    cubic = (1 - C12 - 2 * c44)[..., None, None]
    shear = c44[..., None, None]
    one = torch.eye(3, dtype=n.dtype)
    trace = misfit.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    stress = C12 * trace * one + cubic * misfit * one + 2 * shear * misfit
    outer = n[..., :, None] * n[..., None, :]
    stiffness = shear * one + (C12 + shear) * outer + cubic * outer * one
    traction = (stress @ n[..., None])[..., 0]
    relaxed = (traction * torch.linalg.solve(stiffness, traction)).sum(-1)
    b: Tensor = (stress * misfit).sum((-1, -2)) - relaxed
    return b


def loaded_misfit(load: Tensor, zener: Tensor, axis: Tensor) -> Tensor:
    """Return the misfit (..., 3, 3) of a crystal under a uniaxial stress, relative to the free one.

    If the moduli of the two phases differ by a factor 1 + delta, the precipitate in the stress s
    behaves to first order like one with the misfit e - delta S:s in a homogeneous crystal (J. D.
    Eshelby, 1957). With load = delta s / (2 e (C11 - C12)) a stress along a cube axis makes the
    misfit 1 - load along it and 1 + load across.

    Parameters
    ----------
    load, zener : torch.Tensor
        (...).
    axis : torch.Tensor
        (..., 3), direction of the stress in the frame of the crystal.
    """
    one = torch.eye(3, dtype=axis.dtype)
    along = axis[..., :, None] * axis[..., None, :]
    soft = (1 / zener)[..., None, None]
    strain = (1 - soft) * along * one + soft * along
    return one + load[..., None, None] * (one - 2 * strain)


def elastic_symbol(
    grid: Periodic | NoFlux,
    strength: Tensor,
    zener: Tensor,
    load: Tensor,
    orientation_deg: Tensor,
) -> Tensor:
    """Return the elastic energy per wave, strength (B - min B) / B_0 (batch, *spectrum).

    The least value over the directions is an isotropic term that the bulk energy holds already. B_0
    is the range of B in a free crystal of the usual Zener ratio, so that the unit of `strength`
    does not change with the other three.

    Parameters
    ----------
    grid : Periodic or NoFlux
    strength, zener, load, orientation_deg : torch.Tensor
        (batch,). The stress is along y of the grid, the crystal turned from x towards y.
    """
    strength, zener, load, turn = (
        values.detach().double().cpu() for values in (strength, zener, load, orientation_deg)
    )
    turn = torch.deg2rad(turn)
    cos, sin = torch.cos(turn), torch.sin(turn)
    axis = torch.stack([torch.zeros_like(turn), cos, sin], -1)  # of the stress, as (z, y, x)
    space = (-1, *(1,) * len(grid.shape))
    n = _directions(grid)
    cos, sin, zener_k = cos.reshape(space), sin.reshape(space), zener.reshape(space)
    z, y, x = n.unbind(-1)
    turned = cos * y - sin * x
    crystal = torch.stack([z.expand_as(turned), turned, sin * y + cos * x], -1)
    misfit = loaded_misfit(load, zener, axis).reshape(*space, 3, 3)
    b = kernel(crystal, zener_k, misfit)
    mean = (grid.k2 == 0).cpu()
    least = b.masked_fill(mean, math.inf).amin(tuple(range(1, b.ndim)), keepdim=True)
    symbol = strength.reshape(space) * (b - least) / _usual_range()
    return symbol.masked_fill(mean, 0.0).to(grid.device, grid.dtype)


def _directions(grid: Periodic | NoFlux) -> Tensor:
    """Return k / |k| as (z, y, x) for every wave of the grid (*spectrum, 3), on the CPU."""
    k = [values.detach().double().cpu() for values in grid.k]
    flat = [torch.zeros((), dtype=torch.float64)] * (3 - len(k))
    n = torch.stack([part.expand(grid.k2.shape) for part in (*flat, *k)], -1)
    length = n.norm(dim=-1, keepdim=True)
    return n / torch.where(length > 0, length, 1)


def _usual_range() -> float:
    """Return max B - min B in the plane of two cube axes, free crystal of the usual Zener ratio."""
    along = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    diagonal = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64) / math.sqrt(2)
    n, one = torch.stack([along, diagonal]), torch.eye(3, dtype=torch.float64)
    b = kernel(n, torch.full((2,), USUAL_ZENER, dtype=torch.float64), one)
    return float(b[1] - b[0])
