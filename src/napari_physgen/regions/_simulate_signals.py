"""Scans with a signal per pixel: piezoresponse, spectra, diffraction patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage

from napari_physgen.regions import _simulate_fields as fields
from napari_physgen.regions import _simulate_lattice as atoms
from napari_physgen.regions._simulate_stage import SimulatedScan, Stage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]

_PATTERN = 32  # px, side of a diffraction pattern


def pfm(stage: Stage) -> SimulatedScan:
    """Up and down c domains crossed by in-plane stripes, with rough, striped topography.

    The response P is 1, -1 and 1/4, blurred by the tip; amplitude |P| (0 at walls between opposite
    domains), phase 0 or pi.
    """
    random, side = stage.random, min(stage.settings.shape)
    domains = fields.smooth(random, stage.canvas, side / 12) > 0.25
    planes = fields.stripes(random, stage.canvas, 0.14 * side, 0.38)
    labels = np.where(planes == 1, 2, np.where(domains, 0, 1)).astype(np.uint8)
    response = np.array([1.0, -1.0, 0.25])[labels]
    blurred = stage.scanned(scipy.ndimage.gaussian_filter(response, 1.5))
    noise = np.sqrt(60 / stage.settings.counts)
    shape = blurred.shape
    amplitude = np.abs(blurred) + 0.118 * noise * random.standard_normal(shape)
    phase = np.where(blurred < 0, np.pi, 0) + 0.5 * noise * random.standard_normal(shape)
    height = -0.55 * scipy.ndimage.gaussian_filter((labels == 2) * 1.0, 3.0)
    height += 0.12 * fields.smooth(random, stage.canvas, side / 10)
    topography = stage.scanned(height) + 0.15 * random.standard_normal((shape[0], 1))
    topography += 0.07 * random.standard_normal(shape) + 0.07
    data = np.stack([amplitude, phase, topography]).astype(np.float32)
    names = ("up", "down", "in plane")
    return SimulatedScan(
        data, stage.truth(labels), "channels", names, 5.0, "amplitude, phase, value"
    )


_LINES = np.array([40.0, 120.0, 150.0, 200.0])
_HEIGHTS = np.array(
    [[0.82, 0.48, 0, 0], [0.82, 0.26, 0.235, 0], [0.52, 0.48, 0, 0.125], [0.52, 0, 0.35, 0.115]]
)


def compound_spectra(channels: int = 256) -> Real:
    """Return the spectra (compound, energy) of the spectral set, each of mean 1."""
    energy = np.arange(channels, dtype=float)
    lines = np.exp(-((energy - _LINES[:, None]) ** 2) / (2 * 4.0**2))
    spectra = np.exp(-energy / 90) + 0.042 + _HEIGHTS @ lines
    return np.asarray(spectra / spectra.mean(1, keepdims=True))


def spectral(stage: Stage) -> SimulatedScan:
    """Four compounds with overlapping lines; the thickness grows from 0.57 to 1.43 over the scan.

    The slope of the suite; mistilt does not change it.
    """
    side = min(stage.settings.shape)
    labels = fields.blobs(stage.random, stage.canvas, 4, side / 10)
    truth = stage.truth(labels)
    rates = compound_spectra() / 256 * stage.settings.counts
    thickness = np.clip(stage.scanned(1 + 0.9 * stage.ramp), 0.05, None)
    data = stage.random.poisson(rates[truth - 1] * thickness[..., None]).astype(np.uint16)
    names = tuple(f"compound {k}" for k in range(1, 5))
    axis = 100 + 10 * np.arange(256.0)
    return SimulatedScan(data, truth, "spectra", names, 2.0, axis=axis)


def diffraction(stage: Stage) -> SimulatedScan:
    """Kinematic disks of three orientations of one crystal, and the ring of a glass.

    Mistilt makes disks on one side brighter, to another degree at every pixel.
    """
    labels = fields.grains(stage.random, stage.canvas, (0.31, 0.29, 0.29, 0.11))
    truth = stage.truth(labels)
    turns = stage.random.uniform(0, 60) + np.cumsum([0, *stage.random.uniform(12, 20, 2)])
    patterns = np.stack([*(_disks(float(np.radians(t))) for t in turns), _ring()])
    k = (np.arange(_PATTERN) - (_PATTERN - 1) / 2) / _PATTERN
    way = stage.random.uniform(0, 2 * np.pi)
    slope = k[:, None] * np.sin(way) + k * np.cos(way)
    tilt = 4 * stage.settings.mistilt * stage.scanned(stage.ramp)
    thickness = np.clip(stage.scanned(1 + 0.4 * stage.ramp), 0.05, None)
    rates = patterns[truth - 1] * (1 + tilt[..., None, None] * slope)
    rates *= stage.settings.counts * thickness[..., None, None]
    data = stage.random.poisson(np.maximum(rates, 0)).astype(np.uint16)
    names = ("grain 1", "grain 2", "grain 3", "glass")
    return SimulatedScan(data, truth, "diffraction", names, 1.0)


def _disks(angle: float, distance: float = 8.0, radius: float = 2.0) -> Real:
    """Return a pattern (ky, kx) of soft disks on a hexagonal net, of sum 1."""
    net = atoms.Lattice(((0.0, distance), (distance * 0.75**0.5, distance / 2)), ((0, 0, 1, 1),))
    middle = (_PATTERN - 1) / 2
    points, _ = net.fill((_PATTERN, _PATTERN), angle, (middle, middle))
    order = np.linalg.norm(points - middle, axis=1) / distance
    strength = np.where(order < 0.5, 3.0, np.exp(-0.6 * order**2))
    y, x = np.mgrid[:_PATTERN, :_PATTERN]
    away = np.hypot(y - points[:, 0, None, None], x - points[:, 1, None, None])
    pattern = np.tensordot(strength, 1 / (1 + np.exp(3 * (away - radius))), 1) + 0.02
    return np.asarray(pattern / pattern.sum())


def _ring(distance: float = 8.0, radius: float = 2.0) -> Real:
    """Return a pattern (ky, kx) of a central disk and a diffuse ring, of sum 1."""
    middle = (_PATTERN - 1) / 2
    away = np.hypot(*(np.mgrid[:_PATTERN, :_PATTERN] - middle))
    centre = 3 / (1 + np.exp(3 * (away - radius)))
    pattern = centre + 0.35 * np.exp(-((away - distance) ** 2) / (2 * 2.0**2)) + 0.02
    return np.asarray(pattern / pattern.sum())
