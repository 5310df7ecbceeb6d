"""Settings of the SIM tool: what the microscope is and how to reconstruct."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import field_validator, model_validator

from napari_physgen.settings import Settings, setting

Pattern = Literal["stripes", "three-beam", "hexagonal", "saturated", "given", "speckle"]

LAYOUT = {
    "stripes": (2, 3),
    "three-beam": (1, 5),
    "hexagonal": (1, 7),
    "saturated": (1, 5),
    "given": (1, 1),
    "speckle": (1, 1),
}
"""Fewest angles and phases for which each pattern can be told from the sample."""

Order = Literal[
    "auto",
    "angle-phase",
    "phase-angle",
    "angle-z-phase",
    "phase-z-angle",
    "angle-phase-z",
    "phase-angle-z",
    "widefield-angle-phase",
    "widefield-phase-angle",
    "angle-phase-widefield",
    "phase-angle-widefield",
    "montage-angle-phase",
    "montage-phase-angle",
]


class SimSettings(Settings):
    """Microscope, raw stack layout and reconstruction of one SIM acquisition."""

    na: float = setting(
        title="NA", description="Numerical aperture of the objective.", start=1.49, gt=0, le=1.7
    )
    wavelength_nm: float = setting(
        title="Emission",
        description="Emission wavelength (peak of the filter's pass band).",
        unit="nm",
        start=525.0,
        gt=0,
        le=2000,
    )
    pixel_size_nm: float = setting(
        title="Pixel",
        description="Camera pixel size in the sample plane.",
        unit="nm",
        start=65.0,
        gt=0,
        le=5000,
    )
    pattern: Pattern = setting(
        "stripes",
        title="Pattern",
        description="Light of one frame: stripes; three-beam: two orders per angle, 5 phases or "
        "more; hexagonal: one lattice, 7 phases or more; saturated: stripes whose light acts out "
        "of proportion, 5 phases or more; given: known frames; speckle: unknown random light in 50 "
        "frames or more (experimental).",
    )
    angles: int = setting(
        3, title="Angles", description="Number of pattern orientations.", ge=1, le=9
    )
    phases: int = setting(
        3, title="Phases", description="Number of pattern shifts per orientation.", ge=1, le=500
    )
    illumination: Path | None = setting(
        None,
        title="Illumination",
        description="TIFF or NPY file with the known light of each frame, on the pixels of the raw "
        "frames or of the result.",
        advanced=True,
        only={"pattern": ("given",)},
    )
    order: Order = setting(
        "auto",
        title="Frame order",
        description="What the frames run over, slowest first; auto: found from the frames.",
    )
    method: Literal["pinn", "variational", "trained", "wiener", "paper"] = setting(
        "pinn",
        title="Method",
        description="pinn: variational image refined by a network and kept only if it explains "
        "unseen pixels better; trained: a network that learned from other stacks, quick and best "
        "in little light; paper: the network of Burns & Liu 2023, for comparison.",
    )
    model: Path | None = setting(
        None,
        title="Model",
        description="File of the trained network (.safetensors); empty: the one that comes with "
        "the program, which knows simulated objects only.",
        only={"method": ("trained",)},
    )
    adaptation: int = setting(
        0,
        title="Adapt",
        description="Steps in which the trained network adapts to this stack, 20 to 50 are enough; "
        "0: it is used as it is.",
        only={"method": ("trained",)},
        ge=0,
        le=1000,
    )
    zoom: int = setting(
        2, title="Zoom", description="Result pixels per camera pixel.", unit="x", ge=1, le=4
    )
    excitation_nm: float | None = setting(
        None,
        title="Excitation",
        description="Laser wavelength; narrows the search for the pattern.",
        unit="nm",
        advanced=True,
        gt=0,
        le=2000,
    )
    excitation_na: float | None = setting(
        None,
        title="Excitation NA",
        description="Aperture used by the two beams; gives the pattern period in advance.",
        advanced=True,
        gt=0,
        le=1.7,
    )
    otf: Path | None = setting(
        None,
        title="Measured OTF",
        description="TIFF, MRC or fairSIM XML file with the measured OTF (radial or 2-D) or PSF; "
        "empty: ideal, damping fitted.",
        advanced=True,
    )
    otf_damping: float | None = setting(
        None,
        title="OTF damping",
        description="Value of the OTF relative to the ideal one at cutoff (1 = ideal); "
        "empty: fitted.",
        advanced=True,
        gt=0,
        le=1,
    )
    camera_offset: float | None = setting(
        None,
        title="Camera offset",
        description="Grey level without light; empty: estimated from the stack.",
        unit="grey levels",
        advanced=True,
    )
    camera_gain: float | None = setting(
        None,
        title="Camera gain",
        description="Grey levels per detected photon; empty: estimated from the stack.",
        advanced=True,
        gt=0,
    )
    wiener: float | None = setting(
        None,
        title="Wiener constant",
        description="Noise level of the quick image; "
        "empty: from the measured noise and the power of the object.",
        advanced=True,
        gt=0,
        le=10,
    )
    regularisation: float | None = setting(
        None,
        title="Smoothness",
        description="Weight of the curvature penalty; empty: chosen on camera pixels held out.",
        advanced=True,
        tunable=True,
        gt=0,
        le=100,
    )
    iterations: int = setting(
        310,
        title="Iterations",
        description="Iterations of the variational image; finding the smoothness may add some.",
        advanced=True,
        ge=10,
        le=5000,
    )
    network_steps: int | None = setting(
        None,
        title="Network steps",
        description="Training steps of each network; empty: 300, or the paper's 1000.",
        advanced=True,
        ge=10,
        le=20000,
    )
    members: int = setting(
        2,
        title="Networks",
        description="Independent networks; their spread is the standard deviation image.",
        advanced=True,
        ge=1,
        le=8,
    )
    uncertainty: bool = setting(
        False,
        title="Standard deviation",
        description="Also of the variational image, which then takes about twice as long; "
        "networks always give one.",
        advanced=True,
    )
    tile: int | None = setting(
        None,
        title="Tile",
        description="Frames larger than this are solved in overlapping tiles of this size; "
        "empty: whole up to 768, else tiles of 512, smaller where memory runs out.",
        unit="px",
        advanced=True,
        ge=96,
        le=16384,
    )
    seed: int = setting(0, title="Seed", description="Same seed, same result.", advanced=True, ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto", title="Device", description="Where to compute.", advanced=True
    )
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = setting(
        "auto",
        title="Precision",
        description="Number format of the network; auto: the fastest one that the device has.",
        advanced=True,
    )

    @field_validator("wavelength_nm", "pixel_size_nm", "excitation_nm")
    @classmethod
    def _in_nanometres(cls, value: float | None) -> float | None:
        if value is not None and value < 5:
            raise ValueError(
                f"a length of {value:g} nm looks like micrometres: "
                f"write {value * 1000:g} for {value:g} um"
            )
        return value

    @model_validator(mode="after")
    def _enough_frames(self) -> Self:
        angles, phases = LAYOUT[self.pattern]
        if self.angles < angles or self.phases < phases:
            raise ValueError(
                f"{self.angles} angles x {self.phases} phases are too few for the pattern "
                f"'{self.pattern}', which needs {angles} x {phases} or more"
            )
        if self.pattern == "hexagonal" and self.angles > 1:
            raise ValueError(
                "a hexagonal pattern has all directions in each frame: set Angles to 1 and Phases "
                "to the number of frames"
            )
        return self

    @model_validator(mode="after")
    def _sampled_finely_enough(self) -> Self:
        limit = self.wavelength_nm / (4 * self.na)
        if self.pixel_size_nm > 1.02 * limit:
            raise ValueError(
                f"pixels of {self.pixel_size_nm:g} nm are too coarse for NA {self.na:g} at "
                f"{self.wavelength_nm:g} nm, which needs {limit:.0f} nm or less: check the pixel "
                "size (camera pixel / magnification), the NA and the wavelength"
            )
        return self

    @property
    def cutoff(self) -> float:
        """Cutoff frequency of the detection OTF, 2 NA / wavelength, in 1/um."""
        return 2000 * self.na / self.wavelength_nm

    @property
    def frames(self) -> int:
        """Number of raw frames, angles x phases."""
        return self.angles * self.phases
