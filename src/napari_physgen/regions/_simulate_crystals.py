"""Images of columns of atoms: phases, ferroelectric variants, grains, glass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.regions import _simulate_fields as fields
from napari_physgen.regions import _simulate_lattice as atoms
from napari_physgen.regions._simulate_stage import SimulatedScan, Stage, at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]
    Labels = NDArray[np.uint8]

# Periods, widths and brightness of the synthetic suite, measured there by least squares over all
# pixels (residuals are those of counting alone).
_CUBIC = atoms.square(13.0, (0, 0, 1.06, 2.1), (0.5, 0.5, 0.58, 2.1))
_CENTRED = atoms.square(
    14.2, (0, 0, 0.71, 2.1), (0.5, 0.5, 0.71, 2.1), (0.5, 0, 0.1, 2.0), (0, 0.5, 0.1, 2.0)
)
_POLAR = atoms.square(14.0, (0, 0, 1.02, 2.17), (0.5, 0.5, 0.61, 2.17))
_CARBON = atoms.honeycomb(12.0, 0.98, 1.68)
_BACKGROUND = 0.085
_TURN = 0.03  # rad: crystals are nearly, not exactly, along the scan


def two_phase(stage: Stage) -> SimulatedScan:
    """Perovskite beside a centred crystal of a period 9 % larger, along a wavy wall."""
    labels = fields.wavy_halves(stage.random, stage.canvas)
    angle = stage.random.uniform(-_TURN, _TURN)
    phases = [atoms.crystal(c, stage.canvas, angle, stage.random) for c in (_CUBIC, _CENTRED)]
    data = stage.image(_joined(phases, labels, nearest=5.0), _BACKGROUND)
    return SimulatedScan(
        data, stage.truth(labels), "lattice", ("cubic", "centred"), 0.03, period=13.0
    )


def single(stage: Stage) -> SimulatedScan:
    """Perovskite everywhere."""
    labels = np.zeros(stage.canvas, np.uint8)
    angle = stage.random.uniform(-_TURN, _TURN)
    columns = atoms.crystal(_CUBIC, stage.canvas, angle, stage.random)
    data = stage.image(columns, _BACKGROUND)
    return SimulatedScan(data, stage.truth(labels), "lattice", ("cubic",), 0.03, period=13.0)


def ferro(stage: Stage, moved: float = 0.95) -> SimulatedScan:
    """Perovskite whose centre columns are off-centre along one of the four diagonals."""
    labels = fields.blobs(stage.random, stage.canvas, 4, min(stage.settings.shape) / 12)
    columns = atoms.crystal(_POLAR, stage.canvas, 0.0, stage.random)
    # Bright columns are the corners; the others move with the polarisation.
    polar = columns.brightness < 1
    ways = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)], float)
    steps = moved * ways[at(labels, columns.points)] * polar[:, None]
    data = stage.image(replace(columns, points=columns.points + steps), _BACKGROUND)
    names = ("down right", "down left", "up right", "up left")
    return SimulatedScan(data, stage.truth(labels), "lattice", names, 0.03, period=14.0)


def grains(stage: Stage) -> SimulatedScan:
    """Honeycomb in three orientations 12 to 20 degrees apart, and a patch without order."""
    labels = fields.grains(stage.random, stage.canvas, (0.31, 0.29, 0.29, 0.11))
    turns = stage.random.uniform(0, 60) + np.cumsum([0, *stage.random.uniform(12, 20, 2)])
    phases = [
        atoms.crystal(_CARBON, stage.canvas, float(np.radians(t)), stage.random) for t in turns
    ]
    phases.append(atoms.glass(stage.canvas, 0.016, 0.98, 1.68, stage.random))
    data = stage.image(_joined(phases, labels, nearest=4.0), _BACKGROUND)
    names = ("grain 1", "grain 2", "grain 3", "glass")
    return SimulatedScan(data, stage.truth(labels), "lattice", names, 0.02, period=12.0)


def amorphous(stage: Stage) -> SimulatedScan:
    """Grains of any orientation count as one region, glass as the other."""
    scan = grains(stage)
    labels = np.asarray(np.where(scan.labels == scan.regions, 2, 1), np.uint8)
    return replace(scan, labels=labels, names=("crystal", "glass"))


def _joined(phases: list[atoms.Columns], labels: Labels, nearest: float) -> atoms.Columns:
    """Return the columns of each phase in its region, none nearer to another than `nearest`."""
    parts = [phase.kept(at(labels, phase.points) == k) for k, phase in enumerate(phases)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.joined(part.kept(atoms.distance(part.points, whole.points) > nearest))
    return whole
