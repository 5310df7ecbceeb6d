"""One measurement in one form, whatever file it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.io._scan_axes import (
    Axis,
    Role,
    in_order,
    plain_names,
    roles,
    without_metres,
)
from napari_physgen.io._scan_units import pint_unit
from napari_physgen.io.image import length_factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAZY_ABOVE = 2**25  # bytes; smaller arrays are read at once, so that sliders run smoothly
_UNEVEN = 1e-3  # of a step: positions that deviate more are no regular grid
_STEM = re.compile(r"(?<![A-Za-z])((?i:haadf|maadf|laadf|adf|abf|stem)|[BD]F)(?![A-Za-z])")
_MODALITIES = ("EELS", "EDS", "CL", "PFM", "STEM", "Raman")


@dataclass(frozen=True)
class ScanFile:
    """A measurement on a grid of points: image, spectrum image, channels, or 4-D STEM.

    Parameters
    ----------
    name : str
        Name of the data set in the file.
    data : numpy.ndarray or dask.array.Array
        (signal, ..., y, x), or (y, x, ky, kx) for 4-D STEM; lazy where the file is big.
    axes : tuple of str
        One name per axis: ("energy", "y", "x"), ("channel", "y", "x"), ("y", "x", "ky", "kx").
    step : mapping
        Axis -> (distance of two samples, unit as pint writes it); "pixel" where not calibrated.
    origin : mapping
        Axis -> position of the first sample, in the unit of `step`.
    modality : str
        "EELS", "EDS", "CL", "Raman", "STEM", "PFM", "I-V", "4D-STEM", or "" if unknown.
    signal_values : numpy.ndarray or None
        Positions along the signal axis, which is the first (energy, bias ...; numbers of the
        channels where it is not calibrated); None where there is no signal axis.
    signal_unit : str
        Unit of `signal_values`, also where they are not evenly spaced.
    channels : tuple of str
        Names along an axis "channel" where the file gives them.
    """

    name: str
    data: Any
    axes: tuple[str, ...]
    step: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    origin: Mapping[str, float] = field(default_factory=dict)
    modality: str = ""
    signal_values: NDArray[np.float64] | None = None
    signal_unit: str = "pixel"
    channels: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples along every axis."""
        return tuple(self.data.shape)

    @property
    def signal_axis(self) -> str | None:
        """Name of the signal axis, None where there is none."""
        return None if self.signal_values is None else self.axes[0]

    @property
    def pixel_nm(self) -> tuple[float, float] | None:
        """Distance of pixels along y and x in nm, None where the file does not say."""
        sizes = []
        for axis in ("y", "x"):
            size, unit = self.step.get(axis, (0.0, ""))
            factor = None if unit == "pixel" else length_factor(unit)
            if factor is None:
                return None
            sizes.append(1000 * size * factor)
        return sizes[0], sizes[1]


def scan_files(
    name: str, data: Any, axes: Sequence[Axis] = (), modality: str = ""
) -> list[ScanFile]:
    """Return a data set in our order of axes; complex and structured ones in their parts.

    Maps of several parts become one stack of channels; spectra become one measurement per part
    (real and imaginary part, or the fields), because their first axis is the signal.

    Parameters
    ----------
    name : str
    data : array
        Any order of axes, NumPy or dask.
    axes : sequence of Axis
        One per axis of `data`; empty where nothing is known.
    modality : str
        What the file says about it, in any spelling.
    """
    axes = list(axes) or [Axis()] * data.ndim
    parts = _parts(data)
    found = [_arranged(name, part, axes, modality) for part in parts.values()]
    if len(parts) > 1 and found[0].data.ndim == 2 and found[0].axes == ("y", "x"):
        return [_stacked(found, tuple(parts))]
    return [
        replace(scan, name=f"{name} {part}".strip())
        for scan, part in zip(found, parts, strict=True)
    ]


def channel_stack(
    name: str, planes: Any, channels: Sequence[str], axes: Sequence[Axis], modality: str = ""
) -> ScanFile:
    """Return channels (channel, y, x) that were measured at the same points."""
    lead = Axis("channel", role="signal")
    scan = _arranged(name, planes, [lead, *axes], modality)
    return replace(scan, channels=tuple(channels))


def _parts(data: Any) -> dict[str, Any]:
    """Return the fields of a structured array, or real and imaginary part of a complex one."""
    if data.dtype.names:
        fields = {
            field: part
            for field in data.dtype.names
            for part in [data[field]]
            if part.dtype.kind in "buifc"
        }
        return {
            f"{field} {part}".strip(): plane
            for field, values in fields.items()
            for part, plane in _parts(values).items()
        }
    if data.dtype.kind == "c":
        return {"real": data.real, "imaginary": data.imag}
    return {"": data}


def _stacked(planes: list[ScanFile], channels: tuple[str, ...]) -> ScanFile:
    first = planes[0]
    if all(isinstance(plane.data, np.ndarray) for plane in planes):
        data = np.stack([plane.data for plane in planes])
    else:
        import dask.array

        data = dask.array.stack(  # type: ignore[no-untyped-call]
            [plane.data for plane in planes]
        )
    step = {"channel": (1.0, "pixel"), **first.step}
    origin = {"channel": 0.0, **first.origin}
    numbers = np.arange(len(planes), dtype=np.float64)
    return replace(
        first,
        data=data,
        axes=("channel", *first.axes),
        step=step,
        origin=origin,
        signal_values=numbers,
        channels=channels,
    )


def _arranged(name: str, data: Any, axes: Sequence[Axis], modality: str) -> ScanFile:
    """Return one data set of plain numbers in our order of axes."""
    data, axes = _squeezed(data, axes)
    found = roles(axes, data.shape)
    order = in_order(axes, found, data.shape)
    data = data.transpose(order)
    axes = [without_metres(axes[i]) for i in order]
    found = [found[i] for i in order]
    names = plain_names(axes, found)
    step, origin, values = {}, {}, None
    signal_unit = "pixel"
    for i, (axis, role, label) in enumerate(zip(axes, found, names, strict=True)):
        at, regular = positions(axis, data.shape[i])
        if role == "signal" and regular and at.size > 1 and at[1] < at[0]:
            at, data = at[::-1], data[(slice(None),) * i + (slice(None, None, -1),)]
        unit = pint_unit(axis.unit)
        distance = float(abs(at[-1] - at[0]) / (at.size - 1)) if at.size > 1 else abs(axis.step)
        step[label] = (distance, unit) if regular else (1.0, "pixel")
        origin[label] = float(at.min()) if regular else 0.0
        if role == "signal" and i == 0:
            values, signal_unit = at, unit
    kind = _modality(modality, name, axes, found)
    return ScanFile(name, _held(data), names, step, origin, kind, values, signal_unit)


def _squeezed(data: Any, axes: Sequence[Axis]) -> tuple[Any, list[Axis]]:
    """Return the data without axes of length 1 as long as two are left."""
    keep = list(range(data.ndim))
    for i in range(data.ndim):
        if data.shape[i] == 1 and len(keep) > 2:
            keep.remove(i)
    index = tuple(slice(None) if i in keep else 0 for i in range(data.ndim))
    return data[index], [axes[i] for i in keep]


def positions(axis: Axis, size: int) -> tuple[NDArray[np.float64], bool]:
    """Return the positions along an axis, and whether they are evenly spaced.

    An axis that is not calibrated counts its samples.
    """
    at: NDArray[np.float64]
    if axis.values is not None and len(axis.values) == size:
        at = np.array(axis.values, np.float64).ravel()
    else:
        step = axis.step if np.isfinite(axis.step) and axis.step else 1.0
        start = axis.start if np.isfinite(axis.start) else 0.0
        at = start + step * np.arange(size, dtype=np.float64)
    if not np.isfinite(at).all():
        return np.arange(size, dtype=np.float64), True
    steps = np.diff(at)
    mean = steps.mean() if steps.size else 1.0
    regular = bool(mean != 0 and (abs(steps - mean) <= _UNEVEN * abs(mean)).all())
    return at, regular


def _held(data: Any) -> Any:
    """Return small data in memory, large ones as they are, all in the machine's byte order."""
    if data.dtype.byteorder not in "=|" and data.dtype != data.dtype.newbyteorder("="):
        if data.nbytes > LAZY_ABOVE and isinstance(data, np.ndarray):
            import dask.array

            data = dask.array.from_array(data, chunks="auto")  # type: ignore[no-untyped-call]
        data = data.astype(data.dtype.newbyteorder("="))
    return np.array(data, order="C") if data.nbytes <= LAZY_ABOVE else data


def _modality(said: str, name: str, axes: Sequence[Axis], found: Sequence[Role]) -> str:
    """Return the kind of measurement by what the file says, else by the signal axis."""
    if "pattern" in found:
        return "4D-STEM" if "scan" in found else ""
    for known in _MODALITIES:
        if any(word.startswith(known) for word in re.split(r"[^A-Za-z]+", said)):
            return known
    if "signal" not in found:
        return "STEM" if _STEM.search(name) else ""
    signal = axes[found.index("signal")]
    by_name = {"loss": "EELS", "ray": "EDS", "xray": "EDS", "raman": "Raman"}
    for word in signal.words:
        if word in by_name:
            return by_name[word]
    if pint_unit(signal.unit) == "kiloelectron_volt":
        return "EDS"
    by_unit = {"voltage": "I-V", "length": "CL", "wavenumber": "Raman"}
    return by_unit.get(signal.quantity, "")
