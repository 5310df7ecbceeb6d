"""Stripes with two orders per angle: three beams, of which a slice in focus shows k and 2 k.

The central beam and the outer ones make stripes of wavevector k and phase phi, the two outer ones
stripes of 2 k and 2 phi (+ a constant where the slice is not in focus; Gustafsson et al.,
Biophys. J. 94, 4957 (2008)). The finer order is found as stripes are, the other one at
half of its wavevector, and then both are fitted together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.sim._lattice import fit_lattice
from napari_physgen.sim._waves import fit_wave

if TYPE_CHECKING:
    from napari_physgen.sim._bands import Field, Real
    from napari_physgen.sim._search import Landscape
    from napari_physgen.sim._waves import Comb

ORDERS = np.array([[1], [2]])


def fit_orders(frames: Real, field: Field, land: Landscape, start: list[Real] | Comb) -> Comb:
    """Fit both orders of one angle.

    Parameters
    ----------
    frames : numpy.ndarray
        (phase, y, x), above the offset, divided by each frame's brightness.
    field : Field
    land : Landscape
        Not needed: the steps of both orders are known.
    start : list of numpy.ndarray or Comb
        Wavevector of the second order, or (first, second) as fitted before.
    """
    if isinstance(start, list):
        second = fit_wave(frames, field, start[0], step=2)
        first = fit_wave(frames, field, second.q / 2, step=1)
        return fit_lattice(frames, field, ORDERS, [first, second])
    return fit_lattice(frames, field, ORDERS, start.waves)
