"""A simulated scan, and what all samples share: field of view, random numbers, scan errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.regions import _simulate_lattice as atoms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions.settings import Kind
    from napari_physgen.regions.simulate import SimulatedScanSettings

    Real = NDArray[np.float64]
    Labels = NDArray[np.uint8]

_MARGIN = 8  # px around the scan, where columns still reach into it


@dataclass(frozen=True)
class SimulatedScan:
    """A scan with its truth.

    Parameters
    ----------
    data : numpy.ndarray
        (y, x) image in units of the dose, (channel, y, x) piezoresponse (amplitude, phase in rad,
        topography), (y, x, energy) counts, or (y, x, ky, kx) counts.
    labels : numpy.ndarray
        (y, x) uint8: the region of every pixel, from 1.
    kind : {"lattice", "channels", "spectra", "diffraction"}
    names : tuple of str
        Of the regions.
    pixel_size_nm : float
    channels : str
        What the channels are, as in `RegionSettings.channels`; else "auto".
    axis : numpy.ndarray or None
        (energy,) eV of the channels of spectra.
    period : float or None
        Lattice period of the first phase, px.
    """

    data: NDArray[np.generic]
    labels: Labels
    kind: Kind
    names: tuple[str, ...]
    pixel_size_nm: float
    channels: str = "auto"
    axis: Real | None = None
    period: float | None = None

    @property
    def regions(self) -> int:
        """How many kinds of region there are."""
        return len(self.names)


@dataclass(frozen=True)
class Stage:
    """What all samples share: random numbers, the field of view and how it is scanned.

    Parameters
    ----------
    settings : SimulatedScanSettings
    random : numpy.random.Generator
    canvas : (int, int)
        Picture of the sample, larger than the scan by `margin` on every side.
    margin : int
    shift : numpy.ndarray
        (y,) of the canvas: how far right of its column a row is read.
    ramp : numpy.ndarray
        (y, x) of the canvas: linear from -1/2 to 1/2 over the scan.
    """

    settings: SimulatedScanSettings
    random: np.random.Generator
    canvas: tuple[int, int]
    margin: int
    shift: Real
    ramp: Real

    @classmethod
    def of(cls, settings: SimulatedScanSettings, stream: int) -> Stage:
        """Set up a scan; `stream` tells the random numbers of samples apart."""
        random = np.random.default_rng([settings.seed, stream])
        height, width = settings.shape
        jitter = settings.row_jitter * random.standard_normal(height)
        shift = settings.drift * (np.arange(height) / height - 0.5) + jitter
        margin = _MARGIN + int(np.ceil(np.abs(shift).max()))
        angle = random.uniform(0, 2 * np.pi)
        y, x = (np.arange(-margin, n + margin) / n - 0.5 for n in (height, width))
        ramp = y[:, None] * np.sin(angle) + x * np.cos(angle)
        ramp = ramp / (abs(np.sin(angle)) + abs(np.cos(angle)))
        canvas = (height + 2 * margin, width + 2 * margin)
        return cls(settings, random, canvas, margin, np.pad(shift, margin, mode="edge"), ramp)

    @property
    def brightness(self) -> Real:
        """Relative brightness (y, x) of the canvas: mistilt."""
        return np.asarray(1 + self.settings.mistilt * self.ramp)

    def cut(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Return the scanned field of a picture whose rows were already shifted."""
        return picture[self.margin : -self.margin, self.margin : -self.margin]

    def scanned(self, picture: Real) -> Real:
        """Return what the scan reads of a picture (y, x) of the canvas."""
        columns = np.arange(self.canvas[1])
        rows = zip(picture, self.shift, strict=True)
        return np.asarray(self.cut(np.stack([np.interp(columns + s, columns, r) for r, s in rows])))

    def truth(self, labels: Labels) -> Labels:
        """Return the regions (from 1) under the pixels of the scan; `labels` count from 0."""
        columns = np.rint(np.arange(self.canvas[1]) + self.shift[:, None]).astype(int)
        columns = np.clip(columns, 0, self.canvas[1] - 1)
        return np.asarray(self.cut(np.take_along_axis(labels, columns, 1)) + 1, np.uint8)

    def image(self, columns: atoms.Columns, background: float) -> NDArray[np.float32]:
        """Return the scan of atom columns, with disorder, mistilt and counting noise."""
        moved = self.settings.disorder * self.random.standard_normal(columns.points.shape)
        bright = columns.brightness * at(self.brightness, columns.points)
        there = atoms.Columns(columns.points + moved, bright, columns.width)
        picture = atoms.draw(there, self.shift, self.canvas, background)
        return atoms.counted(
            np.asarray(self.cut(picture), float), self.settings.counts, self.random
        )


def at(picture: NDArray[Any], points: Real) -> NDArray[Any]:
    """Return the values of a picture at the nearest pixels of points (n, 2)."""
    y, x = np.rint(points).astype(int).T
    rows, columns = (np.clip(i, 0, n - 1) for i, n in zip((y, x), picture.shape, strict=True))
    return np.asarray(picture[rows, columns])
