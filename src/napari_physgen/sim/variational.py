"""The variational image: the smoothest non-negative object that explains the frames.

    minimise over rho >= 0   1/2 sum_i w_i (A rho - y)_i^2 + lambda sum |Hess rho| / sigma

on native camera pixels, with Poisson-Gaussian weights w, local noise sigma, the Frobenius norm
of the Hessian (Lefkimmiatis et al., IEEE TIP 21, 983, 2012), rho = s softplus(u), s the local
brightness. lambda follows from the minimum of the held-out chi2. Gains and shifts of the angles are
fitted along; phases and modulation only at the end, slowly, and only if the held-out chi2 agrees:
early on they would absorb errors of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_physgen.backend.fit import HeldOut, fit
from napari_physgen.backend.job import Progress, Tune, relayed
from napari_physgen.sim.measurement import image_preview
from napari_physgen.sim.scene import EDGE, curvature, enlarged, roughness

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from napari_physgen.backend import Command, Job
    from napari_physgen.backend.fit import FitResult
    from napari_physgen.sim.measurement import Measurement
    from napari_physgen.sim.scene import Scene
    from napari_physgen.sim.settings import SimSettings

TYPICAL = 0.08
"""Where the search for lambda starts; 0.04-0.2 was best on simulated filaments and reticula."""

SMOOTHER = 1.4
"""lambda over the one with the lowest held-out chi2. Camera pixels judge what the optics pass, less
what lies beyond. On 8 simulated stacks of random objects SSIM was best with 1.4, and the PSNR 0.5
dB above that with 2; 0.7 gained 0.6 dB more in sharp objects, but showed noise in dark ones."""

APPROACH, PROBE, POLISH, REFINE = 70, 40, 80, 40
"""Iterations to come near, to compare values of lambda, to finish with the best one, and to
refine the patterns."""

BACKGROUND_STEP = 2e-2
"""Step of the unmodulated light, in mean grey levels of the frames."""

WIDEST = 4
"""Most factors of 2 that lambda may move away from the typical one."""


@dataclass(frozen=True)
class Solution:
    """How the variational fit ended; `follows`: whether it went on from a similar stack."""

    regularisation: float
    chi2: float
    stopped: bool
    follows: bool = False


def solve(scene: Scene, measurement: Measurement, settings: SimSettings) -> Job[Solution]:
    """Fit the scene to the frames (a job): choose lambda, refine the patterns, polish.

    Parameters
    ----------
    scene : Scene
        Changed in place; holds the best image afterwards.
    measurement : Measurement
    settings : SimSettings
        `iterations` bounds the last stage; `regularisation` fixes lambda, else it is chosen.

    Returns
    -------
    Solution
    """
    fitter = Fitter(scene, measurement, settings)
    scene.operator.free_patterns(False)
    share = min(settings.iterations / (APPROACH + POLISH + REFINE), 1)
    result = yield from fitter.fit(round(share * APPROACH))
    chosen = settings.regularisation is not None or fitter.tuned or share < 1
    if not (chosen or result.stopped):
        result = yield from _choose_weight(fitter)
    refine = round(share * REFINE)
    if not result.stopped:
        left = settings.iterations - fitter.done - refine
        polish = max(left, round(share * POLISH))
        result = yield from fitter.fit(polish, decay=True, keep_best=False)
    if not result.stopped:
        scene.operator.free_patterns(True)
        result = yield from fitter.fit(refine, rate=0.2, decay=True)
    scene.requires_grad_(False)
    return Solution(fitter.weight, fitter.chi2(), result.stopped)


def _choose_weight(fitter: Fitter) -> Job[FitResult]:
    """Try lambda at factors of 2 around the typical one until the held-out chi2 has a minimum.

    Leaves the fitter at the minimum of the parabola through the three lowest points and the
    scene at the best state. A stop or a value tuned by the user ends the search.
    """
    begin = fitter.state()
    trials: dict[int, float] = {}
    best = (float("inf"), begin)
    ahead = [0, -1, 1]
    while ahead:
        octave = ahead.pop(0)
        fitter.restore(begin)
        fitter.weight = TYPICAL * 2.0**octave
        result = yield from fitter.fit(PROBE)
        if result.best_score < best[0]:
            best = (result.best_score, fitter.state())
        if result.stopped or fitter.tuned:
            break
        trials[octave] = result.best_score
        lowest = min(trials, key=lambda o: trials[o])
        if not ahead and lowest in (min(trials), max(trials)) and abs(lowest) < WIDEST:
            ahead.append(lowest + (1 if lowest == max(trials) else -1))
    fitter.restore(best[1])
    if not fitter.tuned and trials:
        fitter.weight = SMOOTHER * TYPICAL * 2.0 ** lowest_point(trials)
    return result


def lowest_point(trials: Mapping[int, float]) -> float:
    """Return where the parabola through the lowest of `trials` and its neighbours is lowest."""
    middle = min(trials, key=lambda o: trials[o])
    if middle - 1 not in trials or middle + 1 not in trials:
        return middle
    left, centre, right = (trials[middle + o] for o in (-1, 0, 1))
    bend = left - 2 * centre + right
    return middle + (0.5 * (left - right) / bend if bend > 0 else 0)


class Fitter:
    """Fits of one scene one after the other, as one stage to the person who watches.

    `weight` is lambda, `tuned` whether the user set it on the way, `done` counts iterations, of
    which there will be `total`.
    """

    def __init__(
        self,
        scene: Scene,
        measurement: Measurement,
        settings: SimSettings,
        message: str = "variational",
        total: int | None = None,
    ) -> None:
        self.weight = settings.regularisation or TYPICAL
        self.tuned = False
        self.done = 0
        self._message = message
        self._scene = scene
        self._measurement = measurement
        canvas = scene.operator.canvas
        self._sigma = enlarged(canvas, measurement.variance.mean((0, 1)).sqrt())
        self._total = total or max(settings.iterations, APPROACH + POLISH + REFINE)

    def state(self) -> dict[str, Tensor]:
        """Return a copy of what is fitted."""
        return {name: p.detach().clone() for name, p in self._scene.named_parameters()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a `state`."""
        with torch.no_grad():
            for name, parameter in self._scene.named_parameters():
                parameter.copy_(state[name])

    def chi2(self) -> float:
        """Return the held-out chi2 of the scene as it is."""
        with torch.no_grad():
            return float(self._measurement.chi2(self._scene()[1]))

    def objective(self, rho: Tensor) -> float:
        """Return what the fit minimises, with `rho` (y, x) on the fine canvas as the object."""
        self._scene.start(rho)
        with torch.no_grad():
            return float(self._loss(self._scene, 0))

    def fit(
        self,
        steps: int,
        *,
        rate: float = 1.0,
        decay: bool = False,
        keep_best: bool = True,
        watch: bool = True,
    ) -> Job[FitResult]:
        """Run the shared fit loop.

        Parameters
        ----------
        steps : int
        rate : float
            Factor on the step sizes of image and gains.
        decay : bool
            Whether the steps shrink to 0.
        keep_best : bool
            Whether the scene ends with the lowest held-out chi2, not where the steps end.
        watch : bool
            Whether to report the held-out chi2 also when it decides nothing.
        """
        scene, operator = self._scene, self._scene.operator
        groups = [
            {"params": [scene.u], "lr": 0.05 * rate},
            {"params": [operator.log_gain], "lr": 0.01 * rate},
            *operator.pattern_steps(),
            {"params": [operator.shift], "lr": 5e-3 * rate},
        ]
        if operator.background is not None:
            step = BACKGROUND_STEP * self._measurement.level
            groups.append({"params": [operator.background], "lr": step * rate})
        optimizer = torch.optim.Adam(groups)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if decay else None
        job = fit(
            scene,
            self._loss,
            optimizer=optimizer,
            schedule=schedule,
            steps=steps,
            device=scene.u.device,
            message=self._message,
            held_out=HeldOut(self._score, every=10) if keep_best else None,
            metrics=self._watch if watch and not keep_best else None,
            preview=lambda: image_preview(scene.image(), operator.canvas.zoom),
        )
        before = self.done
        self._total = max(self._total, before + steps)

        def counted(progress: Progress) -> Progress:
            self.done = before + progress.step
            return replace(progress, step=self.done, total=self._total)

        # Heard here, not in `fit`: what comes with the last step must reach the next fit.
        return relayed(job, counted, self._hear)

    def _loss(self, model: nn.Module, _: int) -> Tensor:
        rho, predicted = model()
        penalty = curvature(rho, EDGE * self._scene.brightness, self._sigma)
        unlikely = roughness(self._scene.operator.log_gain) + self._scene.operator.unlikely()
        return self._measurement.misfit(predicted) + self.weight * penalty + unlikely

    def _score(self, model: nn.Module) -> Tensor:
        return self._measurement.chi2(model()[1])

    def _watch(self) -> dict[str, float]:
        return {"held-out": self.chi2()} if self.done % 10 == 0 else {}

    def _hear(self, command: Command) -> None:
        if isinstance(command, Tune) and command.changes.get("regularisation") is not None:
            self.weight, self.tuned = float(command.changes["regularisation"]), True
