"""One stack to reconstruct, parsed, and the result that an object explaining it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.backend import describe_device
from napari_physgen.sim.forward import Canvas, SimOperator
from napari_physgen.sim.mosaic import finer
from napari_physgen.sim.quality import mcnr
from napari_physgen.sim.results import Patterns, Reconstruction
from napari_physgen.sim.saturation import SaturatedOperator
from napari_physgen.sim.speckle import SpeckleOperator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.physics.noise import Camera
    from napari_physgen.physics.optics import Otf
    from napari_physgen.sim.measurement import Measurement
    from napari_physgen.sim.settings import SimSettings
    from napari_physgen.sim.warm import Warm

    Frames = NDArray[np.float32]

MARGIN = 10
"""Raw px around the field in which the object may continue: light from there reaches it."""

UNEXPLAINED = 1.5
"""Held-out chi2 above which the frames hold more than the forward model explains."""


@dataclass(frozen=True)
class Case:
    """Everything a reconstruction needs.

    Parameters
    ----------
    frames : numpy.ndarray
        (angle, phase, y, x), grey levels with the offset still in.
    illumination : Patterns or numpy.ndarray
        Estimated, or known frames (frame, zoom * y, zoom * x).
    otf : Otf
        Detection OTF.
    camera : Camera
    settings : SimSettings
    """

    frames: Frames
    illumination: Patterns | Frames
    otf: Otf
    camera: Camera
    settings: SimSettings

    @property
    def shape(self) -> tuple[int, int]:
        """Frame size (y, x), raw px."""
        return self.frames.shape[2], self.frames.shape[3]

    @property
    def signal(self) -> Frames:
        """Frames (angle, phase, y, x) above the camera offset."""
        return self.frames - np.float32(self.camera.offset)

    def cropped(self, y: slice, x: slice) -> Case:
        """Return the same stack on a part of the field, with its own piece of the illumination."""
        light: Patterns | Frames
        if isinstance(self.illumination, Patterns):
            light = self.illumination.cropped(y.start, x.start)
        else:
            zoom = self.settings.zoom
            light = self.illumination[:, finer(y, zoom), finer(x, zoom)]
        return replace(self, frames=self.frames[:, :, y, x], illumination=light)

    def operator(self, device: torch.device) -> SimOperator:
        """Return the forward model on `device`."""
        canvas = Canvas.around(self.shape, self.settings.zoom, MARGIN)
        if isinstance(self.illumination, Patterns):
            plain = self.illumination.saturation is None
            kind = SimOperator if plain else SaturatedOperator
            operator = kind.sinusoidal(self.illumination, self.otf, canvas)
        elif self.settings.pattern == "speckle":
            frames, seed = self.settings.frames, self.settings.seed
            operator = SpeckleOperator.unknown(frames, self.settings, self.otf, canvas, seed)
        else:
            operator = SimOperator.given(
                self.illumination,
                self.settings.angles,
                self.otf,
                canvas,
                self.settings.pixel_size_nm,
            )
        return operator.to(device)

    def result(
        self,
        quick: Frames | None,
        image: Frames,
        std: Frames | None,
        residual: Frames,
        chi2: float,
        stage: str,
        words: str,
        device: torch.device,
    ) -> Reconstruction:
        """Return an image of this stack with the figures and the words that judge it."""
        metrics = {"chi2": chi2, "gain": self.camera.gain, "offset": self.camera.offset}
        if chi2 > UNEXPLAINED and stage in ("variational", "pinn", "trained"):
            words = (
                f"{words} The misfit is well above noise: look at the residual before trusting "
                "fine detail (polarisation, motion, a wrong OTF or wrong patterns)."
            )
        if isinstance(self.illumination, Patterns):
            metrics["mcnr"] = mcnr(self.signal, self.illumination, self.camera)
            metrics |= self.illumination.metrics
            words = f"{words} Patterns: {self.illumination.summary}."
        return Reconstruction(
            image=image,
            std=std,
            widefield=self.signal.mean((0, 1)),
            wiener=quick,
            residual=residual,
            chi2=chi2,
            patterns=self.illumination,
            stage=stage,
            summary=words,
            metrics=metrics,
            device=describe_device(device),
        )


@dataclass(frozen=True)
class Finish:
    """Turns an object on the canvas into a `Reconstruction`."""

    case: Case
    quick: Frames | None
    operator: SimOperator
    measurement: Measurement
    warm: Warm | None = None

    def __call__(
        self, rho: torch.Tensor, std: torch.Tensor | None, stage: str, words: str
    ) -> Reconstruction:
        """Collect the images and figures of `rho` (y, x) on the fine canvas."""
        with torch.no_grad():
            predicted = self.operator(rho)
            residual = self.measurement.residual(predicted)
            chi2 = float(self.measurement.chi2(predicted))
        result = self.case.result(
            self.quick,
            self._field(rho),
            None if std is None else self._field(std),
            residual.square().mean((0, 1)).sqrt().cpu().numpy(),
            chi2,
            stage,
            words,
            rho.device,
        )
        metrics = {**result.metrics, **self.operator.figures()}
        if isinstance(self.operator, SpeckleOperator):
            canvas = self.operator.canvas
            light = canvas.crop(self.operator.light().detach(), canvas.zoom)
            result = replace(
                result,
                patterns=light[0].cpu().numpy(),
                summary=f"Experimental, the light was unknown. {result.summary}",
            )
        return replace(result, warm=self.warm, metrics=metrics)

    def _field(self, image: torch.Tensor) -> Frames:
        canvas = self.operator.canvas
        cut = canvas.crop(image.detach(), canvas.zoom)
        return np.asarray(cut.float().cpu().numpy())
