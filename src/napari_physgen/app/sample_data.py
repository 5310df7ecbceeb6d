"""Simulated raw SIM stacks, micrographs, microstructures and scans, made by our own models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    LayerData = tuple[np.ndarray, dict[str, Any], str]

MICROSCOPE: dict[str, Any] = {
    "na": 1.4,
    "wavelength_nm": 525.0,
    "pixel_size_nm": 80.0,
    "angles": 3,
    "phases": 3,
}
SIZE = 256  # raw pixels along y and x
ZOOM = 2  # object pixels per raw pixel
CELLS = 128  # of a microstructure along y and x
DIM = 6.0  # photons per pixel, mean, of a noisy micrograph
SHARP = 6  # micrographs to learn from


def filaments() -> list[LayerData]:
    """Raw SIM of a filament network, well lit."""
    return [raw_filaments("filaments", photons=300)[0]]


def low_light() -> list[LayerData]:
    """Raw SIM of a filament network, few photons."""
    return [raw_filaments("filaments in low light", photons=20)[0]]


def siemens_star() -> list[LayerData]:
    """Raw SIM of a star whose spokes get finer than the diffraction limit."""
    from napari_physgen.sim.simulate import siemens_star as make_object

    return [_raw_layer("Siemens star", make_object((SIZE * ZOOM,) * 2), photons=300)]


def noisy_micrograph() -> list[LayerData]:
    """Filaments in a conventional microscope, few photons; the truth, for comparison, is hidden."""
    noisy, sharp = _dim_filaments((1,))
    hidden = {"visible": False}
    return [
        _micrographs("noisy filaments", noisy[0]),
        _micrographs("noisy filaments truth", sharp[0], hidden),
    ]


def sharp_micrographs() -> list[LayerData]:
    """Other filaments without noise, to learn from; their noisy partners are hidden."""
    noisy, sharp = _dim_filaments(range(2, 2 + SHARP))
    hidden = {"visible": False}
    return [
        _micrographs("sharp filaments", sharp),
        _micrographs("sharp filaments, noisy partners", noisy, hidden),
    ]


def _dim_filaments(seeds: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return images of filaments with the noise of few photons, and without any, grey levels."""
    from scipy.ndimage import gaussian_filter

    from napari_physgen.sim.simulate import CAMERA
    from napari_physgen.sim.simulate import filaments as make_object

    sharp, noisy = [], []
    for seed in seeds:
        light = gaussian_filter(make_object((SIZE, SIZE), seed), 1.0)
        photons = light * (DIM / light.mean())
        random = np.random.default_rng([seed, 2])
        read = CAMERA.read_noise * random.standard_normal(photons.shape)
        sharp.append(CAMERA.offset + CAMERA.gain * photons)
        noisy.append(CAMERA.offset + CAMERA.gain * random.poisson(photons) + read)
    counted = np.clip(np.rint(noisy), 0, 65535).astype(np.uint16)
    return counted, np.asarray(sharp, np.float32)


def _micrographs(name: str, data: np.ndarray, more: dict[str, Any] | None = None) -> LayerData:
    """Return one image (y, x) or several (image, y, x) as a layer."""
    step = MICROSCOPE["pixel_size_nm"] / 1000
    lead = data.ndim - 2
    meta = {
        "name": name,
        "scale": (1,) * lead + (step,) * 2,
        "units": ("pixel",) * lead + ("micrometer",) * 2,
        "axis_labels": ("image",) * lead + ("y", "x"),
    }
    return data, meta | (more or {}), "image"


def gamma_prime() -> list[LayerData]:
    """Gamma prime cuboids of a superalloy with their mask."""
    from napari_physgen.backend import run
    from napari_physgen.synthesis import presets, simulate

    settings = presets["gamma_prime"].model_copy(update={"size": CELLS, "device": "cpu"})
    result = run(simulate(settings))
    step = settings.pixel_size_nm / 1000
    place = {"scale": (step,) * 2, "units": ("micrometer",) * 2, "axis_labels": ("y", "x")}
    return [
        (result.field, {"name": "gamma prime", **place}, "image"),
        (result.labels, {"name": "gamma prime mask", "opacity": 0.4, **place}, "labels"),
    ]


def unlabelled() -> list[LayerData]:
    """Micrographs of gamma prime that nobody has labelled; the truth, for scoring, is hidden."""
    from napari_physgen.backend import run
    from napari_physgen.synthesis import presets, simulate

    preset = presets["gamma_prime"]
    young = {"size": CELLS, "duration": preset.duration / 3, "device": "cpu"}
    particles = run(simulate(preset.model_copy(update=young))).labels > 0
    random = np.random.default_rng(7)
    truths = [_finer(np.rot90(np.roll(particles, 41 * k, (0, 1)), k)) for k in range(3)]
    images = np.stack([_micrograph(truth, random) for truth in truths])
    step = preset.pixel_size_nm / 2000
    place = {
        "scale": (1, step, step),
        "units": ("pixel", "micrometer", "micrometer"),
        "axis_labels": ("image", "y", "x"),
    }
    hidden = {"name": "gamma prime truth", "visible": False, "opacity": 0.4, **place}
    return [
        (images, {"name": "gamma prime", **place}, "image"),
        (np.stack(truths).astype(np.uint8), hidden, "labels"),
    ]


def _finer(mask: np.ndarray) -> np.ndarray:
    """Return a periodic mask with twice as many pixels along each side."""
    from scipy.ndimage import gaussian_filter, zoom

    smooth = gaussian_filter(mask.astype(float), 0.7, mode="wrap")
    return np.asarray(zoom(smooth, 2, order=3, mode="grid-wrap", grid_mode=True) > 0.5)


def _micrograph(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return an etched sample in secondary electrons: dark particles, bright rims, grain, noise."""
    from scipy.ndimage import gaussian_filter

    def grain(size: float, strength: float) -> np.ndarray:
        rough = gaussian_filter(random.normal(size=truth.shape), size)
        return np.asarray(strength * rough / rough.std())

    inside = gaussian_filter(truth.astype(float), 0.8)
    rim = np.exp(-((gaussian_filter(truth.astype(float), 1.5) - 0.35) ** 2) / 0.02)
    grey = 145 - 55 * inside + 30 * rim + grain(40, 8) + grain(1.5, 8) + grain(0.5, 6)
    return np.asarray(np.clip(np.rint(grey), 0, 255), np.uint8)


def raw_filaments(name: str, photons: float, size: int = SIZE) -> tuple[LayerData, np.ndarray]:
    """Return a raw stack of filaments as layer data, and the object it was made from.

    Parameters
    ----------
    name : str
        Name of the layer.
    photons : float
        Mean photons per pixel and frame.
    size : int
        Raw pixels along y and x.
    """
    from napari_physgen.sim.simulate import filaments as make_object

    truth = make_object((size * ZOOM,) * 2, seed=1)
    return _raw_layer(name, truth, photons), truth


def _raw_layer(name: str, truth: np.ndarray, photons: float) -> LayerData:
    from napari_physgen.sim import SimSettings, simulate

    settings = SimSettings(zoom=ZOOM, **MICROSCOPE)
    raw = simulate(truth, settings, photons=photons, seed=1)
    step = settings.pixel_size_nm / 1000
    meta = {
        "name": name,
        "scale": (1, step, step),
        "units": ("pixel", "micrometer", "micrometer"),
        "axis_labels": ("frame", "y", "x"),
        "metadata": {"microscope": dict(MICROSCOPE)},
    }
    return raw, meta, "image"


def two_phases() -> list[LayerData]:
    """Atomic-resolution STEM of two crystal phases; the truth, for comparison, is hidden."""
    return _scan("two-phase", "two phases", "STEM")


def ferroelectric_domains() -> list[LayerData]:
    """Atomic-resolution STEM of ferroelectric domains that differ by small shifts of columns."""
    return _scan("ferro", "ferroelectric domains", "STEM")


def pfm_domains() -> list[LayerData]:
    """Amplitude, phase and topography of piezoresponse force microscopy."""
    return _scan("pfm", "PFM domains", "PFM")


def eds_map() -> list[LayerData]:
    """Spectra of X-rays, one per pixel, of four compounds with few counts."""
    return _scan("spectral", "EDS map", "EDS")


def _scan(sample: str, name: str, modality: str) -> list[LayerData]:
    """Return a simulated scan, its signal axis first, and its hidden regions."""
    from napari_physgen.regions.simulate import SimulatedScanSettings, simulate_scan

    scan = simulate_scan(SimulatedScanSettings.parse({"sample": sample}))
    data, step = scan.data, scan.pixel_size_nm
    flat = {"scale": (step, step), "units": ("nm", "nm"), "axis_labels": ("y", "x")}
    meta: dict[str, Any] = {"name": name, **flat}
    known: dict[str, Any] = {"signal_axis": None, "values": None, "units": "pixel"}
    if scan.kind == "channels":
        known |= {"signal_axis": "channel", "channels": scan.channels}
        meta |= _lead("channel", "pixel", 1.0, 0.0, step)
    if scan.axis is not None:
        data = np.moveaxis(data, -1, 0)
        energy = scan.axis / 1000
        known |= {"signal_axis": "energy", "values": energy, "units": "keV"}
        meta |= _lead("energy", "keV", float(energy[1] - energy[0]), float(energy[0]), step)
    meta["metadata"] = {"physgen": {**known, "modality": modality}}
    hidden = {"name": f"{name} truth", "visible": False, "opacity": 0.4, **flat}
    return [(data, meta, "image"), (scan.labels, hidden, "labels")]


def _lead(axis: str, unit: str, size: float, first: float, step: float) -> dict[str, Any]:
    """Return where pixels lie along a leading axis and along y and x."""
    return {
        "scale": (size, step, step),
        "translate": (first, 0.0, 0.0),
        "units": (unit, "nm", "nm"),
        "axis_labels": (axis, "y", "x"),
    }
