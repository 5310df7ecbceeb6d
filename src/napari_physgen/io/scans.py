"""Measurements of vendors and laboratories: spectrum images, channels, 4-D STEM, images.

The libraries that know the formats are imported when a file of theirs is read. h5py reads
HDF5 (NSID, USID, EMD, HyperSpy); the others come with ``pip install "napari-physgen[formats]"``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_physgen.errors import UserError
from napari_physgen.io._scan_file import ScanFile
from napari_physgen.io._scan_hdf5 import read_hdf5
from napari_physgen.io._scan_igor import read_ibw
from napari_physgen.io._scan_mrc import read_mrc
from napari_physgen.io._scan_nanonis import read_sxm
from napari_physgen.io._scan_ncem import read_dm, read_ser, read_velox_images
from napari_physgen.io._scan_numpy import read_npy, read_npz
from napari_physgen.io._scan_rosetta import READERS, read_rosetta

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    Reader = Callable[[Path], list[ScanFile]]

_HDF5 = (".h5", ".hdf5", ".hf5", ".hspy", ".nxs")
_MASK = re.compile(r"label|mask|truth|segment", re.IGNORECASE)
_OWN: dict[str, tuple[Reader, ...]] = {
    ".npy": (read_npy,),
    ".npz": (read_npz,),
    ".sxm": (read_sxm,),
    ".ibw": (read_ibw,),
    ".mrc": (read_rosetta, read_mrc),
    ".dm3": (read_dm, read_rosetta),
    ".dm4": (read_dm, read_rosetta),
    ".ser": (read_ser, read_rosetta),
    **dict.fromkeys(_HDF5, (read_hdf5,)),
}
SUFFIXES = tuple(sorted({*_OWN, *READERS}))

__all__ = ["SUFFIXES", "ScanFile", "is_mask", "read_scans"]


def read_scans(path: str | os.PathLike[str]) -> list[ScanFile]:
    """Read all measurements in a file, the most useful first.

    Spectra and patterns on a grid of points come before images and masks last; single spectra
    are left out where there is anything else. Big arrays are lazy.

    Raises
    ------
    UserError
        If the file is missing, damaged or of an unknown format, if it holds no numbers, or if
        the library that reads it is not installed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise UserError(f"{path.name} is of an unknown format: measurements are read from {known}.")
    if not path.exists():
        raise UserError(f"There is no file {path}.")
    scans = _read(path, _readers(path, suffix))
    grids = [scan for scan in scans if scan.data.ndim > 1]
    if not scans:
        raise UserError(f"{path.name} holds no image and no spectra.")
    return sorted(grids or scans, key=_usefulness)


def is_mask(scan: ScanFile) -> bool:
    """Whether a data set is a label image: whole numbers under a name that says so."""
    return (
        scan.axes == ("y", "x") and scan.data.dtype.kind in "bui" and bool(_MASK.search(scan.name))
    )


def _usefulness(scan: ScanFile) -> tuple[bool, bool, int]:
    measured_at_points = scan.signal_axis is not None or scan.modality == "4D-STEM"
    return is_mask(scan), not (measured_at_points and scan.data.ndim > 2), -scan.data.ndim


def _readers(path: Path, suffix: str) -> tuple[Reader, ...]:
    """Return the readers to try, in order."""
    if suffix != ".emd":
        return _OWN.get(suffix, (read_rosetta,))
    groups = _groups(path)
    if not groups & {"Operations", "Features", "Presentation"}:
        return (read_hdf5,)
    # Only rosettasciio decodes the spectra of Velox: no silent map without them.
    spectra = groups & {"Data/SpectrumImage", "Data/SpectrumStream"}
    return (read_rosetta,) if spectra else (read_rosetta, read_velox_images)


def _groups(path: Path) -> set[str]:
    """Return the groups of the first two levels of an HDF5 file, none if it is damaged."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return set(file) | {f"Data/{name}" for name in file.get("Data", {})}
    except OSError:
        return set()


def _read(path: Path, readers: tuple[Reader, ...]) -> list[ScanFile]:
    """Return what the first reader that can be used finds."""
    missing: ImportError | None = None
    failure: Exception | None = None
    for reader in readers:
        try:
            return reader(path)
        except UserError:
            raise
        except ImportError as error:
            missing = missing or error
        except PermissionError as error:
            raise UserError(f"{path} may not be read: check its permissions.") from error
        except Exception as error:  # every library raises its own kinds
            failure = failure or error
    if failure is not None:
        raise UserError(
            f"{path.name} could not be read ({_first_line(failure)}): "
            "it may be damaged, incomplete or of another format than its name says."
        ) from failure
    raise UserError(
        f"Reading {path.suffix} files needs a library that is not installed "
        f'({_first_line(missing)}): pip install "napari-physgen[formats]".'
    ) from missing


def _first_line(error: Exception | None) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
