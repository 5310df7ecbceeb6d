"""A stack that follows a similar one: what is known from before, and how few iterations it takes.

From the stack before come the smoothness, the gains and shifts of the angles, and the networks.
The image does not: where the sample has moved by half a pixel, the old image is further from the
new one than the mean of Wiener and widefield image of the new frames is (simulated filaments moved
by 0.7 px, 150 photons, 40 iterations: 5.5 dB below a full solve from the old image, level with it
from the new frames), and it would carry the past into the present.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from napari_physgen.sim.results import Patterns
from napari_physgen.sim.scene import first_guess
from napari_physgen.sim.variational import Fitter, Solution
from napari_physgen.sim.wiener import wiener

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

    from napari_physgen.backend import Job
    from napari_physgen.sim.case import Case
    from napari_physgen.sim.forward import SimOperator
    from napari_physgen.sim.measurement import Measurement
    from napari_physgen.sim.scene import Scene
    from napari_physgen.sim.settings import SimSettings

ITERATIONS, LAST = 40, 10
"""Iterations of a stack that follows, the LAST of them with free patterns."""

RATE = 2.0
"""Factor on the steps: the way is shorter than from the widefield image, and so is the time."""

SHARE = 0.5
"""Share of the Wiener image in what the image starts from; the rest is the widefield image."""

FILL = 0.6
"""Raw px by which neighbours stand in for pixels that are held out."""


@dataclass(frozen=True)
class Warm:
    """What a solved stack leaves to the next one.

    Parameters
    ----------
    solution : Solution
        Its lambda and held-out chi2.
    log_gain, shift, mixing : numpy.ndarray
        Fitted gains, shifts and patterns, see `SimOperator`.
    networks : sequence of torch.nn.Module
        Trained ones, if there are any.
    """

    solution: Solution
    log_gain: NDArray[np.float32]
    shift: NDArray[np.float32]
    mixing: NDArray[np.float32]
    networks: Sequence[nn.Module] = ()

    @classmethod
    def of(cls, scene: Scene, solution: Solution, networks: Sequence[nn.Module]) -> Warm:
        """Keep what a solved scene knows."""
        operator = scene.operator
        fitted = (operator.log_gain, operator.shift, operator.mixing)
        gain, shift, mixing = (p.detach().cpu().numpy().copy() for p in fitted)
        return cls(solution, gain, shift, mixing, networks)

    def guess(self, case: Case, operator: SimOperator, measurement: Measurement) -> Scene:
        """Return the scene that a stack starts from which follows."""
        scene = first_guess(operator, measurement)
        with torch.no_grad():
            operator.log_gain.copy_(torch.from_numpy(self.log_gain))
            operator.shift.copy_(torch.from_numpy(self.shift))
        if isinstance(case.illumination, Patterns):
            quick = wiener(
                _without_held_out(measurement),
                case.illumination,
                case.otf,
                case.settings,
                case.camera,
            )
            rho = operator.canvas.pad(torch.from_numpy(quick), case.settings.zoom)
            scene.start(torch.lerp(scene.rho().detach(), rho.to(scene.u.device), SHARE))
        return scene

    def improved(self, patterns: Patterns) -> Patterns:
        """Return the patterns of the stack as they were fitted along with its image."""
        mixing = self.mixing.astype(float)
        strength = mixing[..., 0]
        waves = (mixing[..., 1::2] - 1j * mixing[..., 2::2]) / strength[..., None]
        phases, depths = np.angle(waves), np.abs(waves).mean(1)
        more = patterns.overtones
        if more is not None:
            more = replace(more, phases=phases[..., 1:], modulation=depths[:, 1:])
        return replace(
            patterns,
            phases=phases[..., 0],
            modulation=depths[:, 0],
            intensities=strength / strength.mean(),
            overtones=more,
        )

    def lost(self, chi2: float, measurement: Measurement) -> bool:
        """Whether a stack is so much worse than the one before that it has to begin anew."""
        count = float((1 - measurement.fitted).sum())
        return chi2 > 1.05 * self.solution.chi2 + 5 * sqrt(2 / count)


def follow(
    scene: Scene, measurement: Measurement, settings: SimSettings, warm: Warm
) -> Job[Solution]:
    """Fit a scene that begins at `Warm.guess` (a job)."""
    fitter = Fitter(scene, measurement, settings, total=ITERATIONS)
    fitter.weight = settings.regularisation or warm.solution.regularisation
    scene.operator.free_patterns(False)
    first = ITERATIONS - LAST
    result = yield from fitter.fit(first, rate=RATE, decay=True, keep_best=False)
    if not result.stopped:
        scene.operator.free_patterns(True)
        result = yield from fitter.fit(LAST, rate=0.2 * RATE, decay=True)
    scene.requires_grad_(False)
    return Solution(fitter.weight, fitter.chi2(), result.stopped, follows=True)


def _without_held_out(measurement: Measurement) -> NDArray[np.float32]:
    """Return the frames (angle, phase, y, x) with held-out pixels taken from their neighbours.

    No fit may see them, neither through the image that it starts from.
    """
    frames, fitted = (t.cpu().numpy() for t in (measurement.frames, measurement.fitted))
    blur = (0, 0, FILL, FILL)
    around = gaussian_filter(frames * fitted, blur) / gaussian_filter(fitted, blur)
    return np.asarray(np.where(fitted > 0, frames, around), np.float32)
