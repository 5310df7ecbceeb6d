"""Settings of the phase-field lab: which material, how large, how long."""

from __future__ import annotations

from math import pi
from typing import Any, Literal, Self

from pydantic import model_validator

from napari_physgen.settings import Settings, setting

Material = Literal["spinodal", "precipitates", "grains", "dendrite"]

# Interface widths below are in cells; fewer than this and the grid pins the interface.
FEWEST_CELLS = 3.0
SPINODAL_BARRIER = 5.0  # PFHub BM1: rho_s, c_alpha = 0.3, c_beta = 0.7
PRECIPITATE_BARRIER = 1.0  # PFHub BM2: w

_MIXTURES: dict[str, tuple[str, ...]] = {"material": ("spinodal", "precipitates")}
_PRECIPITATES: dict[str, tuple[str, ...]] = {"material": ("precipitates",)}
_GRAINS: dict[str, tuple[str, ...]] = {"material": ("grains",)}
_DENDRITE: dict[str, tuple[str, ...]] = {"material": ("dendrite",)}
_ANY_BUT_DENDRITE: dict[str, tuple[str, ...]] = {"material": ("spinodal", "precipitates", "grains")}


class PhaseFieldSettings(Settings):
    """Material, size and duration of one phase-field simulation."""

    material: Material = setting(
        "precipitates",
        title="Material",
        description="What happens: two phases separate (spinodal), ordered particles grow and "
        "coarsen (precipitates), a polycrystal coarsens (grains), a melt freezes (dendrite).",
    )
    size: int = setting(
        256, title="Size", description="Cells along y and x.", unit="cells", ge=32, le=4096
    )
    depth: int = setting(
        1,
        title="Depth",
        description="Cells along z; 1 simulates in two dimensions.",
        unit="cells",
        advanced=True,
        ge=1,
        le=512,
    )
    pixel_size_nm: float = setting(
        5.0,
        title="Cell",
        description="Size of one cell in the material; only scales the result.",
        unit="nm",
        gt=0,
        le=1e6,
    )
    duration: float = setting(
        500.0,
        title="Duration",
        description="How long the material evolves; structures coarsen with time.",
        gt=0,
        le=1e7,
    )
    fraction: float = setting(
        0.5,
        title="Fraction",
        description="Share of the second phase once both are in equilibrium.",
        only=_MIXTURES,
        gt=0,
        lt=1,
    )
    temperature: float = setting(
        0.0,
        title="Heating",
        description="0: as cold as the reference, 1: the two phases mix. Heating widens the "
        "interfaces and dissolves the second phase.",
        only=_MIXTURES,
        advanced=True,
        tunable=True,
        ge=0,
        lt=1,
    )
    nuclei: float = setting(
        30.0,
        title="Particles",
        description="Particles at the start, per 100 x 100 cells (per cube of 100 cells in 3-D).",
        only=_PRECIPITATES,
        gt=0,
        le=1000,
    )
    nucleus_radius: float = setting(
        3.5,
        title="First radius",
        description="Radius of the particles at the start; too small ones dissolve.",
        unit="cells",
        only=_PRECIPITATES,
        advanced=True,
        gt=0,
        le=100,
    )
    second_nuclei: float = setting(
        0.0,
        title="Fine particles",
        description="Particles of a second generation (cooling), per 100 x 100 cells; 0: none.",
        only=_PRECIPITATES,
        ge=0,
        le=1000,
    )
    second_fraction: float = setting(
        0.05,
        title="Fine fraction",
        description="How much the cooling adds to the share of the second phase.",
        only=_PRECIPITATES,
        advanced=True,
        gt=0,
        lt=1,
    )
    second_time: float = setting(
        0.8,
        title="Fine start",
        description="When the second generation appears, as a share of the duration.",
        only=_PRECIPITATES,
        advanced=True,
        gt=0,
        lt=1,
    )
    elastic_strength: float = setting(
        0.0,
        title="Misfit stress",
        description="Elastic energy of the lattice misfit against interface energy: 0 gives "
        "rounded shapes, 1 to 5 cuboids and rows.",
        only=_MIXTURES,
        tunable=True,
        ge=0,
        le=50,
    )
    elastic_anisotropy: float = setting(
        3.0,
        title="Anisotropy",
        description="Zener ratio 2 C44 / (C11 - C12) of the crystal; above 1 particles align "
        "with the cube axes, below 1 with the diagonals.",
        only=_MIXTURES,
        advanced=True,
        tunable=True,
        ge=0.1,
        le=10,
    )
    load: float = setting(
        0.0,
        title="Applied stress",
        description="What a stress along y changes in the misfit, relative to it: positive "
        "values give rafts along y, negative ones along x.",
        only=_MIXTURES,
        tunable=True,
        ge=-1,
        le=1,
    )
    orientation_deg: float = setting(
        0.0,
        title="Orientation",
        description="Turn of the crystal axes from x towards y.",
        unit="deg",
        only={"material": ("spinodal", "precipitates", "dendrite")},
        tunable=True,
        ge=-90,
        le=90,
    )
    grains: int = setting(
        60, title="Grains", description="Grains at the start.", only=_GRAINS, ge=2, le=100000
    )
    order_parameters: int = setting(
        12,
        title="Order parameters",
        description="Fields that the grains share; a grain that comes near another one of its "
        "field moves to a free one, so that grains do not merge. Too few and some do.",
        only=_GRAINS,
        advanced=True,
        ge=8,
        le=64,
    )
    seeds: int = setting(
        1, title="Seeds", description="Crystals at the start.", only=_DENDRITE, ge=1, le=100
    )
    undercooling: float = setting(
        0.55,
        title="Undercooling",
        description="Temperature of the melt below the melting point, in units of latent heat "
        "over heat capacity; more makes growth faster and finer.",
        only=_DENDRITE,
        tunable=True,
        gt=0,
        lt=1,
    )
    surface_anisotropy: float = setting(
        0.05,
        title="Surface anisotropy",
        description="How much the interface energy depends on direction; 0: no arms.",
        only=_DENDRITE,
        ge=0,
        le=0.06,
    )
    symmetry: int = setting(
        4,
        title="Symmetry",
        description="Main arms: 4 for cubic metals, 6 for snow.",
        only=_DENDRITE,
        advanced=True,
        ge=2,
        le=8,
    )
    diffusivity: float = setting(
        2.0,
        title="Heat diffusivity",
        description="How fast heat spreads; sets the spacing of the arms.",
        only=_DENDRITE,
        advanced=True,
        gt=0,
        le=50,
    )
    mobility: float = setting(
        5.0,
        title="Mobility",
        description="How fast the second phase or the grain boundaries move; scales time.",
        only=_ANY_BUT_DENDRITE,
        advanced=True,
        tunable=True,
        gt=0,
        le=1000,
    )
    gradient_energy: float = setting(
        2.0,
        title="Gradient energy",
        description="Sets width and energy of the interfaces (kappa).",
        only=_ANY_BUT_DENDRITE,
        advanced=True,
        tunable=True,
        gt=0,
        le=1000,
    )
    noise: float = setting(
        0.01,
        title="Fluctuation",
        description="Random deviation of the composition at the start.",
        only=_MIXTURES,
        advanced=True,
        ge=0,
        le=0.2,
    )
    boundary: Literal["periodic", "no-flux"] = setting(
        "periodic",
        title="Edges",
        description="periodic: the field continues on the other side; no-flux: nothing passes.",
        advanced=True,
    )
    frames: int = setting(
        0,
        title="Time-lapse",
        description="Pictures kept on the way, at equal steps of time; 0: the end only.",
        advanced=True,
        ge=0,
        le=1000,
    )
    time_unit_s: float | None = setting(
        None,
        title="Unit of time",
        description="What one unit of simulated time stands for, e.g. from a heat treatment of "
        "known length; empty: times stay in units of the simulation.",
        unit="s",
        advanced=True,
        gt=0,
    )
    tolerance: float = setting(
        1e-3,
        title="Tolerance",
        description="Error allowed in each time step, relative to the difference of the phases.",
        advanced=True,
        gt=1e-9,
        le=0.1,
    )
    seed: int = setting(0, title="Seed", description="Same seed, same result.", ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto", title="Device", description="Where to compute.", advanced=True
    )
    arithmetic: Literal["float32", "float64"] = setting(
        "float32",
        title="Arithmetic",
        description="Number format; float64 is for checks and slower.",
        advanced=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _natural_units(cls, values: Any) -> Any:
        """Fill in what differs from material to material where nobody said otherwise."""
        if isinstance(values, dict):
            return NATURAL.get(values.get("material", "precipitates"), {}) | values
        return values

    @model_validator(mode="after")
    def _resolved(self) -> Self:
        width = self.interface_width
        if width < FEWEST_CELLS:
            raise ValueError(
                f"the interface is only {width:.1f} cells wide, too coarse a grid: raise the "
                f"gradient energy (gradient_energy) until it spans {FEWEST_CELLS:.0f} cells"
            )
        if self.material == "precipitates" and self.fraction + self._added >= 1:
            raise ValueError("fraction and fine fraction together must stay below 1")
        if self.material == "precipitates" and self._seeded >= self.fraction:
            raise ValueError(
                f"the particles at the start would fill {100 * self._seeded:.0f} %, more than the "
                "fraction: lower their number (nuclei) or their first radius (nucleus_radius)"
            )
        if self.depth > 1 and self.material == "dendrite":
            raise ValueError("dendrites grow in two dimensions only: set the depth to 1")
        return self

    @property
    def _added(self) -> float:
        return self.second_fraction if self.second_nuclei > 0 else 0.0

    @property
    def _seeded(self) -> float:
        """Share of the volume that the particles fill at the start."""
        radius = self.nucleus_radius / 100
        ball = pi * radius**2 if self.depth == 1 else 4 / 3 * pi * radius**3
        return self.nuclei * ball

    @property
    def interface_width(self) -> float:
        """Width of a flat interface at equilibrium, in cells (10 to 90 % of the profile, about)."""
        if self.material == "spinodal":
            gap = (1 - self.temperature) ** 0.5
            return float(7.071 * (self.gradient_energy / SPINODAL_BARRIER) ** 0.5 / gap)
        if self.material == "precipitates":
            return float(4.2 * (self.gradient_energy / 3.0 / PRECIPITATE_BARRIER) ** 0.5)
        if self.material == "grains":
            return float(4.0 * (self.gradient_energy / 2.0) ** 0.5)
        return 4.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the grid, (y, x) or (z, y, x)."""
        return (self.size, self.size) if self.depth == 1 else (self.depth, self.size, self.size)


# Values of the published models, which differ between the materials.
# Boundaries of grains move slowly through a field at rest, which an error averaged over the field
# hardly sees: at a tolerance of 1e-3 they move at 0.8 of the right speed, at 1e-4 at 0.98.
NATURAL: dict[str, dict[str, float]] = {
    "spinodal": {"mobility": 5.0, "gradient_energy": 2.0},
    "precipitates": {"mobility": 5.0, "gradient_energy": 3.0},
    "grains": {"mobility": 1.0, "gradient_energy": 2.0, "tolerance": 1e-4},
}
