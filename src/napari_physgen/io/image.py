"""What goes into an image file: pixels that know their axes and physical size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from napari_physgen.outputs import Kind, Output
    from napari_physgen.provenance import Record

_CODES = {
    "t": "T",
    "time": "T",
    "z": "Z",
    "depth": "Z",
    "c": "C",
    "channel": "C",
    "a": "A",
    "angle": "A",
    "p": "P",
    "phase": "P",
}
_OTHER = "QRHE"


@dataclass(frozen=True)
class Image:
    """One image or label image with its place in the world.

    Parameters
    ----------
    name : str
        Name of the layer or channel.
    data : numpy.ndarray
        Pixels (..., y, x), or (..., y, x, 3 or 4) where the last axis is "rgb".
    axes : tuple of str
        One name per axis of `data`: "t", "z", "c", "angle", "phase", "frame", ...
        The last two (before "rgb") are y and x whatever they are called.
    step : mapping
        Axis -> (pixel size, unit of length or time); axes without a physical
        unit ("pixel") are ignored.
    origin : mapping
        Axis -> position of the centre of the first pixel, in the unit of `step`.
    kind : {"image", "labels"}
    record : Record, optional
        How it was made.
    """

    name: str
    data: np.ndarray
    axes: tuple[str, ...]
    step: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    origin: Mapping[str, float] = field(default_factory=dict)
    kind: Kind = "image"
    record: Record | None = None

    def __post_init__(self) -> None:
        if self.data.ndim != len(self.axes) or self.data.ndim < 2:
            raise ValueError(f"axes {self.axes} do not fit an array of shape {self.data.shape}")
        if self.data.size == 0:
            raise UserError(f"'{self.name}' has no pixels, so there is nothing to save.")

    @classmethod
    def of(
        cls,
        output: Output,
        pixel_size_nm: float | tuple[float, float] | None,
        record: Record | None = None,
        plane_nm: float | None = None,
    ) -> Self:
        """Return a tool's output as an image.

        Parameters
        ----------
        output : Output
            What the tool made.
        pixel_size_nm : float, (float, float) or None
            Pixel size of the tool's input, nm; height and width where they differ.
        record : Record, optional
            How it was made.
        plane_nm : float, optional
            Distance of planes along an axis "z", nm.
        """
        step, origin = {}, {}
        if pixel_size_nm is not None:
            size = pixel_size_nm if isinstance(pixel_size_nm, tuple) else (pixel_size_nm,) * 2
            axes = zip(output.axes[-2:], size, output.translation, strict=True)
            for axis, pixel, shift in axes:
                step[axis] = (pixel / 1000 / output.zoom, "um")
                origin[axis] = shift * pixel / 1000
        if plane_nm is not None and "z" in output.axes:
            step["z"] = (plane_nm / 1000, "um")
        return cls(output.name, output.data, output.axes, step, origin, output.kind, record)

    @classmethod
    def kept(
        cls,
        outputs: Iterable[Output],
        pixel_size_nm: float | tuple[float, float] | None,
        record: Record | None = None,
        plane_nm: float | None = None,
    ) -> list[Self]:
        """Return those of a tool's outputs that belong into a file; see `of`."""
        return [
            cls.of(output, pixel_size_nm, record, plane_nm)
            for output in outputs
            if output.export and output.kind not in ("shapes", "vectors")
        ]

    @property
    def codes(self) -> str:
        """One letter per axis as TIFF files use them: TZCYXS, A angle, P phase, Q other."""
        samples = 1 if self.axes[-1] == "rgb" else 0
        codes: list[str] = []
        for axis in self.axes[: self.data.ndim - samples - 2]:
            wanted = _CODES.get(axis.lower(), "")
            free = [code for code in wanted + _OTHER if code not in codes]
            if not free:
                raise UserError(
                    f"'{self.name}' has too many axes for a TIFF file: save fewer dimensions."
                )
            codes.append(free[0])
        return "".join(codes) + "YX" + "S" * samples

    def micrometres(self, code: str) -> tuple[float, float] | None:
        """Return (pixel size, position of the first pixel) in um along Z, Y or X."""
        return self._physical(code, "um")

    def seconds(self, code: str = "T") -> tuple[float, float] | None:
        """Return (time step, time of the first frame) in s."""
        return self._physical(code, "s")

    def _physical(self, code: str, unit: str) -> tuple[float, float] | None:
        axis = dict(zip(self.codes, self.axes, strict=True)).get(code)
        if axis is None or axis not in self.step:
            return None
        size, name = self.step[axis]
        factor = _factor(name, unit)
        if factor is None or not np.isfinite(size) or size == 0:
            return None
        return abs(float(size)) * factor, float(self.origin.get(axis, 0)) * factor


def length_factor(unit: str) -> float | None:
    """Return how many um one `unit` is; None if it is no unit of length."""
    return _factor(unit, "um")


def time_factor(unit: str) -> float | None:
    """Return how many s one `unit` is; None if it is no unit of time."""
    return _factor(unit, "s")


def _factor(unit: str, target: str) -> float | None:
    """Return how many `target` one `unit` is; None if it is no such quantity."""
    import pint

    registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
    try:
        return float(registry.Quantity(1, str(unit)).to(target).magnitude)
    except (pint.PintError, ValueError, AttributeError, AssertionError):
        return None


def label_pixels(image: Image) -> np.ndarray:
    """Return labels as the smallest of uint8 (if given so), uint16 and uint32 that holds them."""
    low, high = int(image.data.min()), int(image.data.max())
    if low < 0 or high > np.iinfo(np.uint32).max:
        raise UserError(
            f"The labels '{image.name}' run from {low} to {high}: "
            "a TIFF file holds labels from 0 to 4294967295 only."
        )
    if image.data.dtype == np.uint8:
        return image.data
    return image.data.astype(np.uint16 if high <= np.iinfo(np.uint16).max else np.uint32)
