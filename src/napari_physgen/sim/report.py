"""The quality report: everything that can be checked about a stack, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.backend.job import Progress, portion
from napari_physgen.metrics.decorrelation import decorrelation
from napari_physgen.outputs import Output
from napari_physgen.sim import _report_artefacts as artefacts
from napari_physgen.sim import _report_patterns as light
from napari_physgen.sim import _report_raw as raw_checks
from napari_physgen.sim import _report_residual as residual
from napari_physgen.sim import _report_resolution as resolution
from napari_physgen.sim._report_figures import (
    angles_in_colours,
    brightness_curve,
    decorrelation_curve,
    lag_picture,
    log_power,
    ring_curve,
)
from napari_physgen.sim._report_results import Picture, QualityReport
from napari_physgen.sim.frame_order import settled
from napari_physgen.sim.ingest import saturated_share
from napari_physgen.sim.reconstruct import prepare
from napari_physgen.sim.results import Patterns
from napari_physgen.sim.wiener import Bands

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.backend import Job
    from napari_physgen.physics.optics import Otf
    from napari_physgen.sim._report_check import Check
    from napari_physgen.sim._report_results import Curve
    from napari_physgen.sim.case import Case
    from napari_physgen.sim.results import Reconstruction
    from napari_physgen.sim.settings import SimSettings

    Real = NDArray[np.float64]

SEARCH, RAW, HALVES = 0.35, 0.5, 0.9
"""Where the parts of the job end, of 1."""


def check(
    raw: ArrayLike,
    settings: SimSettings,
    patterns: Patterns | ArrayLike | None = None,
    result: Reconstruction | None = None,
    otf: Otf | ArrayLike | str | Path | None = None,
) -> Job[QualityReport]:
    """Check a raw SIM stack, and its reconstruction if there is one (a job).

    Parameters
    ----------
    raw : array
        (frame, y, x) or (angle, phase, y, x), as for `reconstruct`.
    settings : SimSettings
        Those of the reconstruction.
    patterns : Patterns or array, optional
        As for `reconstruct`; default those of `result`, else they are estimated.
    result : Reconstruction, optional
        Of these frames; without one, only the raw frames are checked.
    otf : Otf, array or path, optional
        As for `reconstruct`.

    Returns
    -------
    QualityReport

    Raises
    ------
    UserError
        If stack, patterns or OTF cannot be used.
    """
    given, kept = patterns, None
    if patterns is None:
        settings, _ = yield from portion(settled(raw, settings), 0, 0)
        found = None if result is None else result.patterns
        if isinstance(found, Patterns):
            given = found
        else:
            kept = found
    ready = yield from portion(prepare(raw, settings, given, otf, kept), 0, SEARCH)
    case = ready.case
    book = _Book(case)
    yield _progress(SEARCH, "checking the raw frames")
    book.raw_frames(np.asarray(raw))
    if isinstance(case.illumination, Patterns):
        yield _progress(SEARCH + 0.03, "checking the patterns")
        book.illumination(case.illumination, estimated=given is None)
    if result is not None:
        yield _progress(RAW, "comparing the image with the frames")
        book.unexplained(result)
        job = resolution.ring_correlation(case)
        rings, method = yield from portion(job, RAW, HALVES)
        yield _progress(HALVES, "measuring the resolution")
        book.detail(result, rings, method)
        book.image(result)
    return book.closed()


def _progress(share: float, message: str) -> Progress:
    return Progress(round(1000 * share), 1000, message)


class _Book:
    """Collects checks, pictures and curves of one stack."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.checks: list[Check] = []
        self.maps: list[Output] = []
        self.pictures: list[Picture] = []
        self.curves: list[Curve] = []
        settings = case.settings
        self.cutoff_px = settings.cutoff * settings.pixel_size_nm / 1000
        waves = case.illumination
        known = waves.waves.wavevectors if isinstance(waves, Patterns) else np.zeros((1, 1, 2))
        finest = float(np.linalg.norm(known, axis=-1).max())
        # Known frames are taken to be as fine as the objective can make them.
        self.reach = resolution.Reach.of(
            settings.cutoff, finest if isinstance(waves, Patterns) else settings.cutoff
        )
        self.sample = light.features(case.signal.mean((0, 1)))
        self.shift: Real | None = None

    def raw_frames(self, raw: NDArray[np.generic]) -> None:
        """Check what needs no patterns, or only their phases."""
        case, patterns = self.case, self.case.illumination
        angles, phases = case.frames.shape[:2]
        means = case.signal.mean((2, 3)).astype(float)
        angle_of = np.repeat(np.arange(angles), phases)
        in_time = means.ravel()
        if isinstance(patterns, Patterns) and patterns.order == "phase-angle":
            angle_of, in_time = np.tile(np.arange(angles), phases), means.T.ravel()
        self.checks.append(raw_checks.saturation(saturated_share(raw)))
        if (means > 0).all():
            self.checks += raw_checks.brightness(in_time, angle_of)
            self.curves.append(
                brightness_curve(in_time, angle_of, raw_checks.decay(in_time, angle_of)[1])
            )
        self.checks.append(raw_checks.background(case.signal.mean((0, 1)), self.cutoff_px))
        images = case.signal.mean(1)
        if isinstance(patterns, Patterns):
            bands = (Bands.separate(f, patterns, a) for a, f in enumerate(case.signal))
            images = np.stack([band.centre for band in bands])
            variance = case.camera.variance(case.frames.mean((1, 2, 3))) / phases
            shift, error = raw_checks.shifts(images, variance, self.cutoff_px)
            pixel = case.settings.pixel_size_nm
            self.checks.append(raw_checks.motion(shift, error, pixel, self.reach.finest_nm))
            self.shift = shift - shift.mean(0)
        self.pictures += [
            Picture("widefield", "Mean of the frames.", case.signal.mean((0, 1))),
            angles_in_colours(images),
        ]

    def illumination(self, patterns: Patterns, estimated: bool) -> None:
        """Check the patterns, their contrast and the OTF."""
        case = self.case
        values = light.contrast(case, patterns)
        contrast = light.modulation_contrast(values, self.sample)
        clear = contrast.value > light.DIM
        self.checks += [light.peaks(patterns), light.modulation(patterns), contrast]
        if not estimated:
            self.checks.append(light.agreement(case, patterns, clear))
        self.checks.append(light.otf_agreement(case, patterns, clear))
        blocks = light.blocks(values.mean(0))
        self.maps.append(
            Output(
                "modulation contrast",
                blocks,
                zoom=1 / light.BLOCK,
                display={"colormap": "viridis", "contrast_limits": (0.0, 12.0), "visible": False},
            )
        )
        self.pictures += [
            Picture(
                "modulation contrast",
                "Pattern over noise: 1 is noise, 4 and more is good.",
                blocks,
                "viridis",
                (0.0, 12.0),
                bar=True,
            ),
            Picture(
                "spectrum of the frames",
                "Differences between the phases; spots are the patterns.",
                log_power(case.frames),
                "magma",
            ),
        ]

    def unexplained(self, result: Reconstruction) -> None:
        """Check what the image does not explain."""
        self.checks.append(residual.misfit(result))
        if result.stage in ("wiener", "paper"):
            return
        rest = residual.leftover(self.case, result, self.shift)
        judged, white = residual.judge_residual(rest)
        self.checks.append(judged)
        limits = (0.0, 3.0)
        beside = (0.0, 1.1 * result.residual.shape[1])
        self.maps += [
            Output(
                "residual",
                result.residual,
                display={"colormap": "viridis", "contrast_limits": limits, "visible": False},
            ),
            Output(
                "residual autocorrelation",
                np.asarray(white.autocorrelation, np.float32),
                offset=beside,
                display={
                    "colormap": "gray",
                    "contrast_limits": (-0.3, 0.3),
                    "visible": False,
                },
                export=False,
            ),
        ]
        self.pictures += [
            Picture(
                "residual",
                "Root mean square of measured minus predicted over the noise; 1 is noise.",
                result.residual,
                "viridis",
                limits,
                bar=True,
            ),
            lag_picture(white),
        ]

    def detail(
        self, result: Reconstruction, rings: resolution.RingCorrelation, method: str
    ) -> None:
        """Check how fine the detail is."""
        pixel = self.case.settings.pixel_size_nm / result.zoom
        found = decorrelation(result.image, pixel)
        self.checks += [
            resolution.judge_rings(rings, method, self.reach),
            resolution.judge_decorrelation(found, rings, self.reach),
        ]
        self.curves += [
            ring_curve(rings, self.reach),
            decorrelation_curve(found, self.reach),
        ]

    def image(self, result: Reconstruction) -> None:
        """Check the image itself."""
        patterns = self.case.illumination
        pixel_um = self.case.settings.pixel_size_nm / result.zoom / 1000
        zoom = round(result.zoom)
        if isinstance(patterns, Patterns):
            limit = 1000 / self.reach.finest_nm
            self.checks.append(artefacts.stripes(result.image, patterns, pixel_um, limit))
        if result.wiener is not None:
            self.checks.append(artefacts.extremes(result.wiener))
        if result.std is not None:
            sample = np.kron(self.sample, np.ones((zoom, zoom), bool))
            self.checks.append(artefacts.spread(result.image, result.std, sample))
        self.pictures += [
            Picture(f"{result.stage} image", "The result.", result.image),
            Picture(
                "spectrum of the image",
                "Sharp spots are stripes of the pattern.",
                log_power(result.image[None, None]),
                "magma",
            ),
        ]

    def closed(self) -> QualityReport:
        """Return the report."""
        case, settings = self.case, self.case.settings
        camera = case.camera
        photons = case.signal.mean() / camera.gain if camera.gain > 0 else float("nan")
        facts = {
            "Microscope": f"NA {settings.na:g}, emission {settings.wavelength_nm:g} nm, pixel "
            f"{settings.pixel_size_nm:g} nm",
            "Frames": f"{settings.angles} angles x {settings.phases} phases of "
            f"{case.shape[0]} x {case.shape[1]} pixels",
            "Camera": f"offset {camera.offset:.0f}, {camera.gain:.2g} grey levels per photon, read "
            f"noise {camera.read_noise:.1f} grey levels; about {photons:.0f} photons per pixel and "
            "frame",
            "Finest period": f"{self.reach.lens_nm:.0f} nm by the lens, {self.reach.finest_nm:.0f} "
            "nm with the pattern",
        }
        if isinstance(case.illumination, Patterns):
            facts["Patterns"] = case.illumination.summary
        return QualityReport(
            tuple(self.checks), facts, tuple(self.maps), tuple(self.pictures), tuple(self.curves)
        )
