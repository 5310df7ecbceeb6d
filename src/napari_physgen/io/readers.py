"""Raw stacks and measured OTFs from TIFF, NumPy and MRC/DV files."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_physgen.errors import UserError
from napari_physgen.io.atomic import replacing
from napari_physgen.io.image import length_factor
from napari_physgen.io.mrc import MrcFile

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

_TIFF = (".tif", ".tiff", ".btf", ".tf8")
_MRC = (".mrc", ".dv", ".otf")
SUFFIXES = (*_TIFF, ".npy", ".mrc", ".dv")
"""Endings of the files that `read_stack` reads and that hold raw stacks."""
_NAMES = {"A": "angle", "P": "phase", "T": "t", "Z": "z", "C": "c", "S": "rgb", "Y": "y", "X": "x"}
# Larger "pixels" are print resolutions (72 dpi = 353 um) left by other programs.
_LARGEST_PIXEL_NM = 50_000
_STEP = "otf_frequency_step_per_um"


@dataclass(frozen=True)
class Stack:
    """A file's pixels.

    Parameters
    ----------
    data : numpy.ndarray
        (..., y, x).
    axes : tuple of str
        One name per axis: "t", "z", "c", "angle", "phase", "frame", "y", "x", "rgb".
    pixel_size_nm : float or None
        Pixel size along x, None where the file does not say.
    """

    data: np.ndarray
    axes: tuple[str, ...]
    pixel_size_nm: float | None

    @property
    def leading(self) -> tuple[str, ...]:
        """Axes to loop over (time, channel, ...): neither raw frames nor y and x.

        Raw frames run over the axes named angle, phase or frame; where no axis has such a
        name (ImageJ calls them z), over the last axis before y and x.
        """
        return tuple(self.axes[i] for i in self._looped())

    @property
    def leading_shape(self) -> tuple[int, ...]:
        """Sizes of the `leading` axes."""
        return tuple(self.data.shape[i] for i in self._looped())

    def blocks(self) -> Iterator[np.ndarray]:
        """Give one raw stack (frame, y, x) after the other."""
        looped = self._looped()
        ordered = np.moveaxis(self.data, looped, range(len(looped)))
        frames = ordered.reshape(prod(self.leading_shape), -1, *self.data.shape[-2:])
        yield from frames

    def series(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return all raw stacks (..., frame, y, x) and the names of the axes in front.

        Where no axis has a name the pixels are left as they are, without names.
        """
        if set(self.axes[:-2]) <= {"frame"}:
            return self.data, ()
        looped = self._looped()
        ordered = np.moveaxis(self.data, looped, range(len(looped)))
        return ordered.reshape(*self.leading_shape, -1, *self.data.shape[-2:]), self.leading

    def _looped(self) -> list[int]:
        if self.axes[-1] == "rgb":
            raise UserError(
                "This is a colour (RGB) picture: give the grey-scale frames of the camera."
            )
        before = range(len(self.axes) - 2)
        frames = [i for i in before if self.axes[i] in ("angle", "phase", "frame")]
        return [i for i in before if i not in (frames or before[-1:])]


def read_stack(path: str | os.PathLike[str]) -> Stack:
    """Read an image stack.

    Raises
    ------
    UserError
        If the file is missing, damaged or of an unknown format.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in _TIFF:
        return _read_tiff(path)
    if suffix == ".npy":
        return _generic(_read_npy(path), None)
    if suffix in _MRC:
        file = MrcFile.read(path)
        pixel = None if file.pixel_size_um is None else 1000 * file.pixel_size_um
        return _generic(file.data, pixel)
    known = ", ".join((*_TIFF, ".npy", *_MRC))
    raise UserError(f"{path.name} is of an unknown format: the tools read {known}.")


class OtfFile(NamedTuple):
    """What a file of an OTF or PSF holds.

    Parameters
    ----------
    values : numpy.ndarray
        Radial profile (k,) from zero frequency on, plane (k_y, k_x), or PSF (y, x).
    step : float or None
        Frequency step in 1/um, of a profile in a DV/MRC file or in one of our own.
    pixel_size_nm : float or None
        Pixel size of a TIFF; None where it does not say.
    """

    values: np.ndarray
    step: float | None = None
    pixel_size_nm: float | None = None


def read_otf(path: str | os.PathLike[str]) -> OtfFile:
    """Read a measured OTF or PSF.

    Raises
    ------
    UserError
        If the file is missing, damaged, of an unknown format, or neither 1-D nor 2-D.
    """
    step = pixel = None
    suffix = Path(path).suffix.lower()
    if suffix in _MRC:
        # DV files of OTFs keep the frequency step where images keep the pixel size.
        file = MrcFile.read(Path(path))
        values, step = file.data, file.pixel_size_um
    else:
        stack = read_stack(path)
        values, pixel = stack.data, stack.pixel_size_nm
        if suffix in _TIFF and (step := _own_step(Path(path))):
            values = values[0]
    values = np.squeeze(values)
    if values.ndim not in (1, 2):
        raise UserError(
            f"{Path(path).name} has the shape {values.shape}: "
            "an OTF is a radial profile or a plane."
        )
    return OtfFile(values, step, pixel)


def write_otf(
    path: str | os.PathLike[str], profile: np.ndarray, step: float, error: np.ndarray
) -> Path:
    """Write a radial OTF as TIFF: a row of values, a row of their standard errors.

    Parameters
    ----------
    path : path-like
        File to write, ``*.tif``; an existing one is replaced.
    profile, error : numpy.ndarray
        (k,), from zero frequency on.
    step : float
        Frequency step, 1/um.

    Raises
    ------
    UserError
        If the file cannot be written, or its name does not end like a TIFF file's.
    """
    if Path(path).suffix.lower() not in _TIFF:
        raise UserError(f"An OTF is saved as TIFF: call the file {Path(path).stem}.tif.")
    rows = np.stack([profile, error]).astype(np.float32)[:, None]
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            rows,
            photometric="minisblack",
            description=json.dumps({_STEP: step, "rows": ["OTF", "standard error"]}),
        )
    return Path(path)


def _own_step(path: Path) -> float | None:
    """Return the frequency step in a TIFF written by `write_otf`, None in others."""
    with opened_tiff(path) as tif:
        text = tif.pages.first.description
    if _STEP not in text:
        return None
    return float(json.loads(text)[_STEP])


@contextmanager
def opened_tiff(path: str | os.PathLike[str]) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file; whatever a damaged one raises becomes one sentence."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    try:
        with _complaints() as complaints, tifffile.TiffFile(path) as tif:
            if not tif.pages:
                raise ValueError("it holds no image")
            yield tif
            if complaints:
                raise ValueError(complaints[0])
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(f"{path} may not be read: check its permissions.") from error
    except Exception as error:
        raise UserError(
            f"{path.name} could not be read as a TIFF file ({_first_line(error)}): "
            "it may be damaged or incomplete."
        ) from error


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect the faults that tifffile logs while it returns only part of the pages."""
    found: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if "invalid page offset" in text or "corrupted" in text:
            found.append(text.partition("> ")[2] or text)
            return False
        return True

    logger = logging.getLogger("tifffile")
    logger.addFilter(keep)
    try:
        yield found
    finally:
        logger.removeFilter(keep)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _read_tiff(path: Path) -> Stack:
    with opened_tiff(path) as tif:
        series = tif.series[0]
        # Some programs count bits, so that a page is no longer than its pixels are.
        last = max(
            page.dataoffsets[-1] + min(page.databytecounts[-1], page.nbytes)
            for page in series.pages
            if page
        )
        if last > tif.filehandle.size:
            raise ValueError("the file ends too early")
        pixel = _ome_pixel_nm(tif) or tag_pixel_nm(tif)
        axes = tuple(_NAMES.get(code, "frame") for code in series.axes)
        return Stack(series.asarray(), axes, pixel)


def _ome_pixel_nm(tif: tifffile.TiffFile) -> float | None:
    if not tif.ome_metadata:
        return None
    pixels = ElementTree.fromstring(tif.ome_metadata).find(".//{*}Pixels")
    size = None if pixels is None else pixels.get("PhysicalSizeX")
    if pixels is None or size is None:
        return None
    return _plausible(float(size), pixels.get("PhysicalSizeXUnit", "µm"))


def tag_pixel_nm(tif: tifffile.TiffFile) -> float | None:
    """Return the pixel size in the resolution tags of ImageJ and of honest plain files."""
    tags = tif.pages.first.tags
    if "XResolution" not in tags:
        return None
    pixels, length = tags["XResolution"].value
    if not pixels or not length:
        return None
    if tif.imagej_metadata:
        unit = str(tif.imagej_metadata.get("unit", ""))
        return _plausible(length / pixels, unit.replace("\\u00B5", "µ"))
    if "ResolutionUnit" in tags and tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER:
        return _plausible(length / pixels, "cm")
    return None


def _plausible(size: float, unit: str) -> float | None:
    factor = length_factor(unit)
    if factor is None:
        return None
    nm = size * factor * 1000
    return nm if 0 < nm <= _LARGEST_PIXEL_NM else None


def _read_npy(path: Path) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    try:
        data: np.ndarray = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path.name} could not be read as a NumPy array.") from error
    return data


def _generic(data: np.ndarray, pixel_size_nm: float | None) -> Stack:
    if data.ndim < 2:
        raise UserError(f"An image has at least two axes, this file has the shape {data.shape}.")
    return Stack(data, ("frame",) * (data.ndim - 2) + ("y", "x"), pixel_size_nm)
