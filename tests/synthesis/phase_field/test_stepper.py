"""The time stepper against closed forms and finer runs of itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch

from napari_physgen.synthesis.phase_field.models import DoubleWell, GradientFlow
from napari_physgen.synthesis.phase_field.spectral import NoFlux, Periodic
from napari_physgen.synthesis.phase_field.stepper import Evolution, Model

Box = Periodic | NoFlux


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def cahn_hilliard(
    grid: Box,
    mobility: float | torch.Tensor = 5.0,
    kappa: float | torch.Tensor = 2.0,
) -> GradientFlow:
    return GradientFlow(grid, DoubleWell(), (True,), (mobility,), (kappa,))


@dataclass(frozen=True)
class Misjudged:
    """A model whose stiffness is wrong by a factor."""

    model: GradientFlow
    factor: float

    @property
    def grid(self) -> Box:
        grid = self.model.grid
        assert isinstance(grid, (Periodic, NoFlux))
        return grid

    @property
    def stiffness(self) -> torch.Tensor:
        return self.factor * self.model.stiffness

    @property
    def scale(self) -> float:
        return self.model.scale

    def rate(self, spectrum: torch.Tensor) -> torch.Tensor:
        return self.model.rate(spectrum)

    def energy(self, spectrum: torch.Tensor) -> torch.Tensor:
        return self.model.energy(spectrum)


def stepped(model: Model, fields: torch.Tensor, time: float, steps: int) -> torch.Tensor:
    """Fields after equal time steps, without error control."""
    evolution = Evolution(model, fields)
    dt = torch.full_like(evolution.time, time / steps)
    for _ in range(steps):
        evolution.spectrum, _ = evolution._ros2(dt)
    return evolution.fields


def reached(evolution: Evolution, time: float | torch.Tensor) -> Evolution:
    while bool((evolution.time < time).any()):
        assert not bool(evolution.stuck.any())
        evolution.advance(10, time)
    return evolution


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_halving_the_step_quarters_the_error_however_wrong_the_stiffness(factor: float) -> None:
    """W-methods keep their order with any stiffness (Verwer et al. 1999, section 3)."""
    grid = Periodic((16, 16), 3.0, dtype=torch.float64)
    model = Misjudged(cahn_hilliard(grid), factor)
    fields = 0.5 + 0.08 * noise(1, 1, 16, 16)
    exact = stepped(model, fields, 2.0, 2560)
    errors = [float((stepped(model, fields, 2.0, n) - exact).norm()) for n in (80, 160, 320)]
    assert errors[0] < 0.01 * float((exact - 0.5).norm())
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([2, 2], abs=0.2)


@pytest.mark.parametrize("box", [Periodic, NoFlux])
def test_small_waves_grow_at_cahns_rate(box: type[Box]) -> None:
    """R(k) = -M k^2 (f'' + kappa k^2) (J. W. Cahn 1961), f''(0.5) = -8 rho 0.2^2 / 2 = -0.8."""
    n, time = 96, 2.0
    grid = box((n,), dtype=torch.float64)
    k = grid.k[-1]
    some = (k > 0) & (k < 0.9)
    amplitude = torch.where(some, 1e-6 * n, 0.0).to(grid.forward(noise(n)).dtype)
    fields = 0.5 + grid.inverse(amplitude)[None, None]
    evolution = Evolution(cahn_hilliard(grid), fields, tolerance=1e-11)
    found = reached(evolution, time).spectrum[0, 0].real[some] / amplitude.real[some]
    expected = (-5 * k**2 * (-0.8 + 2 * k**2))[some] * time
    assert expected.min() < -4 < 0.7 < expected.max()
    torch.testing.assert_close(found.log(), expected, rtol=0, atol=2e-3)


def test_batched_samples_go_their_own_way() -> None:
    """Times, steps and fields are those of each sample alone, though parameters differ."""
    grid = Periodic((32, 32), dtype=torch.float64)
    fields = 0.5 + 0.05 * noise(2, 1, 32, 32)
    mobility, kappa = (torch.tensor(v).reshape(-1, 1, 1).double() for v in ([5, 2], [2, 3.5]))
    ends = torch.tensor([3.0, 9.0], dtype=torch.float64)
    together = reached(Evolution(cahn_hilliard(grid, mobility, kappa), fields), ends)
    for i in range(2):
        model = cahn_hilliard(grid, mobility[i].item(), kappa[i].item())
        alone = reached(Evolution(model, fields[i : i + 1]), float(ends[i]))
        assert float(alone.steps) == float(together.steps[i])
        torch.testing.assert_close(alone.fields[0], together.fields[i], rtol=0, atol=1e-9)
        torch.testing.assert_close(alone.energy[0], together.energy[i], rtol=1e-9, atol=0)


def test_single_precision_batches_give_the_masks_of_each_sample_alone() -> None:
    grid = Periodic((48, 48))
    fields = (0.5 + 0.05 * noise(3, 1, 48, 48)).float()
    kappa = torch.tensor([2.0, 2.6, 3.1]).reshape(-1, 1, 1)
    together = reached(Evolution(cahn_hilliard(grid, 5.0, kappa), fields), 20.0).fields
    for i in range(3):
        model = cahn_hilliard(grid, 5.0, kappa[i].item())
        alone = reached(Evolution(model, fields[i : i + 1]), 20.0).fields[0]
        np.testing.assert_array_equal(alone > 0.5, together[i] > 0.5)


def test_tighter_tolerance_lowers_the_error() -> None:
    grid = Periodic((32, 32), dtype=torch.float64)
    fields = 0.5 + 0.05 * noise(1, 1, 32, 32)
    model = cahn_hilliard(grid)
    runs = [
        reached(Evolution(model, fields, tolerance), 10.0).fields
        for tolerance in (1e-2, 1e-3, 1e-4, 1e-6)
    ]
    errors = [float((run - runs[-1]).square().mean().sqrt()) / 0.4 for run in runs[:-1]]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[1] < 0.05


@dataclass(frozen=True)
class Breaking:
    """du/dt = u, which has no meaning above a threshold."""

    grid: Periodic
    threshold: float
    scale: float = 1.0

    @property
    def stiffness(self) -> torch.Tensor:
        return torch.zeros(1, 1, *self.grid.k2.shape, dtype=torch.float64)

    def rate(self, spectrum: torch.Tensor) -> torch.Tensor:
        mean = self.grid.inverse(spectrum).mean((1, 2), keepdim=True)
        return torch.where(mean > self.threshold, math.nan, spectrum)

    def energy(self, spectrum: torch.Tensor) -> torch.Tensor:
        return self.grid.integral(self.grid.inverse(spectrum)[:, 0])


def test_equations_that_break_down_leave_the_last_good_state() -> None:
    """u = e^t until 2, that is t = ln 2; the neighbour, which starts lower, goes on undisturbed."""
    grid = Periodic((8,), dtype=torch.float64)
    fields = torch.ones(2, 1, 8, dtype=torch.float64) * torch.tensor([1.0, 0.1])[:, None, None]
    evolution = Evolution(Breaking(grid, 2.0), fields, tolerance=1e-6)
    for _ in range(60):
        evolution.advance(25, 1.5)
    assert evolution.stuck.tolist() == [True, False]
    assert evolution.time.tolist() == pytest.approx([math.log(2), 1.5], abs=1e-4)
    np.testing.assert_allclose(evolution.fields[0], 2.0, atol=1e-4)
    np.testing.assert_allclose(evolution.fields[1], 0.1 * math.exp(1.5), rtol=1e-4)


def test_every_sample_waits_exactly_at_its_end() -> None:
    grid = Periodic((16, 16))
    evolution = Evolution(cahn_hilliard(grid), (0.5 + 0.05 * noise(3, 1, 16, 16)).float())
    for j in range(1, 40):
        end = torch.tensor([0.1, 1 / 3, math.e], dtype=torch.float64) * j
        assert reached(evolution, end).time.tolist() == end.tolist()
    waiting = evolution.spectrum.clone()
    evolution.advance(5, end)
    assert torch.equal(evolution.spectrum, waiting)


def test_a_step_cut_short_does_not_shorten_the_next_one() -> None:
    grid = Periodic((16, 16), dtype=torch.float64)
    fields = 0.5 + 0.05 * noise(1, 1, 16, 16)
    evolution = reached(Evolution(cahn_hilliard(grid), fields), 5.0)
    dt = float(evolution.dt)
    evolution.advance(1, 5.0 + 1e-6 * dt)
    assert float(evolution.dt) >= dt


def test_fields_put_in_from_outside_replace_only_the_changed_samples() -> None:
    grid = Periodic((16, 16), dtype=torch.float64)
    evolution = reached(Evolution(cahn_hilliard(grid), 0.5 + 0.05 * noise(2, 1, 16, 16)), 2.0)
    before, dt = evolution.fields, evolution.dt.clone()
    evolution.put(torch.full_like(before, 0.4), [False, True])
    torch.testing.assert_close(evolution.fields[0], before[0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(evolution.fields[1], 0.4, atol=1e-14)
    assert evolution.dt[0] == dt[0]
    assert evolution.dt[1] < dt[1]
