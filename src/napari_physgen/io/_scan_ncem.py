"""Gatan .dm3/.dm4, TIA .ser and images of Velox .emd through ncempy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.io._scan_axes import Axis
from napari_physgen.io._scan_file import LAZY_ABOVE, ScanFile, scan_files
from napari_physgen.io._scan_units import quantity

if TYPE_CHECKING:
    from pathlib import Path


def read_dm(path: Path) -> list[ScanFile]:
    """Read every data set of a Gatan file but its thumbnail."""
    from ncempy.io import dm

    scans = []
    with dm.fileDM(str(path), on_memory=False) as file:
        thumbnail = int(file.numObjects > 1)
        for index in range(file.numObjects - thumbnail):
            axes = _dm_axes(file, index + thumbnail)
            data = _dm_data(file, index, index + thumbnail)
            if data is None or data.ndim != len(axes):
                continue
            tags = f".ImageList.{index + thumbnail + 1}"
            name = str(file.allTags.get(f"{tags}.Name", "") or path.stem)
            signal = str(file.allTags.get(f"{tags}.ImageTags.Meta Data.Signal", ""))
            scans += scan_files(name, data, axes, signal)
    return scans


def _dm_data(file: Any, index: int, ii: int) -> Any:
    """Return the pixels (slowest axis first), as a memory map where they are many."""
    sizes = [int(n) for n in (file.zSize2[ii], file.zSize[ii], file.ySize[ii], file.xSize[ii])]
    if int(np.prod(sizes)) == 0:
        return None
    mapped = file.getMemmap(index)  # without axes of length 1
    shape = sizes[4 - file.dataShape[ii] :]
    mapped = mapped.reshape(shape)
    return mapped if mapped.nbytes > LAZY_ABOVE else np.array(mapped)


def _dm_axes(file: Any, ii: int) -> list[Axis]:
    """Return the axes, slowest first; Gatan counts the origin in pixels: (i - origin) step."""
    first = sum(file.dataShape[:ii])
    own = slice(first, first + file.dataShape[ii])
    axes = []
    listed = zip(file.scaleUnit[own], file.scale[own], file.origin[own], strict=True)
    for unit, step, origin in listed:
        calibrated = quantity(str(unit)) != ""
        start = -float(origin) * float(step) if calibrated else 0.0
        axes.append(Axis("", str(unit), start, float(step) if calibrated else 1.0))
    return axes[::-1]


def read_ser(path: Path) -> list[ScanFile]:
    """Read an image, an image series or a spectrum image of TIA."""
    from ncempy.io import ser

    found = ser.serReader(str(path))
    data = found["data"]
    if "eDelta" not in found:
        pairs = zip(found["pixelSize"], found["pixelOrigin"], strict=True)
        plane = [Axis("", "m", float(start), float(step)) for step, start in pairs][::-1]
        return scan_files(path.stem, data, [*[Axis("frame")] * (data.ndim - 2), *plane])
    # The file gives no unit of energy: EELS of TIA is in eV.
    energy = Axis("energy", "eV", float(found["eOffset"]), float(found["eDelta"]), role="signal")
    grid = [_ser_axis(dimension) for dimension in found["scanCalibration"]][::-1]
    return scan_files(path.stem, data, [*grid[-(data.ndim - 1) :], energy] if grid else [energy])


def _ser_axis(dimension: Any) -> Axis:
    unit = dimension.get("Units", "m")
    unit = unit.decode() if isinstance(unit, bytes) else str(unit)
    unit = {"meters": "m", "Meters": "m"}.get(unit, unit)
    start, step = float(dimension["CalibrationOffset"]), float(dimension["CalibrationDelta"])
    return Axis(dimension.get("Description", ""), unit, start, step)


def read_velox_images(path: Path) -> list[ScanFile]:
    """Read the images of a Velox file; its spectra need rosettasciio."""
    from ncempy.io import emdVelox

    scans = []
    with emdVelox.fileEMDVelox(str(path)) as file:
        for index in range(len(file.list_data)):
            data, about = file.getDataset(index)
            sizes = np.broadcast_to(about.get("pixelSize", 1.0), 2)
            units = np.broadcast_to(about.get("pixelUnit", ""), 2)
            frames = [Axis("frame", role="frame")] * (data.ndim - 2)
            plane = [Axis("yx"[i], str(units[i]), 0.0, float(sizes[i])) for i in range(2)]
            # Velox keeps the frames last.
            scans += scan_files(f"image {index + 1}", data, [*plane, *frames])
    return scans
