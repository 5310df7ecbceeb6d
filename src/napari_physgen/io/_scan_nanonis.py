"""Nanonis scans (.sxm): a text header of ``:KEY:`` sections, then planes of 4-byte numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.io._scan_axes import Axis
from napari_physgen.io._scan_file import ScanFile, channel_stack

if TYPE_CHECKING:
    from pathlib import Path

_END = b"\x1a\x04"
_TYPES = {"FLOAT": "f4", "INT": "i4", "UINT": "u4"}


def read_sxm(path: Path) -> list[ScanFile]:
    """Read all channels, with the lines of the way back in the direction of the way there.

    Raises
    ------
    ValueError
        If the file ends too early or has no header.
    """
    content = path.read_bytes()
    head, _, pixels = content.partition(_END)
    header = _sections(head.decode("latin-1"))
    across, down = (int(word) for word in header["SCAN_PIXELS"].split())
    kind, order = header["SCANIT_TYPE"].split()
    dtype = np.dtype((">" if order == "MSBFIRST" else "<") + _TYPES[kind])
    names, backward = _channels(header["DATA_INFO"])
    count = len(names) * down * across
    planes = np.frombuffer(pixels, dtype, count).reshape(len(names), down, across)
    planes = planes.astype(dtype.newbyteorder("="))
    planes[backward] = planes[backward][..., ::-1]
    if header.get("SCAN_DIR", "").strip() == "up":  # lines in the order in which they were taken
        planes = planes[:, ::-1]
    return [channel_stack(path.stem, planes, names, _axes(header, down, across))]


def _sections(text: str) -> dict[str, str]:
    """Return the header as section name -> text."""
    found: dict[str, list[str]] = {}
    key = ""
    for line in text.splitlines():
        if line.startswith(":") and line.rstrip().endswith(":"):
            key = line.strip().strip(":")
            found[key] = []
        elif key:
            found[key].append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def _channels(table: str) -> tuple[list[str], list[int]]:
    """Return the names of the planes and which of them were taken on the way back.

    Columns: number, name, unit, direction ("both" is two planes), calibration, offset.
    """
    names: list[str] = []
    backward: list[int] = []
    for line in table.splitlines()[1:]:
        columns = line.split()
        if len(columns) < 4:
            continue
        _, name, unit, direction = columns[:4]
        for way in ("forward", "backward") if direction == "both" else (direction,):
            if way == "backward":
                backward.append(len(names))
            names.append(f"{name} {way} [{unit}]")
    return names, backward


def _axes(header: dict[str, str], down: int, across: int) -> list[Axis]:
    width, height = (float(word) for word in header["SCAN_RANGE"].split())
    return [
        Axis("y", "m", 0.0, height / down, role="scan"),
        Axis("x", "m", 0.0, width / across, role="scan"),
    ]
