"""From a task to the forward model whose data are to be explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.errors import UserError
from napari_physgen.io import read_otf
from napari_physgen.physics.blur import blur
from napari_physgen.physics.operator import Identity, Mask, Subsampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.generative.settings import RestoreSettings
    from napari_physgen.physics.noise import Camera
    from napari_physgen.physics.operator import Operator

_WIDTH = 3.5  # of a Gaussian, in standard deviations to each side


@dataclass(frozen=True)
class Setup:
    """A forward model and its data.

    Parameters
    ----------
    operator : Operator
        Images (batch, 1, [z,] y, x) to data (batch, 1, ...).
    data : numpy.ndarray
        What was measured, grey levels.
    zoom : int
        Image pixels per pixel of the data.
    camera : Camera or None
        Of the data, if it is known already.
    trivial : bool
        Whether the data are the image itself, with noise.
    guess : numpy.ndarray or None
        A first image, grey levels, where the data do not show how bright it is.
    last : float
        Noise level, in standard deviations of the prior's images, from where mean and uncertainty
        are the denoiser's own; 0: they are those of finished samples.
    """

    operator: Operator
    data: NDArray[np.float32]
    zoom: int = 1
    camera: Camera | None = None
    trivial: bool = False
    guess: NDArray[np.float32] | None = None
    last: float = 0.0


def set_up(
    settings: RestoreSettings, data: NDArray[np.float32], mask: NDArray[np.generic] | None = None
) -> Setup:
    """Return the forward model of a task for one plane (y, x) or volume (z, y, x).

    Raises
    ------
    UserError
        If what the task needs is missing or wrong.
    """
    if settings.task == "deconvolve":
        return Setup(blur(point_spread(settings, data.ndim)), data)
    if settings.task == "super-resolve":
        factor = (1,) * (data.ndim - 2) + (settings.zoom, settings.zoom)
        return Setup(Subsampling(factor), data, settings.zoom)
    if settings.task == "inpaint":
        if mask is None or not np.any(mask):
            raise UserError("To fill gaps, say where they are: choose a labels layer, not 0 there.")
        kept = np.asarray(mask) == 0
        if kept.shape != data.shape[-kept.ndim :]:
            raise UserError(
                f"The mask of the gaps has the shape {kept.shape}, but the image {data.shape}."
            )
        whole = np.broadcast_to(kept, data.shape)
        filled = np.where(whole, data, data[whole].mean())
        return Setup(Mask(torch.from_numpy(whole.copy())), filled)
    return Setup(Identity(), data, trivial=True)


def point_spread(settings: RestoreSettings, axes: int) -> NDArray[np.float32]:
    """Return the PSF of a file, or a Gaussian, normalised by whoever uses it."""
    if settings.psf is None:
        reach = int(np.ceil(_WIDTH * settings.blur))
        line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / settings.blur) ** 2)
        plane = line[:, None] * line
        return np.asarray(plane if axes == 2 else plane[None], np.float32)
    values = read_otf(settings.psf).values
    psf = np.asarray(np.abs(values), np.float32)
    if psf.ndim not in (2, axes):
        raise UserError(
            f"The PSF in {settings.psf.name} has {psf.ndim} axes, but the image has {axes}."
        )
    return psf if psf.ndim == axes else psf[None]
