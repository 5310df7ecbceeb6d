"""Restore an image with a prior (a job): mean and uncertainty, always together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_physgen.backend import describe_device, resolve_device, with_memory_fallback
from napari_physgen.backend.job import Progress, Stopped, portion, threaded
from napari_physgen.backend.memory import keep_freed_memory
from napari_physgen.errors import UserError
from napari_physgen.generative import model as models
from napari_physgen.generative._restore_checks import (
    check_one_level,
    checked_image,
    checked_prior,
    fitted_scale,
)
from napari_physgen.generative.anomalies import anomaly
from napari_physgen.generative.measured import measured
from napari_physgen.generative.results import Restoration
from napari_physgen.generative.settings import GenerativeSettings, RestoreSettings
from napari_physgen.generative.solve import Problem
from napari_physgen.generative.tasks import Setup, set_up
from napari_physgen.generative.tiled import Tiled
from napari_physgen.generative.train import train
from napari_physgen.generative.watched import Watched
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.backend import Job
    from napari_physgen.backend.job import Report
    from napari_physgen.generative.model import GenerativeModel
    from napari_physgen.generative.samplers import State
    from napari_physgen.generative.solve import Solution
    from napari_physgen.physics.noise import Camera
    from napari_physgen.physics.operator import Operator

_SAMPLES = 8
_LEARNING = 0.9  # share of the work if there is no prior yet


def restore(
    image: ArrayLike,
    model: GenerativeModel | None = None,
    settings: RestoreSettings | None = None,
    *,
    operator: Operator | None = None,
    method: str | None = None,
    noise: Camera | None = None,
    mask: ArrayLike | None = None,
) -> Job[Restoration]:
    """Restore an image, plane by plane or volume by volume (a job).

    Parameters
    ----------
    image : array
        (..., y, x), or (..., z, y, x) for priors of volumes; raw SIM frames for the task "sim".
    model : GenerativeModel, optional
        The prior; default that of ``settings.model``; without one it is learned from the noisy
        image itself.
    settings : RestoreSettings, optional
    operator : Operator, optional
        Forward model; default that of the task.
    method : str, optional
        Instead of ``settings.method``.
    noise : Camera, optional
        Default: estimated from the image where the settings leave it open.
    mask : array, optional
        Gaps to fill: not 0 there; (y, x) or as the image.

    Returns
    -------
    Restoration

    Raises
    ------
    UserError
        If image, prior, operator and noise do not fit each other; says why and what to do.
    """
    settings = settings or RestoreSettings()
    if method is not None:
        settings = settings.model_copy(update={"method": method})
    if model is None and settings.model:
        model = models.load(settings.model)
    begin = 0.0
    data = checked_image(image)
    if model is None:
        if settings.task != "denoise" or operator is not None:
            raise UserError(
                "This task needs a prior: train one on sharp images of the kind, or load one. Only "
                "noise can be removed without."
            )
        check_one_level(settings)
        begin = _LEARNING
        model = yield from portion(train(data, settings_for_itself(data, settings)), 0.0, begin)
    checked_prior(model, settings, operator)
    device = resolve_device(settings.device)
    chosen = model
    run = with_memory_fallback(
        lambda place, tile: _restored(
            data, chosen, settings.model_copy(update={"tile": tile}), operator, noise, mask, place
        ),
        device,
        settings.tile,
    )
    return (yield from portion(run, begin, 1.0) if begin else run)


def settings_for_itself(data: NDArray[np.float32], settings: RestoreSettings) -> GenerativeSettings:
    """Return how `restore` learns from the noisy image alone."""
    noise = measured(list(data.reshape(-1, *data.shape[-2:])), settings)
    smallest = min(data.shape[-2:])
    return GenerativeSettings(
        conditional="noisy",
        domain="square root" if noise.camera.gain > 0 else "linear",
        steps=settings.learning_steps,
        crop=min(64, smallest // 2),
        camera_offset=noise.camera.offset,
        camera_gain=settings.camera_gain,
        read_noise=settings.read_noise,
        pixel_size_nm=settings.pixel_size_nm,
        seed=settings.seed,
        device=settings.device,
    )


def _restored(
    data: NDArray[np.float32],
    model: GenerativeModel,
    settings: RestoreSettings,
    operator: Operator | None,
    noise: Camera | None,
    mask: ArrayLike | None,
    device: torch.device,
) -> Job[Restoration]:
    """Restore all planes on one device."""
    keep_freed_memory()
    if settings.task == "sim":
        from napari_physgen.generative.structured import set_up_sim

        setups = [(yield from set_up_sim(data, settings))]
        lead: tuple[int, ...] = ()
    else:
        axes = model.design.dimensions
        lead = data.shape[:-axes]
        parts = data.reshape(-1, *data.shape[-axes:])
        gaps = None if mask is None else np.asarray(mask)
        setups = [
            _set_up(part, index, settings, operator, gaps, lead) for index, part in enumerate(parts)
        ]
    camera = (
        noise or setups[0].camera or measured([setup.data for setup in setups], settings).camera
    )
    seen = [setup.data if setup.guess is None else setup.guess for setup in setups]
    scale = fitted_scale(model, settings, seen, camera)
    network = model.denoiser(device)

    def work(report: Report) -> list[tuple[Problem, Solution]]:
        done: list[tuple[Problem, Solution]] = []
        denoiser = Watched(Tiled(network, settings.tile), report.check)
        for index, setup in enumerate(setups):
            problem = Problem(model, denoiser, scale, setup, camera, settings.noise_factor, device)
            try:
                done.append((problem, _solve(problem, settings, report, index, len(setups))))
            except Stopped:
                break
        return done

    solved = yield from threaded(work, "restoring")
    if not solved:
        raise UserError("Stopped before there was a first image: nothing was changed.")
    return _collected(solved, lead, model, settings, device)


def _set_up(
    part: NDArray[np.float32],
    index: int,
    settings: RestoreSettings,
    operator: Operator | None,
    mask: NDArray[np.generic] | None,
    lead: tuple[int, ...],
) -> Setup:
    if operator is not None:
        return Setup(operator, part)
    own = mask
    if mask is not None and mask.ndim == part.ndim + len(lead) and lead:
        own = mask.reshape(-1, *part.shape)[index]
    return set_up(settings, part, own)


def _solve(
    problem: Problem, settings: RestoreSettings, report: Report, index: int, total: int
) -> Solution:
    """Restore one plane the way the settings ask for."""
    method, count = chosen_method(problem, settings)
    report(Progress(index, total, "restoring"))
    if count == 0:
        return problem.direct(settings.seed)

    def watch(number: int, state: State) -> None:
        done = number + state.index / state.total
        estimate = state.estimate.mean
        report(
            Progress(
                round(1000 * (index + done / count)),
                1000 * total,
                f"sample {number + 1} of {count}",
                preview=lambda: [
                    Output("restored", problem.picture(estimate), zoom=problem.setup.zoom)
                ],
            )
        )

    return problem.sampled(method, count, settings.steps, settings.seed, watch)


def chosen_method(problem: Problem, settings: RestoreSettings) -> tuple[str, int]:
    """Return the method and the number of samples; 0 samples: one evaluation."""
    count = settings.samples
    method: str = settings.method
    if method == "auto":
        method = "direct" if problem.setup.trivial and not count else "mmps"
    if method == "direct":
        return method, 0
    if problem.model.condition_scale is not None:
        method = "pairs"
    return method, count or _SAMPLES


@dataclass(frozen=True)
class _Stack:
    """Planes put together again."""

    lead: tuple[int, ...]

    def __call__(self, parts: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        if not self.lead:
            return np.asarray(parts[0], np.float32)
        whole = np.stack(parts)
        complete = len(parts) == np.prod(self.lead)
        lead = self.lead if complete else (len(parts),)
        return np.asarray(whole.reshape(*lead, *whole.shape[1:]), np.float32)


def _collected(
    solved: list[tuple[Problem, Solution]],
    lead: tuple[int, ...],
    model: GenerativeModel,
    settings: RestoreSettings,
    device: torch.device,
) -> Restoration:
    """Put the planes together and judge them."""
    stack = _Stack(lead)
    first = solved[0][0]
    residuals = [problem.residual(solution.mean) for problem, solution in solved]
    mean = stack([solution.mean for _, solution in solved])
    samples = [solution.samples for _, solution in solved]
    fewest = min(len(part) for part in samples)
    unusual = None
    if settings.anomalies:
        unusual = stack(
            [anomaly(solution.mean, model, first.scale, device, settings) for _, solution in solved]
        )
    residual = stack(residuals)
    chi2 = float(np.mean(residual**2))
    method, count = chosen_method(first, settings)
    axes = ("z", "y", "x")[-model.design.dimensions :]
    names = tuple(f"axis {i}" for i in range(mean.ndim - len(axes)))
    result = Restoration(
        mean=mean,
        std=stack([solution.std for _, solution in solved]),
        samples=np.stack([stack([part[i] for part in samples]) for i in range(fewest)])
        if fewest
        else np.empty((0, *mean.shape), np.float32),
        residual=residual,
        noise=first.camera,
        calibrated=solved[0][1].calibrated,
        zoom=float(first.setup.zoom),
        method=method,
        trust=settings.trust,
        anomaly=unusual,
        axes=names + axes,
        device=describe_device(device),
        metrics={"chi2": chi2, "noise_level": first.level if first.setup.trivial else float("nan")},
    )
    return replace(result, summary=_summary(result, count, len(solved), lead))


def _summary(result: Restoration, count: int, done: int, lead: tuple[int, ...]) -> str:
    how = "in one evaluation" if count == 0 else f"from {count} samples"
    kind = "uncertainty" if result.calibrated else "spread of the samples (no uncertainty)"
    sure = 1 - float(result.doubtful.mean())
    chi2 = result.metrics["chi2"]
    words = (
        f"{kind} {float(np.median(result.std)):.3g} grey levels at the median, "
        f"{100 * sure:.0f} % of the pixels are sure."
    )
    if len(result.samples) == 1:
        words = "of one image the spread is not known."
    words = (
        f"Restored {how}; {words} What is left over is {chi2:.2f} times the noise's variance "
        "(1 is right)."
    )
    if done < np.prod(lead):
        words += f" Stopped after {done} of {int(np.prod(lead))} planes."
    return words
