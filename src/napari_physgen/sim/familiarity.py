"""How far a stack is from those that a network learned from, in words.

A trained network knows what images look like through the microscopes that it has seen; through
another one it would still draw something. So each model carries the range of what it has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.sim.amortised import resolution
from napari_physgen.sim.results import Patterns

if TYPE_CHECKING:
    from napari_physgen.sim.case import Case

Range = tuple[float, float]

TOLERATED = 1.1
"""Factor outside a range that is not worth a word."""

REFUSED = 1.3
"""Factor outside the range of the resolution beyond which the network is not used: lines of its
images would be that much too thick or too thin."""


@dataclass(frozen=True)
class Seen:
    """Smallest and largest values among the stacks that a network learned from.

    Parameters
    ----------
    resolution : (float, float)
        Detection cutoff, cycles per pixel of the result (NA, wavelength, pixel size and zoom).
    photons : (float, float)
        Detected photons per camera pixel and frame, mean over the stack.
    fineness : (float, float)
        Pattern frequency over the detection cutoff; (0, 0) for known illumination frames.
    modulation : (float, float)
        Modulation depth; (0, 0) for known illumination frames.
    frames : (float, float)
        Raw frames of a stack.
    """

    resolution: Range
    photons: Range
    fineness: Range
    modulation: Range
    frames: Range

    @classmethod
    def of(cls, case: Case) -> Self:
        """Return the values of one stack."""
        light = case.illumination
        fineness = modulation = np.zeros(1)
        if isinstance(light, Patterns):
            fineness = np.linalg.norm(light.wavevectors, axis=1) / case.otf.cutoff
            modulation = light.modulation
        photons = float(case.signal.mean()) / max(case.camera.gain, 1e-6)
        count = float(case.frames.shape[0] * case.frames.shape[1])
        return cls(
            (resolution(case),) * 2,
            (photons, photons),
            (float(fineness.min()), float(fineness.max())),
            (float(modulation.min()), float(modulation.max())),
            (count, count),
        )

    @classmethod
    def nothing(cls) -> Self:
        """Return the range of a network that has seen nothing."""
        empty = (float("inf"), float("-inf"))
        return cls(empty, empty, empty, empty, empty)

    @classmethod
    def of_header(cls, values: Mapping[str, Any]) -> Self:
        """Return what `dataclasses.asdict` and JSON made of one."""
        return cls(**{name: (float(low), float(high)) for name, (low, high) in values.items()})

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Return the ranges that hold those of several ones."""
        ranges = [vars(part) for part in parts]
        return cls(
            **{
                name: (min(r[name][0] for r in ranges), max(r[name][1] for r in ranges))
                for name in ranges[0]
            }
        )

    def check(self, case: Case) -> str:
        """Say how a stack differs from what was seen; empty if it does not.

        Raises
        ------
        UserError
            If the network cannot work on it.
        """
        own = Seen.of(case)
        if _outside(own.resolution, self.resolution) > REFUSED:
            low, high = (1 / edge for edge in reversed(self.resolution))
            raise UserError(
                f"The model learned from images whose finest detail without patterns is {low:.1f} "
                f"to {high:.1f} pixels of the result, here it is {1 / own.resolution[0]:.1f}: "
                "change the zoom, check NA, wavelength and pixel size, or train a model on "
                "stacks of this microscope."
            )
        known, given = self.fineness[1] == 0, own.fineness[1] == 0
        remarks = [] if known == given else ["another kind of illumination"]
        for name, words, unit in _NAMES:
            here, there = getattr(own, name), getattr(self, name)
            if (name in ("fineness", "modulation") and (known or given)) or (
                _outside(here, there) <= TOLERATED
            ):
                continue
            remarks.append(f"{words} {_told(here)}{unit} instead of {_told(there)}")
        if not remarks:
            return ""
        return f"New to the model: {'; '.join(remarks)}. Compare with the variational image."


_NAMES = (
    ("resolution", "cutoff of", " cycles per pixel"),
    ("photons", "photons per pixel of", ""),
    ("fineness", "pattern frequency of", " of the cutoff"),
    ("modulation", "modulation of", ""),
    ("frames", "raw frames:", ""),
)


def _outside(own: Range, seen: Range) -> float:
    """Return the factor by which a range exceeds another one; 1 inside."""
    below = seen[0] / max(own[0], 1e-9)
    above = own[1] / max(seen[1], 1e-9)
    return max(below, above, 1.0)


def _told(values: Range) -> str:
    low, high = (f"{value:.3g}" for value in values)
    return low if low == high else f"{low} to {high}"
