"""Structured illumination as an inverse problem: y = A rho with the forward model of `sim`.

The variational image of `sim` comes first. With it come the gains and shifts of the angles and the
refined patterns, which real frames need before any prior can explain them, and the grey levels
that the prior's range is mapped to. The object reaches beyond the field, from where light comes in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from napari_physgen.backend import resolve_device
from napari_physgen.backend.job import Stop, relayed
from napari_physgen.errors import UserError
from napari_physgen.generative.tasks import Setup
from napari_physgen.physics.noise import Camera
from napari_physgen.physics.operator import LinearMap
from napari_physgen.physics.optics import TYPICAL_DAMPING, Otf
from napari_physgen.sim.detection import detection_otf
from napari_physgen.sim.forward import Canvas, SimOperator
from napari_physgen.sim.illumination import check_patterns, known_illumination
from napari_physgen.sim.ingest import ingest
from napari_physgen.sim.measurement import Measurement
from napari_physgen.sim.patterns import estimate_patterns
from napari_physgen.sim.results import Patterns
from napari_physgen.sim.scene import first_guess
from napari_physgen.sim.settings import SimSettings
from napari_physgen.sim.variational import solve

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.backend import Command, Job
    from napari_physgen.generative.settings import RestoreSettings

    Frames = NDArray[np.float32]

R = TypeVar("R")

ZOOM = 2
"""Image pixels per camera pixel: enough for all that patterns can bring into the pass band."""

MARGIN = 4
"""Raw px around the field in which the object goes on: the central disc of the PSF; networks look
at all of it, so that more would cost time."""


LAST = 1.0
"""Where mean and uncertainty come from, in standard deviations of the prior's images. Networks
recognise fine lines better than they draw them: finished samples vary too little (coverage 0.80 to
0.84 at 9 photons per pixel). From 1.5 on, the uncertainty becomes too large for sparse objects."""


def set_up_sim(
    raw: ArrayLike,
    settings: RestoreSettings,
    patterns: Patterns | ArrayLike | None = None,
    otf: Otf | ArrayLike | None = None,
) -> Job[Setup]:
    """Prepare one raw SIM stack (a job): patterns, camera, gains, and a first image.

    Parameters
    ----------
    raw : array
        (frame, y, x) or (angle, phase, y, x), grey levels.
    settings : RestoreSettings
    patterns, otf
        As in `sim.reconstruct`.

    Returns
    -------
    Setup

    Raises
    ------
    UserError
        If the stack or the settings cannot be used, or if it was stopped.
    """
    sim = sim_settings(settings)
    stack = ingest(raw, sim)
    measured = detection_otf(sim, stack.shape, otf)
    found = patterns
    if found is None:
        found = yield from _unstopped(estimate_patterns(raw, sim, measured))
    canvas = Canvas.around(stack.shape, ZOOM, MARGIN)
    if isinstance(found, Patterns):
        check_patterns(found, sim)
        order, damping = found.order, found.otf_damping or TYPICAL_DAMPING
        lens = measured or Otf.ideal(sim.na, sim.wavelength_nm, damping)
        physics = SimOperator.sinusoidal(found, lens, canvas)
    else:
        order = "phase-angle" if stack.order == "phase-angle" else "angle-phase"
        light = known_illumination(found, stack.shape, order, sim)
        lens = measured or Otf.ideal(sim.na, sim.wavelength_nm, TYPICAL_DAMPING)
        physics = SimOperator.given(light, sim.angles, lens, canvas, sim.pixel_size_nm)
    camera = stack.camera(sim)
    if settings.read_noise is not None:
        camera = Camera(camera.offset, camera.gain, settings.read_noise)
    frames = stack.by_angle(order)
    device = resolve_device(settings.device)
    physics.to(device)
    measurement = Measurement.of(frames, camera, settings.seed, device)
    scene = first_guess(physics, measurement)
    yield from _unstopped(solve(scene, measurement, sim))
    return sim_setup(physics, frames, camera, scene.image().cpu().numpy())


def sim_setup(
    physics: SimOperator, frames: Frames, camera: Camera, guess: Frames | None = None
) -> Setup:
    """Return the inverse problem of frames that a known microscope recorded.

    Parameters
    ----------
    physics : SimOperator
    frames : numpy.ndarray
        (angle, phase, y, x), grey levels.
    camera : Camera
    guess : numpy.ndarray, optional
        (zoom * y, zoom * x) image, grey levels above the offset, for the range of the result.
    """
    return Setup(
        structured_light(physics),
        np.asarray(frames - camera.offset, np.float32).reshape(-1, *frames.shape[2:]),
        physics.canvas.zoom,
        Camera(0.0, camera.gain, camera.read_noise),
        guess=guess,
        last=LAST,
    )


def structured_light(physics: SimOperator) -> LinearMap:
    """Return a SIM forward model, as it is now, as a linear map.

    Images (batch, 1, y, x) on the fine canvas become frames (batch, 1, frame, y, x), angle slowest.
    """
    physics.requires_grad_(False)

    def record(x: Tensor) -> Tensor:
        physics.to(x.device)
        frames = torch.stack([physics(image) for image in x[:, 0]])
        return frames.flatten(1, 2)[:, None]

    return LinearMap(record, (1, *physics.canvas.fine_size))


def sim_settings(settings: RestoreSettings) -> SimSettings:
    """Return the settings of the SIM tool that a restoration implies.

    Raises
    ------
    UserError
        If the pixel size is missing or does not fit the optics.
    """
    if settings.pixel_size_nm is None:
        raise UserError("SIM needs the pixel size of the camera frames: enter it.")
    return SimSettings.parse(
        {
            "na": settings.na,
            "wavelength_nm": settings.wavelength_nm,
            "pixel_size_nm": settings.pixel_size_nm,
            "angles": settings.angles,
            "phases": settings.phases,
            "otf": settings.psf,
            "camera_offset": settings.camera_offset,
            "camera_gain": settings.camera_gain or None,
            "method": "variational",
            "zoom": ZOOM,
            "seed": settings.seed,
            "device": settings.device,
        }
    )


def _unstopped(job: Job[R]) -> Job[R]:
    """Run a job; a stop leaves nothing to go on with."""

    def hear(command: Command) -> None:
        if isinstance(command, Stop):
            raise UserError("Stopped before there was a first image: nothing was changed.")

    return relayed(job, hear=hear)
