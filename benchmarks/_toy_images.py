"""Phase-field images of 32 x 32 px, and how far two sets of images are apart."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_physgen.backend import run
from napari_physgen.synthesis import presets
from napari_physgen.synthesis.simulate import simulate_batch

CACHE = Path(tempfile.gettempdir()) / "physgen_toy_images.npz"
FIELDS, FIELD, BINNED, SIDE = 64, 256, 2, 32
BATCH = 8
COUNT = 1024
PROJECTIONS = 512
DETECTED = 0.02

Images = NDArray[np.float32]


class Toy(NamedTuple):
    """Fields to learn from (n, 128, 128), and crops of them and of other fields (m, 32, 32)."""

    fields: Images
    learned: Images
    held_out: Images


def toy() -> Toy:
    """Return spinodal decompositions; those held out come from other simulations."""
    if not CACHE.exists():
        seeds = range(2 * FIELDS)
        fields = np.concatenate([_fields(seeds[k : k + BATCH]) for k in seeds[::BATCH]])
        np.savez(CACHE, fields=fields)
    with np.load(CACHE) as stored:
        fields = stored["fields"]
    own, other = fields[:FIELDS], fields[FIELDS:]
    return Toy(own, _crops(own), _crops(other))


def sliced_w2(a: Images, b: Images) -> float:
    """Return the sliced Wasserstein-2 distance over fixed projections, per unit of length.

    Both sets have the same number of images; their std is about 1.
    """
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(a[0].size, PROJECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    shadows = [np.sort(images.reshape(len(images), -1) @ directions, axis=0) for images in (a, b)]
    return float(np.sqrt(((shadows[0] - shadows[1]) ** 2).mean()))


def spectrum_distance(a: Images, b: Images) -> float:
    """Return the Wasserstein-2 distance of the images' power (log10), rms over rings of frequency.

    Of images as a detector with a noise of 1 % of the range would record them.
    """
    quantiles = (np.arange(COUNT) + 0.5) / COUNT
    spread = [
        np.quantile(ring_power(images, seed), quantiles, axis=0)
        for seed, images in enumerate((a, b))
    ]
    return float(np.sqrt(((spread[0] - spread[1]) ** 2).mean()))


def ring_power(images: Images, seed: int) -> NDArray[np.float64]:
    """Return log10 of the power of each image in rings from 1 / side to 1 / 2 per px."""
    side = images.shape[-1]
    seen = images + DETECTED * np.random.default_rng(seed).normal(size=images.shape)
    window = np.hanning(side + 1)[:side]
    power = np.abs(np.fft.fft2(seen * np.outer(window, window))) ** 2
    frequency = np.fft.fftfreq(side, 1 / side)
    ring = np.hypot(*np.meshgrid(frequency, frequency)).round().astype(int).ravel()
    inside = (ring == np.arange(1, side // 2 + 1)[:, None]).astype(float)
    mean = power.reshape(len(images), -1) @ inside.T / inside.sum(1)
    return np.asarray(np.log10(mean))


def _fields(seeds: range) -> Images:
    settings = [
        presets["spinodal"].model_copy(update={"size": FIELD, "seed": seed, "device": "cpu"})
        for seed in seeds
    ]
    found = np.stack([result.field for result in run(simulate_batch(settings))])
    side = FIELD // BINNED
    return found.reshape(-1, side, BINNED, side, BINNED).mean((2, 4)).astype(np.float32)


def _crops(fields: Images) -> Images:
    """Cut fields into crops that do not overlap, in network units of about -1 to 1."""
    rows = fields.shape[1] // SIDE
    parts = fields.reshape(-1, rows, SIDE, rows, SIDE).swapaxes(2, 3).reshape(-1, SIDE, SIDE)
    low, high = np.percentile(fields, (0.1, 99.9))
    return np.asarray((parts - low) / (high - low) * 2 - 1, np.float32)[:COUNT]
