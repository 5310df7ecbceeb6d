"""MRC and DeltaVision (DV) files: 1024 bytes of header, then planes of pixels.

Header layouts: Cheng et al., J. Struct. Biol. 192, 146 (2015) for MRC2014; the
Priism/DV dialect keeps the pixel size itself, in um, where MRC keeps the cell in
angstrom, and is known by its identifier -16224 at byte 96.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = 1024
_DV_ID = -16224
_MODES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2"}


@dataclass(frozen=True)
class MrcFile:
    """Pixels and spacing of an MRC or DV file.

    Parameters
    ----------
    data : numpy.ndarray
        (section, y, x), or (y, x) where there is one section.
    pixel_size_um : float or None
        Spacing along x as the header gives it, None where it is not set.
    """

    data: np.ndarray
    pixel_size_um: float | None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises
        ------
        UserError
            If the file is missing, damaged or has an unknown pixel type.
        """
        if not path.is_file():
            raise UserError(f"There is no file {path}.")
        content = path.read_bytes()
        order = byte_order(content)
        if order is None:
            raise UserError(f"{path.name} is no MRC or DV file, or it is damaged.")
        integers = np.frombuffer(content, f"{order}i4", 24)
        nx, ny, nz, mode = (int(n) for n in integers[:4])
        dtype = np.dtype(order + _MODES[mode])
        start = _HEADER + int(integers[23])
        count = nx * ny * nz
        if start < _HEADER or start + count * dtype.itemsize > len(content):
            raise UserError(f"{path.name} ends too early: it may be damaged or incomplete.")
        data = np.frombuffer(content, dtype, count, start).reshape(nz, ny, nx)
        native = data.astype(dtype.newbyteorder("="))
        return cls(native[0] if nz == 1 else native, spacing_um(content, order))


def byte_order(content: bytes) -> str | None:
    """Return the byte order in which the header makes sense."""
    if len(content) < _HEADER:
        return None
    for order in "<>":
        nx, ny, nz, mode = np.frombuffer(content, f"{order}i4", 4)
        if 0 < nx < 2**20 and 0 < ny < 2**20 and 0 < nz < 2**20 and int(mode) in _MODES:
            return order
    return None


def is_dv(content: bytes, order: str) -> bool:
    """Whether a header is of the DV dialect."""
    return bool(np.frombuffer(content, f"{order}i2", 1, 96)[0] == _DV_ID)


def spacing_um(content: bytes, order: str, axis: int = 0) -> float | None:
    """Return the spacing along x (0), y (1) or z (2), um; None where a header does not say."""
    length = float(np.frombuffer(content, f"{order}f4", 1, 40 + 4 * axis)[0])
    if not is_dv(content, order):
        intervals = int(np.frombuffer(content, f"{order}i4", 1, 28 + 4 * axis)[0])
        length = length / intervals * 1e-4 if intervals > 0 else 0.0
    return length if np.isfinite(length) and length > 0 else None
