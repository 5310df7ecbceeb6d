"""The scans of the region benchmark: the synthetic suite, fresh simulations and real data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_physgen.regions.simulate import SimulatedScanSettings, simulate_scan

DATA = Path(__file__).parents[2] / "shared/data/regions"

FRESH = 1000
"""Seed of the first fresh instance; nothing was tuned on these."""


@dataclass(frozen=True)
class Case:
    """A scan with its truth, and how the peers look at it.

    Parameters
    ----------
    data : numpy.ndarray
        (y, x), (channel, y, x), (y, x, energy) or (y, x, ky, kx).
    truth : numpy.ndarray
        (y, x) regions.
    kind : str
    regions : int
        True number of regions.
    window, stride : int
        Of the peers, px; 1 where pixels stand for themselves.
    unlabelled : int or None
        Number in the truth of pixels whose region is not known.
    ignore_rotation : bool
    channels : str
        As in `RegionSettings`.
    """

    data: NDArray[np.generic]
    truth: NDArray[np.uint8]
    kind: Literal["lattice", "channels", "spectra", "diffraction"]
    regions: int
    window: int = 24
    stride: int = 4
    unlabelled: int | None = None
    ignore_rotation: bool = False
    channels: str = "auto"


_WINDOWS = {"two-phase": 32, "ferro": 32, "pfm": 12, "spectral": 1, "diffraction": 1}
_STRIDES = {"spectral": 1, "diffraction": 1}

FILES = ("two-phase", "grains", "ferro", "pfm", "spectral", "amorphous", "relaxor")
SIMULATED = (
    "two-phase",
    "grains",
    "ferro",
    "pfm",
    "spectral",
    "amorphous",
    "single",
    "diffraction",
)


def stored(name: str) -> Case | None:
    """Return the set of that name from the data folder; None without the folder."""
    if not DATA.exists():
        return None
    if name == "relaxor":
        return _relaxor()
    file = {"amorphous": "grains"}.get(name, name.replace("-", "_"))
    with np.load(DATA / f"synthetic/{file}.npz") as arrays:
        data, truth = arrays["data"], arrays["labels"]
    if name == "amorphous":
        truth = np.where(truth == 3, 1, 0).astype(np.uint8)
    kinds = {"pfm": "channels", "spectral": "spectra"}
    channels = "amplitude, phase, value" if name == "pfm" else "auto"
    return _case(name, data, truth, kinds.get(name, "lattice"), channels)


def fresh(name: str, seed: int) -> Case:
    """Return a simulated scan that is like the stored one."""
    scan = simulate_scan(SimulatedScanSettings(sample=name, seed=FRESH + seed))
    return _case(name, scan.data, scan.labels, scan.kind, scan.channels)


def varied(name: str, seed: int) -> Case:
    """Return a simulated scan with another dose, drift, jitter, mistilt and shape.

    Doses from a quarter to four times the usual one (6 to 240 counts per pixel of an image).
    """
    random = np.random.default_rng([FRESH, seed])
    usual = SimulatedScanSettings(sample=name)
    height = usual.shape[0]
    changed = usual.model_copy(
        update={
            "seed": 2 * FRESH + seed,
            "dose": usual.counts * 4 ** float(random.uniform(-1, 1)),
            "drift": height / 256 * float(random.uniform(-12, 12)),
            "row_jitter": 0.3,
            "mistilt": 0.4,
            "width": int(height * random.uniform(1, 1.5)),
        }
    )
    scan = simulate_scan(changed)
    return _case(name, scan.data, scan.labels, scan.kind, scan.channels)


def _case(name: str, data: NDArray, truth: NDArray, kind: str, channels: str) -> Case:
    return Case(
        data,
        truth,
        kind,
        len(np.unique(truth)),
        _WINDOWS.get(name, 24),
        _STRIDES.get(name, 4),
        ignore_rotation=name == "amorphous",
        channels=channels,
    )


def _relaxor() -> Case:
    """TEM image of a relaxor ferroelectric; two kinds of region marked in polygons by its authors.

    Three regions are asked for: the third one is what lies between the polygons.
    """
    from skimage.io import imread

    image = np.asarray(imread(DATA / "real/brichta_relaxor_tem.png"))[..., :3].mean(-1)
    mask = np.asarray(imread(DATA / "real/brichta_relaxor_mask_approx.png"))
    return Case(image.astype(np.float32), mask, "lattice", 3, 48, 8, unlabelled=0)
