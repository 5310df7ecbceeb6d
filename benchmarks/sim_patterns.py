"""Pattern estimation on simulated stacks: verdicts, errors and time.

Every case is a random microscope and sample, all drawn from one seed: 5 to 500 photons per pixel,
modulation 0.15 to 1, 2, 3 or 5 angles, 3 or 5 phases, equal or unequal steps, patterns from
0.65 to 1.12 times the cutoff (TIRF), 0 or 20 % bleaching, read noise, filaments, spots or a
membrane. A verdict is right if it keeps what it promises:

- "good": every wavevector within 0.02 DFT pixels, phases within 3 degrees (rms of an angle), and
  every modulation within 5 %;
- "usable": the patterns are there, every wavevector within half a DFT pixel;
- "failed": at least one wavevector is further off than that.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

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
GAIN = 2.2
DOSES = (5, 10, 24, 60, 150, 500)
VERDICTS = ("good", "usable", "failed")
COLUMNS = (
    "photons per px",
    "stacks",
    "good / usable / failed",
    "right",
    "of them wrong",
    "within the limits of good",
    "where good: wavevector, DFT px, median / largest",
    "phases, degrees",
    "modulation, %",
)
NOTE = """{cases} random stacks of {size} x {size} px (seed {seed}): 5 to 500 photons per pixel,
modulation 0.15 to 1, 2, 3 or 5 angles, 3 or 5 phases in equal or unequal steps, patterns at
0.65 to 1.12 times the cutoff (TIRF), 0 or 20 % bleaching, read noise of 0.7 to 2.5 electrons,
filaments, spots or a membrane. *good* is right if all wavevectors are within 0.02 DFT pixels,
the phases of each angle within 3 degrees (rms) and all modulations within 5 %; *usable*, if all
wavevectors are within half a DFT pixel; *failed*, if at least one is not. Median CPU time of
a stack of 9 frames: {seconds:.2f} s.
"""


@dataclass(frozen=True)
class Case:
    """One random acquisition."""

    settings: SimSettings
    truth: Patterns
    damping: float
    kind: str
    photons: float
    fading: float
    read_noise: float
    seed: int

    def raw(self, size: int) -> NDArray[np.float64]:
        """Return the frames (frame, y, x), grey levels."""
        otf = Otf.ideal(self.settings.na, self.settings.wavelength_nm, self.damping)
        counts = simulate(
            sample(self.kind, 2 * size, self.seed),
            self.settings,
            self.photons,
            self.seed,
            self.truth,
            PHOTONS,
            otf,
        )
        rng = np.random.default_rng([self.seed, 3])
        fading = np.linspace(1, self.fading, len(counts))[:, None, None]
        electrons = rng.binomial(counts, fading)
        noise = self.read_noise * rng.standard_normal(counts.shape)
        return np.asarray(np.rint(100 + GAIN * (electrons + noise)), float)


@dataclass(frozen=True)
class Outcome:
    """Errors of one case: `shift` in DFT pixels, `phase` in degrees, `modulation` relative."""

    photons: float
    frames: int
    shift: NDArray[np.float64]
    phase: NDArray[np.float64]
    modulation: NDArray[np.float64]
    verdict: str
    seconds: float

    @property
    def there(self) -> bool:
        """Whether all wavevectors are where they should be."""
        return bool(np.all(self.shift < 0.5))

    @property
    def exact(self) -> bool:
        """Whether all errors are within the limits of "good"."""
        within = (self.shift <= 0.02) & (self.phase <= 3) & (np.abs(self.modulation) <= 0.05)
        return bool(np.all(within))

    @property
    def right(self) -> bool:
        """Whether the verdict keeps what it promises."""
        return {"good": self.exact, "usable": self.there, "failed": not self.there}[self.verdict]


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


def draw(number: int, seed: int) -> Case:
    """Draw one random acquisition."""
    rng = np.random.default_rng([seed, number])
    own = int(rng.integers(2**31))
    settings = SimSettings(
        na=1.49,
        wavelength_nm=float(rng.choice([510, 525, 600])),
        pixel_size_nm=65,
        angles=int(rng.choice([3, 3, 2, 5])),
        phases=int(rng.choice([3, 5])),
        order=str(rng.choice(["angle-phase", "phase-angle"])),
    )
    return Case(
        settings=settings,
        truth=pattern(settings, rng, own),
        damping=float(rng.uniform(0.15, 0.7)),
        kind=str(rng.choice(["filaments", "spots", "membrane"])),
        photons=float(np.exp(rng.uniform(np.log(DOSES[0]), np.log(DOSES[-1])))),
        fading=float(rng.choice([1.0, 0.8])),
        read_noise=float(rng.uniform(0.7, 2.5)),
        seed=own,
    )


def pattern(settings: SimSettings, rng: np.random.Generator, seed: int) -> Patterns:
    """Return imperfect illumination: period, spacing, phase steps and modulation vary."""
    ideal = default_patterns(settings, seed)
    angles = settings.angles
    stretch = rng.uniform(0.65, 1.12) / 0.9 * (1 + 0.002 * rng.standard_normal(angles))
    turn = np.radians(0.3) * rng.standard_normal(angles)
    y, x = ideal.wavevectors.T * stretch
    turned = np.stack(
        [np.cos(turn) * y + np.sin(turn) * x, np.cos(turn) * x - np.sin(turn) * y], axis=-1
    )
    uneven = np.radians(rng.choice([0, 20])) * rng.standard_normal(settings.phases)
    own = np.radians(rng.choice([0, 5])) * rng.standard_normal((angles, settings.phases))
    modulation = np.full(angles, rng.uniform(0.15, 1.0))
    return replace(
        ideal, wavevectors=turned, phases=ideal.phases + uneven + own, modulation=modulation
    )


def compare(found: Patterns, case: Case, size: int, seconds: float = 0.0) -> Outcome:
    """Compare up to the free sign of each wavevector; phases in the middle of the field."""
    truth = case.truth
    pixel = truth.pixel_size_nm / 1000
    middle = np.full(2, (size - 1) / 2 * pixel)
    sign = np.sign(np.sum(found.wavevectors * truth.wavevectors, axis=1))[:, None]
    k, phases = sign * found.wavevectors, sign * found.phases
    shift = np.linalg.norm(k - truth.wavevectors, axis=1) * size * pixel
    away = phases - truth.phases + 2 * np.pi * ((k - truth.wavevectors) @ middle)[:, None]
    away = np.angle(np.exp(1j * away))
    return Outcome(
        photons=case.photons,
        frames=case.settings.frames,
        shift=shift,
        phase=np.degrees(np.sqrt(np.mean(away**2, axis=1))),
        modulation=found.modulation / truth.modulation - 1,
        verdict=found.verdict.partition(":")[0],
        seconds=seconds,
    )


def measure(case: Case, size: int) -> Outcome:
    """Simulate one acquisition and estimate its patterns."""
    raw = case.raw(size)
    begin = time.process_time()
    found = run(estimate_patterns(raw, case.settings.model_copy(update={"order": "auto"})))
    return compare(found, case, size, time.process_time() - begin)


def row(name: str, outcomes: list[Outcome]) -> str:
    """Return one line of the table."""
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    good = [o for o in outcomes if o.verdict == "good"]

    def spread(values: str, scale: float, digits: int) -> str:
        if not good:
            return "-"
        kept = np.abs(np.concatenate([getattr(o, values) for o in good])) * scale
        return f"{np.median(kept):.{digits}f} / {kept.max():.{digits}f}"

    def wrong(verdict: str) -> str:
        return str(sum(o.verdict == verdict and not o.right for o in outcomes))

    cells = [
        name,
        str(len(outcomes)),
        " / ".join(str(verdicts[v]) for v in VERDICTS),
        f"{np.mean([o.right for o in outcomes]):.1%}",
        " / ".join(wrong(v) for v in VERDICTS),
        str(sum(o.exact for o in outcomes)),
        spread("shift", 1, 3),
        spread("phase", 1, 1),
        spread("modulation", 100, 1),
    ]
    return "| " + " | ".join(cells) + " |"


def table(outcomes: list[Outcome]) -> str:
    """Return the table, one line per dose and one for all."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for low, high in pairwise(DOSES):
        lines.append(row(f"{low}-{high}", [o for o in outcomes if low <= o.photons < high]))
    lines.append(row("all", outcomes))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=500, help="random acquisitions")
    parser.add_argument("--size", type=int, default=128, help="frame size, px")
    parser.add_argument("--seed", type=int, default=20, help="of all cases")
    parser.add_argument("--kept", type=Path, help="file of outcomes: an interrupted sweep goes on")
    parser.add_argument("--seconds", type=float, default=np.inf, help="stop after this time")
    options = parser.parse_args()
    kept = options.kept
    outcomes = pickle.loads(kept.read_bytes()) if kept and kept.exists() else []
    begin = time.perf_counter()
    for number in range(len(outcomes), options.cases):
        outcomes.append(measure(draw(number, options.seed), options.size))
        if time.perf_counter() - begin > options.seconds:
            break
    if kept:
        kept.write_bytes(pickle.dumps(outcomes))
    text = table(outcomes)
    print(text)
    if len(outcomes) < options.cases:
        return
    seconds = np.median([o.seconds for o in outcomes if o.frames == 9])
    note = NOTE.format(cases=options.cases, size=options.size, seed=options.seed, seconds=seconds)
    _page.write("sim-patterns", "SIM patterns", f"{note}\n{text}")


if __name__ == "__main__":
    main()
