"""Simulated raw stacks of the kinds of structured illumination beyond plain stripes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.sample_data import MICROSCOPE, ZOOM
from napari_physgen.app.sim_light import MARK

if TYPE_CHECKING:
    from napari_physgen.app.sample_data import LayerData
    from napari_physgen.sim.settings import SimSettings

PHOTONS = 300
DIM = 50  # photons in the near field
TIMES = 6  # time points of the time-lapse
STEP = 2  # seconds between them
DRIFT = 3  # object pixels that filaments move between them


def three_beam() -> list[LayerData]:
    """Raw SIM with stripes of three interfering beams: two orders, five phases."""
    return _filaments("three-beam filaments", 160, pattern="three-beam", angles=3, phases=5)


def hexagonal() -> list[LayerData]:
    """Raw SIM with a hexagonal lattice of light that takes seven steps."""
    return _filaments("hexagonal filaments", 192, pattern="hexagonal", angles=1, phases=7)


def saturated() -> list[LayerData]:
    """Nonlinear raw SIM: the dye saturates, and the stripes get harmonics."""
    return _filaments("saturated filaments", 128, pattern="saturated", angles=5, phases=5)


def speckle() -> list[LayerData]:
    """Raw frames under random light that nobody knows."""
    return _filaments("speckle filaments", 96, pattern="speckle", angles=1, phases=60)


def plasmonic() -> list[LayerData]:
    """Raw frames under the near field of a lattice of antennas, and that light as a layer."""
    from napari_physgen.sim.light import plasmonic as near_field
    from napari_physgen.sim.simulate import filaments, simulate

    settings = _settings(pattern="given", angles=1, phases=24)
    shape = (128 * ZOOM, 128 * ZOOM)
    light = near_field(shape, settings, settings.frames, 1)
    raw = simulate(filaments(shape, seed=1), settings, DIM, 1, patterns=light)
    shown = _layer("plasmonic light", light, settings, zoom=ZOOM)
    shown[1].update(metadata={MARK: True}, visible=False, colormap="magma")
    return [shown, _layer("plasmonic filaments", raw, settings)]


def time_lapse() -> list[LayerData]:
    """Raw SIM of filaments that move through each other, six time points."""
    from napari_physgen.sim.simulate import default_patterns, filaments, simulate

    settings, size = _settings(), 128 * ZOOM
    light = default_patterns(settings, 1)
    far = size + (TIMES - 1) * DRIFT
    slow, fast = filaments((size, size), seed=1), filaments((far, size), seed=2)
    stacks = [
        simulate(slow + fast[t * DRIFT :][:size], settings, PHOTONS * 0.95**t, 1 + t, light)
        for t in range(TIMES)
    ]
    data, meta, kind = _layer("time-lapse filaments", np.stack(stacks), settings)
    meta["scale"] = (STEP, *meta["scale"])
    meta["units"] = ("second", *meta["units"])
    meta["axis_labels"] = ("time", *meta["axis_labels"])
    return [(data, meta, kind)]


def _settings(**light: Any) -> SimSettings:
    from napari_physgen.sim import SimSettings

    return SimSettings(**MICROSCOPE | {"zoom": ZOOM} | light)


def _filaments(name: str, size: int, **light: Any) -> list[LayerData]:
    from napari_physgen.sim.simulate import filaments, simulate

    settings = _settings(**light)
    truth = filaments((size * ZOOM, size * ZOOM), seed=1)
    return [_layer(name, simulate(truth, settings, PHOTONS, seed=1), settings)]


def _layer(name: str, data: np.ndarray, settings: SimSettings, zoom: int = 1) -> LayerData:
    step = settings.pixel_size_nm / 1000
    corner = (1 / zoom - 1) / 2 * step  # the fields of view coincide
    known = {key: getattr(settings, key) for key in ("pattern", *MICROSCOPE)}
    meta: dict[str, Any] = {
        "name": name,
        "scale": (1, step / zoom, step / zoom),
        "translate": (0, corner, corner),
        "units": ("pixel", "micrometer", "micrometer"),
        "axis_labels": ("frame", "y", "x"),
        "metadata": {"microscope": known},
    }
    if data.ndim > 3:
        del meta["translate"]
    return data, meta, "image"
