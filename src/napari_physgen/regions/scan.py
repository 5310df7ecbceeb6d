"""From an array to a scan: what was measured, where its axes are and which pixels hold data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.regions._channels import read_channels
from napari_physgen.regions._fourier import Lattice, find_lattice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions.settings import Kind, RegionSettings

_LEAST = 8  # px along y and x
_SPECTRUM = 12  # values per pixel from which on they are a spectrum
_NO_LATTICE = (
    "No lattice was found in the image (no sharp spots in its diffractogram), so it is described "
    "by local brightness and roughness instead."
)


@dataclass(frozen=True)
class Scan:
    """Data of a known kind, its signal axis first.

    Parameters
    ----------
    kind : {"lattice", "channels", "spectra", "diffraction"}
    values : array
        (y, x) lattice; (channel, y, x) channels, phases as real and imaginary parts;
        (signal, y, x) spectra; (ky, kx, y, x) diffraction. Spectra and diffraction may be lazy.
    valid : numpy.ndarray
        (y, x) bool.
    counts : bool
        Whether the values are counts (whole, not negative).
    spacing : (float, float)
        Height and width of a pixel, in widths.
    lattice : Lattice or None
    names : tuple of str
        What the channels are.
    notes : tuple of str
        Sentences for the microscopist.
    """

    kind: Kind
    values: Any
    valid: NDArray[np.bool_]
    counts: bool = False
    spacing: tuple[float, float] = (1.0, 1.0)
    lattice: Lattice | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels along y and x."""
        return self.valid.shape[0], self.valid.shape[1]


def read_scan(data: Any, settings: RegionSettings, mask: Any = None) -> Scan:
    """Find out what was measured and which pixels hold data.

    Parameters
    ----------
    data : array
        (y, x), (signal, y, x) or (y, x, signal), (y, x, ky, kx). NumPy or lazy.
    settings : RegionSettings
    mask : array, optional
        (y, x), True or not 0 where the map shall be.

    Raises
    ------
    UserError
        If the array cannot be what the settings say, or nothing is left of it.
    """
    if data.ndim not in (2, 3, 4):
        raise UserError(
            f"The data have the shape {_times(data.shape)}: an image has 2 axes, channels or "
            "spectra 3, diffraction patterns 4; pick one time point or channel first."
        )
    if np.dtype(data.dtype).kind not in "fiubc":
        raise UserError(f"The data hold no numbers ({data.dtype}).")
    kind = _kind(data, settings)
    values = _signal_first(data, kind, settings)
    shape = tuple(values.shape[-2:])
    if min(shape) < _LEAST:
        raise UserError(f"The scan has {shape[0]} x {shape[1]} points: at least 8 x 8 are needed.")
    valid = _finite(values) & _allowed(mask, shape)
    if not valid.any():
        raise UserError("No point of the scan holds data: all are NaN or outside of the mask.")
    if valid.sum() < _LEAST**2:
        raise UserError(
            f"Only {int(valid.sum())} points of the scan hold data: {_LEAST**2} are needed."
        )
    notes: list[str] = []
    names: tuple[str, ...] = ()
    lattice: Lattice | None = None
    if not valid.all():
        notes.append(f"{int((~valid).sum())} of {valid.size} points hold no data and are left out.")
    if kind == "lattice":
        values = np.where(valid, np.asarray(values, np.float32), 0)
        lattice = find_lattice(values, valid)
        if lattice is None:
            notes.append(_NO_LATTICE)
            kind, values = "channels", values[None]
    counts = False
    if kind == "channels":
        values, names, said = read_channels(np.asarray(values), valid, settings.channels)
        notes += said
    elif kind != "lattice":
        counts, said = _counts(values, valid)
        notes += said
    if kind in ("lattice", "channels") and float(np.ptp(values[..., valid])) == 0:
        raise UserError("All points have the same value: there is nothing to tell apart.")
    aspect = (settings.pixel_height_nm or 1.0) / (settings.pixel_size_nm or 1.0)
    spacing = (aspect if settings.pixel_height_nm and settings.pixel_size_nm else 1.0, 1.0)
    return Scan(kind, values, valid, counts, spacing, lattice, names, tuple(notes))


def _kind(data: Any, settings: RegionSettings) -> Kind:
    """Return what the data are, from their shape where the settings leave it open."""
    needed = {"lattice": (2,), "channels": (2, 3), "spectra": (3,), "diffraction": (4,)}
    if settings.kind != "auto":
        if data.ndim not in needed[settings.kind]:
            raise UserError(
                f"Data of {data.ndim} axes, {_times(data.shape)}, cannot be {settings.kind}: "
                "choose another kind, or auto."
            )
        kind = settings.kind
    elif data.ndim == 2:
        kind = "channels" if _complex(data) else "lattice"
    elif data.ndim == 4:
        kind = "diffraction"
    else:
        many = data.shape[_signal_axis(data, settings)] >= _SPECTRUM
        kind = "spectra" if many else "channels"
    if _complex(data) and kind != "channels":
        raise UserError(
            "The data are complex, which only channels may be: take their amplitude, or their "
            "real part, first."
        )
    return kind


def _complex(data: Any) -> bool:
    made: bool = np.dtype(data.dtype).kind == "c"
    return made


def _signal_axis(data: Any, settings: RegionSettings) -> int:
    """Return 0 or 2: the odd one out of three sizes, few channels, else the longest."""
    if settings.signal_axis != "auto":
        return {"first": 0, "last": 2}[settings.signal_axis]
    first, middle, last = data.shape
    if (middle == last) != (first == middle):
        return 0 if middle == last else 2
    if min(first, last) < _SPECTRUM:
        return 0 if first <= last else 2
    return 0 if first >= last else 2


def _signal_first(data: Any, kind: Kind, settings: RegionSettings) -> Any:
    if data.ndim == 2:
        return data[None] if kind == "channels" else data
    if kind == "diffraction":
        return data.transpose(2, 3, 0, 1)
    return data.transpose(2, 0, 1) if _signal_axis(data, settings) == 2 else data


def _finite(values: Any) -> NDArray[np.bool_]:
    """Return (y, x): whether all values of a point are finite, read in slabs."""
    if np.dtype(values.dtype).kind not in "fc":
        return np.ones(values.shape[-2:], bool)
    if values.ndim == 2:
        made: NDArray[np.bool_] = np.isfinite(np.asarray(values))
        return made
    rows = [np.isfinite(np.asarray(values[..., y, :])) for y in range(values.shape[-2])]
    return np.stack([row.all(tuple(range(row.ndim - 1))) for row in rows])


def _allowed(mask: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if mask is None:
        return np.ones(shape, bool)
    mask = np.asarray(mask)
    if mask.shape != shape:
        raise UserError(
            f"The mask has {_times(mask.shape)} pixels, the scan {_times(shape)}: take one of the "
            "same size."
        )
    made: NDArray[np.bool_] = mask != 0
    return made


def _counts(values: Any, valid: NDArray[np.bool_]) -> tuple[bool, list[str]]:
    """Return whether the values are counts, with a remark where they nearly are."""
    step = max(valid.shape[0] // 32, 1)
    sample = np.asarray(values[..., ::step, :])[..., valid[::step]]
    if sample.dtype.kind == "c" or not np.array_equal(sample, np.round(sample)):
        return False, []
    if sample.size and sample.min() < 0:
        return False, [
            f"There are negative counts ({sample.min():g}), as after a background was taken off, "
            "so the values are compared as measured, without counting statistics."
        ]
    if sample.size and sample.max() == 0:
        raise UserError("All counts are 0: there is nothing to tell apart.")
    return True, []


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
