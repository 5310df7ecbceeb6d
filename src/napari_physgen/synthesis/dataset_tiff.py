"""Samples as OME-TIFF files, one each, with the record that makes them again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import tifffile

from napari_physgen.io import Image, write_ome_tiff

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_physgen.outputs import Output
    from napari_physgen.provenance import Record
    from napari_physgen.synthesis.dataset_settings import DatasetSettings
    from napari_physgen.synthesis.results import Microstructure


class TiffPixels:
    """``sample_00000.ome.tif`` and so on: OME series field, labels[, boundaries]."""

    def __init__(self, settings: DatasetSettings, folder: Path) -> None:
        self._planes = settings.slices
        self._folder = folder

    def write(self, index: int, sample: Microstructure, record: Record) -> None:
        """Keep one sample; raises UserError where that cannot be done."""
        size = sample.settings.pixel_size_nm
        outputs = [planes_of(output, self._planes) for output in sample.outputs() if _still(output)]
        images = [Image.of(o, size, record, size * self._planes.step) for o in outputs]
        write_ome_tiff(self._path(index), images)

    def read(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return field and labels ([z,] y, x) of a finished sample."""
        with tifffile.TiffFile(self._path(index)) as tif:
            field, labels = (series.asarray() for series in tif.series[:2])
        if len(self._planes) == 1 and self._planes.stop > 1:
            field, labels = field[None], labels[None]
        return field, labels

    def _path(self, index: int) -> Path:
        return self._folder / f"sample_{index:05}.ome.tif"


def planes_of(output: Output, planes: range) -> Output:
    """Return the planes of a volume that are kept; a picture as it is."""
    if "z" not in output.axes:
        return output
    return replace(output, data=output.data[planes.start : planes.stop : planes.step])


def _still(output: Output) -> bool:
    return output.export and "time" not in output.axes
