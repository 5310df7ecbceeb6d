"""Everything that rosettasciio reads: .bcf, .wdf, .mib, .blo, .msa, .rpl, Velox .emd ..."""

from __future__ import annotations

import importlib
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.io._scan_axes import Axis, Role, signal_roles
from napari_physgen.io._scan_file import ScanFile, scan_files
from napari_physgen.io._scan_units import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

# Module of rosettasciio by the end of the file name; what several of them read is left out.
READERS = {
    ".bcf": "bruker",
    ".blo": "blockfile",
    ".de5": "emd",
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".elid": "phenom",
    ".emd": "emd",
    ".emi": "tia",
    ".emsa": "msa",
    ".mib": "quantumdetector",
    ".mrc": "mrc",
    ".msa": "msa",
    ".nxs": "nexus",
    ".prz": "pantarhei",
    ".pts": "jeol",
    ".rpl": "ripple",
    ".ser": "tia",
    ".spd": "edax",
    ".sur": "digitalsurf",
    ".tvf": "trivista",
    ".tvips": "tvips",
    ".unf": "semper",
    ".wdf": "renishaw",
    ".zspy": "zspy",
}


def read_rosetta(path: Path) -> list[ScanFile]:
    """Read every signal of a file, lazily where its reader can."""
    module = importlib.import_module(f"rsciio.{READERS[path.suffix.lower()]}")
    with _quiet():
        try:
            signals = module.file_reader(str(path), lazy=True)
        except (NotImplementedError, TypeError):
            signals = module.file_reader(str(path))
    scans = []
    for number, signal in enumerate(signals, 1):
        about = signal.get("metadata", {})
        name = text(about.get("General", {}).get("title", "")) or f"{path.stem} {number}"
        kind = text(about.get("Signal", {}).get("signal_type", ""))
        axes = _axes(signal["axes"], signal["data"].shape)
        if len(axes) == signal["data"].ndim and signal["data"].dtype.kind in "buifc":
            scans += scan_files(name, signal["data"], axes, kind)
    return scans


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep remarks about unused parts of a file out of the terminal."""
    logger = logging.getLogger("rsciio")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _axes(found: Sequence[Mapping[str, Any]], shape: Sequence[int]) -> list[Axis]:
    """Return the axes in the order of the array."""
    listed = sorted(found, key=lambda axis: axis.get("index_in_array") or 0)
    if all("index_in_array" not in axis for axis in found):
        listed = list(found)
    flags = [bool(axis.get("navigate")) for axis in listed]
    return [
        _axis(axis, role, size)
        for axis, role, size in zip(listed, signal_roles(flags), shape, strict=False)
    ]


def _axis(axis: Mapping[str, Any], role: Role, size: int) -> Axis:
    values = axis.get("axis")
    known = values is not None and len(values) == size
    return Axis(
        text(axis.get("name", "")),
        text(axis.get("units", "")),
        float(axis.get("offset", 0.0) or 0.0),
        float(axis.get("scale", 1.0) or 1.0),
        np.asarray(values, np.float64) if known else None,
        role,
    )
