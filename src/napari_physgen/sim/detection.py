"""The detection OTF that the user gave, in whatever form, or the ideal one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.errors import UserError
from napari_physgen.io import OtfFile, read_otf
from napari_physgen.physics.optics import Otf
from napari_physgen.sim.fairsim import read_fairsim_otf

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from napari_physgen.sim.settings import SimSettings


def detection_otf(
    settings: SimSettings,
    shape: tuple[int, int],
    otf: Otf | ArrayLike | str | Path | None = None,
) -> Otf | None:
    """Return the detection OTF.

    Parameters
    ----------
    settings : SimSettings
        `otf` names a file, used if the argument `otf` is None.
    shape : (int, int)
        Raw frame size (y, x).
    otf : Otf, array or path, optional
        An OTF plane on the frequency grid of the raw frames or of the result (zero frequency
        in the middle or in the corner); a PSF image of any other size, in pixels of the
        result; or a file with one of these or with a radial profile: TIFF (the pixel size of a
        PSF is taken from it, where it says one), MRC, or XML of fairSIM.

    Returns
    -------
    Otf or None
        None if nothing was measured and the settings name no damping: it is to be fitted.

    Raises
    ------
    UserError
        If the file or array is no OTF.
    """
    given = settings.otf if otf is None else otf
    if isinstance(given, Otf):
        return given
    if given is None:
        if settings.otf_damping is None:
            return None
        return Otf.ideal(settings.na, settings.wavelength_nm, settings.otf_damping)
    if not isinstance(given, str | os.PathLike):
        return _from_array(OtfFile(np.asarray(given)), settings, shape)
    path = Path(given)
    if path.suffix.lower() == ".xml":
        return _from_array(OtfFile(*read_fairsim_otf(path)), settings, shape)
    return _from_array(read_otf(path), settings, shape)


def _from_array(given: OtfFile, settings: SimSettings, shape: tuple[int, int]) -> Otf:
    values, step, size = given
    if values.dtype.kind not in "uifc" or not np.isfinite(values).all() or not values.any():
        raise UserError("The OTF must be made of finite numbers that are not all 0.")
    pixel = settings.pixel_size_nm / 1000
    fine = shape[0] * settings.zoom, shape[1] * settings.zoom
    if step is not None:
        return Otf.measured(values, step, settings.cutoff)
    if values.ndim == 1:
        raise UserError(
            "A radial OTF needs its frequency step: give a file that holds it (MRC, TIFF with "
            "a resolution) or a 2-D plane."
        )
    if values.shape in (shape, fine):
        if shape[0] != shape[1]:
            raise UserError(
                "An OTF plane must be square to have one frequency step: give the PSF image or a "
                "radial profile in an MRC file instead."
            )
        corner = np.abs(values[0, 0]) >= np.abs(values).max()
        plane = np.fft.fftshift(values) if corner else values
        return Otf.measured(plane, 1 / (shape[0] * pixel), settings.cutoff)
    if values.ndim != 2:
        raise UserError("The OTF must be a radial profile or a 2-D plane of numbers.")
    psf_pixel = pixel / settings.zoom if size is None else size / 1000
    return Otf.from_psf(np.abs(values), psf_pixel, 0.5 / max(pixel, psf_pixel))
