"""How far an image may be from the truth: the standard deviation of its pixels.

    std^2 = < jackknife + networks + BIAS^2 (again - image)^2 >

jackknife: variance over the images that each lack one fold of the camera pixels (delete-a-group;
Efron & Stein, Ann. Stat. 9, 586, 1981). networks: variance of the mean of the networks. again: the
image that comes from frames without noise, as the image itself would give them. What smoothness and
positivity take from it they have taken from the sample before (parametric bootstrap; Efron &
Tibshirani 1993). <>: mean over a resolution element, for four folds say little about one pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from napari_physgen.sim.views import jackknife

if TYPE_CHECKING:
    from torch import Tensor

    from napari_physgen.sim.settings import SimSettings

BIAS = 2.1
"""The image has less to lose than the sample had. Likeliest factor for the true errors in 10
simulated stacks of random objects and microscopes, 4-260 photons, with errors of patterns and OTF
as estimates have them (`benchmarks/sim_uncertainty.py --calibrate`); a factor of the noise that was
fitted along came out as 1.0."""


def element(settings: SimSettings) -> float:
    """Return the standard deviation (fine px) of a Gaussian as wide as the finest detail."""
    fwhm = 1 / (2 * settings.cutoff)
    return fwhm / 2.355 * 1000 * settings.zoom / settings.pixel_size_nm


def standard_deviation(images: Tensor, folds: Tensor, again: Tensor, blur: float) -> Tensor:
    """Return the standard deviation (y, x) of the mean of some images.

    Parameters
    ----------
    images : torch.Tensor
        (network, y, x).
    folds : torch.Tensor
        (fold, y, x), mean of the networks without each fold.
    again : torch.Tensor
        (y, x), mean of the networks on frames of the image itself, minus that image.
    blur : float
        See `element`.
    """
    noise = jackknife(folds)
    if len(images) > 1:
        noise = noise + images.var(0) / len(images)
    variance = noise + BIAS**2 * again.square()
    smooth = gaussian_filter(variance.cpu().numpy(), blur)
    return torch.as_tensor(np.sqrt(np.maximum(smooth, 0)), device=images.device)
