"""A stack that follows a similar one: what is known from before, and how few iterations it takes.

From the stack before come the smoothness, the gains and shifts of the angles, and the networks.
The image does not: where the sample has moved by half a pixel, the old image is further from the
new one than the Wiener image of the new frames is (simulated filaments that moved by 0.7 px, 150
photons, 40 iterations: 5.5 dB below a full solve from the old image, level with it from the Wiener
image), and it would carry the past into the present.
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
    from torch import Tensor, nn

    from napari_physgen.backend import Job
    from napari_physgen.sim.case import Case
    from napari_physgen.sim.forward import SimOperator
    from napari_physgen.sim.measurement import Measurement
    from napari_physgen.sim.scene import Scene

ITERATIONS, LAST = 50, 10
"""Iterations of a stack that follows, the LAST of them with free patterns."""

RATE = 4.0
"""Factor on the steps: a short way in a short time (2 was too slow at 12 and at 800 photons)."""

SMOOTH = (0.35, 0.5, 0.7)
"""Blurs of the Wiener image, raw px, that a stack may start from; the likeliest one is taken. Its
noise takes longer to remove than blur takes to undo."""


@dataclass(frozen=True)
class Warm:
    """What a solved stack leaves to the next one.

    Parameters
    ----------
    solution : Solution
        Its lambda and held-out chi2.
    log_gain, shift : numpy.ndarray
        Fitted gains and shifts, see `SimOperator`.
    mixing : numpy.ndarray
        (angle, phase, basis), the fitted weights of the patterns.
    saturation : float or None
        The fitted one, if the light saturates.
    networks : sequence of torch.nn.Module
        Trained ones, if there are any.
    """

    solution: Solution
    log_gain: NDArray[np.float32]
    shift: NDArray[np.float32]
    mixing: NDArray[np.float32]
    saturation: float | None = None
    networks: Sequence[nn.Module] = ()

    @classmethod
    def of(cls, scene: Scene, solution: Solution, networks: Sequence[nn.Module]) -> Warm:
        """Keep what a solved scene knows."""
        operator = scene.operator
        fitted = (operator.log_gain, operator.shift, operator.mixed())
        gain, shift, mixing = (p.detach().cpu().numpy().copy() for p in fitted)
        saturation = operator.figures().get("saturation_refined")
        return cls(solution, gain, shift, mixing, saturation, networks)

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
            saturation=self.saturation,
        )

    def lost(self, chi2: float, measurement: Measurement) -> bool:
        """Whether a stack is so much worse than the one before that it has to begin anew."""
        count = float((1 - measurement.fitted).sum())
        return chi2 > 1.05 * self.solution.chi2 + 5 * sqrt(2 / count)


def follow(
    case: Case, operator: SimOperator, measurement: Measurement, warm: Warm
) -> Job[tuple[Scene, Solution]]:
    """Solve the variational image of a stack that follows another (a job)."""
    scene = first_guess(operator, measurement)
    with torch.no_grad():
        operator.log_gain.copy_(torch.from_numpy(warm.log_gain))
        operator.shift.copy_(torch.from_numpy(warm.shift))
    fitter = Fitter(scene, measurement, case.settings, total=ITERATIONS)
    fitter.weight = case.settings.regularisation or warm.solution.regularisation
    scene.start(min(_starts(case, scene, measurement), key=fitter.objective))
    operator.free_patterns(False)
    first = ITERATIONS - LAST
    result = yield from fitter.fit(first, rate=RATE, decay=True, keep_best=False)
    if not result.stopped:
        operator.free_patterns(True)
        result = yield from fitter.fit(LAST, rate=0.2 * RATE, decay=True)
    scene.requires_grad_(False)
    return scene, Solution(fitter.weight, fitter.chi2(), result.stopped, follows=True)


def _starts(case: Case, scene: Scene, measurement: Measurement) -> list[Tensor]:
    """Return objects (y, x) on the fine canvas that a fit may start from."""
    if not isinstance(case.illumination, Patterns):
        return [scene.rho().detach()]
    zoom = case.settings.zoom
    frames = measurement.bridged()
    quick = wiener(frames, case.illumination, case.otf, case.settings, case.camera)
    blurred = [torch.from_numpy(gaussian_filter(quick, zoom * width)) for width in SMOOTH]
    return [scene.operator.canvas.pad(image, zoom).to(scene.u.device) for image in blurred]
