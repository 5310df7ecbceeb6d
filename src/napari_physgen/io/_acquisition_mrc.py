"""Acquisition parameters in the headers of MRC and DV files.

The DV dialect has the number of channels at byte 196 and the emission of up to five of them from
byte 198 on (int16, nm); the order of channels, planes and times is at byte 182. Its extended header
has for each section as many integers and floats as bytes 128 and 130 say; the eleventh float is the
excitation wavelength in nm (as Bio-Formats reads it). No byte is agreed on for angles and phases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.io._found import Found, keep
from napari_physgen.io.mrc import byte_order, is_dv, spacing_um

if TYPE_CHECKING:
    from pathlib import Path

_MOST = 1 << 20
_ORDERS = {0: "WTZYX", 1: "TZWYX", 2: "TWZYX"}
_EXCITATION = 10


def mrc_values(path: Path, channel: int) -> dict[str, Found]:
    """Return what the header says."""
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    with path.open("rb") as file:
        head = file.read(1024)
        order = byte_order(head)
        if order is None:
            raise UserError(f"{path.name} is no MRC or DV file, or it is damaged.")
        size = int(np.frombuffer(head, f"{order}i4", 1, 92)[0])
        extended = file.read(min(max(size, 0), _MOST))
    dv = is_dv(head, order)
    kind = "DV header" if dv else "MRC header"
    found: dict[str, Found] = {}
    for name, axis in (("pixel_size_nm", 0), ("z_step_nm", 2)):
        step = spacing_um(head, order, axis)
        # Without a length, MRC files are written with one unit per pixel: 1 angstrom.
        if step is not None and (dv or step > 1e-3):
            keep(found, name, 1000 * step, "nm", kind)
    if dv:
        order_of_axes = int(np.frombuffer(head, f"{order}i2", 1, 182)[0])
        waves = np.frombuffer(head, f"{order}i2", 6, 196)
        keep(found, "channels", float(waves[0]), "", kind)
        if channel < min(int(waves[0]), 5):
            keep(found, "wavelength_nm", float(waves[1 + channel]), "nm", kind)
        found["axes"] = Found(_ORDERS.get(order_of_axes, ""), "", kind)
        keep(found, "excitation_nm", _excitation(head, extended, order), "nm", "DV extended header")
    return found


def _excitation(head: bytes, extended: bytes, order: str) -> float | None:
    integers, floats = (int(n) for n in np.frombuffer(head, f"{order}i2", 2, 128))
    start = 4 * (integers + _EXCITATION)
    if not 0 <= integers < 256 or floats <= _EXCITATION or len(extended) < start + 4:
        return None
    return float(np.frombuffer(extended, f"{order}f4", 1, start)[0])
