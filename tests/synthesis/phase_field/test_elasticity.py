"""The elastic energy of a misfit against Cahn's moduli, symmetry and the load it is under."""

from __future__ import annotations

import math

import pytest
import torch

from napari_physgen.backend import run
from napari_physgen.synthesis.phase_field.elasticity import (
    C12,
    USUAL_ZENER,
    elastic_symbol,
    kernel,
    loaded_misfit,
)
from napari_physgen.synthesis.phase_field.spectral import NoFlux, Periodic
from napari_physgen.synthesis.settings import PhaseFieldSettings
from napari_physgen.synthesis.simulate import simulate

DILATION = torch.eye(3, dtype=torch.float64)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def directions(count: int = 200) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    n = torch.randn(count, 3, generator=draw, dtype=torch.float64)
    return torch.nn.functional.normalize(n, dim=1)


def symbol(
    grid: Periodic | NoFlux,
    strength: float = 1.0,
    zener: float = USUAL_ZENER,
    load: float = 0.0,
    turn: float = 0.0,
) -> torch.Tensor:
    columns = (column(value) for value in (strength, zener, load, turn))
    return elastic_symbol(grid, *columns)[0]


@pytest.mark.parametrize("zener", [0.4, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("n", [(0, 0, 1), (0, 1, 1), (1, 1, 1)])
def test_plane_waves_cost_cahns_modulus(n: tuple[int, int, int], zener: float) -> None:
    """Y = (C11 + 2 C12) / 2 (3 - (C11 + 2 C12) / (C11 + 2 (2 C44 - C11 + C12) g)), B = 2 Y.

    g = l^2 m^2 + m^2 n^2 + n^2 l^2 is 0, 1/4 and 1/3 along <100>, <110> and <111>, where this is
    exact for a dilatational misfit (J. W. Cahn, Acta Metall. 10, 179 (1962)).
    """
    unit = column(*n) / column(*n).norm()
    c44 = zener * (1 - C12) / 2
    bulk = 1 + 2 * C12
    square = unit.square()
    g = float(square[0] * square[1] + square[1] * square[2] + square[2] * square[0])
    expected = bulk * (3 - bulk / (1 + 2 * (2 * c44 - 1 + C12) * g))
    assert float(kernel(unit, column(zener)[0], DILATION)) == pytest.approx(expected, rel=1e-12)


def test_isotropic_crystals_have_no_preferred_direction() -> None:
    energies = kernel(directions(), column(1.0), DILATION)
    torch.testing.assert_close(energies, energies[:1].expand_as(energies))


@pytest.mark.parametrize("zener", [0.1, 1.0, 3.0, 10.0])
def test_no_misfit_releases_energy(zener: float) -> None:
    """B >= 0 for any misfit, and 0 for one that a plane wave can undo: e = (a n + n a) / 2."""
    draw = torch.Generator().manual_seed(1)
    n = directions()
    strain = torch.randn(len(n), 3, 3, generator=draw, dtype=torch.float64)
    assert float(kernel(n, column(zener), strain + strain.mT).min()) > 0
    undone = n[:, :, None] * strain[:, None, 0]
    zero = kernel(n, column(zener), (undone + undone.mT) / 2)
    torch.testing.assert_close(zero, torch.zeros_like(zero), rtol=0, atol=1e-11)


def test_waves_cost_the_same_in_equivalent_directions() -> None:
    n = directions()
    energies = kernel(n, column(3.0), DILATION)
    for same in (n[:, [1, 2, 0]], n[:, [0, 2, 1]], n * column(1, -1, 1)):
        torch.testing.assert_close(kernel(same, column(3.0), DILATION), energies)


@pytest.mark.parametrize("zener", [0.5, 3.0])
def test_load_changes_the_misfit_along_and_across_a_cube_axis(zener: float) -> None:
    """1 - load along the stress and 1 + load across it."""
    misfit = loaded_misfit(column(-0.25), column(zener), column(0, 1, 0)[None])
    torch.testing.assert_close(misfit[0], torch.diag(column(0.75, 1.25, 0.75)))


def test_symbol_spans_its_strength_between_cube_axes_and_diagonals() -> None:
    """Lowest along the cube axes where the Zener ratio exceeds 1, and never for the mean."""
    grid = Periodic((16, 16), dtype=torch.float64)
    b = symbol(grid, strength=2.5)
    assert float(b[0, 0]) == 0
    torch.testing.assert_close(b[0, 1:], torch.zeros(8, dtype=torch.float64), rtol=0, atol=1e-12)
    assert float(b[3, 3]) == pytest.approx(2.5)
    assert float(b.max()) == pytest.approx(2.5)
    soft = symbol(grid, zener=0.5)
    assert float(soft[3, 3]) == pytest.approx(0, abs=1e-12)
    assert float(soft[0, 3]) > 0


@pytest.mark.parametrize("box", [Periodic, NoFlux])
def test_symbol_of_equal_moduli_vanishes(box: type[Periodic] | type[NoFlux]) -> None:
    b = symbol(box((9, 12), dtype=torch.float64), zener=1.0)
    torch.testing.assert_close(b, torch.zeros_like(b), rtol=0, atol=1e-12)


def test_turning_the_crystal_turns_the_symbol() -> None:
    """From x towards y by the angle of (4, 3): the wave (4, 3) then costs what (5, 0) did."""
    grid = Periodic((24, 24), dtype=torch.float64)
    still, turned = symbol(grid), symbol(grid, turn=math.degrees(math.atan2(3, 4)))
    assert float(turned[3, 4]) == pytest.approx(float(still[0, 5]), abs=1e-12)
    assert float(turned[7, 1]) == pytest.approx(float(still[5, 5]), abs=1e-12)
    assert float(turned[0, 5]) == pytest.approx(float(still[-3, 4]), abs=1e-12)
    assert float(turned[-3, 4]) > 0.1


def test_quarter_turn_is_a_symmetry_only_without_load() -> None:
    grid = Periodic((15, 15), dtype=torch.float64)
    torch.testing.assert_close(symbol(grid, turn=90), symbol(grid), rtol=0, atol=1e-12)
    b = symbol(grid)
    assert float(b[0, 3]) == pytest.approx(float(b[3, 0]), abs=1e-12)
    # The load stays along y of the picture when the crystal turns by a quarter.
    loaded = symbol(grid, load=-0.25)
    torch.testing.assert_close(symbol(grid, load=-0.25, turn=90), loaded, rtol=0, atol=1e-12)
    assert float(loaded[0, 3]) - float(loaded[3, 0]) > 0.1


def test_load_decides_which_way_rafts_lie() -> None:
    """Plates along x are waves along y: cheaper under a negative load, dearer else."""
    grid = Periodic((16, 16), dtype=torch.float64)
    for load in (-0.25, 0.25):
        b = symbol(grid, load=load)
        cheap, dear = (b[3, 0], b[0, 3]) if load < 0 else (b[0, 3], b[3, 0])
        assert float(dear) > float(cheap) + 0.1


def test_every_sample_has_its_own_crystal() -> None:
    grid = Periodic((9, 12), dtype=torch.float64)
    columns = [column(1, 2, 0.5), column(3, 0.5, 2), column(0, -0.3, 0.2), column(0, 30, -70)]
    together = elastic_symbol(grid, *columns)
    for i, sample in enumerate(together):
        torch.testing.assert_close(sample, symbol(grid, *(float(c[i]) for c in columns)))


def test_three_dimensions_contain_the_section_in_plane_strain() -> None:
    flat, solid = (Periodic(s, dtype=torch.float64) for s in ((12, 12), (12, 12, 12)))
    torch.testing.assert_close(symbol(solid)[0], symbol(flat))
    b = symbol(solid)
    assert float(b[2, 2, 2]) > float(b[0, 2, 2]) > float(b[0, 0, 2])


@pytest.mark.parametrize(("load", "along_x"), [(-0.3, True), (0.3, False)])
def test_loaded_precipitates_grow_into_rafts(load: float, along_x: bool) -> None:
    """As the setting says: positive values give rafts along y, negative ones along x."""
    settings = PhaseFieldSettings(
        size=64, fraction=0.5, nuclei=60, elastic_strength=2, load=load, duration=30, device="cpu"
    )
    field = torch.as_tensor(run(simulate(settings)).field)
    up, right = (float(field.diff(dim=axis).square().mean()) for axis in (0, 1))
    assert (up > 1.5 * right) if along_x else (right > 1.5 * up)
