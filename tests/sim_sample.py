"""A small SIM stack of which everything is known, for the tests of the reconstruction."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from napari_physgen.physics.optics import Otf
from napari_physgen.sim import SimSettings
from napari_physgen.sim.forward import Canvas, SimOperator
from napari_physgen.sim.measurement import Measurement
from napari_physgen.sim.simulate import CAMERA, default_patterns, filaments

SIZE = 64
SETTINGS = SimSettings(
    na=1.4,
    wavelength_nm=525,
    pixel_size_nm=80,
    method="variational",
    otf_damping=1,
    camera_offset=CAMERA.offset,
    camera_gain=CAMERA.gain,
    iterations=60,
    regularisation=0.04,
    members=1,
)
OTF = Otf.ideal(SETTINGS.na, SETTINGS.wavelength_nm)
PATTERNS = default_patterns(SETTINGS, 1)


@cache
def truth() -> np.ndarray:
    return filaments((2 * SIZE, 2 * SIZE), seed=2)


def physics(margin: int = 10) -> SimOperator:
    return SimOperator.sinusoidal(PATTERNS, OTF, Canvas.around((SIZE, SIZE), 2, margin))


def expected(
    photons: float, gain: torch.Tensor | None = None, shift: torch.Tensor | None = None
) -> torch.Tensor:
    """Return frames (angle, phase, y, x) in photons without noise."""
    microscope = physics(margin=24)
    with torch.no_grad():
        if shift is not None:
            microscope.shift.copy_(shift)
        light = microscope(microscope.canvas.pad(torch.from_numpy(truth()), 2)).clamp_min(0)
    light = light * (photons / light.mean())
    return light if gain is None else light * gain


def recorded(light: torch.Tensor, seed: int = 1) -> np.ndarray:
    """Return grey levels (angle, phase, y, x) that the camera makes of photons."""
    rng = np.random.default_rng(seed)
    grey = CAMERA.offset + CAMERA.gain * rng.poisson(light.numpy())
    grey = grey + CAMERA.read_noise * rng.standard_normal(grey.shape)
    return grey.astype(np.float32)


def measured(light: torch.Tensor, seed: int = 1) -> Measurement:
    return Measurement.of(recorded(light, seed), CAMERA, 0, torch.device("cpu"))
