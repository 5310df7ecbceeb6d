"""The SIM forward model against closed forms, direct sums and its own derivatives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import j1
from torch.func import functional_call

from napari_physgen.physics.optics import Otf
from napari_physgen.sim import SimSettings
from napari_physgen.sim.forward import Canvas, SimOperator
from napari_physgen.sim.simulate import default_patterns

SETTINGS = SimSettings(na=1.2, wavelength_nm=600, pixel_size_nm=100, angles=2)
OTF = Otf.ideal(1.2, 600)


def operator(
    field: tuple[int, int] = (14, 17), zoom: int = 2, margin: int = 12, modulation: float = 0.8
) -> SimOperator:
    """An operator in double precision."""
    canvas = Canvas.around(field, zoom, margin)
    patterns = default_patterns(SETTINGS, 3, modulation)
    return SimOperator.sinusoidal(patterns, OTF, canvas).double()


def disturbed(field: tuple[int, int] = (14, 17), **options: int) -> SimOperator:
    """The same, away from its start: with gains and shifts."""
    physics = operator(field, **options)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part, size in ((physics.shift, 0.7), (physics.log_gain, 0.3)):
            part.copy_(size * torch.randn(part.shape, generator=draw, dtype=part.dtype))
    return physics


def noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draw, dtype=torch.float64)


def test_gradient_is_the_adjoint_of_a_linear_map() -> None:
    physics = disturbed()
    x, x0 = (noise(physics.canvas.fine_size, seed).requires_grad_() for seed in (1, 2))
    y = noise(tuple(physics(x).shape), 3)
    (back,) = torch.autograd.grad(physics(x0), x0, y)
    torch.testing.assert_close((physics(x) * y).sum(), (x * back).sum(), rtol=1e-12, atol=0)
    torch.testing.assert_close(physics(2 * x + x0), 2 * physics(x) + physics(x0))


def test_derivatives_of_everything_learnable_agree_with_finite_differences() -> None:
    physics = disturbed((8, 9), margin=3)
    names = [name for name, _ in physics.named_parameters()]
    rho = noise(physics.canvas.fine_size, 1).abs().requires_grad_()

    def frames(rho: torch.Tensor, *parts: torch.Tensor) -> torch.Tensor:
        result = functional_call(physics, dict(zip(names, parts, strict=True)), (rho,))
        assert isinstance(result, torch.Tensor)
        return result

    assert set(names) == {"mixing", "shift", "log_gain"}
    assert torch.autograd.gradcheck(frames, (rho, *physics.parameters()), fast_mode=True)


@pytest.mark.parametrize("zoom", [1, 2, 3])
def test_frames_equal_the_direct_convolution_with_the_airy_pattern(zoom: int) -> None:
    """Point sources in the middle of fine pixels, imaged without any Fourier transform.

    Airy pattern h(r) = pi (NA/lambda)^2 (2 J_1(v) / v)^2, v = 2 pi NA r / lambda (Goodman,
    eq. 4-31 squared), normalised to 1.
    """
    field, pixel = (10, 13), 0.1
    canvas = Canvas.around(field, zoom, 24)
    patterns = default_patterns(SETTINGS, 3)
    physics = SimOperator.sinusoidal(patterns, OTF, canvas).double()
    rng = np.random.default_rng(0)
    inside = rng.random((field[0] * zoom, field[1] * zoom))
    rho = torch.zeros(canvas.fine_size, dtype=torch.float64)
    y0, x0 = (corner * zoom for corner in canvas.corner)
    rho[y0 : y0 + inside.shape[0], x0 : x0 + inside.shape[1]] = torch.from_numpy(inside)

    fine_y, fine_x = (((np.arange(n) + 0.5) / zoom - 0.5) * pixel for n in inside.shape)
    raw_y, raw_x = (np.arange(n) * pixel for n in field)
    r = np.hypot(raw_y[:, None, None, None] - fine_y[:, None], raw_x[:, None, None] - fine_x)
    v = np.maximum(2 * np.pi * 1.2 / 0.6 * r, 1e-9)
    airy = np.pi * (1.2 / 0.6) ** 2 * (2 * j1(v) / v) ** 2 * (pixel / zoom) ** 2
    for a, (k_y, k_x) in enumerate(patterns.wavevectors):
        for p, phase in enumerate(patterns.phases[a]):
            light = 1 + 0.8 * np.cos(2 * np.pi * (k_y * fine_y[:, None] + k_x * fine_x) + phase)
            expected = np.einsum("yxij,ij->yx", airy, inside * light)
            found = physics(rho)[a, p].detach().numpy()
            # The rest is the Airy pattern's tail, which leaves the canvas and comes back.
            np.testing.assert_allclose(found, expected, atol=4e-3 * expected.max())


@pytest.mark.parametrize("zoom", [1, 2, 3, 4])
@pytest.mark.parametrize("field", [(32, 32), (31, 34)])
def test_a_point_is_imaged_at_its_sub_pixel_place(zoom: int, field: tuple[int, int]) -> None:
    physics = operator(field, zoom, margin=16, modulation=0.0)
    place = (15 * zoom + zoom // 2, 16 * zoom)
    rho = torch.zeros(field[0] * zoom, field[1] * zoom, dtype=torch.float64)
    rho[place] = 1
    canvas = physics.canvas
    padded = canvas.pad(rho, zoom)
    found = centroid(physics(padded)[0, 0].detach().numpy())
    expected = [(n + 0.5) / zoom - 0.5 for n in place]
    np.testing.assert_allclose(found, expected, atol=0.01)


def centroid(image: np.ndarray) -> np.ndarray:
    """Phase of the first Fourier component around the peak: no bias from tails."""
    return (
        np.array(
            [
                np.angle(np.exp(2j * np.pi * np.arange(n) / n) @ image.sum(1 - axis))
                / (2 * np.pi)
                * n
                for axis, n in enumerate(image.shape)
            ]
        )
        % image.shape
    )


def test_uniform_objects_keep_their_brightness() -> None:
    physics = operator(modulation=0.0)
    frames = physics(torch.full(physics.canvas.fine_size, 7.0, dtype=torch.float64))
    torch.testing.assert_close(frames, torch.full_like(frames, 7.0), rtol=1e-6, atol=0)


def test_gain_maps_have_geometric_mean_one_over_the_angles() -> None:
    gain = disturbed().gain()
    product = gain.log().mean(0)
    assert gain.std() > 0.1
    torch.testing.assert_close(product, torch.zeros_like(product), rtol=0, atol=1e-12)


def test_shift_moves_the_object_under_a_standing_pattern() -> None:
    """A shift d shows rho(r + d) in the light I(r), and only in the frames of its angle."""
    physics = operator((24, 24))
    y, x = (corner * 2 for corner in physics.canvas.corner)
    rho = torch.zeros(physics.canvas.fine_size, dtype=torch.float64)
    rho[y : y + 48, x : x + 48] = noise((48, 48), 1).abs()
    with torch.no_grad():
        still, expected = physics(rho), physics(rho.roll((-2, 4), (0, 1)))
        physics.shift[1] = torch.tensor([1.0, -2.0])
        moved = physics(rho)
    torch.testing.assert_close(moved[0], still[0])
    torch.testing.assert_close(moved[1], expected[1], rtol=0, atol=2e-6)


def test_shift_moves_given_frames_as_a_whole() -> None:
    canvas = Canvas.around((24, 24), 2, 12)
    frames = default_patterns(SETTINGS, 3).illumination((24, 24), 2)
    physics = SimOperator.given(frames, 2, OTF, canvas, SETTINGS.pixel_size_nm).double()
    rho = noise(canvas.fine_size, 1).abs()
    with torch.no_grad():
        still = physics(rho)
        physics.shift[1] = torch.tensor([1.0, -2.0])
        moved = physics(rho)
    torch.testing.assert_close(moved[1, :, :-1, 2:], still[1, :, 1:, :-2])


def test_frames_keep_the_brightness_of_their_patterns() -> None:
    canvas = Canvas.around((24, 24), 2, 12)
    lamp = np.linspace(1.2, 0.8, 6).reshape(2, 3)
    patterns = replace(default_patterns(SETTINGS, 3, modulation=0), intensities=lamp)
    physics = SimOperator.sinusoidal(patterns, OTF, canvas)
    brightness = physics(torch.ones(canvas.fine_size)).mean((2, 3))
    np.testing.assert_allclose(brightness.detach(), lamp, rtol=1e-5)


def test_shift_moves_by_parts_of_a_pixel() -> None:
    physics = operator((32, 32), modulation=0.0)
    canvas = physics.canvas
    rho = torch.zeros(64, 64, dtype=torch.float64)
    rho[31, 31] = 1
    rho = canvas.pad(rho, 2)
    with torch.no_grad():
        physics.shift[0] = torch.tensor([0.3, -0.45])
    frames = physics(rho).detach().numpy()
    np.testing.assert_allclose(
        centroid(frames[0, 0]) - centroid(frames[1, 0]), [-0.3, 0.45], atol=0.01
    )


def test_given_frames_act_like_the_sinusoids_that_they_show() -> None:
    """Only beyond the field, where given frames repeat their border, may they differ."""
    field, zoom = (40, 44), 2
    patterns = default_patterns(SETTINGS, 3)
    canvas = Canvas.around(field, zoom, 12)
    frames = patterns.illumination(field, zoom)
    given = SimOperator.given(frames, SETTINGS.angles, OTF, canvas, SETTINGS.pixel_size_nm)
    known = SimOperator.sinusoidal(patterns, OTF, canvas)
    rho = torch.zeros(canvas.fine_size)
    y, x = (corner * zoom for corner in canvas.corner)
    rho[y : y + 80, x : x + 88] = noise((80, 88), 1).abs().float()
    torch.testing.assert_close(given(rho), known(rho), rtol=0, atol=2e-4)


def test_frames_that_fill_no_whole_angles_become_one_group() -> None:
    canvas = Canvas.around((16, 16), 1, 4)
    physics = SimOperator.given(np.ones((7, 16, 16)), 3, OTF, canvas, 100)
    assert physics(torch.ones(canvas.fine_size)).shape == (1, 7, 16, 16)


def test_light_does_not_wrap_around_the_canvas() -> None:
    """A point at the right edge leaves the left edge dark."""
    physics = operator((20, 20), margin=12, modulation=0.0)
    rho = torch.zeros(40, 40, dtype=torch.float64)
    rho[20, 39] = 1
    canvas = physics.canvas
    padded = torch.zeros(canvas.fine_size, dtype=torch.float64)
    y, x = (corner * 2 for corner in canvas.corner)
    padded[y : y + 40, x : x + 40] = rho
    frame = physics(padded)[0, 0]
    assert frame[:, :3].abs().max() < 2e-3 * frame.max()


def test_canvas_pad_and_crop_are_inverse_at_both_grids() -> None:
    canvas = Canvas.around((13, 18), 3, 5)
    for zoom in (1, 3):
        image = noise((2, 13 * zoom, 18 * zoom), 1)
        padded = canvas.pad(image, zoom)
        assert padded.shape[1:] == tuple(n * zoom for n in canvas.size)
        torch.testing.assert_close(canvas.crop(padded, zoom), image)
    assert all(n % 2 == 0 for n in canvas.size)
    assert all(c >= 5 for c in canvas.corner)
