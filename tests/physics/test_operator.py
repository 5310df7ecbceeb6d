"""Forward models keep the promises that every solver builds on, in 1-D to 3-D."""

from __future__ import annotations

import math

import pytest
import torch

from napari_physgen.errors import UserError
from napari_physgen.physics.blur import BORDERS, Convolution, Crop, Mirror, blur
from napari_physgen.physics.operator import (
    Chain,
    Identity,
    LinearMap,
    Mask,
    Spectral,
    Subsampling,
    pseudo_inverse,
)
from napari_physgen.physics.proximal import conjugate_gradients, poisson_prox, prox

torch.set_num_threads(1)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def lopsided(*shape: int) -> torch.Tensor:
    """A kernel without any symmetry."""
    return normal(*shape, seed=7).abs() + 0.1


def two_frames(x: torch.Tensor) -> torch.Tensor:
    """Data with more axes than the image, as frames under patterned light."""
    phase = torch.linspace(0, 3, x.shape[-1], dtype=x.dtype)
    return torch.stack([x * (1 + phase.cos()), x * (1 + phase.sin())], 1)


KEPT = normal(8, 12, seed=3) > -0.2
KEPT_3D = normal(4, 8, 12, seed=3) > 0

# name: (operator, shape of the image)
OPERATORS = {
    "identity": (Identity(), (1, 8, 12)),
    "mask": (Mask(KEPT), (2, 8, 12)),
    "mask 3-D": (Mask(KEPT_3D), (1, 4, 8, 12)),
    "subsampling": (Subsampling((4, 3)), (2, 8, 12)),
    "subsampling 1-D": (Subsampling((4,)), (1, 12)),
    "subsampling 3-D": (Subsampling((2, 1, 3)), (1, 4, 8, 12)),
    "convolution": (Convolution(lopsided(5, 4)), (2, 8, 12)),
    "convolution 3-D": (Convolution(lopsided(3, 5, 4)), (1, 4, 8, 11)),
    "crop": (Crop((2, 3)), (1, 8, 12)),
    "mirror": (Mirror((3, 14)), (1, 8, 12)),
    "open blur": (blur(lopsided(5, 4), "open"), (1, 8, 12)),
    "mirror blur": (blur(lopsided(3, 5, 4), "mirror"), (1, 4, 8, 12)),
    "camera": (Chain((blur(lopsided(3, 4), "mirror"), Subsampling((2, 2)))), (1, 8, 12)),
    "dead pixels": (Chain((blur(lopsided(3, 4), "periodic"), Mask(KEPT))), (1, 8, 12)),
    "function": (LinearMap(two_frames, (1, 8, 12)), (1, 8, 12)),
}
SPECTRAL = [name for name, (operator, _) in OPERATORS.items() if isinstance(operator, Spectral)]


def dense(operator, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the matrix of an operator (datum, pixel)."""
    units = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    return operator(units).flatten(1).T


@pytest.mark.parametrize("name", OPERATORS)
def test_adjoint_is_the_adjoint(name: str) -> None:
    operator, shape = OPERATORS[name]
    x = normal(3, *shape)
    image = operator(x)
    y = normal(*image.shape, seed=1)
    assert operator.adjoint(y).shape == x.shape
    assert torch.allclose((image * y).sum(), (x * operator.adjoint(y)).sum(), rtol=1e-10)


@pytest.mark.parametrize("name", SPECTRAL)
def test_spectral_form_is_the_singular_value_decomposition(name: str) -> None:
    operator, shape = OPERATORS[name]
    x = normal(2, *shape)
    coefficients = operator.analyse(x)
    values = operator.singular_values(coefficients)
    assert torch.allclose(operator.synthesise(coefficients), x, atol=1e-12)
    assert torch.allclose(coefficients.abs().square().sum(), x.square().sum(), rtol=1e-12)
    assert torch.allclose(operator.measured(operator(x)), values * coefficients, atol=1e-12)
    found = values.expand_as(coefficients)[0].flatten().sort(descending=True).values
    expected = torch.linalg.svdvals(dense(operator, shape))
    assert torch.allclose(found[: len(expected)], expected, atol=1e-12)
    assert torch.all(found[len(expected) :] == 0)


@pytest.mark.parametrize("name", SPECTRAL)
def test_pseudo_inverse_equals_the_dense_one(name: str) -> None:
    operator, shape = OPERATORS[name]
    y = normal(*operator(normal(2, *shape)).shape, seed=1)
    expected = y.flatten(1) @ torch.linalg.pinv(dense(operator, shape), rtol=1e-3).T
    assert torch.allclose(pseudo_inverse(operator, y).flatten(1), expected, atol=1e-9)


@pytest.mark.parametrize("noise", ["same", "per image", "per datum"])
@pytest.mark.parametrize("name", OPERATORS)
def test_prox_is_optimal(name: str, noise: str) -> None:
    """0 = A^T (A x - y) / Sy + rho (x - z)."""
    operator, shape = OPERATORS[name]
    z = normal(3, *shape)
    y = normal(*operator(z).shape, seed=1)
    one = {"same": (), "per image": (3, *(1,) * (y.ndim - 1)), "per datum": y.shape}[noise]
    variance = 0.05 + torch.rand(one, generator=torch.Generator().manual_seed(2)).double()
    rho = 0.3
    x = prox(operator, z, y, rho, variance, tolerance=1e-12, iterations=2000)
    slope = operator.adjoint((operator(x) - y) / variance) + rho * (x - z)
    assert slope.abs().max() < 1e-8


def test_poisson_prox_is_optimal() -> None:
    """0 = (1 - y / x) / gain + rho (x - z), also where the guess is far too dark."""
    gain, offset, rho = 0.02, -0.9, 3.0
    z = torch.linspace(-40, 2, 50, dtype=torch.float64)
    y = offset + gain * torch.arange(50, dtype=torch.float64)
    x = poisson_prox(z, y, rho, gain, offset)
    light = (x - offset)[1:]
    slope = (1 - (y[1:] - offset) / light) / gain + rho * (x - z)[1:]
    assert torch.all(x >= offset)
    assert slope.abs().max() < 1e-8


def test_blur_with_open_borders_needs_a_larger_image() -> None:
    psf = torch.ones(5, 7)
    y = torch.ones(1, 1, 20, 30)
    operator = blur(psf, "open")
    x = operator.adjoint(y)
    assert x.shape == (1, 1, 24, 36)
    assert torch.allclose(operator(torch.ones_like(x)), y)


@pytest.mark.parametrize("border", BORDERS)
def test_no_blur_wraps_around_but_the_periodic_one(border: str) -> None:
    """Light at one edge of the canvas does not reach the other edge of the data."""
    operator = blur(torch.ones(5, 5), border)
    x = torch.zeros_like(operator.adjoint(torch.zeros(1, 1, 20, 20)))
    x[..., 0] = 1
    assert bool((operator(x)[..., -1].abs() > 1e-6).any()) == (border == "periodic")


@pytest.mark.parametrize("border", BORDERS)
def test_blur_keeps_a_point_in_place(border: str) -> None:
    psf = torch.zeros(5, 5)
    psf[2, 2] = 3
    operator = blur(psf, border)
    y = normal(1, 1, 16, 16).float()
    margin = 2 if border == "open" else 0
    x = torch.nn.functional.pad(y, (margin,) * 4)
    assert torch.allclose(operator(x), y, atol=1e-6)


def test_mask_ignores_what_unmeasured_pixels_hold() -> None:
    y = torch.where(KEPT, 1.0, torch.nan)[None, None]
    assert torch.isfinite(Mask(KEPT)(y)).all()


def test_conjugate_gradients_stop_at_the_noise_and_start_from_a_guess() -> None:
    operator, shape = OPERATORS["open blur"]
    residual = normal(*operator(normal(2, *shape)).shape, seed=1)
    variance = torch.full_like(residual, 0.01)

    def solve(tolerance: float, start: torch.Tensor | None = None):
        return conjugate_gradients(
            operator.adjoint,
            operator,
            variance,
            residual,
            tolerance=tolerance,
            iterations=500,
            start=start,
        )

    exact, rough = solve(1e-10), solve(0.1)
    left = residual - variance * rough.data - operator(operator.adjoint(rough.data))
    rms = (left**2 / variance).flatten(1).mean(1).sqrt()
    assert torch.allclose(rms, rough.left)
    assert rms.max() <= 0.1
    assert torch.allclose(operator.adjoint(exact.data), exact.image)
    assert rough.iterations < exact.iterations
    assert solve(1e-10, exact.data).iterations <= 2


def test_conjugate_gradients_survive_what_is_not_positive() -> None:
    residual = normal(2, 1, 10)
    flip = torch.linspace(-3, 1, 10, dtype=torch.float64)
    found = conjugate_gradients(
        lambda u: flip * u,
        lambda x: x,
        torch.ones(()).double(),
        residual,
        tolerance=1e-9,
        iterations=50,
    )
    assert torch.isfinite(found.image).all()


@pytest.mark.parametrize(
    ("operator", "shape", "words"),
    [
        (Mask(KEPT), (1, 1, 8, 8), "8 x 12, but the image has 1 x 8 x 8"),
        (Subsampling((4, 4)), (1, 1, 8, 10), "crop it to a multiple"),
        (Subsampling((4, 4)), (8,), "crop it to a multiple"),
        (Convolution(torch.ones(9, 9)), (1, 1, 8, 8), "9 x 9 pixels does not fit"),
        (Convolution(torch.ones(3, 3, 3)), (1, 8, 8), "3 x 3 x 3 pixels does not fit"),
        (Crop((4, 4)), (1, 1, 8, 8), "nothing but margin"),
        (LinearMap(two_frames, (1, 8, 12)), (1, 1, 8, 8), "1 x 8 x 12"),
    ],
)
def test_shapes_that_disagree_are_explained(operator, shape, words: str) -> None:
    with pytest.raises(UserError, match=words):
        operator(torch.zeros(shape))


def test_data_that_a_function_does_not_make_are_explained() -> None:
    with pytest.raises(UserError, match="data have the shape 3 x 1 x 8 x 12"):
        LinearMap(two_frames, (1, 8, 12)).adjoint(torch.zeros(1, 3, 1, 8, 12))


@pytest.mark.parametrize("psf", [torch.zeros(3, 3), torch.full((3, 3), torch.nan)])
def test_psf_without_light_is_refused(psf: torch.Tensor) -> None:
    with pytest.raises(UserError, match="positive sum"):
        blur(psf)
