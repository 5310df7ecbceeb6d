"""Free energies and their flow against what thermodynamics and sharp interfaces say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_physgen.synthesis.phase_field.elasticity import elastic_symbol
from napari_physgen.synthesis.phase_field.models import (
    Bulk,
    DoubleWell,
    GradientFlow,
    Grains,
    Precipitates,
)
from napari_physgen.synthesis.phase_field.spectral import NoFlux, Periodic
from napari_physgen.synthesis.phase_field.stepper import Evolution

Box = Periodic | NoFlux
BARRIER, KAPPA, GAP = 5.0, 2.0, 0.4  # PFHub BM1
TENSION = math.sqrt(2 * KAPPA * BARRIER) * GAP**3 / 6  # 0.047703
WIDTH = math.sqrt(KAPPA / (2 * BARRIER)) / (GAP / 2)  # of tanh(x / WIDTH), 2.236


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def per_sample(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1)


def separating(grid: Box, conserved: bool = True, mobility: float = 5.0) -> GradientFlow:
    return GradientFlow(grid, DoubleWell(), (conserved,), (mobility,), (KAPPA,))


def ripening(grid: Box) -> GradientFlow:
    conserved = (True, *(False,) * 4)
    return GradientFlow(grid, Precipitates(), conserved, (5.0,) * 5, (3.0,) * 5)


def polycrystal(grid: Box, fields: int = 3) -> GradientFlow:
    return GradientFlow(grid, Grains(), (False,) * fields, (1.0,) * fields, (KAPPA,) * fields)


def misfitting(grid: Box) -> GradientFlow:
    one = torch.ones(1)
    elastic = elastic_symbol(grid, 3 * one, 3 * one, -0.25 * one, 20 * one)
    return GradientFlow(grid, DoubleWell(), (True,), (5.0,), (KAPPA,), elastic)


def evolved(model: GradientFlow, fields: torch.Tensor, time: float, error: float) -> Evolution:
    evolution = Evolution(model, fields, error)
    while bool((evolution.time < time).any()):
        evolution.advance(10, time)
        assert not bool(evolution.stuck.any())
    return evolution


def radius(*shape: int) -> torch.Tensor:
    """Distance of every cell (*shape) from the middle."""
    axes = [torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in shape]
    return torch.hypot(axes[0][:, None], axes[1])


# ---- energies and their slopes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("bulk", "fields"),
    [
        (DoubleWell(), 1),
        (DoubleWell(per_sample(5, 3), per_sample(0.3, 0.2), per_sample(0.7, 0.75)), 1),
        (Precipitates(), 5),
        (Precipitates(per_sample(0.3, 0.25), per_sample(0.7, 0.65), 4.0, 1.3, 2.5), 3),
        (Grains(), 6),
    ],
)
def test_slope_is_the_derivative_of_the_density(bulk: Bulk, fields: int) -> None:
    u = (0.5 + 0.4 * noise(2, fields, 5, 7)).requires_grad_()
    (expected,) = torch.autograd.grad(bulk.density(u).sum(), u)
    torch.testing.assert_close(bulk.slope(u.detach()), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [separating, ripening, polycrystal, misfitting])
@pytest.mark.parametrize("box", [Periodic, NoFlux])
def test_rate_is_the_derivative_of_the_whole_energy(box: type[Box], make: object) -> None:
    """du/dt = M laplacian(dF/du) or -M dF/du, with dF/du by automatic differentiation of F."""
    assert callable(make)
    model: GradientFlow = make(box((11, 13), 0.8, dtype=torch.float64))
    grid = model.grid
    u = (0.5 + 0.2 * noise(1, len(model.conserved), 11, 13)).requires_grad_()
    (force,) = torch.autograd.grad(model.energy(grid.forward(u)).sum(), u)
    force = grid.forward(force / grid.spacing**2)
    columns = [
        -mobility * (grid.k2 if conserved else 1) * force[:, i]
        for i, (mobility, conserved) in enumerate(zip(model.mobility, model.conserved, strict=True))
    ]
    found = model.rate(grid.forward(u.detach()))
    torch.testing.assert_close(found, torch.stack(columns, 1), rtol=1e-9, atol=1e-9)


def test_energy_of_one_wave_holds_its_gradient_and_its_misfit() -> None:
    """Density of c = 0.5 + a cos k.r: <f> + (kappa k^2 + B) a^2 / 4."""
    grid = Periodic((12, 20), 0.8, dtype=torch.float64)
    model, a = misfitting(grid), 0.05
    y, x = (torch.arange(n, dtype=torch.float64) * 0.8 for n in grid.shape)
    k_y, k_x = float(grid.k[0][2, 0]), float(grid.k[1][3])
    c = 0.5 + a * torch.cos(k_y * y[:, None] + k_x * x)
    assert model.elastic is not None
    stiffness = KAPPA * (k_y**2 + k_x**2) + float(model.elastic[0, 2, 3])
    bulk = float(DoubleWell().density(c[None, None]).mean())
    found = float(model.energy(grid.forward(c)[None, None])) / (12 * 20 * 0.8**2)
    assert found == pytest.approx(bulk + stiffness * a**2 / 4, rel=1e-12)
    assert float(model.elastic[0, 2, 3]) > 0.1


def test_phases_cost_nothing_and_all_else_costs_energy() -> None:
    """Both wells of each density are its lowest values."""
    c = torch.linspace(0, 1, 101, dtype=torch.float64)
    well = DoubleWell().density(c.reshape(1, 1, -1))[0]
    assert well[[30, 70]].tolist() == pytest.approx([0, 0], abs=1e-12)
    assert bool((np.delete(well.numpy(), [30, 70]) > 0).all())
    matrix, particle = torch.zeros(5, 1), torch.tensor([[0.7], [0.0], [0.0], [1.0], [0.0]])
    matrix[0] = 0.3
    both = Precipitates().density(torch.stack([matrix, particle]).double())
    assert both.flatten().tolist() == pytest.approx([0, 0], abs=1e-12)
    grain = torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1).double()
    assert float(Grains().density(grain)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("make", [separating, ripening, polycrystal, misfitting])
@pytest.mark.parametrize("box", [Periodic, NoFlux])
def test_free_energy_never_rises(box: type[Box], make: object) -> None:
    assert callable(make)
    model: GradientFlow = make(box((40, 40), dtype=torch.float64))
    fields = 0.5 + 0.1 * noise(2, len(model.conserved), 40, 40)
    evolution = Evolution(model, fields)
    energies = [evolution.energy]
    for _ in range(250):
        evolution.advance(1, 200.0)
        energies.append(evolution.energy)
    curve = torch.stack(energies)
    assert bool((curve[-1] < 0.5 * curve[0]).all())
    assert float((curve.diff(dim=0) / curve[0]).max()) < 1e-6


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("make", [separating, ripening, misfitting])
def test_mass_is_conserved(make: object, dtype: torch.dtype, error: float) -> None:
    assert callable(make)
    model: GradientFlow = make(Periodic((48, 48), dtype=dtype))
    fields = 0.5 + 0.05 * noise(1, len(model.conserved), 48, 48)
    evolution = evolved(model, fields, 300.0, 1e-4)
    before, after = (u[0, 0].double().mean() for u in (fields, evolution.fields))
    assert float(evolution.steps) > 100
    assert float(after / before - 1) == pytest.approx(0, abs=error)


# ---- interfaces -------------------------------------------------------------------------------


def stripe() -> Evolution:
    """Two flat interfaces at equilibrium, from a start that is too wide."""
    grid = Periodic((96,), dtype=torch.float64)
    x = torch.arange(96, dtype=torch.float64) - 47.5
    fields = 0.5 - 0.2 * torch.tanh((x.abs() - 24) / 4)
    return evolved(separating(grid), fields[None, None], 300.0, 1e-5)


def test_flat_interfaces_have_the_energy_of_cahn_and_hilliard() -> None:
    """J. W. Cahn, J. E. Hilliard 1958: integral of sqrt(2 kappa f) dc = 0.047703 here."""
    assert abs(TENSION - 0.047703) < 1e-6
    assert float(stripe().energy) / 2 == pytest.approx(TENSION, rel=1e-5)


def test_flat_interfaces_have_the_profile_of_cahn_and_hilliard() -> None:
    """c = 0.5 + 0.2 tanh(x / w), w = 2.236."""
    c = stripe().fields[0, 0, 48:].numpy()
    x = np.arange(len(c)) + 0.5
    near = np.abs(c - 0.5) < 0.18
    slope, offset = np.polyfit(x[near], np.arctanh((c[near] - 0.5) / 0.2), 1)
    assert -1 / slope == pytest.approx(WIDTH, rel=1e-3)
    assert -offset / slope == pytest.approx(24, abs=1e-3)
    expected = 0.5 - 0.2 * np.tanh((x - 24) / WIDTH)
    np.testing.assert_allclose(c, expected, atol=1e-4)


def test_small_particles_raise_the_chemical_potential_as_gibbs_and_thomson_say() -> None:
    """At equilibrium mu = sigma / (R dc) everywhere, for round particles of several radii."""
    start = torch.tensor([12.0, 16.0, 22.0], dtype=torch.float64)[:, None, None]
    grid = Periodic((80, 80), dtype=torch.float64)
    model = separating(grid)
    profile = -GAP / 2 * torch.tanh((radius(80, 80) - start) / WIDTH)
    saturation = TENSION / (start * GAP) / (2 * BARRIER * GAP**2)  # mu / f''
    evolution = evolved(model, (0.5 + profile + saturation)[:, None], 600.0, 1e-4)
    c = evolution.fields
    mu = model.bulk.slope(c) + grid.inverse(KAPPA * grid.k2 * evolution.spectrum)
    radii = torch.stack([contour_radius(sample[0]) for sample in c])
    assert float((mu.amax((1, 2, 3)) / mu.amin((1, 2, 3)) - 1).max()) < 0.01
    torch.testing.assert_close(mu.mean((1, 2, 3)), TENSION / (radii * GAP), rtol=0.005, atol=0)


def contour_radius(c: torch.Tensor) -> torch.Tensor:
    """Radius of the disc c > 0.5, from the distances to it that the interface profile shows."""
    depth = WIDTH * torch.atanh(((c - 0.5) / (GAP / 2)).clamp(-0.999, 0.999))
    return torch.sqrt((depth + 0.5).clamp(0, 1).sum() / math.pi)


# ---- motion -----------------------------------------------------------------------------------


def test_round_domains_shrink_by_their_curvature() -> None:
    """Not conserved: dA/dt = -2 pi M kappa, whatever the radius (S. M. Allen, J. W. Cahn 1979)."""
    grid = Periodic((72, 72), dtype=torch.float64)
    profile = torch.tanh((radius(72, 72) - 26) / WIDTH)
    evolution = Evolution(separating(grid, False, 1.0), (0.5 - 0.2 * profile)[None, None], 1e-4)
    check_shrinkage(evolution, lambda u: (u[0, 0] - 0.3) / GAP)


def test_round_grains_shrink_by_their_curvature() -> None:
    """Two order parameters: the same law, dA/dt = -2 pi L kappa (D. Fan, L.-Q. Chen 1997)."""
    grid = Periodic((72, 72), dtype=torch.float64)
    grain = 0.5 * (1 - torch.tanh((radius(72, 72) - 26) / 2))
    fields = torch.stack([grain, 1 - grain])[None]
    evolution = Evolution(polycrystal(grid, 2), fields, 1e-4)
    check_shrinkage(evolution, lambda u: u[0, 0] ** 2 / u[0].square().sum(0))


def check_shrinkage(evolution: Evolution, inside: object) -> None:
    """Assert dA/dt = -2 pi kappa between two times, after the interface has relaxed."""
    assert callable(inside)
    areas, times = [], [20.0, 60.0, 100.0]
    for time in times:
        while float(evolution.time) < time:
            evolution.advance(10, time)
        areas.append(float(inside(evolution.fields).sum()))
    assert areas[0] / areas[-1] > 1.5
    speeds = np.diff(areas) / np.diff(times)
    np.testing.assert_allclose(speeds, -2 * math.pi * KAPPA, rtol=0.02)


def exponent(model: GradientFlow, times: list[float], error: float) -> float:
    """Slope of log F over log t, mean of four samples, from noise as strong as the phases."""
    fields = 0.5 + 0.2 * noise(4, 1, *model.grid.shape)
    evolution, energies = Evolution(model, fields, error), []
    for time in times:
        while bool((evolution.time < time).any()):
            evolution.advance(10, time)
        energies.append(float(evolution.energy.mean()))
    return float(np.polyfit(np.log(times), np.log(energies), 1)[0])


def test_conserved_domains_coarsen_with_the_cube_root_of_time() -> None:
    """F ~ interface area ~ t^(-1/3) (I. M. Lifshitz, V. V. Slyozov 1961; D. A. Huse 1986)."""
    times = [200.0, 400.0, 800.0, 1600.0]
    model = separating(Periodic((256, 256)))
    assert exponent(model, times, 2e-3) == pytest.approx(-1 / 3, abs=0.05)


def test_free_domains_coarsen_with_the_square_root_of_time() -> None:
    """F ~ t^(-1/2) (S. M. Allen, J. W. Cahn 1979)."""
    model = separating(Periodic((256, 256)), conserved=False)
    assert exponent(model, [10.0, 20.0, 40.0], 4e-4) == pytest.approx(-1 / 2, abs=0.05)
