"""Unknown speckle: object and illumination from many frames at once (experimental).

    minimise over rho >= 0 and E_p    misfit + lambda sum |Hess rho| / sigma
                                      + 1/2 sum_r (mean_p I_p(r) - 1)^2 / v,      I_p = |E_p|^2

The field E_p of the excitation light passes the pupil of the objective and nothing else, so that
the patterns are never negative and no finer than light can make them. What makes the problem
solvable is that the mean of many random patterns is flat: v = 1 / frames is its variance in fully
developed speckle (Mudry et al., Nat. Photonics 6, 312 (2012)). The fit starts from flat light,
which makes the object the deconvolved mean of the frames; then the light is fitted to it, and
then both together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from napari_physgen.backend import generator
from napari_physgen.sim.forward import SimOperator, transfer
from napari_physgen.sim.light import speckle_cutoff
from napari_physgen.sim.measurement import Measurement
from napari_physgen.sim.scene import Scene, first_guess
from napari_physgen.sim.variational import Fitter, Solution

if TYPE_CHECKING:
    from napari_physgen.backend import Job
    from napari_physgen.physics.optics import Otf
    from napari_physgen.sim.forward import Canvas
    from napari_physgen.sim.settings import SimSettings

DECONVOLVE, LIGHT, TOGETHER = 150, 40, 120
"""Iterations with flat light, on the light alone, and on both."""

FIELD_STEP = 0.02
"""Step of the field, in units of its mean amplitude."""

START = 0.1
"""Random part of the field to start from."""


class SpeckleOperator(SimOperator):
    """Image an object through unknown random light.

    Learnable: `field`, the spectrum of E_p within the pupil, (frame, point, 2), each point with
    variance 1 / points in fully developed speckle.
    """

    field: nn.Parameter
    rows: Tensor
    columns: Tensor

    @classmethod
    def unknown(
        cls, frames: int, settings: SimSettings, otf: Otf, canvas: Canvas, seed: int
    ) -> Self:
        """Return the operator of `frames` patterns that are nearly flat yet."""
        pixel = settings.pixel_size_nm / 1000
        # The patterns are made from the field each time: there is no fixed basis.
        none, bright = torch.ones(1, 1, 1, 1), torch.ones(1, frames, 1)
        operator = cls(none, bright, transfer(otf, canvas, pixel), canvas)
        height, width = canvas.size
        f_y, f_x = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None]
        inside = torch.hypot(f_y, f_x) <= speckle_cutoff(settings) / 2 * pixel
        rows, columns = inside.nonzero(as_tuple=True)
        draw = torch.randn(frames, len(rows), 2, generator=generator(seed, "cpu", "speckle"))
        field = START * draw / (2 * len(rows)) ** 0.5
        field[:, (rows == 0) & (columns == 0), 0] += (1 - START**2) ** 0.5
        operator.field = nn.Parameter(field)
        # Frequencies count from the middle of the spectrum: the fine one has more rows.
        operator.register_buffer("rows", _signed(rows, height) % canvas.fine_size[0])
        operator.register_buffer("columns", _signed(columns, width) % canvas.fine_size[1])
        return operator

    def flat(self) -> SimOperator:
        """Return the operator of even light in one frame."""
        light = torch.ones(1, 1, *self.canvas.fine_size, device=self.f_y.device)
        operator = SimOperator(light, light.new_ones(1, 1, 1), self.transfer.real, self.canvas)
        operator.to(light.device).transfer = self.transfer
        return operator.requires_grad_(False)

    def free_patterns(self, free: bool) -> None:
        """Let fits change the light or not; its brightness is part of the field."""
        self.mixing.requires_grad_(False)
        self.field.requires_grad_(free)

    def pattern_steps(self) -> list[dict[str, Any]]:
        """Return what a fit may change of the patterns, with its step size."""
        points = self.field.shape[1]
        return [{"params": [self.field], "lr": FIELD_STEP / points**0.5}]

    def light(self) -> Tensor:
        """Return the patterns (1, frame, y, x) on the fine canvas."""
        spectrum = torch.zeros(
            len(self.field), *self.canvas.fine_size, dtype=torch.complex64, device=self.f_y.device
        )
        spectrum[:, self.rows, self.columns] = torch.view_as_complex(self.field)
        wave = torch.fft.ifft2(spectrum, norm="forward")
        light: Tensor = (wave.real**2 + wave.imag**2)[None]
        return light

    def unlikely(self) -> Tensor:
        """Return the negative log-prior of the mean of the patterns: flat."""
        light = self.canvas.crop(self.light(), self.canvas.zoom)
        frames = light.shape[1]
        # Neighbouring pixels of speckle are not independent: as many as the field has grains.
        grains = self.field.shape[1] / light[0, 0].numel()
        return 0.5 * grains * frames * (light.mean(1) - 1).square().sum()


def _signed(index: Tensor, count: int) -> Tensor:
    """Return signed frequencies of indices into a spectrum of `count` samples."""
    return (index + count // 2) % count - count // 2


def solve_speckle(
    operator: SpeckleOperator, measurement: Measurement, settings: SimSettings
) -> Job[tuple[Scene, Solution]]:
    """Fit object and light to the frames (a job)."""
    mean = first_guess(operator.flat(), averaged(measurement))
    job = Fitter(mean, averaged(measurement), settings, "deconvolution of the mean")
    result = yield from job.fit(DECONVOLVE, decay=True, keep_best=False, watch=False)
    scene = Scene(operator, mean.rho().detach(), mean.brightness)
    fitter = Fitter(scene, measurement, settings, "speckle (experimental)")
    if not result.stopped:
        operator.free_patterns(True)
        scene.u.requires_grad_(False)
        result = yield from fitter.fit(LIGHT, keep_best=False, watch=False)
        scene.u.requires_grad_(True)
    if not result.stopped:
        result = yield from fitter.fit(TOGETHER, decay=True)
    scene.requires_grad_(False)
    return scene, Solution(fitter.weight, fitter.chi2(), result.stopped)


def averaged(measurement: Measurement) -> Measurement:
    """Return the mean of all frames as one frame, with the noise that it has."""
    fitted = measurement.fitted
    count = fitted.sum((0, 1), keepdim=True).clamp_min(1)
    mean = (fitted * measurement.frames).sum((0, 1), keepdim=True) / count
    variance = (fitted * measurement.variance).sum((0, 1), keepdim=True) / count**2
    return Measurement(mean, 1 / variance.clamp_min(1e-12), torch.ones_like(mean))
