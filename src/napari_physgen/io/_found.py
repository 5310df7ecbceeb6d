"""One value from a file, and what such values can be."""

from __future__ import annotations

from dataclasses import dataclass

LIMITS = {
    "na": (0.05, 1.7),
    "wavelength_nm": (200.0, 2000.0),
    "excitation_nm": (200.0, 2000.0),
    "pixel_size_nm": (1.0, 5000.0),
    "z_step_nm": (1.0, 100_000.0),
    "time_step_s": (1e-6, 1e6),
    "channels": (1.0, 100.0),
    "angles": (2.0, 9.0),
    "phases": (3.0, 15.0),
}
"""Smallest and largest value of each kind that can be: of fluorescence microscopes."""


@dataclass(frozen=True)
class Found:
    """One value.

    Parameters
    ----------
    value : float or str
    unit : str
        "nm", "s" or nothing.
    source : str
        Where it stands, e.g. "OME Objective LensNA".
    """

    value: float | str
    unit: str
    source: str

    def __str__(self) -> str:
        """Tell the value with its source."""
        number = self.value if isinstance(self.value, str) else f"{self.value:.4g}"
        return f"{number}{f' {self.unit}' if self.unit else ''} (from file: {self.source})"


def number(text: object) -> float | None:
    """Return a number from a file, None if it is none."""
    try:
        return float(str(text))
    except ValueError:
        return None


def keep(into: dict[str, Found], name: str, value: float | None, unit: str, source: str) -> None:
    """Add a value if there is one."""
    if value is not None:
        into[name] = Found(float(value), unit, source)
