"""Simulated raw stacks keep the promises of their noise model, patterns and objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_physgen.backend import run
from napari_physgen.errors import UserError
from napari_physgen.physics.noise import Camera
from napari_physgen.sim import SimSettings, estimate_patterns, simulate
from napari_physgen.sim.simulate import CAMERA, default_patterns, filaments, siemens_star

SETTINGS = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return filaments((192, 224), seed=2)


def test_stack_is_uint16_frames_on_the_camera_grid(truth: np.ndarray) -> None:
    raw = simulate(truth, SETTINGS, photons=50, seed=1)
    assert raw.shape == (9, 96, 112)
    assert raw.dtype == np.uint16


def test_mean_of_the_stack_holds_the_photons_asked_for(truth: np.ndarray) -> None:
    for photons in (5, 500):
        raw = simulate(truth, SETTINGS, photons, seed=1)
        found = (raw.mean() - CAMERA.offset) / CAMERA.gain
        assert found == pytest.approx(photons, rel=0.01)


def test_noise_follows_poisson_light_and_gaussian_read_out() -> None:
    """Variance over recordings of one uniform object: gain * light + read noise^2 + rounding."""
    patterns = default_patterns(SETTINGS, 0, modulation=0)
    camera = Camera(offset=50, gain=3, read_noise=4)
    stacks = [
        simulate(np.ones((64, 64)), SETTINGS, 20, seed, patterns, camera) for seed in range(8)
    ]
    found = np.var(stacks, axis=0, ddof=1).mean()
    assert found == pytest.approx(3 * 3 * 20 + 4**2 + 1 / 12, rel=0.02)


def test_same_seed_gives_the_same_stack_and_another_seed_another(truth: np.ndarray) -> None:
    first, again, other = (simulate(truth, SETTINGS, 50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_frame_order_is_that_of_the_settings(truth: np.ndarray) -> None:
    patterns = default_patterns(SETTINGS, 1)
    slow_angle = simulate(truth, SETTINGS, 2000, 1, patterns).astype(float)
    turned = SETTINGS.model_copy(update={"order": "phase-angle"})
    slow_phase = simulate(truth, turned, 2000, 1, patterns).astype(float)
    expected = slow_angle.reshape(3, 3, 96, 112).swapaxes(0, 1).reshape(9, 96, 112)
    assert np.corrcoef(slow_phase.ravel(), expected.ravel())[0, 1] > 0.99
    assert default_patterns(turned, 1).order == "phase-angle"


def test_frames_follow_the_brightness_of_the_lamp(truth: np.ndarray) -> None:
    lamp = np.linspace(1.4, 0.6, 9).reshape(3, 3)
    patterns = replace(default_patterns(SETTINGS, 1, modulation=0), intensities=lamp)
    raw = simulate(truth, SETTINGS, 2000, 1, patterns)
    light = raw.mean((1, 2)) - CAMERA.offset
    np.testing.assert_allclose(light / light.mean(), lamp.ravel(), rtol=0.01)


def test_default_patterns_are_found_again_in_the_frames() -> None:
    """The estimate knows nothing of the forward model: signs and origins must agree."""
    raw = simulate(filaments((320, 320), seed=3), SETTINGS, 500, seed=5)
    truth, found = default_patterns(SETTINGS, 5), run(estimate_patterns(raw, SETTINGS))
    step = 1000 / (160 * SETTINGS.pixel_size_nm)
    np.testing.assert_allclose(found.wavevectors, truth.wavevectors, atol=0.03 * step)
    error = np.degrees(np.angle(np.exp(1j * (found.phases - truth.phases))))
    assert np.abs(error).max() < 6
    np.testing.assert_allclose(found.modulation, truth.modulation, atol=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_default_patterns_follow_the_sign_convention(seed: int) -> None:
    settings = SETTINGS.model_copy(update={"angles": 5, "phases": 4})
    patterns = default_patterns(settings, seed)
    k = patterns.wavevectors
    assert k[0, 1] > 0
    turns = np.degrees(np.arctan2(k[1:, 0], k[1:, 1]) - np.arctan2(k[:-1, 0], k[:-1, 1])) % 360
    np.testing.assert_allclose(turns, 180 / 5)
    steps = np.angle(np.exp(1j * np.diff(patterns.phases, axis=1)))
    np.testing.assert_allclose(steps, np.pi / 2)


def test_period_follows_from_the_excitation_aperture() -> None:
    """Two beams at +-NA interfere with a period of lambda / (2 NA)."""
    settings = SETTINGS.model_copy(update={"excitation_na": 1.3, "excitation_nm": 488})
    np.testing.assert_allclose(default_patterns(settings, 0).period_nm, 488 / 2.6)
    np.testing.assert_allclose(default_patterns(SETTINGS, 0).period_nm, 525 / 2.8 / 0.9)


def test_star_has_its_period_at_every_radius() -> None:
    """At radius r the period is 2 pi r / spokes: 36 periods around every circle."""
    star = siemens_star((256, 256))
    angle = np.linspace(0, 2 * np.pi, 4096, endpoint=False)
    for radius in (40, 90):
        y, x = (np.rint(127.5 + radius * f(angle)).astype(int) for f in (np.sin, np.cos))
        spectrum = np.abs(np.fft.rfft(star[y, x] - star[y, x].mean()))
        assert spectrum.argmax() == 36
    assert star.max() == pytest.approx(1)
    assert star[0, 0] == pytest.approx(0.02)


def test_filaments_are_thin_bright_lines_on_a_faint_haze() -> None:
    image = filaments((256, 320), seed=1)
    assert image.shape == (256, 320)
    assert image.dtype == np.float32
    assert image.max() == pytest.approx(1)
    assert 0 < image.min() < np.median(image) < 0.1
    assert 0.02 < (image > 0.25).mean() < 0.2
    np.testing.assert_array_equal(image, filaments((256, 320), seed=1))
    assert not np.array_equal(image, filaments((256, 320), seed=2))


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (np.ones((65, 64)), "multiples of the zoom"),
        (np.ones((3, 64, 64)), "one image"),
        (np.zeros((64, 64)), "bright somewhere"),
        (np.full((64, 64), np.nan), "NaN"),
        (np.linspace(-1, 1, 64 * 64).reshape(64, 64), "negative"),
    ],
)
def test_impossible_objects_are_refused_in_words(picture: np.ndarray, says: str) -> None:
    with pytest.raises(UserError, match=says):
        simulate(picture, SETTINGS, 10, 0)
