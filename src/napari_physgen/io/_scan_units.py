"""Units as vendors spell them, and what they measure."""

from __future__ import annotations

import re
from typing import Any, Literal

Quantity = Literal[
    "", "energy", "voltage", "frequency", "wavenumber", "length", "reciprocal", "angle", "time"
]

_SPELLINGS = {"px": "", "pixel": "", "pixels": "", "a.u.": "", "au": "", "arb. units": ""}
_SPELLINGS |= {"µ": "um", "μ": "um", "micron": "um", "microns": "um", "volts": "V", "Volts": "V"}


def pint_unit(text: str) -> str:
    """Return a unit as pint and napari write it, "pixel" for none or an unknown one."""
    unit = _parsed(text)
    return "pixel" if unit is None else str(unit)


def quantity(text: str) -> Quantity:
    """Return what a unit measures."""
    unit = _parsed(text)
    if unit is None:
        return ""
    kinds: list[tuple[str, Quantity]] = [
        ("electron_volt", "energy"),
        ("volt", "voltage"),
        ("hertz", "frequency"),
        ("meter", "length"),
        ("1 / meter", "reciprocal"),
        ("second", "time"),
    ]
    if str(unit) == "1 / centimeter":
        return "wavenumber"
    if unit.dimensionless:
        return "angle" if any(word in str(unit) for word in ("radian", "degree")) else ""
    for example, kind in kinds:
        if unit.is_compatible_with(example):
            return kind
    # sqrt(V/m) of a Schottky plot is a voltage axis as well.
    return "voltage" if re.search(r"volt(?!-)", str(unit).replace("electron_volt", "")) else ""


def _parsed(text: str) -> Any:
    import pint

    text = re.sub(r"[$\\{}]", "", str(text)).strip()
    if text.startswith("["):  # EMD: [nm], and [n_m] for nm
        text = text.strip("[]").replace("_", "")
    text = _SPELLINGS.get(text, text)
    text = re.sub(r"^([^\W\d]+)\s*-\s*1$", r"1/\1", text)  # nm-1
    if not text or text.startswith("<"):
        return None
    registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
    try:
        unit = registry.Unit(text)
    except Exception:  # pint raises whatever its parser stumbles over
        return None
    return None if str(unit) == "dimensionless" else unit


def text(value: Any) -> str:
    """Return an attribute as text, "" for the many ways to write none."""
    plain = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return "" if plain in ("_None_", "None", "<undefined>", "t.Undefined") else plain
