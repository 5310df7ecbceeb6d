"""Pattern estimation on simulated stacks: errors, verdicts and time.

Every case is a random microscope and sample: 2, 3 or 5 angles, 3 or 5 phases, equal or unequal
steps, widefield to TIRF periods, 0 or 20 % bleaching, filaments, spots or a membrane. The
table has one row per dose. A verdict is right if it is "failed" exactly when a wavevector is
off by more than half a DFT pixel.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, replace

import _page
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from napari_physgen.backend import run
from napari_physgen.physics.noise import Camera
from napari_physgen.physics.optics import Otf
from napari_physgen.sim import Patterns, SimSettings, estimate_patterns, simulate
from napari_physgen.sim.simulate import default_patterns, filaments

PHOTONS = Camera(offset=0, gain=1, read_noise=0)
COLUMNS = (
    "e- per px",
    "wavevector, DFT px: median / 95 %",
    "phase rms, deg: median / 95 %",
    "modulation error: median / 95 %",
    "damping error: median",
    "good / usable / failed",
    "verdict right",
    "good but wrong",
    "s per stack",
)


@dataclass(frozen=True)
class Outcome:
    """Errors of one case; `shift` in DFT pixels per angle, `phase` in degrees."""

    shift: NDArray[np.float64]
    phase: NDArray[np.float64]
    modulation: NDArray[np.float64]
    damping: float
    verdict: str
    seconds: float

    @property
    def right(self) -> bool:
        """Whether all wavevectors are where they should be."""
        return bool(np.all(self.shift < 0.5))


def sample(kind: str, size: int, seed: int) -> NDArray[np.float32]:
    """Return an object (y, x) on the fine grid."""
    rng = np.random.default_rng(seed)
    if kind == "filaments":
        return filaments((size, size), seed)
    if kind == "spots":
        return np.asarray((rng.random((size, size)) < 0.01) + 0.002, np.float32)
    k = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    relief = scipy.fft.ifft2(scipy.fft.fft2(rng.standard_normal((size, size))) / (k + 0.004)).real
    return np.asarray(np.exp(0.8 * relief / relief.std()), np.float32)


def case(photons: float, seed: int, size: int) -> Outcome:
    """Simulate one random acquisition and estimate its patterns."""
    rng = np.random.default_rng(seed)
    settings = SimSettings(
        na=1.49,
        wavelength_nm=float(rng.choice([510, 525, 600])),
        pixel_size_nm=65,
        angles=int(rng.choice([3, 3, 2, 5])),
        phases=int(rng.choice([3, 3, 5])),
        order=str(rng.choice(["angle-phase", "phase-angle"])),
    )
    truth = pattern(settings, rng, seed)
    damping = float(rng.uniform(0.15, 0.7))
    otf = Otf.ideal(settings.na, settings.wavelength_nm, damping)
    kind = str(rng.choice(["filaments", "spots", "membrane"]))
    counts = simulate(sample(kind, 2 * size, seed), settings, photons, seed, truth, PHOTONS, otf)
    fading = np.linspace(1, rng.choice([1.0, 0.8]), len(counts))[:, None, None]
    grey = 100 + 2.2 * rng.binomial(counts, fading) + 1.5 * rng.standard_normal(counts.shape)
    begin = time.perf_counter()
    found = run(estimate_patterns(grey, settings.model_copy(update={"order": "auto"})))
    seconds = time.perf_counter() - begin
    return compare(found, truth, damping, size, seconds)


def pattern(settings: SimSettings, rng: np.random.Generator, seed: int) -> Patterns:
    """Return imperfect illumination: period, spacing, phase steps and modulation vary."""
    ideal = default_patterns(settings, seed)
    angles = settings.angles
    stretch = rng.uniform(0.75, 1.12) / 0.9 * (1 + 0.002 * rng.standard_normal(angles))
    turn = np.radians(0.3) * rng.standard_normal(angles)
    y, x = ideal.wavevectors.T * stretch
    turned = np.stack(
        [np.cos(turn) * y + np.sin(turn) * x, np.cos(turn) * x - np.sin(turn) * y], axis=-1
    )
    uneven = np.radians(rng.choice([0, 20])) * rng.standard_normal(settings.phases)
    own = np.radians(rng.choice([0, 5])) * rng.standard_normal((angles, settings.phases))
    modulation = np.full(angles, rng.uniform(0.4, 1.0))
    return replace(
        ideal, wavevectors=turned, phases=ideal.phases + uneven + own, modulation=modulation
    )


def compare(found: Patterns, truth: Patterns, damping: float, size: int, seconds: float) -> Outcome:
    """Compare up to the free sign of each wavevector; phases in the middle of the field."""
    pixel = truth.pixel_size_nm / 1000
    middle = np.full(2, (size - 1) / 2 * pixel)
    sign = np.sign(np.sum(found.wavevectors * truth.wavevectors, axis=1))[:, None]
    k, phases = sign * found.wavevectors, sign * found.phases
    shift = np.linalg.norm(k - truth.wavevectors, axis=1) * size * pixel
    away = phases - truth.phases + 2 * np.pi * ((k - truth.wavevectors) @ middle)[:, None]
    away = np.angle(np.exp(1j * away))
    return Outcome(
        shift=shift,
        phase=np.degrees(np.sqrt(np.mean(away**2, axis=1))),
        modulation=np.abs(found.modulation / truth.modulation - 1),
        damping=abs((found.otf_damping or 1) / damping - 1),
        verdict=found.verdict.partition(":")[0],
        seconds=seconds,
    )


def row(photons: float, outcomes: list[Outcome]) -> str:
    """Return one line of the table; errors are those of angles that were found."""
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    agree = np.mean([(o.verdict != "failed") == o.right for o in outcomes])
    wrong = sum(o.verdict == "good" and not o.right for o in outcomes)
    near = [o.shift < 0.5 for o in outcomes]

    def spread(values: str, digits: int) -> str:
        kept = [getattr(o, values)[n] for o, n in zip(outcomes, near, strict=True)]
        return " / ".join(f"{q:.{digits}f}" for q in np.quantile(np.concatenate(kept), [0.5, 0.95]))

    cells = [
        f"{photons:g}",
        spread("shift", 3),
        spread("phase", 1),
        spread("modulation", 3),
        f"{np.median([o.damping for o in outcomes]):.2f}",
        " / ".join(str(verdicts[v]) for v in ("good", "usable", "failed")),
        f"{agree:.1%}",
        str(wrong),
        f"{np.mean([o.seconds for o in outcomes]):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100, help="random cases per dose")
    parser.add_argument("--size", type=int, default=128, help="frame size, px")
    options = parser.parse_args()
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for photons in (240.0, 60.0, 24.0, 9.0, 4.0):
        outcomes = [case(photons, seed, options.size) for seed in range(options.cases)]
        lines.append(row(photons, outcomes))
        print(lines[-1], flush=True)
    table = "\n".join(lines)
    note = f"{options.cases} random stacks of {options.size} x {options.size} px per dose.\n"
    _page.write("sim-patterns", "SIM patterns", f"{note}\n{table}")


if __name__ == "__main__":
    main()
