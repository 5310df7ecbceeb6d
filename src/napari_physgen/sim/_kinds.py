"""The kinds of pattern that several waves make: how each is found, fitted and judged.

A kind says where its waves are looked for and how those of one angle are fitted together. The rest
is the same for all and as for stripes: damping of the OTF from the overlap of the bands, a
second fit with it, and the modulation from the ratio of the bands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.backend.job import Progress
from napari_physgen.physics.optics import TYPICAL_DAMPING
from napari_physgen.sim._damping import fit_damping
from napari_physgen.sim._harmonics import fit_harmonics, with_depths
from napari_physgen.sim._hexagon import choose_triangle, fit_hexagon
from napari_physgen.sim._joint import choose
from napari_physgen.sim._orders import fit_orders
from napari_physgen.sim._search import zoomed_peak
from napari_physgen.sim._waves import Comb, overlap_powers, sorted_frames, with_modulation
from napari_physgen.sim.results import Waves

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_physgen.backend.job import Job
    from napari_physgen.sim._bands import Field, Real, Wave
    from napari_physgen.sim._joint import Choice
    from napari_physgen.sim._search import Landscape
    from napari_physgen.sim.results import Patterns


@dataclass(frozen=True)
class Kind:
    """One kind of pattern.

    Parameters
    ----------
    fit : callable
        From the frames (phase, y, x) of one angle, the evidence in them and the wavevectors of its
        peaks, or an earlier fit, to its waves.
    depths : callable
        From the frames and the waves of one angle to the same waves with their modulation.
    completed : callable
        From patterns of the first waves and the waves of all angles to whole patterns.
    choose : callable
        From the evidence of all angles to the peaks that are taken.
    step : int
        Parts of a turn by which the phases of the wave run that is searched.
    searched : int or None
        That wave of each angle, on which the verdict stands; None for all.
    """

    fit: Callable[[Real, Field, Landscape, list[Real] | Comb], Comb]
    depths: Callable[[Real, Field, Comb], Comb]
    completed: Callable[[Patterns, list[Comb]], Patterns]
    choose: Callable[[list[Landscape]], list[Choice]] = choose
    step: int = 1
    searched: int | None = 0

    def sort(self, frames: Real) -> Real:
        """Return the frames (phase, y, x) so that the searched phases run in single steps."""
        return frames[sorted_frames(len(frames), self.step)]

    def judged(self, combs: list[Comb]) -> list[Wave]:
        """Return the waves that the verdict stands on."""
        part = slice(None) if self.searched is None else slice(self.searched, self.searched + 1)
        return [wave for comb in combs for wave in comb.waves[part]]


def fit_combs(
    kind: Kind,
    frames: Real,
    field: Field,
    lands: list[Landscape],
    choices: list[Choice],
    fit_otf: bool,
) -> Job[tuple[list[Comb], Field]]:
    """Fit the waves of all angles and, if it is not known, the damping of the OTF (a job).

    Parameters
    ----------
    kind : Kind
    frames : numpy.ndarray
        (angle, phase, y, x), above the offset, divided by each frame's brightness.
    field : Field
    lands : list of Landscape
        One per angle.
    choices : list of Choice
        The same number for each angle.
    fit_otf : bool
    """
    message, total = "fitting the patterns", 2 * len(lands)
    share = len(choices) // len(lands)
    combs = []
    for angle, land in enumerate(lands):
        yield Progress(angle, total, message)
        own = choices[angle * share : (angle + 1) * share]
        start = [zoomed_peak(land, choice.q) for choice in own]
        combs.append(kind.fit(frames[angle], field, land, start))
    rough = field
    if fit_otf:
        powers = [
            p for f, c in zip(frames, combs, strict=True) for p in overlap_powers(f, field, c)
        ]
        damping = fit_damping(powers, field.cutoff)
        # Undoing a strong damping amplifies what the model leaves out; the waves do not need it.
        rough = replace(field, otf=field.otf.damped(max(damping, TYPICAL_DAMPING)))
        field = replace(field, otf=field.otf.damped(damping))
    for angle, land in enumerate(lands):
        yield Progress(len(lands) + angle, total, message)
        comb = kind.fit(frames[angle], rough, land, combs[angle])
        combs[angle] = kind.depths(frames[angle], field, comb)
    return combs, field


def with_overtones(patterns: Patterns, combs: list[Comb]) -> Patterns:
    """Return patterns of the first waves with the other ones added, in the same direction."""
    first = np.array([comb.waves[0].q for comb in combs])
    sign = np.sign(np.sum(first * patterns.wavevectors, axis=1))
    more = [comb.waves[1:] for comb in combs]
    wavevectors = np.array([[w.q for w in waves] for waves in more])
    phases = np.array([np.stack([w.phases for w in waves], -1) for waves in more])
    return replace(
        patterns,
        overtones=Waves(
            sign[:, None, None] * wavevectors,
            np.angle(np.exp(1j * sign[:, None, None] * phases)),
            np.array([[w.modulation for w in waves] for waves in more]),
        ),
    )


def with_saturation(patterns: Patterns, combs: list[Comb]) -> Patterns:
    """Return patterns of the fundamentals with the harmonics of a common saturation."""
    from napari_physgen.sim.saturation import fit_saturation, saturated  # brings torch along

    depths = np.array([[w.modulation for w in comb.waves[:2]] for comb in combs])
    relative = np.array([[w.modulation_error for w in comb.waves[:2]] for comb in combs])
    dose, saturation = fit_saturation(depths, np.maximum(relative * np.abs(depths), 1e-3))
    return saturated(replace(patterns, modulation=dose), saturation)


KINDS = {
    "three-beam": Kind(fit_orders, with_modulation, with_overtones, step=2, searched=1),
    "hexagonal": Kind(
        fit_hexagon, with_modulation, with_overtones, choose=choose_triangle, searched=None
    ),
    "saturated": Kind(fit_harmonics, with_depths, with_saturation),
}
