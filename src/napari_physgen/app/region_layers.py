"""How the outputs of a region map become layers over a scan that may have more axes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.app.inputs import axis_names
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_physgen.app.region_scan import Scan
    from napari_physgen.regions.results import RegionMap

OVERVIEW = "mean of the signal"
WALL = 0.004  # width of a wall, in sizes of the scan: three pixels of a usual screen
MOST = 2**31  # bytes that are read once more for the picture below the map


def overview(scan: Scan) -> list[Output]:
    """Return a picture of the scan to see below the map, where its layer shows only a part."""
    if scan.form in ("image", "channels") and scan.place is scan.layer:
        return []
    if np.prod(scan.data.shape, dtype=float) * scan.data.dtype.itemsize > MOST:
        return []
    return [Output(OVERVIEW, scan.mean(), export=False)]


def stacked(result: RegionMap, below: Sequence[Output]) -> list[Output]:
    """Return the outputs with pictures of the scan right below the labels and walls."""
    outputs = result.outputs()
    over = next((i for i, output in enumerate(outputs) if output.kind == "image"), len(outputs))
    return [*outputs[:over], *below, *outputs[over:]]


def legible(output: Output, scan: Scan) -> Output:
    """Let the sample be seen through labels, and walls on scans of any size."""
    looks = {"labels": {"opacity": 0.4}, "vectors": {"edge_width": WALL * max(scan.shape)}}
    return replace(output, display=looks.get(output.kind, {}) | dict(output.display))


def apart(output: Output, source: Layer) -> Output:
    """Give a stack a slider of its own, where it would share that of the source's signal."""
    lead = source.ndim - 2
    if output.kind != "image" or output.data.ndim < 3 or not lead:
        return output
    axes = (*output.axes[:-2], *axis_names(source)[:lead], *output.axes[-2:])
    shape = (*output.data.shape[:-2], *(1,) * lead, *output.data.shape[-2:])
    return replace(output, data=output.data.reshape(shape), axes=axes)


def look_at(viewer: ViewerModel, layer: Layer) -> None:
    """Fit the view to a map of fewer axes than the viewer has, which `reset_view` cannot."""
    low, high = layer.extent.world[:, -2:]
    size = np.maximum(high - low, 1e-12)
    viewer.scene.camera.center = tuple((low + high) / 2)
    viewer.scene.camera.zoom = 0.95 * np.min(viewer.canvas.viewbox_size(viewer.layers) / size)
