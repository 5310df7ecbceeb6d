"""The noise model measured from frames is the one that made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import tifffile

from napari_physgen.physics.noise import Camera, estimate_camera
from napari_physgen.physics.optics import Otf

CUTOFF, PIXEL_NM = 5.4, 65.0


def expected_frames(seed: int, darkest: float = 0.05, pixel_nm: float = PIXEL_NM) -> np.ndarray:
    """Nine band-limited frames (frame, y, x) of mean 1, without noise."""
    rng = np.random.default_rng(seed)
    spots = rng.random((9, 128, 128)) ** 60
    otf = Otf(CUTOFF, 0.3).on_grid((128, 128), pixel_nm / 1000)
    image = np.maximum(scipy.fft.ifft2(scipy.fft.fft2(spots) * otf).real, 0)
    image /= image.mean()
    return darkest + (1 - darkest) * image


def record(expected: np.ndarray, photons: float, camera: Camera, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grey = camera.gain * rng.poisson(photons * expected) + camera.offset
    return grey + camera.read_noise * rng.standard_normal(grey.shape)


@pytest.mark.parametrize("photons", [6, 60, 600])
@pytest.mark.parametrize("gain", [0.2, 2.5])
def test_variance_of_every_brightness_is_right_within_five_percent(
    photons: float, gain: float
) -> None:
    camera = Camera(offset=100, gain=gain, read_noise=1.5 * gain)
    light = expected_frames(1)
    found = estimate_camera(record(light, photons, camera), CUTOFF, PIXEL_NM)
    for level in np.quantile(light, [0.1, 0.5, 0.9, 0.99]):
        grey = camera.offset + gain * photons * level
        assert found.variance(grey) == pytest.approx(camera.variance(grey), rel=0.05)


def test_weighted_squared_noise_is_one_over_the_field() -> None:
    """What a reconstruction uses the map for: the misfit of the true image is 1."""
    camera = Camera(offset=100, gain=2.0, read_noise=3.0)
    truth = 30 * expected_frames(2)
    raw = record(truth / 30, 30, camera)
    found = estimate_camera(raw, CUTOFF, PIXEL_NM)
    expected = camera.offset + camera.gain * truth
    chi2 = np.mean((raw - expected) ** 2 / found.variance(expected))
    assert chi2 == pytest.approx(1, abs=0.03)


def test_gain_and_offset_follow_from_shot_noise_without_dark_pixels() -> None:
    camera = Camera(offset=100, gain=2.5, read_noise=1.0)
    raw = record(expected_frames(3, darkest=0.4), 200, camera)
    found = estimate_camera(raw, CUTOFF, PIXEL_NM)
    assert found.gain == pytest.approx(2.5, rel=0.06)
    assert found.offset == pytest.approx(100, abs=0.1 * 2.5 * 200)


def test_constant_noise_gives_no_gain() -> None:
    """8-bit simulations add the same noise everywhere."""
    rng = np.random.default_rng(4)
    raw = 80 * expected_frames(4) + 4 * rng.standard_normal((9, 128, 128))
    found = estimate_camera(raw, CUTOFF, PIXEL_NM)
    assert found.variance([0, 80, 250]) == pytest.approx([16, 16, 16], rel=0.06)


def test_known_offset_and_gain_are_kept() -> None:
    camera = Camera(offset=100, gain=2.0, read_noise=5.0)
    raw = record(expected_frames(5), 40, camera)
    found = estimate_camera(raw, CUTOFF, PIXEL_NM, offset=100, gain=2.0)
    assert (found.offset, found.gain) == (100, 2.0)
    assert found.read_noise == pytest.approx(5.0, rel=0.1)


def test_hot_pixels_do_not_change_the_noise() -> None:
    camera = Camera(offset=100, gain=2.0, read_noise=2.0)
    raw = record(expected_frames(6), 40, camera)
    hot = raw.copy()
    rng = np.random.default_rng(6)
    for frame in hot:
        frame[rng.integers(0, 128, 4), rng.integers(0, 128, 4)] += 4000
    clean, found = (estimate_camera(stack, CUTOFF, PIXEL_NM) for stack in (raw, hot))
    assert found.variance(180) == pytest.approx(clean.variance(180), rel=0.05)


def test_coarse_pixels_never_make_the_noise_too_small() -> None:
    """Pixels at the Nyquist limit leave no frequencies without signal."""
    camera = Camera(offset=100, gain=2.0, read_noise=2.0)
    pixel = 1000 / (2 * CUTOFF)
    raw = record(expected_frames(7, pixel_nm=pixel), 100, camera)
    found = estimate_camera(raw, 1.35 * CUTOFF, pixel)
    assert found.variance(300) > 0.93 * camera.variance(300)


def test_two_doses_of_one_camera_agree_on_its_gain(data: Path) -> None:
    """BioSR microtubules at 6 and at 237 electrons per pixel."""
    folder = data / "sim/biosr_mt_levels"
    gains = []
    for level in ("01", "09"):
        raw = tifffile.imread(folder / f"BioSR_MT_cell001_level{level}_crop007_raw9.tif")
        gains.append(estimate_camera(raw, 2 * 1.41 / 0.525, 62.6).gain)
    assert gains[0] == pytest.approx(gains[1], rel=0.1)
    assert np.mean(gains) == pytest.approx(2.46, rel=0.25)
