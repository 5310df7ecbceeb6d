"""Patterns of a series: estimated once, and how each stack departs from them.

The grating or modulator fixes the wavevectors. What changes from stack to stack is the light of
the frames (bleaching, lamp) and, with stages and fibres that drift, the phases. New phases of an
angle are taken only if they raise the likelihood of its frames by more than Schwarz's criterion
asks for as many numbers (Ann. Stat. 6, 461, 1978).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from napari_physgen.backend.job import Progress, Stop, relayed
from napari_physgen.errors import UserError
from napari_physgen.physics.optics import TYPICAL_DAMPING, Otf
from napari_physgen.sim._bands import Field, equal_phases, overlap, turn_of
from napari_physgen.sim._whittle import MODEL_ERROR, Cost, statistics
from napari_physgen.sim.detection import detection_otf
from napari_physgen.sim.ingest import ingest
from napari_physgen.sim.patterns import estimate_patterns

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.backend import Command, Job
    from napari_physgen.sim._bands import Real
    from napari_physgen.sim.results import Patterns
    from napari_physgen.sim.settings import SimSettings
    from napari_physgen.sim.stacks import Stacks

    Given = Otf | ArrayLike | str | Path | None

BLURRED = 0.9
"""Modulation of the mean stack over that of the brightest, below which the phases have moved."""


def common_patterns(
    stacks: Stacks, places: list[tuple[int, ...]], settings: SimSettings, otf: Given
) -> Job[Patterns]:
    """Estimate what the stacks at `places` have in common (a job).

    On their mean, which has the least noise. If the verdict on it is not good or if phases that
    moved may have blurred it, on the brightest stack too, and the better one is taken. After a stop
    no further stack is read, and the mean of those that were is enough. Stacks that cannot be
    reconstructed (a closed shutter) are left out.

    Raises
    ------
    UserError
        If none can be, or if their patterns cannot be estimated.
    """
    total: Any = 0.0
    brightest, most = places[0], -np.inf
    used, refused = 0, None
    heard: list[Command | None] = []
    for number, place in enumerate(places):
        if used and Stop() in heard:
            break
        heard.append((yield Progress(number, len(places), "reading the series")))
        raw = stacks[place]
        try:
            ingest(raw, settings)
        except UserError as error:
            refused = refused or error
            continue
        frames = raw.astype(np.float32)
        total, used = total + frames, used + 1
        light = float(np.mean(frames))
        if light > most:
            brightest, most = place, light
    if refused is not None and not used:
        raise refused
    job = estimate_patterns(total / np.float32(used), settings, otf)
    mean = yield from relayed(job, hear=heard.append)
    if used == 1 or Stop() in heard:
        return mean
    single = yield from estimate_patterns(stacks[brightest], settings, otf)
    blurred = mean.modulation.mean() < BLURRED * single.modulation.mean()
    worse = _rank(single) < _rank(mean) or (_rank(single) == _rank(mean) and not blurred)
    return mean if worse else single


def _rank(patterns: Patterns) -> int:
    words = patterns.verdict.partition(":")[0]
    return ("failed", "usable", "good").index(words)


def followed(
    raw: NDArray[np.generic], common: Patterns, settings: SimSettings, otf: Given
) -> Patterns:
    """Return the patterns of one stack: those of the series with its own brightness and phases.

    Parameters
    ----------
    raw : numpy.ndarray
        One stack.
    common : Patterns
        Of the series.
    settings : SimSettings
    otf : Otf, array or path, optional
    """
    stack = ingest(raw, settings)
    camera = stack.camera(settings)
    frames = stack.by_angle(common.order).astype(float) - camera.offset
    brightness = frames.mean((2, 3))
    if brightness.min() <= 0:
        raise UserError("A frame has no light above the camera offset.")
    if common.overtones is not None:
        return replace(common, intensities=brightness / brightness.mean(), figures=())
    damping = common.otf_damping or TYPICAL_DAMPING
    ideal = Otf.ideal(settings.na, settings.wavelength_nm, damping)
    measured = detection_otf(settings, stack.shape, otf)
    field = Field(stack.shape, settings.pixel_size_nm / 1000, measured or ideal)
    phases, strengths = common.phases.copy(), np.ones_like(brightness)
    with threadpool_limits(1, user_api="blas"):
        for a, q in enumerate(common.wavevectors):
            even = frames[a] / brightness[a][:, None, None]
            phases[a], strengths[a] = _one_angle(even, field, q, phases[a], common.modulation[a])
    intensities = brightness * strengths / strengths.mean(1, keepdims=True)
    return replace(
        common,
        phases=np.angle(np.exp(1j * phases)),
        intensities=intensities / intensities.mean(),
        figures=(),
    )


def _one_angle(
    frames: Real, field: Field, q: Real, phases: Real, modulation: float
) -> tuple[Real, Real]:
    """Return phases and relative brightness (phase,) of frames (phase, y, x) of equal mean."""
    count = len(frames)
    frames = frames - frames.mean()
    sharp = field.sharpened(frames)
    spectra = scipy.fft.fft2(sharp)
    cut = overlap(sharp, spectra, field, q)
    stats = statistics(cut, field, spectra, q, field.sharpened_noise(frames))
    cost = Cost(stats, turn_of(phases) * equal_phases(count))
    x = np.concatenate([phases, np.zeros(count), [modulation, np.log(0.01)]])
    rest = [*[(-0.5, 0.5)] * count, (0.0, 1.3), tuple(np.log(MODEL_ERROR))]
    kept, moved = [(p, p) for p in phases], [(None, None)] * count
    old = minimize(cost, x, jac=True, method="L-BFGS-B", bounds=[*kept, *rest])
    new = minimize(cost, old.x, jac=True, method="L-BFGS-B", bounds=[*moved, *rest])
    enough = count / 2 * np.log(stats.count.sum())
    best = new.x if old.fun - new.fun > enough else old.x
    return best[:count], np.exp(best[count : 2 * count])
