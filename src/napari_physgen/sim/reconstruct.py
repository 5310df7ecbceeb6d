"""From raw frames to the super-resolved image, each stage visible as it comes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import torch

from napari_physgen.backend import resolve_device, with_memory_fallback
from napari_physgen.backend.job import Progress, Stop, Tune, relayed
from napari_physgen.errors import UserError
from napari_physgen.physics.optics import TYPICAL_DAMPING, Otf
from napari_physgen.sim.case import Case, Finish
from napari_physgen.sim.detection import detection_otf
from napari_physgen.sim.frame_order import settled
from napari_physgen.sim.illumination import (
    check_patterns,
    flat_light,
    known_illumination,
    laid_out,
    read_illumination,
)
from napari_physgen.sim.infer import infer
from napari_physgen.sim.ingest import ingest
from napari_physgen.sim.measurement import Measurement, image_preview
from napari_physgen.sim.model import load as load_trained
from napari_physgen.sim.paper import train_paper_network
from napari_physgen.sim.patterns import estimate_patterns
from napari_physgen.sim.pinn import refine, spread, verdict
from napari_physgen.sim.results import Patterns, Reconstruction
from napari_physgen.sim.scene import first_guess
from napari_physgen.sim.speckle import SpeckleOperator, solve_speckle
from napari_physgen.sim.stacks import Stacks, in_memory
from napari_physgen.sim.tiled import solve_tiles, tile_size
from napari_physgen.sim.variational import solve
from napari_physgen.sim.warm import Warm, follow
from napari_physgen.sim.wiener import wiener

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from torch import nn

    from napari_physgen.backend import Command, Job
    from napari_physgen.sim.forward import SimOperator
    from napari_physgen.sim.scene import Scene
    from napari_physgen.sim.settings import SimSettings
    from napari_physgen.sim.stacks import Sink
    from napari_physgen.sim.variational import Solution

    Frames = NDArray[np.float32]

R = TypeVar("R")


def reconstruct(
    raw: ArrayLike,
    settings: SimSettings,
    patterns: Patterns | ArrayLike | None = None,
    otf: Otf | ArrayLike | str | Path | None = None,
    *,
    axes: Sequence[str] = (),
    sink: Sink = in_memory,
) -> Job[Reconstruction]:
    """Reconstruct one raw SIM stack or a series of them (a job).

    Parameters
    ----------
    raw : array
        (frame, y, x) or (angle, phase, y, x), any real number type; with further axes in front,
        or several times as many frames, a series (see `sim.series`). A series may be a lazy array;
        it is read one stack at a time. Any of the settings' frame orders; with "auto" the order is
        found (`sim.frame_order`).
    settings : SimSettings
    patterns : Patterns or array, optional
        An estimate for these frames, or the known illumination as frames (frame, y, x) on the
        grid of the result or of the raw frames, in the order of `raw`; default: estimated.
    otf : Otf, array or path, optional
        Measured detection OTF or PSF, see `detection_otf`; default ``settings.otf``, else the
        ideal one with fitted damping.
    axes : sequence of str, optional
        Names of the axes in front: "t", "z", "c" (channels have patterns of their own).
    sink : callable, optional
        Makes the arrays that the images of a series are put into; default: in memory.

    Returns
    -------
    Reconstruction
        Of a series a `Series`.

    Raises
    ------
    UserError
        If stack, patterns or OTF cannot be used; says why and what to do.
    """
    from napari_physgen.sim.series import reconstruct_series  # it builds on this module

    if patterns is None and settings.pattern == "given":
        patterns = read_illumination(settings)
    settings, order, stopped = laid_out(settings, raw, patterns), "", False
    if patterns is None:
        job = overheard(settled(raw, settings), settings)
        (found, order), settings, stopped = yield from job
        settings = settings.model_copy(update={"order": found.order})
    stacks = Stacks.of(raw, settings, axes)
    result: Reconstruction
    if stacks is None:
        if stopped:
            settings = settings.model_copy(update={"method": "wiener"})
        result = yield from reconstruct_stack(raw, settings, patterns, otf)
    else:
        result = yield from reconstruct_series(stacks, settings, patterns, otf, sink, stopped)
    return replace(result, summary=f"{result.summary} {order}".strip())


def reconstruct_stack(
    raw: ArrayLike,
    settings: SimSettings,
    patterns: Patterns | ArrayLike | None = None,
    otf: Otf | ArrayLike | str | Path | None = None,
    warm: Warm | None = None,
) -> Job[Reconstruction]:
    """Reconstruct one raw SIM stack (a job).

    Parameters
    ----------
    raw : array
        (frame, y, x) or (angle, phase, y, x), any real number type.
    settings : SimSettings
    patterns, otf
        As in `reconstruct`.
    warm : Warm, optional
        What a similar stack left (`Reconstruction.warm`): a few iterations are enough then.

    Returns
    -------
    Reconstruction

    Raises
    ------
    UserError
        If stack, patterns or OTF cannot be used; says why and what to do.
    """
    ready = yield from prepare(raw, settings, patterns, otf)
    case, stopped = ready.case, ready.stopped
    settings, illumination = case.settings, case.illumination
    quick = None
    if isinstance(illumination, Patterns):
        quick = wiener(case.signal, illumination, case.otf, settings, case.camera)
        shown = overheard(_shown(quick, settings.zoom), settings)
        _, settings, stopped_now = yield from shown
        if stopped or stopped_now:
            settings = settings.model_copy(update={"method": "wiener"})
        case = replace(case, settings=settings)
    device = resolve_device("cpu" if settings.method == "wiener" else settings.device)

    def start(place: torch.device, size: int) -> Job[Reconstruction]:
        if size >= max(case.shape):
            return _solve(case, quick, place, warm)
        return solve_tiles(case, quick, place, size, _solve)

    size = tile_size(case.shape, settings)
    result = yield from with_memory_fallback(start, device, size)
    return replace(result, summary=f"{result.summary} {ready.notes}".strip())


@dataclass(frozen=True)
class Prepared:
    """A stack ready to be reconstructed, what is doubtful about it, and whether to stop."""

    case: Case
    notes: str
    stopped: bool


def prepare(
    raw: ArrayLike,
    settings: SimSettings,
    patterns: Patterns | ArrayLike | None = None,
    otf: Otf | ArrayLike | str | Path | None = None,
    light: Frames | None = None,
) -> Job[Prepared]:
    """Parse what `reconstruct` is given, and find the patterns where they are not (a job).

    The light that a result keeps, (frame, y, x) with the angle slowest, may be given instead of
    patterns; unknown speckle is known then.
    """
    settings = laid_out(settings, raw)
    stack = ingest(raw, settings)
    measured = detection_otf(settings, stack.shape, otf)
    stopped = False
    if light is not None:
        settings = settings.model_copy(update={"pattern": "given"})
        patterns = light
    if patterns is None and settings.pattern == "given":
        patterns = read_illumination(settings)
    if settings.pattern == "speckle":
        patterns = flat_light(settings, stack.shape)
    if patterns is None:
        job = overheard(estimate_patterns(raw, settings, measured), settings)
        patterns, settings, stopped = yield from job
    if isinstance(patterns, Patterns):
        check_patterns(patterns, settings)
        order = patterns.order
        illumination: Patterns | Frames = patterns
        damping = patterns.otf_damping
    else:
        order = "angle-phase" if stack.order == "auto" else stack.order
        written = order if light is None else "angle-phase"
        illumination = known_illumination(patterns, stack.shape, written, settings)
        damping = None
    camera = stack.camera(settings)
    case = Case(
        stack.by_angle(order),
        illumination,
        measured or Otf.ideal(settings.na, settings.wavelength_nm, damping or TYPICAL_DAMPING),
        camera,
        settings,
    )
    return Prepared(case, " ".join(stack.warnings), stopped)


def overheard(job: Job[R], settings: SimSettings) -> Job[tuple[R, SimSettings, bool]]:
    """Run a short job to its end; return its result, the settings as tuned, and whether to stop."""
    heard: list[Command] = []
    result = yield from relayed(job, hear=heard.append)
    for command in heard:
        if isinstance(command, Tune):
            settings = settings.tuned(**command.changes)
    return result, settings, Stop() in heard


def _shown(quick: Frames, zoom: int) -> Job[None]:
    """Show the Wiener image."""
    yield Progress(1, 1, "Wiener", preview=lambda: image_preview(torch.from_numpy(quick), zoom))


def _solve(
    case: Case, quick: Frames | None, device: torch.device, warm: Warm | None = None
) -> Job[Reconstruction]:
    """Run the stages that the method asks for, on one device."""
    settings = case.settings
    if settings.method == "trained":
        found = yield from infer(case, load_trained(settings.model), device)
        finish = Finish(case, quick, found.view.operator, found.view.measurement)
        return finish(found.rho, found.std, "trained", found.words)
    operator = case.operator(device)
    measurement = Measurement.of(case.frames, case.camera, settings.seed, device)
    finish = Finish(case, quick, operator, measurement)
    if settings.method == "wiener":
        if quick is None:
            raise UserError(
                "The Wiener image needs sinusoidal patterns: choose the method 'variational' or "
                "'pinn' for known illumination frames."
            )
        rho = operator.canvas.pad(torch.from_numpy(quick), settings.zoom).to(device)
        return finish(rho, None, "wiener", "Wiener image, without noise model or positivity.")
    if settings.method == "paper":
        rho = yield from train_paper_network(operator, measurement, settings)
        return finish(rho, None, "paper", "Network of Burns & Liu 2023, trained from scratch.")
    scene, solution = yield from _explain(case, operator, measurement, warm)
    rho = scene.rho()
    networks: Sequence[nn.Module] = warm.networks if warm else ()
    finish = replace(finish, operator=scene.operator, warm=Warm.of(scene, solution, networks))
    told = f"held-out misfit {solution.chi2:.3f} (1 = noise)"
    if settings.method == "variational" or settings.pattern == "speckle" or solution.stopped:
        early = "stopped early, " if solution.stopped else ""
        std = None
        if settings.uncertainty and not solution.stopped:
            std = yield from spread(scene, measurement, solution.regularisation, settings)
        return finish(rho, std, "variational", f"Variational image: {early}{told}.")
    refined = yield from refine(scene, measurement, solution, settings, networks)
    if refined is None:
        return finish(rho, None, "variational", f"Variational image, no network: stopped, {told}.")
    finish = replace(finish, warm=Warm.of(scene, solution, refined.networks))
    kept, words = verdict(solution.chi2, refined.chi2)
    if kept:
        return finish(refined.rho, refined.std, "pinn", words)
    return finish(rho, refined.std, "variational", words)


def _explain(
    case: Case, operator: SimOperator, measurement: Measurement, warm: Warm | None
) -> Job[tuple[Scene, Solution]]:
    """Solve the variational image, in few iterations if a similar stack was solved before."""
    if warm is not None:
        scene, solution = yield from follow(case, operator, measurement, warm)
        if solution.stopped or not warm.lost(solution.chi2, measurement):
            return scene, solution
        operator = case.operator(scene.u.device)
    if isinstance(operator, SpeckleOperator):
        return (yield from solve_speckle(operator, measurement, case.settings))
    scene = first_guess(operator, measurement)
    return scene, (yield from solve(scene, measurement, case.settings))
