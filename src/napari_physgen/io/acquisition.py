"""What an image file says about how it was recorded, each value with the place where it stands.

Nothing here decides anything: a value is shown as read from the file, and compared with what
was entered. Values that cannot be (an aperture of 0, print resolutions, wavelengths in metres) are
not taken. Many programs write wrong ones that could be: `sim.optics_check` holds them against the
frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_physgen.io._acquisition_czi import czi_values
from napari_physgen.io._acquisition_imagej import imagej_values
from napari_physgen.io._acquisition_mrc import mrc_values
from napari_physgen.io._acquisition_ome import ome_values
from napari_physgen.io._found import LIMITS, Found
from napari_physgen.io.readers import opened_tiff, tag_pixel_nm

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = ["Acquisition", "Found", "read_acquisition"]

WORDS = {
    "na": "NA",
    "wavelength_nm": "emission",
    "excitation_nm": "excitation",
    "pixel_size_nm": "pixel size",
    "z_step_nm": "distance of planes",
    "time_step_s": "time step",
    "channels": "channels",
    "angles": "angles",
    "phases": "phases",
    "camera": "camera",
    "axes": "order of axes",
}

SAME = 0.02
"""Relative difference up to which two values count as the same."""


@dataclass(frozen=True)
class Acquisition:
    """Everything that a file says.

    Parameters
    ----------
    found : mapping
        By the names of `WORDS`, those of the settings where there is such a setting. Lengths in
        nm, times in s; "camera" and "axes" (slowest first, as the file has them) are words.
    """

    found: Mapping[str, Found] = field(default_factory=dict)

    def value(self, name: str) -> float | None:
        """Return a number, None where the file does not say."""
        entry = self.found.get(name)
        return entry.value if entry and isinstance(entry.value, float) else None

    def differences(self, settings: Mapping[str, object]) -> list[str]:
        """Say where the file and the settings disagree, one phrase each."""
        phrases = []
        for name, entry in self.found.items():
            given = settings.get(name)
            if not isinstance(given, int | float) or not isinstance(entry.value, float):
                continue
            if abs(entry.value - given) > SAME * max(abs(given), abs(entry.value)):
                unit = f" {entry.unit}" if entry.unit else ""
                phrases.append(
                    f"{WORDS[name]} {entry.value:.4g}{unit} ({entry.source}), settings {given:.4g}"
                )
        return phrases

    def __str__(self) -> str:
        """Tell all values in one line."""
        return ", ".join(f"{WORDS[name]} {entry}" for name, entry in self.found.items())


def read_acquisition(path: str | os.PathLike[str], channel: int = 0) -> Acquisition:
    """Read how a file was recorded; formats that say nothing give an empty answer.

    Parameters
    ----------
    path : path-like
        OME-TIFF, ImageJ TIFF, other TIFF, MRC, DV or CZI.
    channel : int
        Whose wavelengths, from 0.

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff", ".btf", ".tf8"):
        values = _tiff_values(path, channel)
    elif suffix in (".mrc", ".dv"):
        values = mrc_values(path, channel)
    elif suffix == ".czi":
        values = czi_values(path, channel)
    else:
        values = {}
    return Acquisition({name: entry for name, entry in values.items() if _plausible(name, entry)})


def _tiff_values(path: Path, channel: int) -> dict[str, Found]:
    with opened_tiff(path) as tif:
        values: dict[str, Found] = {}
        if pixel := tag_pixel_nm(tif):
            source = "ImageJ" if tif.imagej_metadata else "TIFF"
            values["pixel_size_nm"] = Found(pixel, "nm", f"{source} resolution")
        if tif.imagej_metadata:
            values |= imagej_values(tif.imagej_metadata, channel)
        if tif.ome_metadata:
            values |= ome_values(tif.ome_metadata, path.name, channel)
        return values


def _plausible(name: str, entry: Found) -> bool:
    if isinstance(entry.value, str):
        return bool(entry.value.strip())
    low, high = LIMITS[name]
    return low <= entry.value <= high
