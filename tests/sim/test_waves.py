"""Patterns of several waves: three beams, hexagonal lattices, saturated stripes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_physgen.backend import run
from napari_physgen.errors import UserError
from napari_physgen.physics.optics import Otf
from napari_physgen.sim import Patterns, SimSettings, estimate_patterns, simulate
from napari_physgen.sim._bands import Field, Wave
from napari_physgen.sim._lattice import _Cost, _pairs
from napari_physgen.sim.case import Case
from napari_physgen.sim.forward import Canvas, SimOperator
from napari_physgen.sim.light import hexagonal, saturated_stripes, three_beam
from napari_physgen.sim.saturation import (
    SaturatedOperator,
    fit_saturation,
    harmonics,
    saturated,
)
from napari_physgen.sim.scene import Scene
from napari_physgen.sim.simulate import CAMERA, filaments
from napari_physgen.sim.variational import Solution
from napari_physgen.sim.warm import Warm
from napari_physgen.sim.wiener import Bands, wiener

SIZE = 96
OTF = Otf.ideal(1.4, 525, 0.3)


def settings(pattern: str, angles: int, phases: int) -> SimSettings:
    return SimSettings(
        na=1.4,
        wavelength_nm=525,
        pixel_size_nm=70,
        pattern=pattern,
        angles=angles,
        phases=phases,
        order="angle-phase",
    )


THREE_BEAM = settings("three-beam", 2, 5)
HEXAGONAL = settings("hexagonal", 1, 7)
SATURATED = settings("saturated", 2, 5)


def stack(light: Patterns, to: SimSettings, photons: float = 300, seed: int = 2) -> np.ndarray:
    return simulate(filaments((2 * SIZE, 2 * SIZE), seed), to, photons, seed, light, otf=OTF)


def off(found: Patterns, truth: Patterns) -> tuple[float, float, float]:
    """Return the largest errors of all waves, matched by wavevector.

    Wavevector in DFT px, phases in degrees in the middle of the field, modulation (relative).
    """
    pixel = truth.pixel_size_nm / 1000
    middle = np.full(2, (SIZE - 1) / 2 * pixel)
    ours, true = found.waves, truth.waves
    errors = []
    for a, w in np.ndindex(true.modulation.shape):
        k = true.wavevectors[a, w]
        away = [(s, v) for s in (1, -1) for v in range(ours.modulation.shape[1])]
        sign, v = min(away, key=lambda p: np.hypot(*(p[0] * ours.wavevectors[a, p[1]] - k)))
        k_off = sign * ours.wavevectors[a, v] - k
        phase = sign * ours.phases[a, :, v] - true.phases[a, :, w] + 2 * np.pi * (k_off @ middle)
        phase = np.degrees(np.abs(np.angle(np.exp(1j * phase)))).max()
        ratio = ours.modulation[a, v] / true.modulation[a, w]
        errors.append((np.hypot(*k_off) * SIZE * pixel, phase, abs(ratio - 1)))
    worst = np.max(errors, axis=0)
    return float(worst[0]), float(worst[1]), float(worst[2])


def shifted_unevenly(light: Patterns, orders: np.ndarray, degrees: float) -> Patterns:
    """Return the lattice with random errors of its shifts; `orders` (wave, generator)."""
    rng = np.random.default_rng(0)
    generators = orders.shape[1]
    errors = np.radians(degrees) * rng.standard_normal((*light.phases.shape, generators))
    away = errors @ orders.T
    assert light.overtones is not None
    more = replace(light.overtones, phases=light.overtones.phases + away[..., 1:])
    return replace(light, phases=light.phases + away[..., 0], overtones=more)


# --- the patterns themselves


def test_illumination_is_the_sum_of_its_waves() -> None:
    light = three_beam(THREE_BEAM, 1, (0.4, 0.3))
    assert light.overtones is not None
    first = replace(light, overtones=None).illumination((20, 24), 2)
    second = replace(
        light,
        wavevectors=light.overtones.wavevectors[:, 0],
        phases=light.overtones.phases[..., 0],
        modulation=light.overtones.modulation[:, 0],
        overtones=None,
    ).illumination((20, 24), 2)
    np.testing.assert_allclose(light.illumination((20, 24), 2), first + second - 1, atol=1e-5)


@pytest.mark.parametrize("light", [three_beam(THREE_BEAM, 1), hexagonal(HEXAGONAL, 1)])
def test_cropped_patterns_are_the_crop_of_the_patterns(light: Patterns) -> None:
    whole = light.illumination((30, 30))
    np.testing.assert_allclose(
        light.cropped(7, 4).illumination((10, 12)), whole[:, 7:17, 4:16], atol=1e-4
    )


def test_waves_of_a_hexagonal_lattice_close_a_triangle() -> None:
    waves = hexagonal(HEXAGONAL, 3).waves
    np.testing.assert_allclose(waves.wavevectors.sum(1), 0, atol=1e-9)
    np.testing.assert_allclose(np.exp(1j * waves.phases.sum(2)), 1, atol=1e-9)


@pytest.mark.parametrize(
    "light", [three_beam(THREE_BEAM, 1), hexagonal(HEXAGONAL, 1), saturated_stripes(SATURATED, 1)]
)
def test_operator_of_waves_acts_like_the_frames_that_they_show(light: Patterns) -> None:
    field, zoom = (24, 28), 2
    canvas = Canvas.around(field, zoom, 8)
    frames = light.illumination(field, zoom)
    given = SimOperator.given(frames, len(light.phases), OTF, canvas, light.pixel_size_nm)
    kind = SimOperator if light.saturation is None else SaturatedOperator
    known = kind.sinusoidal(light, OTF, canvas)
    rho = torch.zeros(canvas.fine_size)
    y, x = (corner * zoom for corner in canvas.corner)
    rho[y : y + 48, x : x + 56] = torch.rand(48, 56, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(given(rho), known(rho), rtol=0, atol=2e-4)


def test_shift_moves_the_sample_and_none_of_its_waves() -> None:
    light = three_beam(THREE_BEAM, 1)
    canvas = Canvas.around((24, 24), 2, 12)
    physics = SimOperator.sinusoidal(light, OTF, canvas).double()
    rho = torch.zeros(canvas.fine_size, dtype=torch.float64)
    # In the middle of the canvas: at its seam the waves do not go on.
    rho[40:60, 40:60] = torch.rand(20, 20, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        expected = physics(torch.roll(rho, (-2, 4), (0, 1)))
        physics.shift[:] = torch.tensor([1.0, -2.0])
        moved = physics(rho)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-5)


def test_bands_of_all_waves_are_separated() -> None:
    light = hexagonal(HEXAGONAL, 1)
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((8, 8))
    sides = rng.standard_normal((3, 8, 8)) + 1j * rng.standard_normal((3, 8, 8))
    turn = np.exp(1j * light.waves.phases[0])
    frames = centre + 2 * np.einsum("pw,wyx->pyx", turn, sides).real
    bands = Bands.separate(frames.astype(np.float32), light, 0)
    np.testing.assert_allclose(bands.centre, centre, atol=1e-4)
    np.testing.assert_allclose(bands.side, sides, atol=1e-4)


def test_wiener_image_uses_all_orders() -> None:
    """With the second order the result holds detail that the first alone does not pass."""
    light = three_beam(THREE_BEAM, 1)
    raw = stack(light, THREE_BEAM, 1000).reshape(2, 5, SIZE, SIZE).astype(np.float32) - 100
    truth = filaments((2 * SIZE, 2 * SIZE), 2)
    both = wiener(raw, light, OTF, THREE_BEAM)
    first = wiener(raw, replace(light, overtones=None), OTF, THREE_BEAM)
    inner = np.s_[16:-16, 16:-16]

    def likeness(image: np.ndarray) -> float:
        return float(np.corrcoef(image[inner].ravel(), truth[inner].ravel())[0, 1])

    assert likeness(both) > likeness(first) + 0.02


# --- estimation


def test_gradient_of_the_joint_likelihood_agrees_with_finite_differences() -> None:
    light = three_beam(THREE_BEAM, 1)
    frames = stack(light, THREE_BEAM).reshape(2, 5, SIZE, SIZE)[0] - 100.0
    field = Field((SIZE, SIZE), 0.07, OTF)
    orders = np.array([[1], [2]])
    waves = [
        Wave(k, light.waves.phases[0, :, w], np.ones(5), 0.5)
        for w, k in enumerate(light.waves.wavevectors[0])
    ]
    frames /= frames.mean((1, 2), keepdims=True)
    cost = _Cost(_pairs(frames, field, orders, waves), orders, 5)
    rng = np.random.default_rng(0)
    x = np.concatenate([waves[0].phases, [0, 0.3], 0.02 * rng.standard_normal(5), [0.5, 0.6, -5]])
    gradient = cost(x)[1]
    steps = 1e-5 * np.eye(x.size)
    numeric = np.array([(cost(x + s)[0] - cost(x - s)[0]) / 2e-5 for s in steps])
    numeric[5] = 0  # the generator has no constant of its own
    np.testing.assert_allclose(gradient, numeric, atol=1e-5 * np.abs(numeric).max())


def test_both_orders_of_three_beams_are_recovered_with_uneven_steps() -> None:
    one = THREE_BEAM.model_copy(update={"angles": 1})
    truth = shifted_unevenly(three_beam(one, 2), np.array([[1], [2]]), 10)
    found = run(estimate_patterns(stack(truth, one), one))
    k, phase, modulation = off(found, truth)
    assert k < 0.05
    assert phase < 5
    assert modulation < 0.05
    assert found.verdict == "good"
    assert found.otf_damping == pytest.approx(0.3, rel=0.2)


def test_the_three_waves_of_a_hexagonal_lattice_are_recovered() -> None:
    orders = np.array([[1, 0], [0, 1], [-1, -1]])
    truth = shifted_unevenly(hexagonal(HEXAGONAL, 2), orders, 8)
    found = run(estimate_patterns(stack(truth, HEXAGONAL), HEXAGONAL))
    k, phase, modulation = off(found, truth)
    assert k < 0.05
    assert phase < 7
    assert modulation < 0.05
    assert not found.verdict.startswith("failed")


@pytest.mark.parametrize(("saturation", "error"), [(3.0, 0.15), (-2.0, 0.4)])
def test_saturation_is_recovered(saturation: float, error: float) -> None:
    """Of narrow bright lines, s and the modulation of the dose say nearly the same."""
    truth = saturated_stripes(SATURATED, 2, saturation)
    found = run(estimate_patterns(stack(truth, SATURATED, 3000), SATURATED))
    assert found.saturation == pytest.approx(saturation, rel=error)
    assert off(replace(found, overtones=None), replace(truth, overtones=None))[1] < 4
    np.testing.assert_allclose(
        found.waves.modulation[:, :2], truth.waves.modulation[:, :2], atol=0.05
    )


# --- saturation


def test_a_cubic_effect_has_the_harmonics_of_a_cosine_to_the_sixth() -> None:
    """(1 + cos t)^3 = 8 cos^6(t/2): binomial(6, 3 + h) / binomial(6, 3) = 15, 6, 1 over 20."""
    one, cubic = torch.tensor([1.0]).double(), torch.tensor(-2.0).double()
    expected = [[2 * 15 / 20, 2 * 6 / 20, 2 / 20, 0]]
    np.testing.assert_allclose(harmonics(one, cubic), expected, atol=1e-4)


def test_harmonics_of_saturation_form_a_geometric_series() -> None:
    """d / (1 + s d) is a constant minus a Poisson kernel."""
    parts = harmonics(torch.tensor([0.9]).double(), torch.tensor(2.0).double())[0].numpy()
    np.testing.assert_allclose(parts[1:] / parts[:-1], parts[1] / parts[0], rtol=1e-6)
    b = 2 * 0.9 / 3
    assert parts[1] / parts[0] == pytest.approx(-(1 - np.sqrt(1 - b**2)) / b)


@pytest.mark.parametrize("saturation", [4.0, 0.5, -1.5])
def test_two_harmonics_tell_saturation_and_dose(saturation: float) -> None:
    light = saturated_stripes(SATURATED, 1, saturation, modulation=0.8)
    depths = light.waves.modulation[:, :2]
    dose, found = fit_saturation(depths, np.full(depths.shape, 0.01))
    assert found == pytest.approx(saturation, rel=1e-3)
    np.testing.assert_allclose(dose, 0.8, rtol=1e-3)


def test_saturation_is_a_parameter_of_the_forward_model() -> None:
    light = saturated_stripes(SATURATED, 1, 2.0)
    case = Case(np.zeros((2, 5, 16, 16), np.float32), light, OTF, CAMERA, SATURATED)
    physics = case.operator(torch.device("cpu"))
    target = SaturatedOperator.sinusoidal(
        saturated(replace(light, modulation=np.full(2, 0.95)), 2.2), OTF, physics.canvas
    )
    rho = torch.rand(physics.canvas.fine_size, generator=torch.Generator().manual_seed(0))
    physics.saturation.requires_grad_(True)
    misfit = (physics(rho) - target(rho).detach()).square().sum()
    (slope,) = torch.autograd.grad(misfit, physics.saturation)
    assert slope < 0  # more saturation explains the frames better


def test_saturation_refined_with_an_image_goes_on_to_the_next_stack() -> None:
    light = saturated_stripes(SATURATED, 1, 2.0, 0.8)
    canvas = Canvas.around((16, 16), 2, 4)
    fitted = SaturatedOperator.sinusoidal(light, OTF, canvas)
    with torch.no_grad():
        fitted.mixing += 0.1 * torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0))
        fitted.dose += 0.05
        fitted.saturation += 0.3
    weights = fitted.mixed().detach()
    scene = Scene(fitted, torch.ones(canvas.fine_size), torch.tensor(1.0))
    known = Warm.of(scene, Solution(0.1, 1.0, False), ()).improved(light)
    again = SaturatedOperator.sinusoidal(known, OTF, canvas).mixed().detach()
    assert known.saturation == pytest.approx(2.3)
    np.testing.assert_allclose(again, weights / weights[..., 0].mean(), atol=1e-3)
    np.testing.assert_allclose(
        SimOperator.sinusoidal(known, OTF, canvas).mixing.detach(), again, atol=1e-3
    )


# --- layouts


@pytest.mark.parametrize(
    ("pattern", "angles", "phases"),
    [("stripes", 1, 3), ("three-beam", 3, 4), ("hexagonal", 1, 6), ("saturated", 3, 3)],
)
def test_too_few_frames_for_a_pattern_are_refused(pattern: str, angles: int, phases: int) -> None:
    values = THREE_BEAM.model_dump() | {"pattern": pattern, "angles": angles, "phases": phases}
    with pytest.raises(UserError, match="too few for the pattern"):
        SimSettings.parse(values)


def test_a_hexagonal_pattern_has_one_angle() -> None:
    values = THREE_BEAM.model_dump() | {"pattern": "hexagonal", "angles": 3, "phases": 7}
    with pytest.raises(UserError, match="set Angles to 1"):
        SimSettings.parse(values)
