"""Layers to OME-TIFF files that keep pixel size, units, axes and the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.preferences import output_folder
from napari_physgen.app.results import KEY
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.components import ViewerModel

    from napari_physgen.io import Image

    LayerData = tuple[Any, Mapping[str, Any], str]


def layer_image(data: Any, meta: Mapping[str, Any], kind: str) -> Image:
    """Return a layer, as napari hands it to writers, as an image for a file.

    Rotation, shear and affine have no place in a TIFF and are left out.
    """
    from napari_physgen.io import Image
    from napari_physgen.provenance import Record

    pixels = np.asarray(data[0] if meta.get("multiscale") else data)
    spatial = pixels.ndim - bool(meta.get("rgb"))
    default = [f"{axis - spatial}" for axis in range(spatial)]
    labels = [str(label) for label in meta.get("axis_labels") or default]
    axes = (*labels[:-2], "y", "x")
    units = [str(unit) for unit in meta.get("units") or ["pixel"] * spatial]
    scale = np.broadcast_to(meta.get("scale", 1), spatial)
    translate = np.broadcast_to(meta.get("translate", 0), spatial)
    values = meta.get("metadata", {}).get(KEY, {})
    return Image(
        name=str(meta.get("name", kind)),
        data=pixels,
        axes=(*axes, "rgb") if meta.get("rgb") else axes,
        step={axis: (float(scale[i]), units[i]) for i, axis in enumerate(axes)},
        origin={axis: float(translate[i]) for i, axis in enumerate(axes)},
        kind="labels" if kind == "labels" else "image",
        record=Record.from_dict(values) if "tool" in values else None,
    )


def write_image(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write one image layer."""
    return write_layers(path, [(data, meta, "image")])


def write_labels(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write one labels layer."""
    return write_layers(path, [(data, meta, "labels")])


def write_layers(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Write image and labels layers into one file."""
    from napari_physgen.io import write_ome_tiff

    return [str(write_ome_tiff(path, [layer_image(*layer) for layer in layers]))]


def export_layers(viewer: ViewerModel) -> None:
    """Ask for a file and save the selected image and labels layers in it."""
    from napari.utils.notifications import show_error, show_info
    from qtpy.QtWidgets import QFileDialog

    selected = [layer for layer in viewer.layers if layer in viewer.layers.selection]
    layers = [layer.as_layer_data_tuple() for layer in selected]
    layers = [layer for layer in layers if layer[2] in ("image", "labels")]
    if not layers:
        show_error("Select one or more image or label layers in the layer list first.")
        return
    start = output_folder() / f"{layers[0][1]['name']}.ome.tif"
    name, _ = QFileDialog.getSaveFileName(
        None, "Export selected layers", str(start), "OME-TIFF (*.ome.tif)"
    )
    if not name:
        return
    stem = name.removesuffix(".ome.tif").removesuffix(".tif")
    try:
        (written,) = write_layers(f"{stem}.ome.tif", layers)
        show_info(f"Saved {written}")
    except UserError as error:
        show_error(str(error))
