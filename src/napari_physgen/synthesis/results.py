"""What a phase-field simulation returns."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as default
from typing import TYPE_CHECKING

from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_physgen.synthesis.settings import PhaseFieldSettings

_DISSOLVED = {
    "spinodal": "Nothing separated: choose a fraction nearer to one half, or less heating.",
    "precipitates": "All of it dissolved: raise the first radius or the fraction.",
    "dendrite": "All of it melted: raise the undercooling.",
}


@dataclass(frozen=True)
class Microstructure:
    """A simulated microstructure with its exact masks.

    Parameters
    ----------
    field : numpy.ndarray
        ([z,] y, x), float32: composition (spinodal, precipitates), sum of the squared order
        parameters (grains; 1 inside a grain, less at its boundary) or phase field (dendrite).
    labels : numpy.ndarray
        ([z,] y, x): uint8 phases (0 matrix, 1 second phase, 2 its fine generation) or
        uint32 grain numbers from 1.
    energy : numpy.ndarray
        (time, 2), float64: time and free energy F.
    settings : PhaseFieldSettings
        As they were at the end (tuned ones included).
    boundaries : numpy.ndarray or None
        ([z,] y, x) uint8, 1 on grain boundaries; None for other materials.
    movie, movie_labels : numpy.ndarray or None
        (time, [z,] y, x): fields and labels on the way, if any were asked for.
    movie_times : tuple of float
    summary : str
    metrics : mapping
        time, free_energy, fraction, length_scale_nm (spectral), steps ...
    device : str
    """

    field: NDArray[np.float32]
    labels: NDArray[np.uint8] | NDArray[np.uint32]
    energy: NDArray[np.float64]
    settings: PhaseFieldSettings
    boundaries: NDArray[np.uint8] | None = None
    movie: NDArray[np.float32] | None = None
    movie_labels: NDArray[np.uint8] | NDArray[np.uint32] | None = None
    movie_times: tuple[float, ...] = ()
    summary: str = ""
    metrics: Mapping[str, float] = default(default_factory=dict)
    device: str = ""

    def outputs(self) -> list[Output]:
        """Return the field with its masks, then the time-lapse."""
        axes = ("z", "y", "x")[-self.field.ndim :]
        outputs = [
            Output("field", self.field, axes=axes),
            Output("labels", self.labels, kind="labels", axes=axes, display={"opacity": 0.4}),
        ]
        if self.boundaries is not None:
            hidden = {"visible": False}
            outputs.append(
                Output("boundaries", self.boundaries, kind="labels", axes=axes, display=hidden)
            )
        if self.movie is not None:
            outputs.append(
                Output("time-lapse", self.movie, axes=("time", *axes), display={"visible": False})
            )
        return outputs


def summarise(
    settings: PhaseFieldSettings, metrics: Mapping[str, float], stuck: bool, stopped: bool
) -> str:
    """Say in words what came out.

    Parameters
    ----------
    settings : PhaseFieldSettings
    metrics : mapping
        Those of `Microstructure`.
    stuck : bool
        Whether the equations became unstable before the end.
    stopped : bool
        Whether it was ended early.
    """
    if "grains" in metrics:
        what = f"{metrics['grains']:.0f} grains"
    else:
        what = f"{100 * metrics['fraction']:.0f} % second phase"
    if settings.material in ("spinodal", "precipitates"):
        what += f", spacing {metrics['length_nm']:.4g} nm"
    when = f"time {metrics['time']:.4g}"
    if settings.time_unit_s is not None:
        when = _duration(metrics["time"] * settings.time_unit_s)
    text = f"{what} at {when}{', stopped' if stopped else ''}."
    if stuck:
        return (
            f"{text} The equations became unstable there and the last good state was kept: lower "
            "the mobility or the misfit stress."
        )
    if metrics.get("fraction") == 0:
        return f"{text} {_DISSOLVED[settings.material]}"
    return text


def _duration(seconds: float) -> str:
    """Return a time in the largest unit that it fills, "3.2 h"."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
