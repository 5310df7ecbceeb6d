"""A scan in a layer: what a pixel holds, where its signal axis is, and how to say so. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray

# What the positions along a signal axis are called, by their unit.
NOUNS = {
    "eV": "energies",
    "keV": "energies",
    "meV": "energies",
    "V": "bias steps",
    "mV": "bias steps",
    "nm": "wavelengths",
    "1/cm": "wavenumbers",
    "Hz": "frequencies",
    "kHz": "frequencies",
    "MHz": "frequencies",
}
Form = Literal["image", "channels", "spectra", "diffraction"]


@dataclass(frozen=True)
class Scan:
    """What of a layer is mapped, still lazy.

    Parameters
    ----------
    layer : napari.layers.Layer
    data : array
        (y, x), (signal, y, x), (y, x, signal) or (y, x, ky, kx).
    form : {"image", "channels", "spectra", "diffraction"}
        What a pixel holds, as far as the layer says.
    signal : {"first", "last"}
        Where the signal axis of `data` is.
    steps : (float, float) or None
        Distance of two pixels along y and x, nm, where the layer says.
    place : napari.layers.Layer
        Where maps of the scan belong: the layer, or one that never enters the viewer where the
        layer's last two axes are not those of the scan.
    values : numpy.ndarray or None
        Positions along the signal axis.
    unit : str
        Of the positions.
    shown : str
        Position along further axes, e.g. "time 4 of 10".
    """

    layer: Layer
    data: Any
    form: Form
    signal: Literal["first", "last"]
    steps: tuple[float, float] | None
    place: Layer
    values: NDArray[np.float64] | None = None
    unit: str = ""
    shown: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of the scan along y and x."""
        shape = self.data.shape
        last = self.form == "diffraction" or self.signal == "last"
        y, x = shape[:2] if last else shape[-2:]
        return int(y), int(x)

    def around(self, y: int, x: int, reach: int = 0) -> NDArray[Any]:
        """Return the pixels up to `reach` away from (y, x), cut at the edges.

        Returns
        -------
        numpy.ndarray
            (y, x), (signal, y, x) or (ky, kx, y, x).
        """
        rows = slice(max(y - reach, 0), y + reach + 1)
        columns = slice(max(x - reach, 0), x + reach + 1)
        if self.form == "diffraction":
            return np.moveaxis(np.asarray(self.data[rows, columns]), (0, 1), (-2, -1))
        if self.signal == "last":
            return np.moveaxis(np.asarray(self.data[rows, columns]), -1, 0)
        return np.asarray(self.data[..., rows, columns])

    def mean(self) -> NDArray[np.float32]:
        """Return the mean over the signal, (y, x), 0 where there is none."""
        axes = {"image": (), "diffraction": (-2, -1)}.get(
            self.form, (-1,) if self.signal == "last" else (0,)
        )
        plane = self.data.mean(axis=axes) if axes else self.data
        return np.nan_to_num(np.asarray(plane, np.float32))

    def counted(self) -> bool:
        """Whether values are counts, as far as a few pixels tell (none of a lazy array)."""
        if not isinstance(self.data, np.ndarray):
            return bool(np.dtype(self.data.dtype).kind == "u")
        height, width = self.shape
        places = [(height * i // 4, width * j // 4) for i in range(4) for j in range(4)]
        sample = np.stack([self.around(y, x) for y, x in places])
        return bool(np.all(sample >= 0) and np.array_equal(sample, np.round(sample)))

    def words(self) -> str:
        """Say how the layer is read."""
        (height, width), shape = self.shape, self.data.shape
        size = f"{height} x {width}"
        if self.form == "image":
            words = f"An image of {size} pixels"
        elif self.form == "diffraction":
            words = f"{size} diffraction patterns of {shape[2]} x {shape[3]} pixels"
        elif self.form == "channels":
            words = f"{_signals(self)} channels of {size} pixels"
        else:
            words = f"{size} spectra of {_signals(self)} {self._positions()}"
        if self.form in ("spectra", "diffraction") and self.counted():
            words += ", read as counts"
        words += f", {self._pixel()}"
        return words + (f"; {self.shown} (the one shown)" if self.shown else "") + "."

    def _positions(self) -> str:
        noun = NOUNS.get(self.unit, "channels")
        if self.values is None or not len(self.values):
            return f"{noun} without an axis"
        first, last = float(self.values[0]), float(self.values[-1])
        return f"{noun}, {first:.4g} to {last:.4g} {self.unit}".rstrip()

    def _pixel(self) -> str:
        if self.steps is None:
            return "pixel size unknown"
        y, x = self.steps
        return f"pixels of {x:.4g} nm" if square(self.steps) else f"pixels of {y:.4g} x {x:.4g} nm"


def square(steps: tuple[float, float]) -> bool:
    """Whether pixels are squares as far as anybody can tell."""
    return abs(steps[0] - steps[1]) <= 0.005 * max(steps)


def _signals(scan: Scan) -> int:
    return int(scan.data.shape[-1 if scan.signal == "last" else 0])
