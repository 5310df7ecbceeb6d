"""Transforms and derivatives of the grids against SciPy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from napari_physgen.synthesis.phase_field.spectral import NoFlux, NoFluxShape, Periodic

SHAPES = [(12, 18), (15, 9), (7, 16), (6, 5, 8)]
Box = Periodic | NoFlux
BOXES = [Periodic, NoFlux]
H = 0.7


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def t_shape() -> np.ndarray:
    mask = np.zeros((11, 13), bool)
    mask[:4] = mask[:, 5:9] = True
    return mask


@pytest.mark.parametrize("shape", SHAPES)
def test_cosine_transform_equals_scipys(shape: tuple[int, ...]) -> None:
    u = noise(2, 3, *shape)
    axes = tuple(range(2, u.ndim))
    spectrum = NoFlux(shape, dtype=torch.float64).forward(u)
    np.testing.assert_allclose(spectrum, dctn(u.numpy(), axes=axes), atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
def test_fields_survive_the_round_trip(
    box: type[Box],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    error: float,
) -> None:
    grid = box(shape, dtype=dtype)
    u = noise(2, 3, *shape).to(dtype)
    back = grid.inverse(grid.forward(u))
    assert back.dtype == dtype
    torch.testing.assert_close(back, u, rtol=0, atol=error * float(u.abs().max()))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("box", BOXES)
def test_root_mean_square_is_that_of_the_samples(box: type[Box], shape: tuple[int, ...]) -> None:
    """Parseval, for odd and even lengths, which weight their last waves differently."""
    grid = box(shape, H, dtype=torch.float64)
    u = noise(2, 3, *shape) + 0.5
    expected = u.square().mean(tuple(range(2, u.ndim))).sqrt()
    torch.testing.assert_close(grid.rms(grid.forward(u)), expected)


def test_root_mean_square_on_a_shape_is_that_of_its_cells() -> None:
    grid = NoFluxShape(t_shape(), H, dtype=torch.float64)
    u = noise(2, 3, *grid.shape)
    torch.testing.assert_close(grid.rms(grid.forward(u)), u.square().mean(-1).sqrt())


def waves(grid: Periodic | NoFlux) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    """Coordinates (y, x) and wavenumbers of one product of cosines that the grid resolves."""
    rows, columns = grid.shape
    turns = 2 if isinstance(grid, Periodic) else 1
    y = (torch.arange(rows, dtype=torch.float64)[:, None] + 0.5) * H
    x = (torch.arange(columns, dtype=torch.float64) + 0.5) * H
    return y, x, turns * math.pi * 2 / (rows * H), turns * math.pi * 3 / (columns * H)


@pytest.mark.parametrize("shape", [(12, 18), (15, 9)])
@pytest.mark.parametrize("box", BOXES)
def test_derivatives_of_cosines_are_sines(box: type[Box], shape: tuple[int, int]) -> None:
    grid = box(shape, H, dtype=torch.float64)
    y, x, q, k = waves(grid)
    spectrum = grid.forward(2 + torch.cos(q * y) * torch.cos(k * x))
    by_x, by_y = grid.derivative(spectrum, -1), grid.derivative(spectrum, -2)
    torch.testing.assert_close(by_x, -k * torch.cos(q * y) * torch.sin(k * x))
    torch.testing.assert_close(by_y, -q * torch.sin(q * y) * torch.cos(k * x))
    minus_laplacian = grid.inverse(grid.k2 * spectrum)
    expected = (q**2 + k**2) * torch.cos(q * y) * torch.cos(k * x)
    torch.testing.assert_close(minus_laplacian, expected)


@pytest.mark.parametrize("shape", [(12, 18), (15, 9)])
@pytest.mark.parametrize("box", BOXES)
def test_divergence_of_sines_is_made_of_cosines(box: type[Box], shape: tuple[int, int]) -> None:
    grid = box(shape, H, dtype=torch.float64)
    y, x, q, k = waves(grid)
    up = torch.sin(q * y) * torch.cos(k * x)
    right = torch.cos(q * y) * torch.sin(k * x)
    found = grid.inverse(grid.divergence([up, 3 * right]))
    torch.testing.assert_close(found, (q + 3 * k) * torch.cos(q * y) * torch.cos(k * x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("box", BOXES)
def test_divergence_is_minus_the_adjoint_of_the_gradient(
    box: type[Box], shape: tuple[int, ...]
) -> None:
    """Sum of grad u . j equals minus the sum of u div j, for white noise."""
    grid = box(shape, H, dtype=torch.float64)
    u, j = noise(*shape, seed=1), noise(len(shape), *shape, seed=2)
    spectrum = grid.forward(u)
    along = sum((grid.derivative(spectrum, axis) * j[axis]).sum() for axis in grid.axes)
    across = (u * grid.inverse(grid.divergence(list(j)))).sum()
    torch.testing.assert_close(along, -across, rtol=1e-11, atol=1e-11)


def test_modes_of_a_full_rectangle_are_the_cosines_of_a_box() -> None:
    rows, columns = 9, 14
    grid = NoFluxShape(np.ones((rows, columns), bool), H, dtype=torch.float64)
    expected = np.sort(NoFlux((rows, columns), H, dtype=torch.float64).k2.numpy().ravel())
    np.testing.assert_allclose(grid.k2, expected, atol=1e-11)


def test_modes_of_a_shape_are_orthonormal() -> None:
    grid = NoFluxShape(t_shape(), H, dtype=torch.float64)
    one = torch.eye(grid.shape[0], dtype=torch.float64)
    modes = grid.forward(one)
    torch.testing.assert_close(modes @ modes.T, one, rtol=0, atol=1e-12)
    torch.testing.assert_close(grid.inverse(modes), one, rtol=0, atol=1e-12)


def test_uniform_field_on_a_shape_is_its_first_mode() -> None:
    grid = NoFluxShape(t_shape(), H, dtype=torch.float64)
    spectrum = grid.forward(torch.ones(grid.shape, dtype=torch.float64))
    assert float(grid.k2[0]) == 0
    assert bool((grid.k2[1:] > 1e-3).all())
    torch.testing.assert_close(spectrum[1:], torch.zeros_like(spectrum[1:]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("box", BOXES)
def test_integral_is_the_mean_times_the_volume(box: type[Box]) -> None:
    grid = box((6, 5, 8), H)
    density = noise(3, 6, 5, 8).float()
    found = grid.integral(density)
    assert found.dtype == torch.float64
    expected = density.double().mean((1, 2, 3)) * 6 * 5 * 8 * H**3
    torch.testing.assert_close(found, expected)


def test_integral_over_a_shape_counts_its_cells() -> None:
    mask = t_shape()
    found = NoFluxShape(mask, H).integral(torch.ones(2, int(mask.sum())))
    np.testing.assert_allclose(found, mask.sum() * H**2)
