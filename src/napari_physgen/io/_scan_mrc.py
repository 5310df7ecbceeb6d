"""MRC files without rosettasciio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_physgen.io._scan_axes import Axis
from napari_physgen.io._scan_file import ScanFile, scan_files
from napari_physgen.io.mrc import MrcFile

if TYPE_CHECKING:
    from pathlib import Path


def read_mrc(path: Path) -> list[ScanFile]:
    """Read an image or a stack of sections; raises UserError if it is damaged."""
    file = MrcFile.read(path)
    unit = "" if file.pixel_size_um is None else "um"
    pixel = file.pixel_size_um or 1.0
    plane = [Axis(name, unit, 0.0, pixel, role="scan") for name in ("y", "x")]
    sections = [Axis("section", role="frame")] * (file.data.ndim - 2)
    return scan_files(path.stem, file.data, [*sections, *plane])
