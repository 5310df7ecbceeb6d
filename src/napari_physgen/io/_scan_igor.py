"""Igor binary waves (.ibw), as Asylum microscopes write their scans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.io._scan_axes import Axis
from napari_physgen.io._scan_file import ScanFile, channel_stack, scan_files

if TYPE_CHECKING:
    from pathlib import Path


def read_ibw(path: Path) -> list[ScanFile]:
    """Read an image wave (x, y, channel); row 0 of the scan is at the bottom of the image.

    Raises
    ------
    UserError
        If the wave holds a curve, as force curves do.
    """
    from igor2 import binarywave

    wave = binarywave.load(str(path))["wave"]
    header, values = wave["wave_header"], np.asarray(wave["wData"])
    channels = _channels(wave, values)
    if values.ndim < 2 or (values.ndim == 2 and channels):
        raise UserError(
            f"{path.name} holds a curve (such as a force curve): there is no map in it."
        )
    planes = np.moveaxis(values, 0, 1)[::-1]
    axes = [_axis(header, i, letter) for i, letter in ((1, "y"), (0, "x"))]
    if values.ndim == 2:
        return scan_files(path.stem, planes, axes, "PFM" if _is_pfm(channels) else "")
    if values.ndim == 3 and len(channels) == values.shape[2]:
        kind = "PFM" if _is_pfm(channels) else ""
        return [channel_stack(path.stem, np.moveaxis(planes, -1, 0), channels, axes, kind)]
    outer = [_axis(header, i, "") for i in range(2, values.ndim)]
    return scan_files(path.stem, planes, [*axes, *outer])


def _axis(header: dict[str, Any], i: int, name: str) -> Axis:
    """Return an axis: version 5 scales every one, version 2 the first only."""
    steps = np.atleast_1d(header.get("sfA", header.get("hsA", 1.0)))
    starts = np.atleast_1d(header.get("sfB", header.get("hsB", 0.0)))
    units = header.get("dimUnits", header.get("xUnits", b""))
    unit = b"".join(np.atleast_2d(units)[min(i, len(np.atleast_2d(units)) - 1)].tolist())
    at = min(i, steps.size - 1)
    known = unit.strip(b"\\x00 ").decode("latin-1")
    return Axis(name, known, float(starts[at]), float(steps[at]))


def _channels(wave: dict[str, Any], values: np.ndarray) -> list[str]:
    """Return the names along the last axis that has any; Igor lists its own name before them."""
    labels = wave.get("labels") or []
    for i in reversed(range(min(len(labels), values.ndim))):
        names = [name.decode("latin-1") for name in labels[i]][-values.shape[i] :]
        if len(names) == values.shape[i] and any(names):
            return [name or f"channel {k}" for k, name in enumerate(names)]
    return []


def _is_pfm(channels: list[str]) -> bool:
    words = " ".join(channels).lower()
    return "phase" in words and "amp" in words
