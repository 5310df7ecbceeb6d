"""Acquisition parameters in ImageJ TIFFs: the header, and "Show Info" as Bio-Formats fills it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from napari_physgen.io._found import Found, keep, number
from napari_physgen.io.image import length_factor, time_factor

if TYPE_CHECKING:
    from collections.abc import Mapping

_LINE = re.compile(r"^\s*(.+?)\s*(?:=|:\s)\s*(.+?)\s*$", re.MULTILINE)
_VALUE = re.compile(r"([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*([a-zA-Zµμ]*)")
_KEYS = {
    "na": re.compile(r"(lensna|numericalaperture|objectivena)\d*$"),
    "wavelength_nm": re.compile(r"emissionwavelength(nm)?\d*$"),
    "excitation_nm": re.compile(r"excitationwavelength(nm)?\d*$"),
}
_CAMERA = re.compile(r"(cameraname|cameramodel|detectormodel)\d*$")


def imagej_values(metadata: Mapping[str, Any], channel: int) -> dict[str, Found]:
    """Return what header and info say."""
    found: dict[str, Found] = {}
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ")
    spacing, length = number(metadata.get("spacing")), length_factor(unit) if unit else None
    if spacing is not None and length is not None:
        keep(found, "z_step_nm", abs(spacing) * length * 1000, "nm", "ImageJ spacing")
    interval = number(metadata.get("finterval"))
    seconds = time_factor(str(metadata.get("tunit", "s")))
    if interval is not None and seconds is not None:
        keep(found, "time_step_s", interval * seconds, "s", "ImageJ frame interval")
    keep(found, "channels", number(metadata.get("channels")), "", "ImageJ channels")
    return found | _info(str(metadata.get("Info", "")), channel)


def _info(text: str, channel: int) -> dict[str, Found]:
    """Return values from lines 'key = value' or 'key: value'."""
    found: dict[str, Found] = {}
    for key, value in _LINE.findall(text):
        # Bio-Formats counts channels from 1: "... EmissionWavelength #1 = 525.0".
        of = re.search(r"#(\d+)\s*$", key)
        plain = re.sub(r"[^a-z0-9]", "", key.lower())
        if _CAMERA.search(plain):
            found.setdefault("camera", Found(value, "", "ImageJ Info"))
        for name, pattern in _KEYS.items():
            if not pattern.search(plain) or name in found:
                continue
            if name != "na" and of and int(of[1]) != channel + 1:
                continue
            size = _measure(value, length=name != "na")
            keep(found, name, size, "" if name == "na" else "nm", "ImageJ Info")
    return found


def _measure(text: str, *, length: bool) -> float | None:
    """Return a number; lengths in nm, which is what a wavelength without a unit is in."""
    match = _VALUE.match(text)
    if match is None:
        return None
    value = float(match[1])
    if not length or not match[2]:
        return value
    factor = length_factor(match[2])
    return None if factor is None else value * factor * 1000
