"""Stated errors of estimated patterns against true ones, and the verdict that follows from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_physgen.backend import run
from napari_physgen.physics.optics import Otf
from napari_physgen.sim import Patterns, SimSettings, estimate_patterns, simulate
from napari_physgen.sim._bands import Wave, equal_phases
from napari_physgen.sim._errors import chance
from napari_physgen.sim._joint import Choice, choose, expected
from napari_physgen.sim._search import Landscape
from napari_physgen.sim._steps import share_steps
from napari_physgen.sim._verdict import judge
from napari_physgen.sim.simulate import default_patterns, filaments

SETTINGS = SimSettings(na=1.49, wavelength_nm=525, pixel_size_nm=65, order="angle-phase")
SIZE = 128
STEPS = np.full(2, 1 / (SIZE * 0.065))


def estimated(seed: int, photons: float, modulation: float) -> tuple[Patterns, Patterns]:
    """Return found and true patterns, with the same signs and phases in the middle of the field."""
    truth = default_patterns(SETTINGS, seed, modulation)
    otf = Otf.ideal(SETTINGS.na, SETTINGS.wavelength_nm, 0.4)
    raw = simulate(filaments((2 * SIZE, 2 * SIZE), seed), SETTINGS, photons, seed, truth, otf=otf)
    found = run(estimate_patterns(raw, SETTINGS))
    sign = np.sign(np.sum(found.wavevectors * truth.wavevectors, axis=1))[:, None]
    centre = np.full(2, (SIZE - 1) / 2 * 0.065)
    return tuple(
        replace(p, wavevectors=s * p.wavevectors, phases=s * (p.phases + k_r), figures=())
        for p, s in ((found, sign), (truth, np.ones((3, 1))))
        for k_r in [2 * np.pi * (p.wavevectors @ centre)[:, None]]
    )


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Patterns, Patterns]]:
    cases = [(20, 30, 0.8), (21, 60, 0.5), (22, 120, 0.4), (23, 200, 0.9), (24, 400, 0.3)]
    return [estimated(*case) for case in cases]


def rms(values: list[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.concatenate([v.ravel() for v in values]) ** 2)))


def test_wavevectors_are_as_far_off_as_their_stated_errors(
    pairs: list[tuple[Patterns, Patterns]],
) -> None:
    pulls = [(f.wavevectors - t.wavevectors) / f.wavevector_error[:, None] for f, t in pairs]
    assert 0.6 < rms(pulls) < 1.5


def test_phases_are_as_far_off_as_their_stated_errors(
    pairs: list[tuple[Patterns, Patterns]],
) -> None:
    pulls = [
        np.angle(np.exp(1j * (f.phases - t.phases))) / f.phase_error[:, None] for f, t in pairs
    ]
    assert 0.6 < rms(pulls) < 1.5


def test_modulations_are_as_far_off_as_their_stated_errors(
    pairs: list[tuple[Patterns, Patterns]],
) -> None:
    pulls = [(f.modulation / t.modulation - 1) / f.modulation_error for f, t in pairs]
    assert 0.4 < rms(pulls) < 1.6


def wave(number: int, **changes: float) -> Wave:
    """Return one of three equally spaced waves that are known well."""
    direction = np.pi / 3 * number
    exact = Wave(
        q=5 * np.array([np.sin(direction), np.cos(direction)]),
        phases=equal_phases(3),
        strengths=np.ones(3),
        modulation=0.8,
        q_error=0.003 * STEPS[0],
        offset_error=np.radians(0.3),
        step_error=np.radians(0.5),
        modulation_error=0.012,
    )
    return replace(exact, **changes)


def verdict(how: str = "found", **changes: float) -> str:
    """Return the verdict on three waves of which the second was found like this."""
    choices = [
        Choice(np.zeros(2), 50.0, 9.0, "found" if a != 1 else how)  # type: ignore[arg-type]
        for a in range(3)
    ]
    return judge(choices, [wave(a, **(changes if a == 1 else {})) for a in range(3)], STEPS)


def test_good_is_what_is_known_well() -> None:
    assert verdict() == "good"


@pytest.mark.parametrize(
    ("error", "value", "words"),
    [
        ("q_error", 0.03 * STEPS[0], "0.03 DFT pixels"),
        ("offset_error", np.radians(6), "6 degrees"),
        ("modulation_error", 0.08, "8 % (modulation)"),
    ],
)
def test_what_is_not_known_well_enough_is_named(error: str, value: float, words: str) -> None:
    text = verdict(**{error: value})
    assert text.startswith("usable: ")
    assert words in text
    assert text.endswith("more light would help")
    assert text.count(" and ") == 0


def test_a_guess_counts_if_the_fit_then_shows_a_pattern() -> None:
    assert verdict("guessed", modulation_error=0.1).startswith("usable: angle 2 found only with")
    assert verdict("guessed", modulation_error=0.4).startswith("failed: the pattern of angle 2")


def landscape(wavevector: np.ndarray, evidence: float) -> Landscape:
    """Return the evidence of one angle with a single peak, at the cell next to a wavevector."""
    axes = [np.fft.fftfreq(SIZE, 0.065)] * 2
    k_y, k_x = (k.ravel() for k in np.meshgrid(*axes, indexing="ij"))
    ring = (np.abs(np.hypot(k_y, k_x) - 5) < 1) & (k_x >= 0)
    k_y, k_x = k_y[ring], k_x[ring]
    away = np.minimum(
        *(np.hypot(k_y - s * wavevector[0], k_x - s * wavevector[1]) for s in (1, -1))
    )
    values = np.zeros(k_y.size)
    values[np.argmin(away)] = evidence
    return Landscape(k_y, k_x, values, np.zeros((1, SIZE, SIZE)), (0.065, 0.065))


@pytest.mark.parametrize(("pixels", "how"), [(0.0, "helped"), (1.5, "guessed"), (6.0, "guessed")])
def test_a_faint_peak_counts_where_the_other_angles_point(pixels: float, how: str) -> None:
    q = [wave(a).q for a in range(3)]
    beside = q[2] * (1 + pixels * STEPS[0] / 5)
    lands = [landscape(q[0], 60), landscape(q[1], 60), landscape(beside, 6.0)]
    assert [choice.how for choice in choose(lands)] == ["found", "found", how]


def test_chance_is_that_of_normal_errors() -> None:
    """Against 100 000 drawn errors."""
    rng = np.random.default_rng(0)
    one = wave(
        0,
        q_error=0.01 * STEPS[0],
        offset_error=np.radians(1.2),
        step_error=np.radians(2),
        modulation_error=0.03,
    )
    shift = np.hypot(*rng.normal(0, 0.01, (2, 100_000)))
    steps = rng.normal(0, 2, (3, 100_000))
    phase = steps - steps.mean(axis=0) + rng.normal(0, 1.2, 100_000)
    depth = np.abs(rng.normal(0, 0.03, 100_000))
    within = (shift < 0.02) & (np.sqrt(np.mean(phase**2, axis=0)) < 3) & (depth < 0.05)
    assert chance(one, STEPS) == pytest.approx(within.mean(), abs=0.02)


def test_common_steps_are_learned_from_all_angles() -> None:
    uneven = equal_phases(3) + np.radians([0, 14, 33])
    rng = np.random.default_rng(1)
    error = np.radians(4)
    waves = [
        wave(a, phases=uneven + a + rng.normal(0, error, 3), step_error=error) for a in range(3)
    ]
    shared = share_steps(waves)
    assert max(w.step_error for w in shared) < 0.9 * error
    before, after = (
        np.array([np.diff(w.phases - uneven) for w in group]) for group in (waves, shared)
    )
    assert np.sqrt(np.mean(after**2)) < np.sqrt(np.mean(before**2))


def test_steps_that_differ_by_more_than_their_errors_stay_apart() -> None:
    steps = equal_phases(3) + np.radians([[0, 14, -10], [0, 0, 0], [0, -20, 10]])
    waves = [wave(a, phases=steps[a], step_error=np.radians(0.5)) for a in range(3)]
    for before, after in zip(waves, share_steps(waves), strict=True):
        assert np.diff(after.phases) == pytest.approx(np.diff(before.phases), abs=np.radians(0.5))


def test_a_missing_wavevector_follows_from_the_others() -> None:
    q = np.array([wave(a).q for a in range(3)])
    errors = np.array([0.01, np.inf, 0.02])
    found = expected(q * [[1.0], [0.3], [1.0]], errors, 1)
    assert abs(found @ q[1]) / 25 == pytest.approx(1, abs=1e-6)
