"""The benchmark problems against other codes' uploads and analytic interface energies."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_physgen.backend import Progress, Stop, run
from napari_physgen.errors import UserError
from napari_physgen.synthesis import pfhub
from napari_physgen.synthesis.phase_field import pfhub as problems
from napari_physgen.synthesis.phase_field.models import GradientFlow
from napari_physgen.synthesis.phase_field.pfhub import PROBLEMS, REFERENCES, Benchmark
from napari_physgen.synthesis.phase_field.spectral import NoFluxShape
from napari_physgen.synthesis.phase_field.stepper import Evolution, Model

TENSION = math.sqrt(2 * 2 * 5) * 0.4**3 / 6  # sqrt(2 kappa rho) dc^3 / 6 = 0.0477


@pytest.fixture(scope="module")
def spinodal() -> Benchmark:
    return run(pfhub("1a", until=100, device="cpu"))


def test_spinodal_benchmark_follows_the_spectral_reference(spinodal: Benchmark) -> None:
    """MEUMAPPS (ORNL), the only spectral code with an upload, at its t = 50 and 100."""
    reference = REFERENCES["1a"][1]
    for time in (50, 100):
        assert spinodal.at(time) == pytest.approx(reference[time], rel=0.005)
    assert abs(spinodal.deviations()[10]) < 0.005
    assert set(spinodal.deviations()) == {1, 5, 10, 50, 100}
    assert "at most 0." in spinodal.summary
    assert "MEUMAPPS" in spinodal.summary


def test_spinodal_benchmark_starts_at_the_energy_of_its_initial_condition(
    spinodal: Benchmark,
) -> None:
    """319.07 to 319.25 among the codes, by how they treat the jump of the cosines at the edges."""
    assert spinodal.time[0] == 0
    assert 319.0 < spinodal.energy[0] < 319.3


def test_spinodal_benchmark_runs_downhill_and_keeps_its_mass(spinodal: Benchmark) -> None:
    assert (np.diff(spinodal.time) > 0).all()
    assert (np.diff(spinodal.energy) < 1e-9).all()
    x, y = np.meshgrid(np.arange(200.0), np.arange(200.0))
    start = problems.spinodal_start(x, y, 0.01)
    assert spinodal.field.mean() == pytest.approx(float(start.mean()), rel=1e-6)
    assert spinodal.time[-1] == 100
    (composition,) = spinodal.outputs()
    assert composition.data.shape == (200, 200)


def test_precipitation_benchmark_starts_like_the_finite_element_codes() -> None:
    """Problem 2a, F(1) = 3486."""
    result = run(pfhub("2a", until=1, device="cpu"))
    assert result.at(1) == pytest.approx(REFERENCES["2a"][1][1], rel=0.01)


def test_closed_spinodal_benchmark_follows_the_finite_element_codes() -> None:
    """Problem 1b, F(100) = 128.1 (Memphis), 130.75 (MOOSE), 131.6 (MOOSE) among the uploads."""
    result = run(pfhub("1b", until=100, device="cpu"))
    assert 128.1 < result.at(100) < 131.6


def relaxed(model: Model, c: torch.Tensor, time: float = 60.0) -> float:
    """Free energy of a composition after its interfaces have found their profile."""
    evolution = Evolution(model, c[None, None], 1e-4)
    while float(evolution.time) < time:
        evolution.advance(10, time)
    return float(evolution.energy)


@pytest.mark.parametrize(("problem", "walls"), [("1a", 2), ("1b", 1)])
def test_stripes_are_worth_their_walls(problem: str, walls: int) -> None:
    """Where problem 1 may end: 2 x 200 sigma = 19.08 periodic, 200 sigma = 9.54 without flux."""
    model, start = PROBLEMS[problem].setup(torch.float64, torch.device("cpu"))
    x = torch.arange(200, dtype=torch.float64) + 0.5
    distance = (x - 100).abs() - 50 if walls == 2 else x - 100
    profile = 0.5 - 0.2 * torch.tanh(distance / 3)
    found = relaxed(model, profile.expand_as(start[0, 0]))
    assert found == pytest.approx(walls * 200 * TENSION, rel=2e-3)
    assert walls * 200 * TENSION == pytest.approx({1: 9.54, 2: 19.08}[walls], abs=0.005)


def test_walls_across_a_channel_of_cells_are_worth_their_width() -> None:
    """The T of problem 1c ends with 20 sigma for each wall across its arms; here 9 sigma."""
    inside = np.zeros((40, 41), bool)
    inside[:9] = inside[:, 16:25] = True
    grid = NoFluxShape(inside, dtype=torch.float64)
    model = GradientFlow(grid, problems.DoubleWell(), (True,), (5.0,), (2.0,))
    rows = torch.as_tensor(np.nonzero(inside)[0] + 0.5)
    found = relaxed(model, 0.5 - 0.2 * torch.tanh((rows - 25) / 2.2))
    # Differences over cells make a wall 4.5 cells thick a little cheaper than in the continuum.
    assert found == pytest.approx(9 * TENSION, rel=0.02)


def test_t_of_the_benchmark_has_arms_of_20_and_a_span_of_100(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stem starts at the origin, the bar reaches from x = -40 to 60 and y = 100 to 120."""
    seen = []

    class Recorded(NoFluxShape):
        def __init__(self, mask: np.ndarray, spacing: float, **options: object) -> None:
            seen.append(mask)
            self.k2 = torch.zeros(int(mask.sum()))

    monkeypatch.setattr(problems, "NoFluxShape", Recorded)
    _, start = PROBLEMS["1c"].setup(torch.float64, torch.device("cpu"))
    (mask,) = seen
    assert mask.shape == (120, 100)
    assert mask[100:].all()
    assert mask[:100, 40:60].all()
    assert mask.sum() == 2 * 20 * 100 == start.shape[-1]
    corner = problems.spinodal_start(np.array([0.5]), np.array([0.5]), 0.01)
    assert float(start[0, 0, 0]) == pytest.approx(float(corner[0]), abs=1e-15)


def test_single_precision_gives_the_same_curve() -> None:
    exact, fast = (
        run(pfhub("1a", until=5, device="cpu", arithmetic=a)) for a in ("float64", "float32")
    )
    for time in (1, 5):
        assert fast.at(time) == pytest.approx(exact.at(time), rel=1e-5)


def test_stop_returns_the_curve_so_far() -> None:
    reports: list[Progress] = []

    def stop(progress: Progress) -> Stop | None:
        reports.append(progress)
        return Stop() if "free energy" in progress.metrics else None

    result = run(pfhub("1a", device="cpu"), stop)
    assert len(reports) == 2
    assert len(result.time) == 2
    assert 0 < result.time[-1] < 100
    assert result.energy[-1] == reports[-1].metrics["free energy"]


@pytest.mark.parametrize("until", [0.0, -1.0])
def test_times_that_are_not_positive_are_refused(until: float) -> None:
    with pytest.raises(UserError, match="The end time of a benchmark must be above 0"):
        pfhub("1a", until=until)


def test_unknown_problems_are_refused_with_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"no problem '9z' here \(known: 1a, 1b, 1c, 2a, 3a\)"):
        pfhub("9z")  # type: ignore[arg-type]


@pytest.mark.data
def test_reference_values_are_those_of_the_upload(data: Path) -> None:
    with (data / "pfhub" / "1a_meumapps_bm1a.csv").open() as file:
        rows = list(csv.DictReader(file))
    time, energy = (np.array([float(row[name]) for row in rows]) for name in rows[0])
    for at, expected in REFERENCES["1a"][1].items():
        assert np.interp(at, time, energy) == pytest.approx(expected, abs=0.006)


def test_problem_3_reports_tip_and_solid_fraction_of_a_growing_crystal() -> None:
    result = run(pfhub("3a", until=5.0, arithmetic="float32"))
    assert result.time[-1] == 5.0
    # The seed has a radius of 8 in a quarter of 960 x 960.
    assert 8 < result.metrics["tip"] < 14
    assert result.metrics["solid_fraction"] > math.pi * 8**2 / 4 / 960**2
    assert "tip at" in result.summary
