"""Samples in one OME-Zarr, version 0.5 of the format (https://ngff.openmicroscopy.org/0.5).

``dataset.zarr/0`` is the image (sample, [z,] y, x), ``dataset.zarr/labels/NAME/0`` are its labels.
One chunk holds one sample, so that samples are written and read on their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_physgen.errors import UserError
from napari_physgen.io.atomic import in_words
from napari_physgen.synthesis.dataset_tiff import planes_of

if TYPE_CHECKING:
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray

    from napari_physgen.provenance import Record
    from napari_physgen.synthesis.dataset_settings import DatasetSettings
    from napari_physgen.synthesis.results import Microstructure

VERSION = "0.5"


class ZarrPixels:
    """``dataset.zarr``; made when the first sample comes, longer when more are asked for."""

    def __init__(self, settings: DatasetSettings, folder: Path) -> None:
        try:
            import zarr
        except ImportError:
            raise UserError(
                "OME-Zarr files need the package zarr: run 'pip install napari-physgen[zarr]', or "
                "choose the format tiff."
            ) from None
        self._open = zarr.open_group
        self._settings = settings
        self._path = folder / "dataset.zarr"

    def write(self, index: int, sample: Microstructure, record: Record) -> None:
        """Keep one sample; raises UserError where that cannot be done."""
        try:
            root = self._open(self._path, mode="a", zarr_format=3)
            names = []
            for output in sample.outputs():
                if "time" in output.axes:
                    continue
                data = planes_of(output, self._settings.slices).data
                place = "0" if output.kind == "image" else f"labels/{output.name}/0"
                self._array(root, place, data)[index] = data
                names += [output.name] if output.kind == "labels" else []
            if not root.attrs.get("ome"):
                self._describe(root, sample, names, record)
        except OSError as error:
            raise in_words(error, self._path) from error

    def read(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return field and labels ([z,] y, x) of a finished sample."""
        root = self._open(self._path, mode="r")
        return root["0"][index], root["labels/labels/0"][index]  # type: ignore[index,return-value]

    def _array(self, root: zarr.Group, place: str, data: NDArray[Any]) -> Any:
        shape = (self._settings.count, *data.shape)
        if place not in root:
            names = ("sample", "z", "y", "x")
            root.create_array(
                place,
                shape=shape,
                chunks=(1, *data.shape),
                dtype=data.dtype,
                dimension_names=names[:1] + names[-data.ndim :],
            )
        array: Any = root[place]
        if array.shape[0] < shape[0]:
            array.resize(shape)
        return array

    def _describe(
        self, root: zarr.Group, sample: Microstructure, labels: list[str], record: Record
    ) -> None:
        """Write axes, pixel size and labels as OME-Zarr wants them, and how the first was made."""
        for name in labels:
            group = root.require_group(f"labels/{name}")
            about: Any = {"multiscales": [self._multiscale(name, sample)], "version": VERSION}
            group.attrs["ome"] = about | {"image-label": {"source": {"image": "../../"}}}
        root.require_group("labels").attrs["ome"] = {"labels": labels, "version": VERSION}
        root.attrs["physgen"] = record.to_dict()
        root.attrs["ome"] = {
            "multiscales": [self._multiscale("field", sample)],
            "version": VERSION,
        }

    def _multiscale(self, name: str, sample: Microstructure) -> dict[str, Any]:
        size = sample.settings.pixel_size_nm
        space = [("z", size * self._settings.slices.step), ("y", size), ("x", size)]
        space = space[-sample.field.ndim :]
        axes = [{"name": "sample", "type": "sample"}]
        axes += [{"name": axis, "type": "space", "unit": "nanometer"} for axis, _ in space]
        scale = {"type": "scale", "scale": [1.0, *(step for _, step in space)]}
        return {
            "name": name,
            "axes": axes,
            "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
        }
