"""What can be wrong with an image, a prior and what is asked of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.generative.model import GenerativeModel
    from napari_physgen.generative.scale import Scale
    from napari_physgen.generative.settings import RestoreSettings
    from napari_physgen.physics.noise import Camera
    from napari_physgen.physics.operator import Operator

PIXEL = 0.1
"""Share by which pixel sizes may differ: structures of the wrong size are restored wrongly."""

OUTSIDE = 0.5
"""How far the smoothed image may leave the range that the prior learned, in ranges."""

_FAINT = 0.04  # ranges: an image with less contrast than that was recorded in other units
_SMOOTH = 2.0  # px


def checked_image(image: ArrayLike) -> NDArray[np.float32]:
    """Return the image as float32.

    Raises
    ------
    UserError
        If it is no image of real, finite numbers.
    """
    array = np.asarray(image)
    if array.dtype.kind not in "biuf" or array.ndim < 2:
        raise UserError(f"An image of real numbers (..., y, x) is needed, got {array.shape}.")
    data = np.asarray(array, np.float32)
    if not np.isfinite(data).all():
        raise UserError(
            "The image holds NaN or infinite values: set them to 0, and mark them as gaps to "
            "have them filled."
        )
    return data


def check_one_level(settings: RestoreSettings) -> None:
    """Raise UserError if a prior of noisy images, which knows their noise only, shall sample."""
    if settings.samples or settings.method not in ("auto", "direct"):
        raise UserError(
            "What learned from noisy images alone knows one noise level and makes no samples: "
            "leave Samples empty and Method at auto, or use a prior of sharp images."
        )


def checked_prior(
    model: GenerativeModel, settings: RestoreSettings, operator: Operator | None
) -> None:
    """Raise UserError if a prior cannot do what is asked."""
    sizes = settings.pixel_size_nm, model.pixel_size_nm
    if None not in sizes:
        image, prior = (float(size) for size in sizes if size is not None)
        expected = image / settings.zoom if settings.task == "super-resolve" else image
        expected = image / 2 if settings.task == "sim" else expected
        if abs(expected / prior - 1) > PIXEL:
            raise UserError(
                f"The prior learned pixels of {prior:.4g} nm, but the result would have "
                f"{expected:.4g} nm: rescale the image, or train a prior on such pixels."
            )
    other = settings.task != "denoise" or operator is not None
    if model.learned == "noisy" and not other:
        check_one_level(settings)
    if model.consistency:
        raise UserError(
            "A consistency model makes images in one step but cannot weigh data: choose the "
            "prior that it was distilled from."
        )
    if other and model.learned in ("pairs", "noisy"):
        kind = "pairs" if model.learned == "pairs" else "noisy images"
        raise UserError(
            f"This prior learned from {kind} and can only remove noise: for other tasks train "
            "one on sharp images."
        )
    if other and model.scale.domain != "linear":
        raise UserError(
            "This prior learned square roots of grey levels, which only denoising allows: train "
            "one with linear grey levels."
        )


def fitted_scale(
    model: GenerativeModel,
    settings: RestoreSettings,
    images: Sequence[NDArray[np.float32]],
    camera: Camera,
) -> Scale:
    """Return the scale between these images and the prior.

    Raises
    ------
    UserError
        If their grey levels are none that the prior knows, or their noise is stronger than any
        that it learned.
    """
    scale = model.scale
    if settings.task == "sim":
        scale = _own_scale(scale, images, camera, smooth=0)  # of first images, without noise
    elif settings.brightness == "fit" and model.learned != "pairs":
        scale = _own_scale(scale, images, camera)
    elif model.condition_scale is None:
        _require_known(scale, images, camera)
    if scale.domain == "linear" and settings.task == "denoise" and model.condition_scale is None:
        level = max(scale.level(camera, image) for image in images) * settings.noise_factor
        if level > model.process.sigma_max:
            raise UserError(
                f"The noise ({level:.3g} of half the grey range) is stronger than any that the "
                f"prior knows ({model.process.sigma_max:g}): sigma_max is too small for this image."
            )
    return scale


def _own_scale(
    scale: Scale, images: Sequence[NDArray[np.float32]], camera: Camera, smooth: float = _SMOOTH
) -> Scale:
    """Return a scale that maps these images, without their noise, to the range of the prior."""
    own = replace(scale, low=-1, high=1, offset=camera.offset)
    values = np.concatenate(
        [gaussian_filter(own(image, camera.gain), _axes(image, smooth)).ravel() for image in images]
    )
    low, high = (float(value) for value in np.percentile(values, (0.1, 99.9)))
    if not high > low:
        raise UserError("The image has no contrast: all its pixels are equal.")
    return replace(own, low=low, high=high)


def _require_known(scale: Scale, images: Sequence[NDArray[np.float32]], camera: Camera) -> None:
    smooth = np.concatenate(
        [gaussian_filter(scale(image, camera.gain), _axes(image)).ravel() for image in images]
    )
    low, high = (float(value) for value in np.percentile(smooth, (0.5, 99.5)))
    reach = 1 + 2 * OUTSIDE
    if low < -reach or high > reach or high - low < 2 * _FAINT:
        seen = np.percentile(np.concatenate([image.ravel() for image in images]), (0.5, 99.5))
        known = scale.grey(np.array([-1, 1], np.float32))
        raise UserError(
            f"The image's grey levels ({seen[0]:.4g} to {seen[1]:.4g}) are not those that the "
            f"prior learned ({known[0]:.4g} to {known[1]:.4g}): set Grey levels to 'fit', or train "
            "a prior on images recorded alike."
        )


def _axes(image: NDArray[np.float32], smooth: float = _SMOOTH) -> tuple[float, ...]:
    return (0.0,) * (image.ndim - 2) + (smooth, smooth)
