"""From images of any size and range to patches of one size, comparable between sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.synthesis.fidelity_settings import FidelitySettings

    Images = Sequence[NDArray[np.generic]] | NDArray[np.generic]

PERCENTILES = (0.5, 99.5)
FEWEST = 8
"""Patches of a set below which no figure of the report means anything."""

FEW = 4
"""Of fewer images no classifier learns what they have in common: their strips count instead."""

_STRIPS = 4
_FINE = 8192
_STEPS = 24, 2048
_COMB = 0.5


@dataclass(frozen=True)
class Patches:
    """Square parts of the images of one set; the first ones are spread over all images.

    Parameters
    ----------
    pixels : numpy.ndarray
        (patch, y, x) float32; 0 and 1 are the percentiles 0.5 and 99.5 of the image.
    source : numpy.ndarray
        (patch,) number of the image that each was cut from; of fewer than 4 images, of the strip
        (a quarter) of an image.
    step : numpy.ndarray
        (patch,) distance of the grey values of the image, 0 where they are continuous.
    strips : bool
        Whether `source` counts strips.
    """

    pixels: NDArray[np.float32]
    source: NDArray[np.intp]
    step: NDArray[np.float64]
    strips: bool

    @property
    def images(self) -> int:
        """Return the number of images."""
        return len(np.unique(self.source // _STRIPS if self.strips else self.source))

    def first(self, count: int) -> Patches:
        """Return the first `count` patches."""
        part = slice(count)
        return Patches(self.pixels[part], self.source[part], self.step[part], self.strips)


def cut_all(sets: dict[str, Images], settings: FidelitySettings) -> dict[str, Patches]:
    """Cut the images of every set into the same number of patches.

    Raises
    ------
    UserError
        If an image is no (y, x) image, is flat, holds NaN or is smaller than a patch, or if a
        set gives fewer than 8 patches.
    """
    parts = {name: _cut(name, images, settings) for name, images in sets.items()}
    count = min(settings.patches, *(len(part.pixels) for part in parts.values()))
    return {name: part.first(count) for name, part in parts.items()}


def _cut(name: str, images: Images, settings: FidelitySettings) -> Patches:
    pictures = _several(name, images)
    edge = settings.patch
    entries = []
    # Of more images than patches, some evenly spaced ones.
    chosen = np.unique(np.linspace(0, len(pictures) - 1, settings.patches).round().astype(int))
    for number in chosen.tolist():
        image = pictures[number]
        values, step = _normalised(image, f"The {name} image {number + 1}", edge)
        corners = _corners(values.shape, edge)
        # No stream for the set: the same images give the same patches in whichever set.
        np.random.default_rng([settings.seed, number]).shuffle(corners)
        for rank, (y, x) in enumerate(corners):
            strip = _STRIPS * number + _strip(values.shape, (y, x), edge)
            entries.append((rank, number, strip, step, values[y : y + edge, x : x + edge]))
    if len(entries) < FEWEST:
        raise UserError(
            f"The {name} images give only {len(entries)} patches of {edge} px, at least {FEWEST} "
            "are needed: give more or larger images, or choose smaller patches."
        )
    entries.sort(key=lambda entry: entry[:2])
    entries = entries[: settings.patches]
    few = len(pictures) < FEW
    return Patches(
        pixels=np.stack([entry[4] for entry in entries]).astype(np.float32),
        source=np.array([entry[2] if few else entry[1] for entry in entries]),
        step=np.array([entry[3] for entry in entries]),
        strips=few,
    )


def _several(name: str, images: Images) -> list[NDArray[np.generic]]:
    one = isinstance(images, np.ndarray) and images.ndim == 2
    pictures = [np.asarray(image) for image in ([images] if one else images)]
    if not pictures:
        raise UserError(f"There are no {name} images: give at least one.")
    return pictures


def _normalised(
    image: NDArray[np.generic], words: str, edge: int
) -> tuple[NDArray[np.float64], float]:
    """Return the image between its percentiles, and the distance of its grey values."""
    if image.ndim != 2 or image.dtype.kind not in "buif":
        raise UserError(
            f"{words} has the shape {image.shape}: give grey images (y, x), one per item."
        )
    if min(image.shape) < edge:
        raise UserError(
            f"{words} is {image.shape[1]} x {image.shape[0]} px, smaller than a patch of {edge} "
            "px: leave it out or choose smaller patches."
        )
    values = image.astype(np.float64)
    if not np.isfinite(values).all():
        raise UserError(f"{words} holds values that are no numbers (NaN or infinite): repair it.")
    low, high = np.percentile(values, PERCENTILES)
    if high <= low:
        raise UserError(f"{words} is flat: leave it out.")
    scaled = (values - low) / (high - low)
    return scaled, grey_step(scaled)


def grey_step(values: NDArray[np.floating]) -> float:
    """Return the distance of neighbouring grey values where an image was once rounded, else 0.

    Such grey values (8 bit, mostly) make a comb of the histogram, also after a slight change: a
    peak in the histogram's Fourier transform. An image of a few levels has peaks everywhere.
    """
    inside = values[(values >= 0) & (values < 1)]
    histogram = np.histogram(inside, _FINE, (0, 1))[0]
    strength = np.abs(np.fft.rfft(histogram)) / max(inside.size, 1)
    first, last = _STEPS
    peaks = strength[first : last + 1]
    teeth = first + int(np.argmax(peaks > 0.8 * peaks.max()))  # rather than twice as many
    coarse = float(np.median(strength[teeth // 4 : teeth // 2]))
    return 1 / teeth if strength[teeth] > _COMB > 2 * coarse else 0.0


def _corners(shape: tuple[int, ...], edge: int) -> list[tuple[int, int]]:
    """Return the corners of a grid of squares in the middle of an image."""
    starts = [[(n % edge) // 2 + edge * i for i in range(n // edge)] for n in shape]
    return [(y, x) for y in starts[0] for x in starts[1]]


def _strip(shape: tuple[int, ...], corner: tuple[int, int], edge: int) -> int:
    """Return which quarter along the longer side a patch lies in."""
    axis = int(np.argmax(shape))
    along = shape[axis] // edge
    return min(corner[axis] // edge * _STRIPS // along, _STRIPS - 1)
