"""Simulated raw SIM stacks, made in process by our own forward model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    LayerData = tuple[np.ndarray, dict[str, Any], str]

MICROSCOPE: dict[str, Any] = {
    "na": 1.4,
    "wavelength_nm": 525.0,
    "pixel_size_nm": 80.0,
    "angles": 3,
    "phases": 3,
}
SIZE = 256


def filaments() -> list[LayerData]:
    """Raw SIM of a filament network, well lit."""
    return [raw_layer("filaments", photons=300)[0]]


def siemens_star() -> list[LayerData]:
    """Raw SIM of a star whose spokes get finer than the diffraction limit."""
    return [raw_layer("Siemens star", photons=300)[0]]


def low_light() -> list[LayerData]:
    """Raw SIM of a filament network, few photons."""
    return [raw_layer("filaments in low light", photons=20)[0]]


def raw_layer(name: str, photons: float, size: int = SIZE) -> tuple[LayerData, np.ndarray]:
    """Return a raw stack as layer data and the object it was made from.

    Parameters
    ----------
    name : str
        "Siemens star" or any other name for filaments.
    photons : float
        Mean photons per pixel and frame.
    size : int
        Raw pixels along y and x; the object has `zoom` times as many.
    """
    from napari_physgen.sim import SimSettings, simulate

    settings = SimSettings(**MICROSCOPE)
    shape = (size * settings.zoom,) * 2
    truth = _object(name, shape)
    raw = simulate(truth, settings, photons=photons, seed=1)
    step = settings.pixel_size_nm / 1000
    meta = {
        "name": f"{name} (simulated)",
        "scale": (1, step, step),
        "units": ("pixel", "micrometer", "micrometer"),
        "axis_labels": ("frame", "y", "x"),
        "metadata": {"microscope": dict(MICROSCOPE)},
    }
    return (raw, meta, "image"), truth


def _object(name: str, shape: tuple[int, int]) -> np.ndarray:
    from napari_physgen.sim.simulate import filaments as make_filaments
    from napari_physgen.sim.simulate import siemens_star as make_star

    return make_star(shape) if name == "Siemens star" else make_filaments(shape, seed=1)
