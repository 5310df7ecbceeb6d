"""Families of structures that a calibration may search, and where the search begins in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.synthesis.settings import PhaseFieldSettings

if TYPE_CHECKING:
    from napari_physgen.synthesis._match_statistics import Statistics
    from napari_physgen.synthesis.calibration_settings import CalibrationSettings, Look

FRAMES = 30
LONGEST = {"precipitates": 120.0, "spinodal": 300.0}
# Sizes that differ more than this (standard deviation over mean) come in two generations.
MIXED = 0.8
# Strengths of direction (see metrics.microstructure.direction) that disorder alone does not reach.
SQUARE, STRETCHED, LAMELLAR = 0.15, 0.2, 0.5
# Fractions at which a spinodal structure hangs together in two dimensions.
CONNECTED = (0.3, 0.7)
# The particles' labels cover less than their settings say: interfaces hold some of the solute.
MISSING = 0.04
FRACTIONS = (0.03, 0.95)
# Radii of particles at the start, cells: smaller ones dissolve; as a share of the final radius.
SMALLEST, LARGEST, GROWN = 3.5, 6.0, 0.8

FAMILIES: dict[str, dict[str, Any]] = {
    "bimodal": {
        "elastic_strength": 0.3,
        "nuclei": 8.0,
        "second_nuclei": 60.0,
        "second_fraction": 0.06,
        "second_time": 0.8,
        "duration": 40.0,
    },
    "rafts": {"elastic_strength": 1.0, "load": 0.15},
    "cuboids": {"elastic_strength": 1.0},
    "lamellae": {"material": "spinodal", "elastic_strength": 1.0, "load": 0.15},
    "rounded": {},
    "spinodal": {"material": "spinodal"},
}


def families(target: Statistics, look: Look) -> list[str]:
    """Return the families that the statistics of the image allow, the most special ones first."""
    if look != "auto":
        return [look]
    connected = CONNECTED[0] < target.fraction < CONNECTED[1]
    allowed = {
        "bimodal": target.spread > MIXED,
        "rafts": target.stretched.strength > STRETCHED,
        "cuboids": target.cubes.strength > SQUARE,
        "lamellae": connected and target.stretched.strength > LAMELLAR,
        "spinodal": connected,
    }
    return [family for family in FAMILIES if allowed.get(family, True)]


def start(family: str, target: Statistics, settings: CalibrationSettings) -> PhaseFieldSettings:
    """Return where the search in a family begins."""
    material = FAMILIES[family].get("material", "precipitates")
    values = {"material": material, "duration": LONGEST[material]} | FAMILIES[family]
    fraction = target.fraction
    if material == "precipitates":
        density = values.setdefault("nuclei", round(_density(fraction), 1))
        values["nucleus_radius"] = _radius(density, fraction)
        fraction += MISSING - values.get("second_fraction", 0.0)
    turn, sign = _crystal(target)
    if "load" in values:
        values["load"] *= sign
    return PhaseFieldSettings(
        **values,
        fraction=round(float(np.clip(fraction, *FRACTIONS)), 3),
        orientation_deg=turn,
        size=settings.size,
        seed=settings.seed,
        device=settings.device,
        frames=FRAMES,
    )


def neighbours(settings: PhaseFieldSettings) -> list[PhaseFieldSettings]:
    """Return small changes of settings, to be tried one after the other."""
    changes: list[dict[str, Any]] = []
    if settings.material == "precipitates":
        changes += [
            {"nuclei": n, "nucleus_radius": _radius(n, settings.fraction)}
            for n in (settings.nuclei / 2, settings.nuclei * 2)
        ]
    if settings.second_nuclei:
        changes += [{"second_nuclei": settings.second_nuclei * by} for by in (0.5, 2.0)]
    strength = settings.elastic_strength
    changes += [
        {"elastic_strength": s} for s in ((strength / 2, strength * 2) if strength else (0.3,))
    ]
    if strength:
        changes += [{"load": round(settings.load + d, 3)} for d in (0.05, -0.05)]
    return [settings.model_copy(update=change) for change in changes]


def _radius(density: float, fraction: float) -> float:
    """Return the first radius (cells) of so many particles per 100 x 100 cells."""
    final = np.sqrt(fraction * 1e4 / (np.pi * density))
    return round(float(np.clip(GROWN * final, SMALLEST, LARGEST)), 2)


def _density(fraction: float) -> float:
    """Return how many particles per 100 x 100 cells start with the largest radius."""
    return float(fraction * 1e4 / (np.pi * (LARGEST / GROWN) ** 2))


def _crystal(target: Statistics) -> tuple[float, float]:
    """Return the turn of the crystal (deg) and the sign of the load that stretches as seen."""
    along = target.stretched.angle_deg
    turn = target.cubes.angle_deg
    across = abs((along - turn + 90) % 180 - 90) > 45
    return round(float(turn), 1), 1.0 if across else -1.0
