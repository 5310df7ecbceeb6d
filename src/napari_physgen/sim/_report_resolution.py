"""How fine the detail is: Fourier ring correlation and decorrelation analysis.

Neither can tell detail from an artefact that comes with it every time, and an image that was made
non-negative or smooth may hold frequencies that nobody measured. What is claimed therefore ends at
cutoff + |k|, the finest that the pattern brings within reach of the lens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.backend.job import portion
from napari_physgen.metrics.image import fourier_ring_correlation
from napari_physgen.sim._report_check import Check, Scale, advised
from napari_physgen.sim.reconstruct import reconstruct_stack
from napari_physgen.sim.results import Patterns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.backend import Job
    from napari_physgen.metrics.decorrelation import Decorrelation
    from napari_physgen.metrics.image import RingCorrelation
    from napari_physgen.physics.noise import Camera
    from napari_physgen.sim.case import Case

    Frames = NDArray[np.float32]

FEW = 120
"""Iterations for each half where there is no Wiener image."""

NAMES = {"wiener": "Wiener", "variational": "variational"}

TRUSTED = 0.85
"""Share of the resolution by ring correlation below which that by decorrelation is not believed: it
is 0.97-1.05 at 50 and more photons per pixel, and 0.65-0.85 at 5 to 10, where noise shaped by the
Wiener filter looks like detail."""


@dataclass(frozen=True)
class Reach:
    """Finest periods, nm: of the lens, and of lens and pattern together."""

    lens_nm: float
    finest_nm: float

    @classmethod
    def of(cls, cutoff: float, pattern: float) -> Reach:
        """Return them for frequencies in 1/um."""
        return cls(1000 / cutoff, 1000 / (cutoff + pattern))

    def capped(self, resolution_nm: float) -> float:
        """Return a resolution that is not finer than what can be measured."""
        return max(resolution_nm, self.finest_nm)

    @property
    def scale(self) -> Scale:
        """Good: half of the way from the lens to the finest; poor: no finer than the lens."""
        return Scale(round((self.lens_nm + self.finest_nm) / 2), round(self.lens_nm), "nm")


def halves(signal: Frames, camera: Camera, seed: int) -> tuple[Frames, Frames]:
    """Split frames into two with half of the light and independent noise, which add up to them.

    Binomial thinning: each photon goes to one of the two by chance. Read noise cannot be divided;
    what both would share of it is taken apart by adding and subtracting as much noise again.

    Parameters
    ----------
    signal : numpy.ndarray
        Grey levels above the offset.
    camera : Camera
    seed : int
    """
    rng = np.random.default_rng(seed)
    extra = camera.read_noise / 2 * rng.standard_normal(signal.shape)
    if camera.gain > 0:
        photons = np.maximum(np.rint(signal / camera.gain), 0).astype(np.int64)
        extra += camera.gain * (rng.binomial(photons, 0.5) - photons / 2)
    first = (signal / 2 + extra).astype(np.float32)
    return first, np.asarray(signal - first, np.float32)


def ring_correlation(case: Case) -> Job[tuple[RingCorrelation, str]]:
    """Reconstruct both halves alike (a job); return the correlation and the method used.

    The Wiener image where there is one: it is linear, so what the halves share is in the frames.
    """
    light = case.illumination
    waves = isinstance(light, Patterns)
    changes = {
        "method": "wiener" if waves else "variational",
        "camera_offset": 0.0,
        "camera_gain": case.camera.gain or None,
        "order": "angle-phase",
        "otf": None,
        "iterations": min(case.settings.iterations, FEW),
    }
    settings = case.settings.model_copy(update=changes)
    # The frames of a case are sorted by angle.
    known = (
        replace(light, order="angle-phase", figures=()) if isinstance(light, Patterns) else light
    )
    images = []
    for number, half in enumerate(halves(case.signal, case.camera, settings.seed)):
        frames = half.reshape(-1, *half.shape[2:])
        job = reconstruct_stack(frames, settings, known, case.otf)
        result = yield from portion(job, number / 2, (number + 1) / 2)
        images.append(result.image)
    pixel = settings.pixel_size_nm / settings.zoom
    return fourier_ring_correlation(images[0], images[1], pixel), settings.method


def judge_rings(curve: RingCorrelation, method: str, reach: Reach) -> Check:
    """Judge where two halves of the light stop to agree."""
    found = reach.capped(curve.resolution)
    verdict = reach.scale.verdict(found)
    ends = (
        f"finer than {reach.finest_nm:.0f} nm nothing is measured"
        if curve.resolution <= reach.finest_nm
        else f"the finest possible here is {reach.finest_nm:.0f} nm"
    )
    size = f"{found:.0f} nm" if np.isfinite(found) else "nowhere"
    words = (
        f"Two {NAMES[method]} images with half of the light each agree down to {size} "
        f"(ring correlation 1/7; {ends}). With all of the light it is a little finer."
    )
    return Check(
        "resolution, ring correlation",
        found if np.isfinite(found) else float("nan"),
        "nm",
        verdict if np.isfinite(found) else "poor",
        words,
        advised(
            verdict,
            "More light or more modulation: noise hides the fine detail. Where it is no finer than "
            f"{reach.lens_nm:.0f} nm, structured illumination has brought nothing.",
        ),
        reach.scale.words,
        after=True,
    )


def judge_decorrelation(found: Decorrelation, rings: RingCorrelation, reach: Reach) -> Check:
    """Judge the decorrelation analysis of the image that is shown."""
    value = reach.capped(found.resolution)
    verdict = reach.scale.verdict(value)
    words = f"Decorrelation analysis of the image itself: {value:.0f} nm."
    if not np.isfinite(value):
        verdict, words = "unknown", "The curves have no maximum: there is only noise, or no noise."
    elif value < TRUSTED * reach.capped(rings.resolution):
        verdict = "unknown" if verdict == "good" else verdict
        words = (
            f"{words} The halves do not agree on detail that fine: filtered noise and a smooth, "
            "positive image have a sharp cutoff too. Trust the ring correlation."
        )
    elif found.resolution < reach.finest_nm:
        words = f"{words} What seems finer comes from positivity and is not measured."
    return Check(
        "resolution, decorrelation",
        value if np.isfinite(value) else float("nan"),
        "nm",
        verdict,
        words,
        advised(verdict, "See the ring correlation."),
        reach.scale.words,
        after=True,
    )
