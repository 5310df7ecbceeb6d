"""NumPy files: plain arrays without units, named arrays with vectors beside them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.io._scan_axes import Axis
from napari_physgen.io._scan_file import LAZY_ABOVE, ScanFile, scan_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SIGNAL_WORDS = ("energy", "bias", "voltage", "frequency", "wavelength", "wavenumber", "freq")
_VECTOR_WORDS = ("vec", "vector", "axis", "values", "grid")
_UNITS = ("meV", "eV", "keV", "mV", "V", "Hz", "kHz", "MHz", "GHz", "nm", "um")


def read_npy(path: Path) -> list[ScanFile]:
    """Read one array, as a memory map where it is big."""
    mode: Any = "r" if path.stat().st_size > LAZY_ABOVE else None
    return scan_files(path.stem, np.load(path, mmap_mode=mode, allow_pickle=False))


def read_npz(path: Path) -> list[ScanFile]:
    """Read all arrays; vectors named energy, bias ... are the axes of those that they fit."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    arrays = {name: array for name, array in arrays.items() if _holds_numbers(array)}
    vectors = {name: array for name, array in arrays.items() if array.ndim == 1}
    scans = []
    for name, array in arrays.items():
        if array.ndim > 0 and not is_vector(name, array.ndim):
            scans += scan_files(name, array, axes_beside(array.shape, vectors))
    return scans


def _holds_numbers(array: np.ndarray) -> bool:
    return array.size > 0 and (array.dtype.kind in "buifc" or array.dtype.names is not None)


def is_vector(name: str, ndim: int) -> bool:
    """Whether an array only says where the samples of another are ("bias_vec")."""
    words = [word.lower() for word in _words(name)]
    told = any(word in _SIGNAL_WORDS for word in words)
    # A 2-D "frequency" is a map, "bias_vec" is not.
    return told and (ndim == 1 or (ndim == 2 and any(word in _VECTOR_WORDS for word in words)))


def axes_beside(shape: Sequence[int], vectors: Mapping[str, np.ndarray]) -> list[Axis]:
    """Return axes with the positions that vectors with telling names beside the data give.

    Parameters
    ----------
    shape : sequence of int
    vectors : mapping
        Name ("energy", "bias_vec", "wavelength_nm") -> positions. A vector belongs to an axis if
        no other axis is as long.
    """
    axes = [Axis()] * len(shape)
    if len(shape) < 2:
        return axes
    for name, values in vectors.items():
        words = _words(name)
        lower = [word.lower() for word in words]
        found = next((word for word in _SIGNAL_WORDS if word in lower), None)
        if found is None or values.dtype.kind not in "uif" or list(shape).count(len(values)) != 1:
            continue
        at = list(shape).index(len(values))
        if axes[at].values is None:
            unit = next((word for word in words if word in _UNITS), "")
            axes[at] = Axis(found, unit, values=values.astype(float), role="signal")
    return axes


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z]+", name) if word]
