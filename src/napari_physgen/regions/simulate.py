"""Scans whose regions are known: what a region map is measured with.

Eight samples: two crystal phases, rotated grains with an amorphous patch, ferroelectric variants
that differ only by the direction of a shift, piezoresponse domains, spectra of mixed compounds,
crystal against glass, diffraction patterns, and a single phase (in which no wall may be found). The
standard values of the settings give scans like those of the synthetic suite of the project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari_physgen.regions import _simulate_crystals as crystals
from napari_physgen.regions import _simulate_signals as signals
from napari_physgen.regions._simulate_stage import SimulatedScan, Stage
from napari_physgen.settings import Settings, setting

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SAMPLES", "SimulatedScan", "SimulatedScanSettings", "simulate_scan"]

Sample = Literal[
    "two-phase", "grains", "ferro", "pfm", "spectral", "amorphous", "diffraction", "single"
]
_MAKERS: dict[Sample, Callable[[Stage], SimulatedScan]] = {
    "two-phase": crystals.two_phase,
    "grains": crystals.grains,
    "ferro": crystals.ferro,
    "pfm": signals.pfm,
    "spectral": signals.spectral,
    "amorphous": crystals.amorphous,
    "diffraction": signals.diffraction,
    "single": crystals.single,
}
SAMPLES = tuple(_MAKERS)

_SIZES = {"spectral": 96, "diffraction": 48}  # px; all others 256
_DOSES = {
    "two-phase": 40.0,
    "grains": 25.0,
    "amorphous": 25.0,
    "spectral": 120.0,
    "diffraction": 100.0,
}


class SimulatedScanSettings(Settings):
    """Settings of a simulated scan."""

    sample: Sample = setting(
        "two-phase",
        title="Sample",
        description="What is in the scan: crystal phases, rotated grains, ferroelectric variants, "
        "piezoresponse domains, compounds with spectra, crystal and glass, grains with diffraction "
        "patterns, or a single phase.",
    )
    height: int | None = setting(
        None,
        title="Height",
        description="Rows of the scan; auto takes 256, 96 for spectra and 48 for diffraction.",
        unit="px",
        start=256,
        ge=16,
        le=8192,
    )
    width: int | None = setting(
        None,
        title="Width",
        description="Columns of the scan; auto takes the height.",
        unit="px",
        start=256,
        ge=16,
        le=8192,
    )
    dose: float | None = setting(
        None,
        title="Dose",
        description="Electrons per pixel where the brightness is 1, counts per spectrum or per "
        "pattern; auto takes a low one.",
        start=60.0,
        gt=0.0,
        le=1e7,
    )
    drift: float = setting(
        0.0,
        title="Drift",
        description="How far the sample moves along x from the first row to the last one.",
        unit="px",
        ge=-64.0,
        le=64.0,
    )
    row_jitter: float = setting(
        0.0,
        title="Row jitter",
        description="How far rows are displaced along x at random (standard deviation).",
        unit="px",
        ge=0.0,
        le=8.0,
    )
    mistilt: float = setting(
        0.2,
        title="Mistilt",
        description="Relative change of brightness across the scan, in a random direction.",
        ge=0.0,
        le=1.0,
    )
    disorder: float = setting(
        0.05,
        title="Disorder",
        description="How far atom columns are from their places in the lattice (standard "
        "deviation along each axis).",
        unit="px",
        ge=0.0,
        le=4.0,
        advanced=True,
    )
    seed: int = setting(0, title="Seed", description="Start of all random numbers.", ge=0)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the scan."""
        height = self.height or _SIZES.get(self.sample, 256)
        return height, self.width or height

    @property
    def counts(self) -> float:
        """Dose, the automatic one included."""
        return self.dose or _DOSES.get(self.sample, 60.0)


def simulate_scan(settings: SimulatedScanSettings) -> SimulatedScan:
    """Simulate a scan with known regions.

    Parameters
    ----------
    settings : SimulatedScanSettings

    Returns
    -------
    SimulatedScan
        The same settings give the same scan.
    """
    stage = Stage.of(settings, SAMPLES.index(settings.sample))
    return _MAKERS[settings.sample](stage)
