"""What one check of the quality report says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Verdict = Literal["good", "fair", "poor", "unknown"]
RANK: tuple[Verdict, ...] = ("unknown", "good", "fair", "poor")
"""From nothing to say to the worst."""


@dataclass(frozen=True)
class Check:
    """One check: what was measured, what that means, and what to do.

    Parameters
    ----------
    name : str
        What is checked, in the microscopist's words, unique within a report.
    value : float
        What was measured; NaN if it could not be.
    unit : str
        Of `value`; empty for a pure number.
    verdict : {"good", "fair", "poor", "unknown"}
    words : str
        What was found, in a sentence.
    advice : str
        What to do about it; empty if nothing.
    limits : str
        Which values are good and which poor.
    after : bool
        Whether it is about the reconstruction, not about the raw frames.
    """

    name: str
    value: float
    unit: str
    verdict: Verdict
    words: str
    advice: str = ""
    limits: str = ""
    after: bool = False


@dataclass(frozen=True)
class Scale:
    """Where good ends and poor begins; `poor` may lie above or below `good`.

    Parameters
    ----------
    good, poor : float
        Values at these limits are good and poor.
    unit : str
    """

    good: float
    poor: float
    unit: str = ""

    def verdict(self, value: float) -> Verdict:
        """Return the verdict on a value; NaN is unknown."""
        if math.isnan(value):
            return "unknown"
        sign = 1 if self.poor > self.good else -1
        if sign * value <= sign * self.good:
            return "good"
        return "poor" if sign * value >= sign * self.poor else "fair"

    @property
    def words(self) -> str:
        """The limits in words."""
        side = ("up to", "from") if self.poor > self.good else ("from", "up to")
        unit = f" {self.unit}" if self.unit else ""
        return f"good {side[0]} {self.good:g}{unit}, poor {side[1]} {self.poor:g}{unit}"


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of some verdicts."""
    return max(verdicts, key=RANK.index, default="unknown")


def advised(verdict: Verdict, advice: str) -> str:
    """Return the advice where the verdict asks for one."""
    return advice if verdict in ("fair", "poor") else ""
