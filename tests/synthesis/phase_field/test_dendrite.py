"""Karma and Rappel's model against closed forms, its own free energy, and symmetry."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import label, map_coordinates

from napari_physgen.errors import UserError
from napari_physgen.metrics.particles import connected
from napari_physgen.synthesis.phase_field.dendrite import (
    A1,
    CELL,
    Dendrite,
    dendrite_model,
    dendrite_start,
)
from napari_physgen.synthesis.phase_field.solidification import solidification
from napari_physgen.synthesis.phase_field.spectral import NoFlux, Periodic
from napari_physgen.synthesis.phase_field.stepper import Evolution
from napari_physgen.synthesis.settings import PhaseFieldSettings

Box = Periodic | NoFlux


def box(size: int, spacing: float = CELL, kind: type[Box] = Periodic) -> Box:
    return kind((size, size), spacing, dtype=torch.float64)


def disc(grid: Box, radius: float) -> torch.Tensor:
    """Phase (y, x) of a round crystal in the middle."""
    axes = [(torch.arange(n) + 0.5 - n / 2).double() * grid.spacing for n in grid.shape]
    return torch.tanh((radius - torch.hypot(axes[0][:, None], axes[1])) / math.sqrt(2))


def width(degrees: float) -> float:
    """Width a(n) of a front across x when the axes are turned."""
    return 1 + 0.05 * math.cos(4 * math.radians(degrees))


def layer(grid: Box, degrees: float) -> torch.Tensor:
    """Phase (y, x) at equilibrium of a flat layer in the middle, half as wide as the grid."""
    n = grid.shape[1]
    x = (torch.arange(n) + 0.5 - n / 2).double().abs() * grid.spacing
    profile = torch.tanh((n * grid.spacing / 4 - x) / (math.sqrt(2) * width(degrees)))
    return profile.expand(grid.shape)


def state(phi: torch.Tensor) -> torch.Tensor:
    """Fields (1, 2, y, x) before any heat is released."""
    return torch.stack([phi, torch.zeros_like(phi)])[None]


def grown(model: Dendrite, phi: torch.Tensor, time: float, tolerance: float = 1e-3) -> Evolution:
    evolution = Evolution(model, state(phi), tolerance)
    while float(evolution.time) < time:
        evolution.advance(10, time)
    return evolution


def reach(phi: torch.Tensor, spacing: float, count: int = 360) -> np.ndarray:
    """Distance from the middle to the surface in `count` directions, from x towards y."""
    angles = np.arange(count) * 2 * np.pi / count
    distance = np.arange(0, phi.shape[0] / 2 - 1, 0.1)
    centre = (phi.shape[0] - 1) / 2
    rays = centre + distance[:, None] * np.stack([np.sin(angles), np.cos(angles)])[:, None]
    return (map_coordinates(phi.numpy(), rays, order=1) > 0).sum(0) * 0.1 * spacing


# ---- closed forms -----------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0.0, 20.0, 45.0])
def test_flat_front_at_the_melting_point_stands_still(degrees: float) -> None:
    grid = Periodic((8, 320), 0.25, dtype=torch.float64)
    model = Dendrite(grid, 0.0, 10.0, 0.05, orientation=math.radians(degrees))
    rate = grid.inverse(model.rate(grid.forward(state(layer(grid, degrees)))))
    assert float(rate.abs().max()) < 1e-4


@pytest.mark.parametrize("kind", [Periodic, NoFlux])
def test_flat_front_costs_the_interface_energy_of_its_direction(kind: type[Box]) -> None:
    """Excess of a tanh front, 2 sqrt(2) / 3 a(n) per length; two fronts, 2 W0 long."""
    grid = kind((8, 320), 0.25, dtype=torch.float64)
    for degrees in (0.0, 45.0):
        model = Dendrite(grid, 0.0, 10.0, 0.05, orientation=math.radians(degrees))
        excess = float(model.energy(grid.forward(state(layer(grid, degrees))))) + 0.25 * 2 * 80
        assert excess == pytest.approx(2 * 2 * 2 * math.sqrt(2) / 3 * width(degrees), rel=1e-5)


def test_crystal_neither_grows_nor_melts_at_the_gibbs_thomson_radius() -> None:
    """Undercooling d0 / R with d0 = 0.8839 / lambda, by the drive on the surface |grad phi|."""
    grid, radius = box(128, 0.6), 25.0
    phi = disc(grid, radius)
    surface = grid.inverse(1j * grid.k[-1] * grid.forward(phi)).square()
    surface += grid.inverse(1j * grid.k[-2] * grid.forward(phi)).square()

    def growth(undercooling: float) -> float:
        model = Dendrite(grid, undercooling, 1.0, 0.0)
        rate = grid.inverse(model.rate(grid.forward(state(phi))))[0, 0]
        return float((rate * surface.sqrt()).sum())

    low, high = growth(0.0), growth(0.1)
    critical = 0.1 * low / (low - high)
    d0 = A1 / float(Dendrite(grid, 0.0, 1.0).coupling)
    assert critical == pytest.approx(d0 / radius, rel=5e-3)


def test_melt_without_crystal_stays_as_it_is() -> None:
    grid = box(16)
    rate = Dendrite(grid, 0.5, 10.0).rate(grid.forward(state(-torch.ones(16, 16).double())))
    assert float(rate.abs().max()) < 1e-12


# ---- structure --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Periodic, NoFlux])
def test_phase_descends_the_free_energy(kind: type[Box]) -> None:
    """With one mobility dphi/dt = -dF/dphi, here by automatic differentiation of the energy."""
    grid = kind((48, 48), 0.5, dtype=torch.float64)
    noise = torch.randn(48, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    phi = 3 * grid.inverse(torch.exp(-1.5 * grid.k2) * grid.forward(noise))
    phi.requires_grad_()
    model = Dendrite(grid, 0.3, 5.0, 0.04, 6, 0.3, even=True)
    spectrum = grid.forward(state(phi))
    (gradient,) = torch.autograd.grad(model.energy(spectrum).sum(), phi)
    rate = grid.inverse(model.rate(spectrum))[0, 0].detach()
    gap = rate + gradient / grid.spacing**2
    inside = (slice(3, -3),) * 2  # at no-flux edges the stencil of the energy is one-sided
    assert float(gap[inside].norm() / rate[inside].norm()) < 2e-3


@pytest.mark.parametrize("degrees", [0.0, 45.0])
def test_wide_interfaces_relax_more_slowly(degrees: float) -> None:
    """By a^2, unless phi relaxes evenly in all directions."""
    grid = box(64)
    spectrum = grid.forward(state(layer(grid, 30.0)))
    even, rate = (
        Dendrite(grid, 0.3, 5.0, orientation=math.radians(degrees), even=even).rate(spectrum)
        for even in (True, False)
    )
    torch.testing.assert_close(rate[:, 0] * width(degrees) ** 2, even[:, 0])


@pytest.mark.parametrize("kind", [Periodic, NoFlux])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_heat_is_conserved(kind: type[Box], dtype: torch.dtype) -> None:
    """The integral of H - phi / 2 does not change, relative to the heat that was released."""
    grid = kind((64, 64), CELL, dtype=dtype)
    phi = disc(grid, 5.0).to(dtype)
    evolution = grown(Dendrite(grid, 0.5, 6.0, 0.05, orientation=0.2), phi, 30.0)
    change = evolution.fields[0].double() - state(phi)[0].double()
    released = float(change[1].sum())
    assert released > 100
    assert abs(released - float(change[0].sum()) / 2) < 1e-6 * released


def test_time_steps_are_of_second_order() -> None:
    grid = box(32)
    model = Dendrite(grid, 0.5, 4.0)
    start = grown(model, disc(grid, 5.0), 2.0, 1e-5).fields

    def after(steps: int) -> torch.Tensor:
        evolution = Evolution(model, start, tolerance=1e9)
        for _ in range(steps):
            evolution.dt[:] = 1.0 / steps
            evolution.advance(1, math.inf)
        return evolution.fields

    fine = after(320)
    errors = [float((after(steps) - fine).norm()) for steps in (10, 20, 40)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert orders == pytest.approx([2, 2], abs=0.2)


@pytest.mark.parametrize("kind", [Periodic, NoFlux])
def test_samples_of_a_batch_grow_as_they_would_alone(kind: type[Box]) -> None:
    common = {"material": "dendrite", "size": 48, "arithmetic": "float64"}
    settings = [
        PhaseFieldSettings(**common, symmetry=4, undercooling=0.5, diffusivity=4.0),
        PhaseFieldSettings(**common, symmetry=6, undercooling=0.6, orientation_deg=20, seed=3),
    ]
    grid = box(48, kind=kind)

    def fields(batch: list[PhaseFieldSettings]) -> torch.Tensor:
        evolution = Evolution(dendrite_model(grid, batch), dendrite_start(grid, batch))
        evolution.advance(60, 3.0)
        assert bool((evolution.time == 3.0).all())
        return evolution.fields

    together = fields(settings)
    for alone, sample in zip([fields([s]) for s in settings], together, strict=True):
        torch.testing.assert_close(alone[0], sample, rtol=0, atol=1e-10)


# ---- crystals ---------------------------------------------------------------------------------


def test_quarter_turn_of_the_axes_leaves_four_arms_unchanged() -> None:
    grid = box(64)
    phi = disc(grid, 4.0)
    here, turned = (
        grown(Dendrite(grid, 0.6, 5.0, orientation=angle), phi, 10.0).fields[0, 0]
        for angle in (0.0, math.pi / 2)
    )
    torch.testing.assert_close(here, turned, rtol=0, atol=1e-8)
    torch.testing.assert_close(here, here.T, rtol=0, atol=1e-8)


def test_arms_grow_as_far_along_the_diagonal_of_the_grid() -> None:
    grid = box(96)
    phi = disc(grid, 4.0)
    straight, diagonal = (
        reach(grown(Dendrite(grid, 0.6, 5.0, orientation=turn), phi, 25.0).fields[0, 0], CELL)
        for turn in (0.0, math.pi / 4)
    )
    grown_by = straight[0] - 4.0
    assert grown_by > 10
    assert diagonal[45] - 4.0 == pytest.approx(grown_by, rel=0.02)


@pytest.mark.parametrize(("symmetry", "degrees"), [(3, 25.0), (4, 20.0), (6, 10.0)])
def test_crystal_has_the_arms_that_were_asked_for(symmetry: int, degrees: float) -> None:
    grid = box(96)
    model = Dendrite(grid, 0.45, 5.0, 0.75 / (symmetry**2 - 1), symmetry, math.radians(degrees))
    radius = reach(grown(model, disc(grid, 4.0), 40.0).fields[0, 0], CELL)
    waves = np.fft.rfft(radius)
    assert np.abs(waves[1:13]).argmax() + 1 == symmetry
    assert math.degrees(-np.angle(waves[symmetry])) / symmetry == pytest.approx(degrees, abs=1)
    waves[2 * symmetry + 1 :] = 0  # the steps of the grid
    smooth = np.fft.irfft(waves, len(radius))
    tips = (smooth > np.roll(smooth, 1)) & (smooth > np.roll(smooth, -1))
    assert np.count_nonzero(tips & (smooth > smooth.mean())) == symmetry


@pytest.mark.parametrize("boundary", ["periodic", "no-flux"])
def test_seeds_are_separate_crystals(boundary: str) -> None:
    settings = PhaseFieldSettings(material="dendrite", size=128, seeds=7, boundary=boundary)
    grid = box(128, kind=Periodic if boundary == "periodic" else NoFlux)
    phi, heat = dendrite_start(grid, [settings])[0]
    solid = (phi > 0).numpy()
    crystals = connected(solid, periodic=True) if boundary == "periodic" else label(solid)[0]
    assert crystals.max() == 7
    assert not heat.any()


def test_crystals_that_cannot_grow_are_refused() -> None:
    settings = PhaseFieldSettings(material="dendrite", size=64, undercooling=0.05, diffusivity=0.5)
    with pytest.raises(UserError, match="raise the undercooling"):
        dendrite_start(box(64), [settings])


# ---- PFHub benchmark 3 ------------------------------------------------------------------------


def test_benchmark_3_starts_as_on_a_fine_grid() -> None:
    """Tip and solid fraction on cells of 0.32 W0 with a third of the tolerance."""
    first, second = solidification([20.0, 40.0])
    assert first.tip == pytest.approx(18.546, rel=3e-3)
    assert second.tip == pytest.approx(23.77, rel=3e-3)
    assert second.fraction == pytest.approx(4.36e-4, rel=3e-3)


def test_benchmark_3_does_not_notice_that_its_domain_grows() -> None:
    """The free energy of the untouched melt is that of the whole domain at the start."""
    (start,) = solidification([1e-3])
    melt = 960**2 * (-0.25 + 0.3 * 10 / 0.6267 * 8 / 15)
    assert start.energy == pytest.approx(melt, rel=3e-4)
    assert start.fraction == pytest.approx(math.pi * 64 / 4 / 960**2, rel=0.2)
    assert start.tip == pytest.approx(8, abs=0.3)
