"""What a data set holds: one simulation, repeated with parameters drawn from ranges.

Sample ``i`` follows from the settings and ``i`` alone: every parameter has a random stream of its
own, seeded by (seed, i, name). A data set can therefore be continued, enlarged, or made in batches
of any size without a change to its samples, up to the rounding of the last digit.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, Literal, Self

import annotated_types
import numpy as np
from pydantic import Field, ValidationError, model_validator

from napari_physgen.errors import UserError
from napari_physgen.settings import Settings, describe, explain, setting
from napari_physgen.synthesis.settings import PhaseFieldSettings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Range = tuple[float, float]

# What differs from sample to sample unless told otherwise.
VARIED: dict[str, tuple[str, ...]] = {
    "spinodal": ("fraction", "duration", "elastic_strength", "orientation_deg"),
    "precipitates": (
        "fraction",
        "duration",
        "nuclei",
        "second_nuclei",
        "elastic_strength",
        "load",
        "orientation_deg",
    ),
    "grains": ("grains", "duration"),
    "dendrite": ("undercooling", "duration", "surface_anisotropy", "orientation_deg"),
}
# An orientation has no size to vary by a share of; with a spread of 1 every one occurs.
TURN_DEG = 45.0
# The samples of a batch share these, or they say how and not what to simulate.
_SHARED = (
    "size",
    "depth",
    "order_parameters",
    "symmetry",
    "second_time",
    "frames",
    "tolerance",
    "seed",
)
# Parameters that exclude each other are drawn again, this often.
DRAWS = 100


class DatasetSettings(Settings):
    """What to simulate, how often, and how much the samples differ."""

    simulation: PhaseFieldSettings = setting(
        title="Simulation", description="Settings of the sample in the middle of all ranges."
    )
    count: int = setting(
        100, title="Samples", description="How many simulations.", ge=1, le=10_000_000
    )
    spread: float = setting(
        0.2,
        title="Spread",
        description="How far parameters stray from the settings, as a share of their value; the "
        "orientation by this share of 45 degrees, the fraction by a share of the rarer phase.",
        ge=0,
        le=1,
    )
    vary: dict[str, Range] = Field(
        default_factory=dict,
        title="Ranges",
        description="Lowest and highest value of single parameters, in place of the spread.",
    )
    slice_every: int = setting(
        8,
        title="Slices",
        description="In 3-D, every n-th plane along z becomes a picture.",
        unit="cells",
        advanced=True,
        ge=1,
        le=512,
    )
    format: Literal["tiff", "zarr"] = setting(
        "tiff",
        title="Format",
        description="tiff: one OME-TIFF per sample; zarr: one OME-Zarr for all.",
    )

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Validate `values` into settings; raises UserError that names each wrong field."""
        simulation = values.get("simulation")
        if isinstance(simulation, dict):
            values = values | {"simulation": PhaseFieldSettings.parse(simulation)}
        return super().parse(values)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name, (low, high) in self.vary.items():
            self._check(name, low, high)
            for value in (low, high):
                self._with({name: value})
        return self

    def _check(self, name: str, low: float, high: float) -> None:
        field = PhaseFieldSettings.model_fields.get(name)
        if field is None:
            raise ValueError(f"there is no setting '{name}' that could vary")
        about = describe(name, field)
        if name in _SHARED or field.annotation not in (int, float):
            raise ValueError(f"{about.title} ({name}) must be the same in all samples")
        if any(getattr(self.simulation, other) not in only for other, only in about.only.items()):
            raise ValueError(
                f"{about.title} ({name}) means nothing for the material {self.simulation.material}"
            )
        if not low <= high:
            raise ValueError(f"the range of {about.title} ({name}) runs from {low:g} to {high:g}")

    def _with(self, values: dict[str, Any]) -> PhaseFieldSettings:
        """Return the simulation with other values and no time-lapse."""
        whole = {name: round(values[name]) for name in values if _is_whole(name)}
        plain = self.simulation.model_dump()
        return PhaseFieldSettings.model_validate(plain | {"frames": 0} | values | whole)

    @property
    def ranges(self) -> dict[str, Range]:
        """Lowest and highest value of everything that varies, the given ranges last."""
        found = {}
        for name in VARIED[self.simulation.material]:
            value = float(getattr(self.simulation, name))
            reach = self.spread * _room(name, value)
            low, high = _bounds(PhaseFieldSettings.model_fields[name])
            if reach > 0:
                found[name] = (max(value - reach, low), min(value + reach, high))
        return found | self.vary

    def sample(self, index: int) -> PhaseFieldSettings:
        """Return the settings of sample `index`, which depend on nothing else.

        Raises
        ------
        UserError
            If hardly any combination within the ranges is possible.
        """
        ranges, problem = self.ranges, None
        for draw in range(DRAWS):
            values: dict[str, Any] = {
                name: _draw(self._random(index, draw, name), name, span)
                for name, span in ranges.items()
            }
            values["seed"] = int(self._random(index, draw, "seed").integers(2**31))
            try:
                return self._with(values)
            except ValidationError as error:
                problem = error
        assert problem is not None
        raise UserError(explain(PhaseFieldSettings, problem))

    def _random(self, index: int, draw: int, name: str) -> np.random.Generator:
        stream = (index, draw, zlib.crc32(name.encode()))
        return np.random.default_rng([self.simulation.seed, *stream])

    @property
    def slices(self) -> range:
        """The planes along z that are kept."""
        depth = self.simulation.depth
        step = min(self.slice_every, depth)
        return range(step // 2, depth, step)


def _room(name: str, value: float) -> float:
    """Return how far a parameter strays with a spread of 1."""
    if name == "orientation_deg":
        return TURN_DEG
    # The share of the one phase is as near to its end as that of the other to 1.
    return min(value, 1 - value) if name == "fraction" else abs(value)


def _draw(random: np.random.Generator, name: str, span: Range) -> float:
    """Return one value, with as many digits as anybody wants to read."""
    if _is_whole(name):
        low = math.ceil(span[0])
        return int(random.integers(low, max(math.floor(span[1]), low) + 1))
    value = float(f"{random.uniform(*span):.5g}")
    return min(max(value, span[0]), span[1])


def _is_whole(name: str) -> bool:
    return PhaseFieldSettings.model_fields[name].annotation is int


def _bounds(field: FieldInfo) -> Range:
    """Return the lowest and the highest value that a field takes."""
    low, high = -math.inf, math.inf
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge):
            low = float(rule.ge)  # type: ignore[arg-type]
        elif isinstance(rule, annotated_types.Gt):
            low = math.nextafter(float(rule.gt), math.inf)  # type: ignore[arg-type]
        elif isinstance(rule, annotated_types.Le):
            high = float(rule.le)  # type: ignore[arg-type]
        elif isinstance(rule, annotated_types.Lt):
            high = math.nextafter(float(rule.lt), -math.inf)  # type: ignore[arg-type]
    return low, high
