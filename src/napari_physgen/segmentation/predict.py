"""Apply a model: labels, probabilities and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import torch
from torch.nn import functional as F

from napari_physgen.backend import (
    Command,
    Progress,
    Stop,
    resolve_device,
    resolve_precision,
    with_memory_fallback,
)
from napari_physgen.backend.memory import keep_freed_memory
from napari_physgen.backend.tiles import tiles
from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import characteristic_length
from napari_physgen.outputs import Output
from napari_physgen.segmentation.prepare import normalised, scale_of
from napari_physgen.segmentation.settings import PredictSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_physgen.backend import Job
    from napari_physgen.segmentation.model import SegmentationModel
    from napari_physgen.segmentation.particles import Particles

    Real = NDArray[np.float32]

_ODD, _FEW = 3.0, 0.02  # ratio of lengths; share of a class, below which no length is measured
_ORIENTATIONS = [(quarter, flip) for quarter in range(4) for flip in (False, True)]


@dataclass(frozen=True)
class Prediction:
    """What a model says about an image.

    Parameters
    ----------
    labels : numpy.ndarray
        (..., y, x) uint8, the most probable class.
    probabilities : numpy.ndarray
        (class, ..., y, x) float32, mean over the orientations.
    uncertainty : numpy.ndarray
        (..., y, x) float32, 0 to 1: entropy of the probabilities over its largest value.
    classes : tuple of str
    particles : Particles or None
        One by one, if asked for and the image is a single plane.
    summary : str
    metrics : mapping
        Share of every class.
    device : str
    notes : tuple of str
        What was done to the image, such as resampling.
    """

    labels: NDArray[np.uint8]
    probabilities: Real
    uncertainty: Real
    classes: tuple[str, ...]
    particles: Particles | None = None
    summary: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    notes: tuple[str, ...] = ()

    def outputs(self) -> list[Output]:
        """Return labels, uncertainty, probabilities and, if there are any, particles."""
        lead = ("plane",) * (self.labels.ndim - 2)
        axes = (*lead, "y", "x")
        outputs = [
            Output("labels", self.labels, kind="labels", axes=axes, display={"opacity": 0.4}),
            Output(
                "uncertainty",
                self.uncertainty,
                axes=axes,
                display={"visible": False, "colormap": "magma", "contrast_limits": (0, 1)},
            ),
            Output(
                "probabilities",
                self.probabilities,
                axes=("class", *axes),
                display={"visible": False, "contrast_limits": (0, 1)},
                export=False,
            ),
        ]
        if self.particles is not None:
            outputs.insert(
                1,
                Output(
                    "separate particles",
                    self.particles.instances,
                    kind="labels",
                    axes=axes,
                    display={"visible": False, "features": self.particles.table},
                ),
            )
        return outputs


def predict(
    model: SegmentationModel,
    image: NDArray[np.generic],
    settings: PredictSettings | None = None,
    *,
    pixel_size_nm: float | None = None,
) -> Job[Prediction]:
    """Label an image.

    Parameters
    ----------
    model : SegmentationModel
    image : numpy.ndarray
        (..., y, x) of any size; planes are labelled one by one. A model of volumes takes
        (..., z, y, x).
    settings : PredictSettings, optional
    pixel_size_nm : float, optional
        Of the image. If it differs from the model's, the image is resampled for the network, and
        the result has the pixels of the image again.

    Returns
    -------
    generator
        A job. `Stop` raises `UserError`: half an image is no result.

    Raises
    ------
    UserError
        If the image is too small, flat or of a very different scale, or at `Stop`.
    """
    settings = settings or PredictSettings()
    image = np.asarray(image)
    dimensions = model.design.dimensions
    if image.ndim < dimensions:
        raise UserError(f"The model needs {dimensions} axes, the image has {image.ndim}.")
    zoom, note = scale_of(model.pixel_size_nm, pixel_size_nm)
    notes = [note] if note else []
    planes = image.reshape(-1, *image.shape[-dimensions:])
    device = resolve_device(settings.device)
    keep_freed_memory()
    found = []
    for number, plane in enumerate(planes):
        here = f" {number + 1} of {len(planes)}" if len(planes) > 1 else ""

        def start(
            device: torch.device, size: int, plane: Real = plane, here: str = here
        ) -> Job[Real]:
            return _probabilities(model, plane, zoom, settings, device, size, f"labelling{here}")

        found.append((yield from with_memory_fallback(start, device, settings.tile)))
    shares = np.stack(found, 1).reshape(len(model.classes), *image.shape)
    labels = shares.argmax(0).astype(np.uint8)
    if settings.smallest:
        labels = _without_small(labels, settings.smallest)
    if model.solid:
        labels = _filled(labels, dimensions)
    notes += _odd_scale(labels, model.length, zoom)
    particles = _particles(labels, model, pixel_size_nm) if settings.particles else None
    words, metrics = shares_of(labels, model.classes)
    more = f" {particles.summary}" if particles else ""
    return Prediction(
        labels=labels,
        probabilities=shares,
        uncertainty=entropy(shares),
        classes=model.classes,
        particles=particles,
        summary=" ".join([f"{words}{more}", *notes]),
        metrics=metrics,
        device=str(device),
        notes=tuple(notes),
    )


def shares_of(labels: NDArray[np.uint8], classes: tuple[str, ...]) -> tuple[str, dict[str, float]]:
    """Return the share of every class among labels of any shape, in words and by name."""
    counts = np.bincount(labels.ravel(), minlength=len(classes)) / max(labels.size, 1)
    shares = dict(zip(classes, counts.tolist(), strict=True))
    return ", ".join(f"{100 * share:.1f} % {name}" for name, share in shares.items()) + ".", shares


def entropy(shares: Real) -> Real:
    """Return the Shannon entropy of class probabilities (class, ...) over log(classes)."""
    clipped = np.clip(shares, 1e-12, 1)
    total = -(clipped * np.log(clipped)).sum(0) / math.log(len(shares))
    return np.asarray(np.clip(total, 0, 1), np.float32)


def _probabilities(
    model: SegmentationModel,
    plane: NDArray[np.generic],
    zoom: float,
    settings: PredictSettings,
    device: torch.device,
    size: int,
    message: str,
) -> Job[Real]:
    """Return the class probabilities (class, [z,] y, x) of one plane or volume."""
    whole = plane.shape
    picture = torch.from_numpy(np.asarray(plane, np.float32))[None, None]
    if zoom != 1:
        picture = _resampled(picture, [max(round(n * zoom), 1) for n in whole])
    least = 2 * int(model.net.multiple)  # type: ignore[arg-type]
    if min(picture.shape[2:]) < least:
        sizes = " x ".join(str(n) for n in picture.shape[2:])
        raise UserError(
            f"The image is too small ({sizes} px at the scale of the model): at least {least} px "
            "are needed along every axis."
        )
    picture = torch.from_numpy(normalised(picture[0, 0].numpy()))[None, None]
    orientations = _ORIENTATIONS if settings.flips else _ORIENTATIONS[:1]
    total = torch.zeros(len(model.classes), *picture.shape[2:])
    for number, (quarter, flip) in enumerate(orientations):
        turned = _turned(picture, quarter, flip)
        shares = yield from _network(
            model, turned, settings, device, size, message, number, len(orientations)
        )
        total += _back(shares, quarter, flip)
    total /= len(orientations)
    if zoom != 1:
        total = _resampled(total[None], list(whole))[0]
    return np.asarray(total.numpy(), np.float32)


def _network(
    model: SegmentationModel,
    picture: torch.Tensor,
    settings: PredictSettings,
    device: torch.device,
    size: int,
    message: str,
    done: int,
    orientations: int,
) -> Generator[Progress, Command | None, torch.Tensor]:
    """Return softmax probabilities (class, [z,] y, x) of (1, 1, [z,] y, x), tile by tile."""
    net = model.net.to(device).eval()
    halo, multiple = int(net.halo), int(net.multiple)  # type: ignore[arg-type]
    cuts = tiles(picture.shape[2:], max(size, 2 * halo + 8 * multiple), halo, multiple)
    precision = resolve_precision(settings.precision, device)
    result = torch.empty(len(model.classes), *picture.shape[2:])
    for number, cut in enumerate(cuts):
        command = yield Progress(done * len(cuts) + number, orientations * len(cuts), message)
        if isinstance(command, Stop):
            raise UserError("Stopped before the image was labelled; nothing was changed.")
        part = picture[(slice(None), slice(None), *cut.read)].to(device)
        if device.type == "cpu" and part.ndim == 4:
            part = part.contiguous(memory_format=torch.channels_last)
        with (
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"),
        ):
            logits = net(part)
        shares = torch.softmax(logits[0].float(), 0).cpu()
        result[(slice(None), *cut.place)] = shares[(slice(None), *cut.take)]
    return result


def _turned(picture: torch.Tensor, quarter: int, flip: bool) -> torch.Tensor:
    turned = torch.rot90(picture, quarter, (-2, -1))
    return turned.flip(-1) if flip else turned


def _back(shares: torch.Tensor, quarter: int, flip: bool) -> torch.Tensor:
    return torch.rot90(shares.flip(-1) if flip else shares, -quarter, (-2, -1))


def _resampled(picture: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Resample (batch, channel, [z,] y, x); averages where it gets smaller."""
    if picture.ndim == 5:
        return F.interpolate(picture, size, mode="trilinear")
    return F.interpolate(picture, size, mode="bilinear", antialias=True)


def _without_small(labels: NDArray[np.uint8], smallest: int) -> NDArray[np.uint8]:
    from skimage.morphology import remove_small_objects

    planes = labels.reshape(-1, *labels.shape[-2:])
    kept = [remove_small_objects(plane > 0, max_size=smallest - 1) for plane in planes]
    return np.where(np.reshape(kept, labels.shape), labels, 0).astype(np.uint8)


def _filled(labels: NDArray[np.uint8], dimensions: int) -> NDArray[np.uint8]:
    """Return labels without holes in particles: they become the class of the nearest particle."""
    planes = labels.reshape(-1, *labels.shape[-dimensions:]).copy()
    for plane in planes:
        holes = scipy.ndimage.binary_fill_holes(plane > 0) & (plane == 0)
        if holes.any():
            nearest = scipy.ndimage.distance_transform_edt(
                plane == 0, return_distances=False, return_indices=True
            )
            plane[holes] = plane[tuple(nearest)][holes]
    return planes.reshape(labels.shape)


def _odd_scale(labels: NDArray[np.uint8], length: float | None, zoom: float) -> list[str]:
    """Return a warning if the structure found is far coarser or finer than the one learned."""
    plane = labels.reshape(-1, *labels.shape[-2:])[0] > 0
    if length is None or not _FEW < plane.mean() < 1 - _FEW:
        return []
    ratio = characteristic_length(plane) * zoom / length
    if 1 / _ODD < ratio < _ODD:
        return []
    finer, times = ("coarser", ratio) if ratio > 1 else ("finer", 1 / ratio)
    return [
        f"What was found is {times:.1f} times {finer} than what the model was trained on: check "
        "the pixel size, or train a model for these images."
    ]


def _particles(
    labels: NDArray[np.uint8], model: SegmentationModel, pixel_size_nm: float | None
) -> Particles | None:
    from napari_physgen.segmentation.particles import particles

    if labels.ndim > model.design.dimensions or not labels.any():
        return None
    return particles(labels, pixel_size_nm=pixel_size_nm)
