"""Find the scan of a layer: which axes run over the sample, which over the signal. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.inputs import axis_names, pixels, shown_position
from napari_physgen.app.region_scan import Form, Scan
from napari_physgen.app.results import KEY
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

LOOPED = ("time", "z", "frame", "image", "position", "tile")
SPECTRUM = 12  # values per pixel from which on they are taken for a spectrum
LEAST = 8


def find_scan(
    layer: Layer,
    kind: str = "auto",
    signal_axis: str = "auto",
    point: Sequence[float] | None = None,
) -> Scan:
    """Find the scan of a layer, reading no pixels.

    The signal axis is where the reader of the file put it, or what its label or its unit says,
    or the leading axis. Along time, z and further axes the position shown is taken.

    Parameters
    ----------
    layer : napari.layers.Layer
    kind, signal_axis : str
        What the user chose, see `RegionSettings`.
    point : sequence of float, optional
        Position shown in the viewer, world coordinates.

    Raises
    ------
    UserError
        If the layer holds colours, is too small or has no axes for what was chosen.
    """
    data = pixels(layer)
    last = _signal_last(layer, data.shape, kind, signal_axis)
    if last:
        scan_axes, used = (data.ndim - 3, data.ndim - 2), [data.ndim - 1]
    else:
        scan_axes, used = _leading(layer, data.shape, kind)
    position = shown_position(layer, data.shape, point)
    keep = (*scan_axes, *used)
    index = tuple(slice(None) if at in keep else position[at] for at in range(data.ndim))
    names = axis_names(layer)
    shown = ", ".join(
        f"{names[at] or f'axis {at + 1}'} {position[at] + 1} of {data.shape[at]}"
        for at in range(data.ndim)
        if at not in keep and data.shape[at] > 1
    )
    form = _form(layer, data.shape, used, kind)
    values, unit = _values(layer, data.shape, used)
    scan = Scan(
        layer,
        data[index],
        form,
        "last" if last else "first",
        _steps_nm(layer, scan_axes),
        _place(layer, scan_axes),
        values,
        unit,
        shown,
    )
    if min(scan.shape) < LEAST:
        raise UserError(
            f"'{layer.name}' is read as a scan of {scan.shape[0]} x {scan.shape[1]} pixels, too "
            f"small for a map (at least {LEAST} x {LEAST}): is the signal axis right?"
        )
    return scan


def read_mask(layer: Layer, scan: Scan, point: Sequence[float] | None = None) -> NDArray[np.bool_]:
    """Return where a mask layer is not zero.

    Raises
    ------
    UserError
        If the mask has another size than the scan.
    """
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    index = shown_position(layer, data.shape, point)[:-2]
    mask = np.asarray(data[tuple(index)]) != 0
    if mask.shape != scan.shape:
        raise UserError(
            f"The mask '{layer.name}' has {mask.shape[0]} x {mask.shape[1]} pixels, but the scan "
            f"{scan.shape[0]} x {scan.shape[1]}: choose another mask."
        )
    if not mask.any():
        raise UserError(f"The mask '{layer.name}' is empty: paint what is to be mapped.")
    return np.asarray(mask)


def _known(layer: Layer) -> dict[str, Any]:
    """Return what the reader of the file found out."""
    return dict(layer.metadata.get(KEY, {}))


def _read_axis(layer: Layer) -> int | None:
    """Return the signal axis as the reader of the file says it, by number or by name."""
    axis = _known(layer).get("signal_axis")
    if isinstance(axis, str):
        return list(layer.axis_labels).index(axis) if axis in layer.axis_labels else None
    return None if axis is None else int(axis) % layer.ndim


def _signal_last(layer: Layer, shape: Sequence[int], kind: str, chosen: str) -> bool:
    if len(shape) < 3 or chosen == "first" or kind in ("lattice", "diffraction"):
        return False
    if chosen == "last":
        return True
    known = _read_axis(layer)
    if known is not None:
        return known == len(shape) - 1
    if any(_speaks(layer, at) for at in range(len(shape) - 1)):
        return False
    if _speaks(layer, len(shape) - 1):
        return True
    height, width, signals = shape[-3:]
    return len(shape) == 3 and (height == width != signals or signals > 2 * max(height, width))


def _leading(layer: Layer, shape: Sequence[int], kind: str) -> tuple[tuple[int, int], list[int]]:
    """Return the axes of the scan and those of the signal where it comes before y and x."""
    lead, names = range(len(shape) - 2), axis_names(layer)
    free = [at for at in lead if names[at] not in LOOPED]
    patterns = kind == "diffraction" or _known(layer).get("modality") == "4D-STEM"
    known = _read_axis(layer)
    if patterns or (kind == "auto" and len(free) == 2 and known is None and _silent(layer, lead)):
        if len(shape) < 4:
            raise UserError(
                f"'{layer.name}' has {len(shape)} axes, but a diffraction pattern per pixel needs "
                "four (scan y and x, pattern y and x): choose other data or another kind."
            )
        return (len(shape) - 4, len(shape) - 3), [len(shape) - 2, len(shape) - 1]
    if kind == "lattice":
        free = []
    if known is not None and known in lead:
        free = [known]
    speaking = [at for at in free if _speaks(layer, at)]
    return (len(shape) - 2, len(shape) - 1), (speaking or free)[-1:]


def _silent(layer: Layer, axes: Sequence[int]) -> bool:
    return not any(_speaks(layer, at) for at in axes)


def _speaks(layer: Layer, axis: int) -> bool:
    """Whether an axis says that it runs over a signal, by its label or by its unit."""
    label = layer.axis_labels[axis].strip().lower()
    words = ("energy", "bias", "voltage", "wavelength", "wavenumber", "frequency", "channel", "c")
    if any(label == word or (len(word) > 1 and word in label) for word in words):
        return True
    unit = layer.units[axis]
    kinds = ("electron_volt", "volt", "hertz", "1/centimeter")
    return any(unit.is_compatible_with(kind) for kind in kinds)


def _form(layer: Layer, shape: Sequence[int], used: Sequence[int], kind: str) -> Form:
    if not used:
        return "image"
    if len(used) == 2:
        return "diffraction"
    if kind in ("channels", "spectra"):
        return "channels" if kind == "channels" else "spectra"
    return "spectra" if shape[used[0]] >= SPECTRUM else "channels"


def _values(
    layer: Layer, shape: Sequence[int], used: Sequence[int]
) -> tuple[NDArray[np.float64] | None, str]:
    """Return the positions along the signal axis with their unit, None where nobody says."""
    if len(used) != 1:
        return None, ""
    known, (axis,) = _known(layer), used
    values = known.get("values")
    if values is not None and len(values) == shape[axis]:
        unit = _short(str(known.get("units") or ""))
        return (np.asarray(values, np.float64), unit) if unit else (None, "")
    unit = _short(str(layer.units[axis]))
    if not unit:
        return None, ""
    return layer.translate[axis] + layer.scale[axis] * np.arange(shape[axis]), unit


def _short(unit: str) -> str:
    """Return the symbol of a unit (keV for kiloelectron_volt), empty where there is none."""
    import pint

    if unit in ("", "pixel", "dimensionless"):
        return ""
    try:
        return f"{pint.application_registry.Unit(unit):~}".replace(" ", "")
    except (pint.errors.PintError, AssertionError, ValueError):
        return unit


def _steps_nm(layer: Layer, axes: tuple[int, int]) -> tuple[float, float] | None:
    sizes = []
    for at in axes:
        if not layer.units[at].is_compatible_with("meter"):
            return None
        size = abs(layer.scale[at]) * layer.units[at]
        sizes.append(float(f"{float(size.to('nanometer').magnitude):.10g}"))
    return sizes[0], sizes[1]


def _place(layer: Layer, axes: tuple[int, int]) -> Layer:
    """Return the layer, or a blank one with the axes of the scan."""
    if axes == (layer.ndim - 2, layer.ndim - 1):
        return layer
    from napari.layers import Image

    return Image(
        np.zeros((1, 1), np.uint8),
        name=layer.name,
        scale=[layer.scale[at] for at in axes],
        translate=[layer.translate[at] for at in axes],
        units=[str(layer.units[at]) for at in axes],
        axis_labels=("y", "x"),
        contrast_limits=(0, 1),
    )
