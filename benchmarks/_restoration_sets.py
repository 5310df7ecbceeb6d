"""Micrographs to restore: real pairs of exposures, and simulated ones of which all is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import scipy.ndimage
import skimage.io
from numpy.typing import NDArray

from napari_physgen.physics.noise import Camera
from napari_physgen.physics.noise_level import NoiseLevel, estimate_noise

Image = NDArray[np.float64]
FOLDER = Path(__file__).parents[2] / "shared/data/restoration/cf_pairs_sample"
CROP = 256


@dataclass(frozen=True)
class Photograph:
    """A noisy micrograph (y, x) and what it would be without noise.

    Parameters
    ----------
    noisy, clean : numpy.ndarray
        In the same grey levels, or up to an affine map for real pairs.
    noise : NoiseLevel
    data_range : float
        That PSNR refers to.
    """

    noisy: Image
    clean: Image
    noise: NoiseLevel
    data_range: float

    def cut(self, rows: slice, columns: slice) -> Photograph:
        where = (rows, columns)
        return Photograph(self.noisy[where], self.clean[where], self.noise, self.data_range)

    def brightest(self, size: int) -> Photograph:
        """Return the square of `size` pixels, or what there is of it, with the most light."""
        total = scipy.ndimage.uniform_filter(self.clean, size, mode="constant")
        places = np.unravel_index(total.argmax(), total.shape)
        starts = (
            int(np.clip(place - size // 2, 0, max(n - size, 0)))
            for place, n in zip(places, total.shape, strict=True)
        )
        return self.cut(*(slice(start, start + size) for start in starts))


@dataclass(frozen=True)
class Pair:
    """A field imaged at low and at high exposure, parted into what to learn on and what to test."""

    name: str
    train: Photograph
    test: Photograph


def real_pairs() -> list[Pair]:
    """Confocal pairs of GigaDB 100888 (CC0): left half to learn, right half to test.

    mito-confocal 1024 x 1024 and nucleus 512 x 512, 8 bits.
    """
    pairs = []
    for name in ("mito-confocal", "nucleus"):
        low, high = (
            skimage.io.imread(FOLDER / f"{name}-{dose}snr.png")[..., 0] for dose in ("low", "high")
        )
        whole = Photograph(low.astype(float), high.astype(float), estimate_noise(low), 255.0)
        middle = low.shape[1] // 2
        halves = slice(None, middle), slice(middle, None)
        pairs.append(Pair(name, *(whole.cut(slice(None), half) for half in halves)))
    return pairs


def photographed(clean: Image, photons: float, read_noise: float, seed: int) -> Photograph:
    """Record a micrograph with `photons` per pixel on average and `read_noise` photons."""
    expected = clean * (photons / clean.mean())
    rng = np.random.default_rng(seed)
    noisy = rng.poisson(expected) + read_noise * rng.standard_normal(clean.shape)
    noise = NoiseLevel(Camera(0.0, 1.0, read_noise))
    return Photograph(noisy, expected, noise, float(np.ptp(expected)))


def simulated_micrographs(count: int, size: int = CROP, seed: int = 0) -> list[Image]:
    """Return clean micrographs (size, size) from 0.02 to 1, six kinds in turn.

    Spinodal, precipitates and tweed as an electron microscope shows them, dendrite,
    filaments, and cells with textured contents. About two seconds each.
    """
    return [
        _scaled(_KINDS[index % len(_KINDS)](size, 1000 * seed + index)) for index in range(count)
    ]


def _scaled(image: Image) -> Image:
    low, high = np.quantile(image, (0.001, 0.999))
    return np.clip(0.02 + 0.98 * (image - low) / (high - low), 0.02, 1.2)


def _phases(size: int, seed: int, preset: str, duration: float, shown: bool) -> Image:
    from napari_physgen.backend import run
    from napari_physgen.synthesis import presets, simulate
    from napari_physgen.synthesis.appearance import measure
    from napari_physgen.synthesis.draws import smooth_field
    from napari_physgen.synthesis.render import render
    from napari_physgen.synthesis.render_settings import RenderSettings

    rng = np.random.default_rng(seed)
    changes = {"size": size, "seed": seed, "duration": duration * rng.uniform(0.7, 1.4)}
    sample = run(simulate(presets[preset].model_copy(update=changes)))
    field = scipy.ndimage.gaussian_filter(sample.field.astype(float), 0.8)
    field = (field - field.min()) / np.ptp(field)
    if not shown:
        return field
    labels = (sample.labels > 0).astype(np.uint8)
    texture = 0.04 * smooth_field(field.shape, 2.0, rng)
    look = measure((field + texture).astype(np.float32), labels)
    # No noise, and no stripes or lines that a denoiser would be right to remove.
    return render(labels, look, RenderSettings(noise=0, charging=0), rng).astype(float)


def _filaments(size: int, seed: int) -> Image:
    from napari_physgen.sim.simulate import filaments

    return filaments((size, size), seed).astype(float)


def _cells(size: int, seed: int) -> Image:
    """Soft ellipses of different brightness, with granules of about 5 px."""
    from napari_physgen.synthesis.draws import smooth_field

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image = np.zeros((size, size))
    for _ in range(max(4, size**2 // 3000)):
        centre, radii = rng.uniform(0, size, 2), rng.uniform(6, 22, 2)
        turn = np.exp(1j * rng.uniform(0, np.pi))
        along = ((x - centre[1]) + 1j * (y - centre[0])) * turn
        radius = np.hypot(along.real / radii[0], along.imag / radii[1])
        image += rng.uniform(0.3, 1) / (1 + np.exp(6 * (radius - 1)))
    granules = np.exp(0.35 * smooth_field((size, size), 2.5, rng))
    return scipy.ndimage.gaussian_filter(image * granules, 1.0)


_KINDS = (
    partial(_phases, preset="spinodal", duration=300, shown=True),
    _filaments,
    partial(_phases, preset="ripening", duration=20, shown=True),
    _cells,
    partial(_phases, preset="tweed", duration=120, shown=True),
    partial(_phases, preset="dendrite", duration=85, shown=False),
)
DOSES = (1.0, 5.0, 30.0)
"""Photons per pixel on average."""
READ_NOISE = 0.5


@cache
def simulated(photons: float, count: int = 6) -> tuple[list[Photograph], list[Photograph]]:
    """Return photographs to choose parameters on, and others to test."""

    def taken(seed: int) -> Iterator[Photograph]:
        for index, clean in enumerate(_micrographs(count, seed)):
            yield photographed(clean, photons, READ_NOISE, 100 * seed + index)

    return list(taken(1)), list(taken(2))


@cache
def _micrographs(count: int, seed: int) -> tuple[Image, ...]:
    return tuple(simulated_micrographs(count, CROP, seed))
