"""Look like my image: settings of a simulation whose statistics match those of micrographs.

The two phases are found in the micrographs (`_match_images`), measured (`_match_statistics`), and
simulations are searched for that come close (`_match_search`).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.backend import Command, Progress, Stop
from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import REACH
from napari_physgen.outputs import Output
from napari_physgen.synthesis._match_families import SQUARE, STRETCHED
from napari_physgen.synthesis._match_images import find_phases
from napari_physgen.synthesis._match_search import Search
from napari_physgen.synthesis._match_statistics import Statistics, curves, statistics
from napari_physgen.synthesis.calibration_settings import CalibrationSettings
from napari_physgen.synthesis.presets import presets
from napari_physgen.synthesis.settings import PhaseFieldSettings
from napari_physgen.synthesis.simulate import simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.backend import Job
    from napari_physgen.synthesis.results import Microstructure

    Real = NDArray[np.float64]
    Mask = NDArray[np.bool_]

DEFAULT = "gamma_prime"


@dataclass(frozen=True)
class Calibration:
    """Settings that make structures like those in the images.

    Parameters
    ----------
    settings : PhaseFieldSettings
        Ready for `simulate`; one cell is `pixel_size_nm` large, in nm, or in image pixels if the
        images have no scale.
    summary : str
    metrics : mapping
        Of image and simulation: fraction, length, directions (deg) with their strengths, spread of
        the particle sizes; distance, default_distance (if known), trials.
    distance, default_distance : float
        Of the two-point correlations, see `Statistics.distance`; of the preset "gamma_prime" as it
        is (NaN if the job was stopped before).
    curves : mapping
        "spectrum" and "correlation": (x, image, simulation), x in 1 / unit and unit.
    simulated : Microstructure
        What the settings give.
    phases : tuple of numpy.ndarray
        (y, x) uint8 per image: 0 matrix, 1 particles, as found or given.
    unit : str
        Of all lengths: "nm", or "px" if the images have no scale.
    zoom : float
        Cells per pixel of the first image.
    device : str
    """

    settings: PhaseFieldSettings
    summary: str
    metrics: Mapping[str, float]
    distance: float
    default_distance: float
    curves: Mapping[str, tuple[Real, Real, Real]]
    simulated: Microstructure
    phases: tuple[NDArray[np.uint8], ...]
    unit: str
    zoom: float
    device: str = ""

    def outputs(self) -> list[Output]:
        """Return the simulation at the scale of the first image, and the phases found there."""
        simulated, masks = self.simulated, self.phases[0]
        return [
            Output("simulated", simulated.field, zoom=self.zoom),
            Output("simulated labels", simulated.labels, kind="labels", zoom=self.zoom),
            Output("phases", masks, kind="labels", display={"opacity": 0.4}),
        ]


def calibrate(
    images: Sequence[NDArray[np.generic]] | NDArray[np.generic],
    labels: Sequence[NDArray[np.generic] | None] | NDArray[np.generic] | None = None,
    *,
    pixel_size_nm: float | Sequence[float] | None = None,
    settings: CalibrationSettings | None = None,
) -> Job[Calibration]:
    """Find settings whose simulations look like the images.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        Micrographs (y, x) of one material, any grey levels; or a single one.
    labels : sequence of numpy.ndarray, optional
        One (y, x) per image, or None for those without: full masks (0 matrix, 1 particles) or
        strokes of the brush (0 unlabelled, 1 matrix, 2 particles). Without any, the phases are
        found by their edges, and which one is the particles is a guess.
    pixel_size_nm : float or sequence of float, optional
        Of all images or of each one; None: no scale, lengths are in pixels.
    settings : CalibrationSettings, optional

    Returns
    -------
    generator
        A job. Reports the distance of the correlations ("distance"); its preview is the best
        simulation so far. `Stop` keeps that.

    Raises
    ------
    UserError
        If an image is flat, too small, without structure or shows too few particles; if labels
        have another shape or are all of one class; if no simulation comes near.
    """
    settings = settings or CalibrationSettings()
    pictures = [images] if isinstance(images, np.ndarray) else [np.asarray(i) for i in images]
    marks = [labels] if isinstance(labels, np.ndarray) else labels
    pixels, unit = _pixels(pixel_size_nm, len(pictures))
    phases, how = yield from find_phases(pictures, marks, settings)
    target = statistics(phases, pixels)
    search = Search(target, settings)
    best = yield from search.run()
    simulated = best.picture
    if not search.stopped:
        final = PhaseFieldSettings.parse(best.settings.model_dump())
        simulated, search.stopped = yield from _again(final, best.picture)
    found = _measured(simulated.labels, best.settings.pixel_size_nm, target)
    distance = target.distance(found)
    default = float("nan")
    if not search.stopped:
        default = yield from _default_distance(target, settings, unit)
    metrics = _metrics(target, found, unit) | {
        "distance": distance,
        "trials": float(search.count),
    }
    if np.isfinite(default):
        metrics["default_distance"] = default
    return Calibration(
        settings=simulated.settings,
        summary=_summary(simulated.settings, metrics, how, unit),
        metrics=metrics,
        distance=distance,
        default_distance=default,
        curves=curves(target, found),
        simulated=simulated,
        phases=tuple(phase.astype(np.uint8) for phase in phases),
        unit=unit,
        zoom=pixels[0] / simulated.settings.pixel_size_nm,
        device=simulated.device,
    )


def _pixels(pixel_size_nm: float | Sequence[float] | None, count: int) -> tuple[list[float], str]:
    """Return the pixel sizes and their unit."""
    if pixel_size_nm is None:
        return [1.0] * count, "px"
    sizes = [pixel_size_nm] * count if isinstance(pixel_size_nm, int | float) else [*pixel_size_nm]
    if len(sizes) != count or not all(0 < size < np.inf for size in sizes):
        raise UserError(f"Give one pixel size above 0 nm, or one for each of the {count} images.")
    return [float(size) for size in sizes], "nm"


def _again(
    settings: PhaseFieldSettings, otherwise: Microstructure
) -> Generator[Progress, Command | None, tuple[Microstructure, bool]]:
    """Simulate what the settings give, and whether `Stop` came first (then `otherwise`)."""
    job = simulate(settings)
    try:
        progress = next(job)
        while True:
            if isinstance((yield progress), Stop):
                job.close()
                return otherwise, True
            progress = job.send(None)
    except StopIteration as end:
        return end.value, False


def _default_distance(
    target: Statistics, settings: CalibrationSettings, unit: str
) -> Generator[Progress, Command | None, float]:
    """Return the distance of the default preset as it is: its own cells, or one cell per pixel."""
    yield Progress(0, 1, "comparing with the default preset")
    default = presets[DEFAULT]
    cell = default.pixel_size_nm if unit == "nm" else 1.0
    labels = _default_labels(settings.size, settings.device)
    return target.distance(_measured(labels, cell, target))


def _measured(labels: NDArray[np.generic], cell: float, target: Statistics) -> Statistics:
    """Return the statistics of a simulation, up to the lags compared with the target."""
    phase = np.not_equal(labels, 0)
    return statistics([phase], [cell], periodic=True, reach=REACH * target.length)


@lru_cache(maxsize=4)
def _default_labels(size: int, device: str) -> NDArray[np.uint8]:
    from napari_physgen.backend import run

    changes = {"size": size, "device": device}
    labels = run(simulate(presets[DEFAULT].model_copy(update=changes))).labels
    return np.asarray(labels, np.uint8)


def _metrics(target: Statistics, found: Statistics, unit: str) -> dict[str, float]:
    """Return the figures of image and simulation by name."""
    figures: dict[str, float] = {}
    for prefix, s in (("", target), ("simulated_", found)):
        figures |= {
            f"{prefix}fraction": s.fraction,
            f"{prefix}length_{unit}": s.length,
            f"{prefix}stretched_deg": s.stretched.angle_deg,
            f"{prefix}stretched": s.stretched.strength,
            f"{prefix}cubes_deg": s.cubes.angle_deg,
            f"{prefix}cubes": s.cubes.strength,
            f"{prefix}size_spread": s.spread,
        }
    return figures


def _summary(
    settings: PhaseFieldSettings, metrics: Mapping[str, float], how: str, unit: str
) -> str:
    shape = []
    if metrics["stretched"] > STRETCHED:
        shape.append(f"stretched along {metrics['stretched_deg']:.0f} deg")
    if metrics["cubes"] > SQUARE:
        shape.append(f"edges along {metrics['cubes_deg']:.0f} deg")
    image = (
        f"Image: {100 * metrics['fraction']:.0f} % second phase ({how}), length scale "
        f"{metrics[f'length_{unit}']:.4g} {unit}{''.join(', ' + words for words in shape)}."
    )
    simulation = (
        f"Simulation: {settings.material}, misfit stress {settings.elastic_strength:.2g}, until "
        f"time {settings.duration:.4g}, 1 cell = {settings.pixel_size_nm:.4g} {unit}: "
        f"{100 * metrics['simulated_fraction']:.0f} %, {metrics[f'simulated_length_{unit}']:.4g} "
        f"{unit}; distance of the correlations {metrics['distance']:.3f}"
    )
    if "default_distance" in metrics:
        simulation += f" (default preset {metrics['default_distance']:.3f})"
    if unit == "px":
        simulation += "; without a scale, a cell's nm are image pixels"
    return f"{image} {simulation}."
