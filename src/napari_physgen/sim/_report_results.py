"""The quality report: its checks, its pictures and curves, and how it is written down."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_physgen import __version__
from napari_physgen.errors import UserError
from napari_physgen.io.atomic import replacing
from napari_physgen.provenance import json_value
from napari_physgen.sim._report_check import Check, Verdict, worst

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_physgen.outputs import Output

    Real = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A plot: lines over a common axis, with marks where something ends.

    Parameters
    ----------
    title, caption : str
    x, y : str
        Labels of the axes.
    lines : mapping
        By name: abscissae and ordinates.
    marks : mapping
        By name: abscissae of vertical lines.
    level : float or None
        Ordinate of a horizontal line.
    dots : bool
        Whether points are shown, on a scale that starts at 0.
    """

    title: str
    caption: str
    x: str
    y: str
    lines: Mapping[str, tuple[Real, Real]]
    marks: Mapping[str, float] = field(default_factory=dict)
    level: float | None = None
    dots: bool = False


@dataclass(frozen=True)
class Picture:
    """An image on the page.

    Parameters
    ----------
    title, caption : str
    data : numpy.ndarray
        (y, x), or (y, x, 3) of values from 0 to 1.
    colormap : str
    limits : (float, float) or None
        Values of the darkest and the brightest colour; None: percentiles.
    bar : bool
        Whether a colour bar tells the values.
    """

    title: str
    caption: str
    data: NDArray[np.floating[Any]]
    colormap: str = "inferno"
    limits: tuple[float, float] | None = None
    bar: bool = False


@dataclass(frozen=True)
class QualityReport:
    """What speaks for and against a raw stack and its reconstruction.

    Parameters
    ----------
    checks : tuple of Check
    facts : mapping
        Microscope, camera and patterns, in words.
    maps : tuple of Output
        Modulation contrast and what is left over, on the sample or beside it.
    pictures : tuple of Picture
    curves : tuple of Curve
    """

    checks: tuple[Check, ...]
    facts: Mapping[str, str]
    maps: tuple[Output, ...] = field(default=(), repr=False)
    pictures: tuple[Picture, ...] = field(default=(), repr=False)
    curves: tuple[Curve, ...] = field(default=(), repr=False)

    def __getitem__(self, name: str) -> Check:
        """Return the check of that name; raises KeyError if it was not made."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def named(self, verdict: Verdict) -> list[str]:
        """Return the names of the checks with a verdict."""
        return [check.name for check in self.checks if check.verdict == verdict]

    @property
    def verdict(self) -> Verdict:
        """The worst of all verdicts."""
        return worst([check.verdict for check in self.checks])

    @property
    def summary(self) -> str:
        """The overall verdict in a sentence or two."""
        poor, fair = self.named("poor"), self.named("fair")
        care = f" Watch: {', '.join(fair)}." if fair else ""
        if poor:
            return f"Not to be trusted as it is: {', '.join(poor)}.{care}"
        if fair:
            return f"Usable with care: {', '.join(fair)}."
        return "Good: nothing that was checked speaks against this."

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured, by name of the check."""
        return {
            check.name.replace(",", "").replace(" ", "_"): check.value
            for check in self.checks
            if not math.isnan(check.value)
        }

    def outputs(self) -> list[Output]:
        """Return the maps."""
        return list(self.maps)

    def to_dict(self) -> dict[str, Any]:
        """Return all that is said, as JSON values."""
        plain: dict[str, Any] = json_value(
            {
                "verdict": self.verdict,
                "summary": self.summary,
                "checks": [vars(check) for check in self.checks],
                "facts": self.facts,
                "curves": {curve.title: curve.lines for curve in self.curves},
                "version": __version__,
            }
        )
        return plain

    def json(self) -> str:
        """Return the report as a JSON document."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def html(self) -> str:
        """Return the report as one page that needs no other file."""
        from napari_physgen.sim._report_page import page

        return page(self)

    def png(self) -> bytes:
        """Return the report as one picture."""
        from napari_physgen.sim._report_page import poster

        return poster(self)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the report as .html, .png or .json, as the name ends.

        Raises
        ------
        UserError
            If the name ends otherwise or the file cannot be written.
        """
        target = Path(path)
        kinds: dict[str, Callable[[], bytes]] = {
            ".html": lambda: self.html().encode(),
            ".json": lambda: self.json().encode(),
            ".png": self.png,
        }
        kind = kinds.get(target.suffix.lower())
        if kind is None:
            raise UserError(
                f"A report is saved as .html, .png or .json, not as '{target.name}': change the "
                "ending."
            )
        with replacing(target) as part:
            part.write_bytes(kind())
        return target
