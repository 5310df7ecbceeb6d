"""From the outputs of a tool to layers that lie exactly where they belong.

A result takes scale, translate, rotate, shear, affine, units and axis labels from
its source and changes only what the tool changed: with zoom z and crop origin c,
pixel i of a result lies at source pixel ``i / z + translation + c``. A single plane along an
axis that the source has too belongs to all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.inputs import axis_names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.app.live_preview import LivePreview
    from napari_physgen.outputs import Output

KEY = "physgen"
EDGE, FACE = "yellow", "transparent"
Origin = tuple[float, float]


def placement(output: Output, source: Layer, origin: Origin = (0, 0)) -> dict[str, Any]:
    """Return the layer arguments that place `output` on `source`.

    Parameters
    ----------
    output : Output
    source : napari.layers.Layer
        Layer that the input was read from.
    origin : (float, float)
        Source pixel (y, x) that was pixel (0, 0) of the input, for a crop.
    """
    from napari.utils.transforms import Affine

    physical = Affine(
        scale=source.scale, translate=source.translate, rotate=source.rotate, shear=source.shear
    ).set_slice([source.ndim - 2, source.ndim - 1])
    corner = physical(np.add(output.translation, origin))
    plane = np.diag([1 / output.zoom] * 2)
    lead = _dimensions(output) - 2
    linear, affine = np.eye(lead + 2), np.eye(lead + 3)
    linear[lead:, lead:] = physical.linear_matrix @ plane
    world = np.asarray(source.affine)
    affine[lead:-1, lead:-1] = world[-3:-1, -3:-1]
    affine[lead:-1, -1] = world[-3:-1, -1]
    translate = np.zeros(lead + 2)
    translate[lead:] = corner
    units = ["pixel"] * lead + [str(unit) for unit in source.units[-2:]]
    names = axis_names(source)
    for axis in range(lead):
        # napari compares units axis by axis from the end; another unit than the source's
        # on the same axis would switch off units in the whole viewer.
        at = source.ndim - 2 - lead + axis
        if at >= 0:
            units[axis] = str(source.units[at])
            if names[at] == output.axes[axis]:
                count = _length(source, at) if output.data.shape[axis] == 1 else 1
                linear[axis, axis] = source.scale[at] * count
                translate[axis] = source.translate[at] + source.scale[at] * (count - 1) / 2
    step = Affine(linear_matrix=linear, translate=translate)
    return {
        "scale": step.scale,
        "rotate": step.rotate,
        # napari gives a vector of the wrong length for a matrix without shear.
        "shear": step.shear if np.any(step.shear) else np.zeros((lead + 2) * (lead + 1) // 2),
        "translate": step.translate,
        "affine": affine,
        "units": units,
        "axis_labels": _labels(output, source, lead),
    }


def make_layer(
    output: Output,
    source: Layer,
    *,
    origin: Origin = (0, 0),
    suffix: str = "",
    record: Mapping[str, Any] | None = None,
) -> Layer:
    """Return a new layer for `output`, named after and placed on `source`."""
    from napari.layers import Layer

    arguments = placement(output, source, origin) | dict(output.display)
    arguments["name"] = f"{source.name} {output.name}{suffix}"
    arguments["metadata"] = {KEY: dict(record or {})}
    kind = output.kind
    if kind == "shapes":
        arguments = {"edge_color": EDGE, "face_color": FACE} | arguments
        arguments["shape_type"] = "ellipse"
    elif kind == "vectors":
        arguments = {"edge_color": EDGE, "vector_style": "line"} | arguments
    elif kind == "image" and "contrast_limits" not in arguments:
        arguments["contrast_limits"] = contrast(output.data)
    return Layer.create(output.data, arguments, kind)


def add_results(
    viewer: ViewerModel,
    outputs: Sequence[Output],
    source: Layer,
    *,
    origin: Origin = (0, 0),
    record: Mapping[str, Any] | None = None,
    suffix: str = "",
    renewed: Collection[str] = (),
    live: LivePreview | None = None,
    breathe: Callable[[], object] = lambda: None,
) -> list[Layer]:
    """Put the outputs above their source and its earlier results, the first one on top.

    Shapes, vectors and labels lie above the picture that they belong to, the output before them.
    The layers are all made before the first is inserted: outputs that cannot be
    shown leave the viewer as it was.

    Parameters
    ----------
    suffix : str
        What follows the output in the layers' names, e.g. " preview".
    renewed : collection of str
        Names of outputs that take the place of an earlier layer of the same name
        instead of piling up.
    live : LivePreview, optional
        Its layer, if there is one, becomes the layer of the first output: napari takes a
        quarter of a second to remove a layer.
    breathe : callable
        Called after every layer, so that a window stays alive while several are made.

    Returns
    -------
    list of napari.layers.Layer
        The new layers from top to bottom.
    """
    stack = _stacked(outputs)
    alive = live is not None and bool(outputs) and live.fits(outputs[0])
    made: dict[str, Layer] = {}
    for output in stack:
        if alive and output is outputs[0]:
            continue
        earlier = _earlier(viewer, output, source) if output.name in renewed else None
        if earlier is None:
            new = make_layer(output, source, origin=origin, suffix=suffix, record=record)
            made[output.name] = new
        else:
            renew(earlier, output, source, origin)
            earlier.metadata = {KEY: dict(record or {})}
        breathe()
    place = above(viewer, source)
    if alive and live is not None and live.layer is not None:
        place = viewer.layers.index(live.layer)
    layers: list[Layer] = []
    for output in reversed(stack):
        if alive and live is not None and output is outputs[0]:
            layer = live.become(output, f"{source.name} {output.name}{suffix}", record)
            made[output.name] = layer
            place = viewer.layers.index(layer)
        elif output.name in made:
            layer = made[output.name]
            viewer.layers.insert(place, layer)
        else:
            continue
        layers.insert(0, layer)
        place += 1
        breathe()
    if layers:
        viewer.layers.selection.active = made.get(outputs[0].name, layers[0])
    return layers


def is_result(layer: Layer) -> bool:
    """Whether one of our tools made a layer; those that our reader opened are measurements."""
    return KEY in layer.metadata and "signal_axis" not in layer.metadata[KEY]


def warm_up() -> None:
    """Let a worker wait for what napari's first label layer loads and compiles, half a second."""
    from napari.layers import Labels

    for kind in (np.uint8, np.uint32):
        Labels(np.zeros((2, 2), kind))


def renew(layer: Layer, output: Output, source: Layer, origin: Origin = (0, 0)) -> None:
    """Show another output in an existing layer.

    In place, because a Shapes layer added after another one was removed can crash
    vispy 0.17 (napari 0.9.2).
    """
    if output.kind == "shapes":
        layer.data = []
        layer.add(output.data, shape_type="ellipse")
        layer.edge_color, layer.face_color = EDGE, FACE
    else:
        layer.data = output.data
    if "features" in output.display:
        layer.features = output.display["features"]
    for name, value in placement(output, source, origin).items():
        shown = getattr(layer, name)
        if name == "units":
            shown = [str(unit) for unit in shown]
        # Setting an equal transform would still redraw; live pictures come often.
        if not np.array_equal(shown, value):
            setattr(layer, name, value)


def _earlier(viewer: ViewerModel, output: Output, source: Layer) -> Layer | None:
    """Return our layer that already shows this output of this source."""
    name = f"{source.name} {output.name}"
    for layer in viewer.layers:
        same = layer.name == name and KEY in layer.metadata
        if same and layer.ndim == _dimensions(output):
            return layer
    return None


def _length(source: Layer, axis: int) -> int:
    """Return the size of the source along an axis, which a single plane covers as a whole."""
    data = source.data[0] if getattr(source, "multiscale", False) else source.data
    return int(data.shape[axis])


def _dimensions(output: Output) -> int:
    """Return how many axes the layer of an output has."""
    return len(output.axes) if output.kind in ("image", "labels") else 2


def above(viewer: ViewerModel, source: Layer) -> int:
    """Return the place above a source and all that was made of it."""
    own = [
        index
        for index, layer in enumerate(viewer.layers)
        if layer is source or (KEY in layer.metadata and layer.name.startswith(f"{source.name} "))
    ]
    return max(own) + 1 if own else len(viewer.layers)


def _stacked(outputs: Sequence[Output]) -> list[Output]:
    """Return outputs from top to bottom."""
    stack: list[Output] = []
    for output in outputs:
        stack.insert(max(len(stack) - (output.kind != "image"), 0), output)
    return stack


def contrast(data: NDArray[Any]) -> tuple[float, float]:
    """Return display limits that ignore a few hot pixels."""
    sample = np.asarray(data)[..., :: max(data.shape[-2] // 512, 1), :]
    finite = sample[np.isfinite(sample)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, (0.1, 99.9)))
    if high > low:
        return low, high
    return float(finite.min()), float(max(finite.max(), finite.min() + 1))


def _labels(output: Output, source: Layer, lead: int) -> tuple[str, ...]:
    """Return axis labels: the output's own in front, the source's for y and x."""
    return (*output.axes[:lead], *source.axis_labels[-2:])
