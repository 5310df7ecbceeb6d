"""What the SIM jobs return."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_physgen.sim.warm import Warm

Order = str


@dataclass(frozen=True)
class Waves:
    """Cosines that add up to the illumination, ``m cos(2 pi k.r + phi)`` each.

    Parameters
    ----------
    wavevectors : numpy.ndarray
        (angle, wave, 2), 1/um, as (y, x).
    phases : numpy.ndarray
        (angle, phase, wave), rad.
    modulation : numpy.ndarray
        (angle, wave), modulation depth m.
    """

    wavevectors: NDArray[np.float64]
    phases: NDArray[np.float64]
    modulation: NDArray[np.float64]

    def moved(self, shift: NDArray[np.float64]) -> Waves:
        """Return the same waves with the phases that belong to the origin at `shift` (y, x), um."""
        phases = self.phases + 2 * np.pi * (self.wavevectors @ shift)[:, None]
        return replace(self, phases=np.angle(np.exp(1j * phases)))


@dataclass(frozen=True)
class Patterns:
    """Sinusoidal illumination, ``I(r) = 1 + m cos(2 pi k.r + phi)``, or a sum of such waves.

    `r` runs from the centre of raw pixel (0, 0) of the frames it was estimated on.
    The sign of a wavevector is free, (k, phi) = (-k, -phi): the first has k_x > 0
    and each next one turns by at most 90 degrees.

    Parameters
    ----------
    wavevectors : numpy.ndarray
        (angle, 2), 1/um, as (y, x).
    phases : numpy.ndarray
        (angle, phase), rad.
    modulation : numpy.ndarray
        (angle,), modulation depth m, 0 to 1.
    peak_ratio : numpy.ndarray
        (angle,), cross-correlation peak over the median in the search ring; >= 5 is safe.
    order : {"angle-phase", "phase-angle"}
        Which index is slow in the raw stack.
    verdict : str
        "good", "usable: ..." or "failed: ..." with what to try.
    pixel_size_nm : float
        Raw pixel size that the wavevectors refer to.
    intensities : numpy.ndarray or None
        (angle, phase), relative brightness of the frames (lamp, bleaching), mean 1.
    otf_damping : float or None
        Damping of the OTF that was given or fitted; None if unknown.
    wavevector_error, phase_error, modulation_error : numpy.ndarray or None
        (angle,), standard errors of each component of the wavevector (1/um), of the phases in the
        middle of the field (rad) and of the modulation (relative); None if not estimated.
    overtones : Waves or None
        Further waves of each angle: the second order of three beams, the other directions of a
        hexagonal lattice, the harmonics of a saturated pattern. None: one wave per angle.
    saturation : float or None
        How the light acts on the dye, see `sim.saturation`; None: in proportion.
    """

    wavevectors: NDArray[np.float64]
    phases: NDArray[np.float64]
    modulation: NDArray[np.float64]
    peak_ratio: NDArray[np.float64]
    order: Order
    verdict: str
    pixel_size_nm: float
    intensities: NDArray[np.float64] | None = None
    otf_damping: float | None = None
    wavevector_error: NDArray[np.float64] | None = None
    phase_error: NDArray[np.float64] | None = None
    modulation_error: NDArray[np.float64] | None = None
    overtones: Waves | None = None
    saturation: float | None = None
    figures: tuple[Output, ...] = field(default=(), repr=False)

    @property
    def waves(self) -> Waves:
        """All waves of each angle, the one in `wavevectors` first."""
        first = Waves(self.wavevectors[:, None], self.phases[..., None], self.modulation[:, None])
        if self.overtones is None:
            return first
        more = self.overtones
        return Waves(
            np.concatenate([first.wavevectors, more.wavevectors], 1),
            np.concatenate([first.phases, more.phases], 2),
            np.concatenate([first.modulation, more.modulation], 1),
        )

    @property
    def period_nm(self) -> NDArray[np.float64]:
        """Pattern period per angle (angle,), nm."""
        return np.asarray(1000 / np.linalg.norm(self.wavevectors, axis=1))

    @property
    def angles_deg(self) -> NDArray[np.float64]:
        """Direction of the wavevectors (angle,), degrees from +x towards +y (down)."""
        return np.degrees(np.arctan2(self.wavevectors[:, 0], self.wavevectors[:, 1]))

    @property
    def metrics(self) -> Mapping[str, float]:
        """Period, direction, modulation and peak ratio of each angle."""
        columns = {
            "period_nm": self.period_nm,
            "angle_deg": self.angles_deg,
            "modulation": self.modulation,
            "peak_ratio": self.peak_ratio,
        }
        figures = {
            f"{name}_{a + 1}": float(values[a])
            for name, values in columns.items()
            for a in range(len(values))
        }
        if self.overtones is not None:
            depths = self.overtones.modulation
            figures |= {
                f"modulation_{a + 1}_wave_{w + 2}": float(depths[a, w])
                for a, w in np.ndindex(depths.shape)
            }
        if self.saturation is not None:
            figures["saturation"] = self.saturation
        return figures

    @property
    def summary(self) -> str:
        """The verdict with the period and the peaks, in one line."""
        peaks = " / ".join(f"{ratio:.1f}" for ratio in self.peak_ratio)
        words = f"{self.verdict}; period {self.period_nm.mean():.1f} nm, peaks {peaks}"
        if self.overtones is not None:
            depths = self.waves.modulation.mean(0)
            words += f", modulation of the waves {' / '.join(f'{m:.2f}' for m in depths)}"
        if self.saturation is not None:
            words += f", saturation {self.saturation:.2f}"
        return words

    def outputs(self) -> list[Output]:
        """Spectrum with its circles and the fitted illumination."""
        return list(self.figures)

    def cropped(self, y: int, x: int) -> Patterns:
        """Return the same illumination for frames cropped at raw pixel (y, x)."""
        shift = np.array([y, x]) * self.pixel_size_nm / 1000
        phases = self.phases + 2 * np.pi * (self.wavevectors @ shift)[:, None]
        return replace(
            self,
            phases=np.angle(np.exp(1j * phases)),
            overtones=self.overtones and self.overtones.moved(shift),
            figures=(),
        )

    def illumination(self, shape: tuple[int, int], zoom: float = 1) -> NDArray[np.float32]:
        """Return the patterns as frames (angle * phase, zoom * y, zoom * x) for a raw `shape`.

        The angle is slowest, whatever `order` says.
        """
        step = self.pixel_size_nm / 1000
        y, x = (((np.arange(round(n * zoom)) + 0.5) / zoom - 0.5) * step for n in shape)
        waves = self.waves
        frames: NDArray[np.float64] = np.ones((*self.phases.shape, y.size, x.size))
        for w in range(waves.modulation.shape[1]):
            k = waves.wavevectors[:, w]
            carrier = k[:, 0, None, None] * y[:, None] + k[:, 1, None, None] * x
            phase = 2 * np.pi * carrier[:, None] + waves.phases[:, :, w, None, None]
            frames += waves.modulation[:, w, None, None, None] * np.cos(phase)
        return frames.reshape(-1, y.size, x.size).astype(np.float32)


@dataclass(frozen=True)
class Reconstruction:
    """A super-resolved image with what is needed to judge it.

    Parameters
    ----------
    image : numpy.ndarray
        (zoom * y, zoom * x), the accepted reconstruction, in grey levels above the offset.
    std : numpy.ndarray or None
        Standard deviation over the ensemble, same shape; None without one.
    widefield : numpy.ndarray
        (y, x), mean of the raw frames above the offset.
    wiener : numpy.ndarray or None
        (zoom * y, zoom * x), Wiener reconstruction; None when the patterns are given as frames.
    residual : numpy.ndarray
        (y, x), root mean square over frames of (measured - predicted) / noise; 1 = noise.
    chi2 : float
        Mean squared weighted residual on camera pixels held out of the fit; 1 = noise.
    patterns : Patterns or numpy.ndarray
        The illumination that was used.
    stage : str
        The stage that made `image`: "wiener", "variational", "pinn", "trained" or "paper".
    summary : str
        What came out, in words.
    metrics : mapping
        Figures of merit by name.
    device : str
        Where it was computed, in words.
    warm : Warm or None
        What a similar stack may start from; None after methods that leave nothing.
    """

    image: NDArray[np.float32]
    std: NDArray[np.float32] | None
    widefield: NDArray[np.float32]
    wiener: NDArray[np.float32] | None
    residual: NDArray[np.float32]
    chi2: float
    patterns: Patterns | NDArray[np.float32]
    stage: str
    summary: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    device: str = ""
    warm: Warm | None = field(default=None, repr=False, compare=False)

    @property
    def zoom(self) -> float:
        """Result pixels per raw pixel."""
        return float(self.image.shape[-1] / self.widefield.shape[-1])

    def outputs(self) -> list[Output]:
        """Return the image, then what helps to judge it (hidden at first)."""
        outputs = [Output("SIM", self.image, zoom=self.zoom, display={"colormap": "inferno"})]
        if self.std is not None:
            outputs.append(_hidden("std", self.std, self.zoom, "magma"))
        if self.wiener is not None:
            outputs.append(_hidden("Wiener", self.wiener, self.zoom, "inferno"))
        outputs.append(_hidden("widefield", self.widefield, 1, "inferno"))
        outputs.append(_hidden("residual", self.residual, 1, "viridis"))
        if isinstance(self.patterns, Patterns):
            outputs += self.patterns.outputs()
        return outputs


def _hidden(name: str, data: NDArray[np.float32], zoom: float, colormap: str) -> Output:
    return Output(name, data, zoom=zoom, display={"colormap": colormap, "visible": False})
