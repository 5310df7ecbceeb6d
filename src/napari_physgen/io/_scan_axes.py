"""Which axis of a measurement is which: by its unit, then by its name, last by its size.

Formats disagree about the order of axes (Gatan maps may be energy first, Bruker and HyperSpy
ones are energy last), so position decides nothing where anything else is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from napari_physgen.io._scan_units import Quantity, pint_unit, quantity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Role = Literal["", "signal", "frame", "scan", "pattern"]

_SIGNALS = "energy loss bias voltage frequency wavelength lambda wavenumber raman spectrum spectral"
_WORDS: dict[str, Role] = dict.fromkeys([*_SIGNALS.split(), "channel", "channels"], "signal")
_WORDS |= dict.fromkeys(("time", "t", "frame", "frames", "cycle", "z", "depth"), "frame")
_WORDS |= dict.fromkeys(("kx", "ky", "qx", "qy", "dx", "dy", "u", "v"), "pattern")
_WORDS |= dict.fromkeys(("x", "y", "width", "height", "row", "rows", "column", "columns"), "scan")
_X = {"x", "kx", "qx", "dx", "rx", "u", "width", "column", "columns", "fast"}
_Y = {"y", "ky", "qy", "dy", "ry", "v", "height", "row", "rows", "slow"}
_LEAST_4D = 16  # px; shorter leading axes of an unnamed 4-D array are times or channels


@dataclass(frozen=True)
class Axis:
    """One axis as a file describes it.

    Parameters
    ----------
    name, unit : str
        As written in the file, "" where it does not say.
    start, step : float
        Position of the first sample and distance of two, in `unit`.
    values : numpy.ndarray or None
        Positions of all samples, instead of `start` and `step`.
    role : str
        What the file itself says that the axis is, "" where it does not say.
    """

    name: str = ""
    unit: str = ""
    start: float = 0.0
    step: float = 1.0
    values: NDArray[np.float64] | None = None
    role: Role = ""

    @property
    def words(self) -> list[str]:
        """Lower-case words of the name."""
        return [word for word in re.split(r"[^a-z]+", self.name.lower()) if word]

    @property
    def label(self) -> str:
        """Name without the marks of LaTeX: that of a Schottky plot becomes "sqrt E"."""
        return re.sub(r"[$\\{}]", "", self.name).strip()

    @property
    def quantity(self) -> Quantity:
        """What the unit measures, "" where it is unknown or none of ours."""
        return quantity(self.unit)


def roles(axes: Sequence[Axis], shape: Sequence[int]) -> list[Role]:
    """Return what every axis is: signal, frame, scan or pattern (detector of 4-D STEM)."""
    found = [_own_role(axis) for axis in axes]
    if len(found) == 1:
        return [found[0] or "signal"]
    _settle_lengths(axes, found)
    _settle_patterns(axes, found)
    unknown = [i for i, role in enumerate(found) if not role]
    if len(unknown) == 4 == len(found) and min(shape) >= _LEAST_4D:
        return ["scan", "scan", "pattern", "pattern"]
    for i in _likely_scan(unknown, shape, 2 - found.count("scan")):
        found[i] = "scan"
    rest: Role = "frame" if "signal" in found or "pattern" in found else "signal"
    return [role or rest for role in found]


def _own_role(axis: Axis) -> Role:
    """Return the role of an axis as far as it is known without the others."""
    kind = axis.quantity
    if kind in ("energy", "voltage", "frequency", "wavenumber"):
        return "signal"
    if axis.role:
        return axis.role
    by_name: Role = next((_WORDS[word] for word in reversed(axis.words) if word in _WORDS), "")
    if kind in ("reciprocal", "angle"):
        return "pattern"
    if kind == "time":
        return "frame"
    if kind == "length":
        return by_name if by_name in ("signal", "frame") else "scan"
    return by_name


def _settle_lengths(axes: Sequence[Axis], found: list[Role]) -> None:
    """Take the odd one of three lengths for a wavelength, where it is in nm."""
    scan = [i for i, role in enumerate(found) if role == "scan"]
    if len(scan) < 3:
        return
    units = [pint_unit(axes[i].unit) for i in scan]
    named = [i for i in scan if set(axes[i].words) & (_X | _Y)]
    for i, unit in zip(scan, units, strict=True):
        odd = units.count(unit) == 1
        if odd or (len(named) == 2 and i not in named):
            found[i] = "signal" if odd and "nanometer" in unit else "frame"
    for i in [i for i in scan if found[i] == "scan"][:-2]:
        found[i] = "frame"


def _settle_patterns(axes: Sequence[Axis], found: list[Role]) -> None:
    """Take a single angle for a tilt and a single 1/length for a signal: detectors have two."""
    pattern = [i for i, role in enumerate(found) if role == "pattern"]
    if len(pattern) == 1 and "pattern" not in (axis.role for axis in axes):
        kind = axes[pattern[0]].quantity
        found[pattern[0]] = "frame" if kind == "angle" else "signal"
    if len(pattern) == 2 and len(found) == 2:
        found[:] = ["scan", "scan"]


def _likely_scan(unknown: list[int], shape: Sequence[int], wanted: int) -> list[int]:
    """Return which axes of unknown meaning are y and x: the two of most similar length."""
    if wanted <= 0 or len(unknown) <= wanted:
        return unknown[: max(wanted, 0)]
    if wanted == 1:
        return unknown[-1:]

    def elongation(pair: list[int]) -> float:
        sizes = [shape[i] for i in pair]
        return max(sizes) / max(min(sizes), 1)

    return min([unknown[-2:], unknown[:2]], key=elongation)


def in_order(axes: Sequence[Axis], found: Sequence[Role], shape: Sequence[int]) -> list[int]:
    """Return the order of axes: signal (longest first), frames, y, x, then ky, kx."""
    signal = sorted((i for i, r in enumerate(found) if r == "signal"), key=lambda i: -shape[i])
    frames = [i for i, role in enumerate(found) if role == "frame"]
    scan = _y_before_x(axes, [i for i, role in enumerate(found) if role == "scan"])
    pattern = _y_before_x(axes, [i for i, role in enumerate(found) if role == "pattern"])
    return [*signal, *frames, *scan, *pattern]


def _y_before_x(axes: Sequence[Axis], pair: list[int]) -> list[int]:
    if len(pair) != 2:
        return pair
    first, second = (set(axes[i].words) for i in pair)
    return pair[::-1] if first & _X and second & _Y else pair


def plain_names(axes: Sequence[Axis], found: Sequence[Role]) -> tuple[str, ...]:
    """Return one name per axis in its final order, each only once."""
    counts = {role: list(found).count(role) for role in found}
    names: list[str] = []
    for i, (axis, role) in enumerate(zip(axes, found, strict=True)):
        place = list(found[:i]).count(role)
        if role in ("scan", "pattern"):
            letters = ("z", "y", "x")[-counts[role] :] if counts[role] <= 3 else ()
            name = letters[place] if letters else f"axis {i}"
            name = f"k{name}" if role == "pattern" else name
        else:
            name = _signal_name(axis) if role == "signal" else _frame_name(axis)
        names.append(name if name not in names else f"{name} {i}")
    return tuple(names)


def _signal_name(axis: Axis) -> str:
    kind = axis.quantity
    if kind in ("energy", "frequency", "wavenumber"):
        return kind
    if kind == "length":
        return "wavelength"
    # "sqrt E" must keep its name: it is no plain bias.
    if kind == "voltage" and pint_unit(axis.unit).endswith("volt"):
        return "bias"
    return axis.label or "channel"


def _frame_name(axis: Axis) -> str:
    unnamed = {"time": "t", "length": "z"}.get(axis.quantity, "frame")
    return "t" if axis.quantity == "time" else axis.label.lower() or unnamed


def without_metres(axis: Axis) -> Axis:
    """Return lengths that a file gives in m in nm: napari draws no pixels of 1e-9 well."""
    unit = pint_unit(axis.unit)
    factor = {"meter": 1e9, "1 / meter": 1e-9}.get(unit)
    if factor is None:
        return axis
    values = None if axis.values is None else axis.values * factor
    new = unit.replace("meter", "nanometer")
    start, step = axis.start * factor, axis.step * factor
    return replace(axis, unit=new, start=start, step=step, values=values)


def signal_roles(navigates: list[bool]) -> list[Role]:
    """Return roles by HyperSpy's rule: navigation axes run over what was measured at a point.

    A single signal axis is a spectrum; two are an image, or a pattern on a grid of points.
    """
    signals = navigates.count(False)
    scanned = len(navigates) - signals
    if signals == 1 and scanned:
        return ["" if navigate else "signal" for navigate in navigates]
    if signals == 2:
        outer: Role = "scan" if scanned == 2 else "frame"
        return [
            outer if navigate else ("pattern" if scanned == 2 else "scan") for navigate in navigates
        ]
    return [""] * len(navigates)
