"""Vendor files to layers: signal axis first, in physical units, big ones lazy.

What was measured along the signal axis lies in ``layer.metadata["physgen"]``: "signal_axis" (its
number, None for 4-D STEM), "values", "units", "modality", and for stacks of channels "names" and
"channels" (what they are, in the words of the settings). Plain images and masks say nothing.
What the header of an MRC file says of a light microscope lies in ``layer.metadata["microscope"]``,
by the names of the settings, and where it stands in ``layer.metadata["microscope_sources"]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.results import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_physgen.io.scans import ScanFile

    LayerData = tuple[Any, dict[str, Any], str]

MOST = 32  # layers of one file


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """Return a reader if the name of the file is one of ours, None for others and for lists."""
    from napari_physgen.io.scans import SUFFIXES

    if not isinstance(path, str):
        return None
    return read_layers if Path(path).suffix.lower() in SUFFIXES else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Read all measurements in a file; the most useful one and the masks are visible.

    Raises
    ------
    UserError
        As `napari_physgen.io.scans.read_scans`.
    """
    from napari_physgen.io.scans import read_scans

    file = Path(path if isinstance(path, str) else path[0])
    scans = read_scans(file)
    if len(scans) > MOST:
        from napari.utils.notifications import show_info

        show_info(f"{file.name} holds {len(scans)} data sets: the first {MOST} are shown.")
    layers = []
    for number, scan in enumerate(scans[:MOST]):
        own = scan.name if scan.name.startswith(file.stem) else f"{file.stem} {scan.name}"
        name = file.stem if len(scans) == 1 else own
        layers.append(_layer(scan, name, shown=number == 0))
    if about := _microscope(file):
        for _, meta, _ in layers:
            meta["metadata"] |= about
    return layers


def _microscope(file: Path) -> dict[str, Any]:
    """Return what a file says of the microscope; wavelengths are what tells a light microscope."""
    from napari_physgen.io.acquisition import read_acquisition

    if file.suffix.lower() != ".mrc":
        return {}
    found = read_acquisition(file).found
    if "wavelength_nm" not in found:
        return {}
    numbers = {n: f for n, f in found.items() if n in ("na", "wavelength_nm", "excitation_nm")}
    return {
        "microscope": {name: entry.value for name, entry in numbers.items()},
        "microscope_sources": {name: entry.source for name, entry in numbers.items()},
    }


def _layer(scan: ScanFile, name: str, *, shown: bool) -> LayerData:
    from napari_physgen.io.scans import is_mask

    data, axes = scan.data, scan.axes
    if data.ndim == 1:  # a single spectrum is a scan of one point
        data, axes = data[:, None, None], (*axes, "y", "x")
    steps = [scan.step.get(axis, (1.0, "pixel")) for axis in axes]
    meta: dict[str, Any] = {
        "name": name,
        "scale": tuple(size for size, _ in steps),
        "units": tuple(unit for _, unit in steps),
        "translate": tuple(scan.origin.get(axis, 0.0) for axis in axes),
        "axis_labels": axes,
        "metadata": _about(scan),
    }
    if is_mask(scan):
        return np.asarray(data).astype(np.int32), {**meta, "opacity": 0.4}, "labels"
    return data, {**meta, "visible": shown}, "image"


def _about(scan: ScanFile) -> dict[str, Any]:
    """Return what the layer itself cannot say."""
    signal = scan.signal_axis
    if signal is None and scan.modality != "4D-STEM":
        return {}
    about: dict[str, Any] = {
        "signal_axis": None if signal is None else 0,
        "values": scan.signal_values,
        "units": None if signal is None else scan.signal_unit,
        "modality": scan.modality,
    }
    if scan.channels:
        about["names"] = scan.channels
        words = [_word(name) for name in scan.channels]
        if set(words) != {"value"}:
            about["channels"] = ", ".join(words)
    return {KEY: about}


def _word(channel: str) -> str:
    """Return what a channel is; microscopes write phases in degrees unless they say rad."""
    name = channel.lower()
    if "phase" in name:
        return "phase" if "rad" in name else "phase in degrees"
    known = {"amp": "amplitude", "real": "real", "imag": "imaginary"}
    return next((word for part, word in known.items() if part in name), "value")
