"""What others make of the stacks of the SIM benchmark, each at its best.

- Richardson-Lucy (Richardson 1972; Lucy 1974) with the forward model and patterns of ours;
  iterations chosen with the truth at hand.
- napari-sim-processor (PyPI), in an environment of its own: with the settings that its widget
  starts from, and with the best of 48 others, chosen with the truth at hand. It estimates the
  patterns itself and has the theoretical OTF only.
- The network of Burns & Liu 2023 as published (`napari_physgen.sim.paper`), fewer steps if said so.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch
from _data import Case
from numpy.typing import NDArray

from napari_physgen.backend import run
from napari_physgen.physics.optics import Otf
from napari_physgen.sim import Patterns, SimSettings, reconstruct
from napari_physgen.sim.forward import Canvas, SimOperator

Image = NDArray[np.float32]

PACKAGE = "napari-sim-processor==0.1.1"
SUPPORT = ("numpy", "scipy", "matplotlib")
"""What its processors import; napari and Qt are for its widget only."""

ITERATIONS = (2, 4, 8, 15, 30, 60, 100)
MARGIN = 10


def richardson_lucy(case: Case, patterns: Patterns) -> Iterator[Image]:
    """Yield the image (zoom * y, zoom * x) after each number of `ITERATIONS`.

    rho <- rho A^T(y / A rho) / A^T 1, from an even start.
    """
    settings = case.settings
    shape = (settings.angles, settings.phases, *case.raw.shape[1:])
    frames = torch.from_numpy((case.raw.astype(np.float32) - case.offset).reshape(shape))
    frames = frames.clamp_min(0)
    otf = case.otf or Otf.ideal(settings.na, settings.wavelength_nm, patterns.otf_damping or 1)
    canvas = Canvas.around((shape[2], shape[3]), settings.zoom, MARGIN)
    operator = SimOperator.sinusoidal(patterns, otf, canvas).requires_grad_(False)
    rho = torch.full(canvas.fine_size, float(frames.mean()))

    def adjoint(values: torch.Tensor) -> torch.Tensor:
        point = torch.zeros(canvas.fine_size, requires_grad=True)
        (back,) = torch.autograd.grad(operator(point), point, values)
        return back

    light = adjoint(torch.ones(shape))
    # Beyond the reach of the camera nothing is known: leave it as it is.
    seen = light > 0.02 * light.max()
    for count in range(1, max(ITERATIONS) + 1):
        ratio = frames / operator(rho).clamp_min(1e-3 * float(frames.mean()))
        rho = torch.where(seen, (rho * adjoint(ratio) / light).clamp_min(0), rho)
        if count in ITERATIONS:
            yield canvas.crop(rho, canvas.zoom).numpy()


def sim_processor(case: Case) -> tuple[list[Image], list[str], float]:
    """Return images (zoom * y, zoom * x), the widget's settings first, their names and seconds."""
    settings = case.settings
    script = Path(__file__).with_name("_sim_processor.py")
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "stack.npz", Path(folder) / "images.npz"
        np.savez(
            given,
            raw=case.raw.astype(np.float32) - case.offset,
            na=settings.na,
            wavelength_um=settings.wavelength_nm / 1000,
            pixel_um=settings.pixel_size_nm / 1000,
            angles=settings.angles,
            phases=settings.phases,
        )
        command = [str(_environment()), str(script), str(given), str(made)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with np.load(made) as arrays:
            images = [_on_our_grid(image, settings.zoom) for image in arrays["images"]]
            return images, list(arrays["names"]), float(arrays["seconds"])


def published_network(case: Case, steps: int) -> Image:
    """Return the image of the published network after `steps` steps."""
    changes = {"method": "paper", "network_steps": steps}
    settings: SimSettings = case.settings.model_copy(update=changes)
    return run(reconstruct(case.raw, settings, patterns=case.frames, otf=case.otf)).image


def _on_our_grid(image: Image, zoom: int) -> Image:
    """Move an image whose pixel 2 i lies on raw pixel i to ours, whose borders are the raw ones."""
    moved = scipy.ndimage.shift(image, 0.5, order=3, mode="nearest")
    if zoom == 2:
        return moved
    return scipy.ndimage.zoom(moved, zoom / 2, order=3, mode="nearest", grid_mode=True)


@cache
def _environment() -> Path:
    """Return a Python that has the package, made on first use in the folder for temporary files."""
    folder = Path(tempfile.gettempdir()) / f"peer-{PACKAGE.replace('=', '')}"
    python = folder / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "-qq"]
        subprocess.run([*pip, "--no-deps", PACKAGE], check=True)
        subprocess.run([*pip, *SUPPORT], check=True)
    return python
