"""The Wiener reconstruction against closed forms, the truth and measured data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import tifffile
from scipy.ndimage import zoom as spline_zoom
from skimage.io import imread

from napari_physgen.backend import run
from napari_physgen.metrics.image import compare, match_blur
from napari_physgen.physics.noise import Camera
from napari_physgen.physics.optics import Otf, frequencies
from napari_physgen.sim import Patterns, SimSettings, estimate_patterns, simulate
from napari_physgen.sim.quality import mcnr, modulation_contrast
from napari_physgen.sim.simulate import default_patterns, filaments
from napari_physgen.sim.wiener import wiener

SETTINGS = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80)
OTF = Otf.ideal(1.4, 525)
CLEAN = Camera(offset=100, gain=0.02, read_noise=0)


def stack(
    truth: np.ndarray,
    patterns: Patterns,
    photons: float = 1e5,
    settings: SimSettings = SETTINGS,
    camera: Camera = CLEAN,
) -> np.ndarray:
    """Frames above the offset (angle, phase, y, x)."""
    raw = simulate(truth, settings, photons, 1, patterns, camera)
    frames = raw.astype(np.float32) - np.float32(camera.offset)
    return frames.reshape(*patterns.phases.shape, *frames.shape[1:])


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return filaments((256, 256), seed=2)


@pytest.mark.parametrize(("angles", "phases"), [(3, 3), (2, 5)])
def test_clean_frames_give_the_object_back_within_the_sim_passband(
    truth: np.ndarray, angles: int, phases: int
) -> None:
    """With w -> 0 the result is the object times the apodisation, wherever a band reaches.

    Phase steps and frame intensities are uneven on purpose.
    """
    settings = SETTINGS.model_copy(update={"angles": angles, "phases": phases, "wiener": 3e-3})
    patterns = default_patterns(settings, 4)
    rng = np.random.default_rng(0)
    lamp = rng.uniform(0.7, 1.3, patterns.phases.shape)
    patterns = replace(
        patterns,
        phases=patterns.phases + rng.uniform(-0.4, 0.4, patterns.phases.shape),
        intensities=lamp / lamp.mean(),
    )
    image = wiener(stack(truth, patterns, settings=settings), patterns, OTF, settings)

    k_y, k_x = frequencies((256, 256), 0.04, real=True)
    inner, reach = 0.9 * OTF.cutoff, OTF.cutoff + np.hypot(*patterns.wavevectors[0])
    centres = [np.zeros(2), *patterns.wavevectors, *-patterns.wavevectors]
    seen = np.any([np.hypot(k_y - c[0], k_x - c[1]) < inner for c in centres], axis=0)
    apodised = scipy.fft.rfft2(truth) * np.cos(
        np.pi / 2 * np.hypot(k_y, k_x).clip(0, reach) / reach
    )

    def kept(spectrum: np.ndarray) -> np.ndarray:
        return scipy.fft.irfft2(np.where(seen, spectrum, 0))[16:-16, 16:-16]

    expected, found = kept(apodised), kept(scipy.fft.rfft2(image))
    slope = (expected * found).sum() / (expected**2).sum()
    assert np.std(found / slope - expected) < 0.02 * np.std(expected)


def test_result_keeps_the_brightness_of_the_widefield_image(truth: np.ndarray) -> None:
    patterns = default_patterns(SETTINGS, 1)
    frames = stack(truth, patterns, 200)
    image = wiener(frames, patterns, OTF, SETTINGS)
    assert image.mean() == pytest.approx(frames.mean(), rel=0.02)


@pytest.mark.parametrize("zoom", [1, 2, 3, 4])
def test_points_stay_at_their_sub_pixel_place(zoom: int) -> None:
    settings = SETTINGS.model_copy(update={"zoom": 4, "wiener": 0.02})
    patterns = default_patterns(settings, 1)
    truth = np.full((256, 256), 1e-6)
    truth[130, 121] = 1
    frames = stack(truth, patterns, 1000, settings, Camera(0, 0.05, 0))
    image = wiener(frames, patterns, OTF, settings.model_copy(update={"zoom": zoom}))
    assert image.shape == (64 * zoom, 64 * zoom)
    # The phase of the first Fourier component: a mean place without bias from the ripples.
    turns = [
        np.exp(2j * np.pi * np.arange(64 * zoom) / (64 * zoom)) @ image.sum(1 - a) for a in (0, 1)
    ]
    place = np.angle(turns) / (2 * np.pi) * 64 * zoom % (64 * zoom)
    np.testing.assert_allclose((place + 0.5) / zoom, (np.array([130, 121]) + 0.5) / 4, atol=0.02)


def test_lines_finer_than_the_diffraction_limit_become_visible() -> None:
    """A grating at 1.4 cutoffs: the widefield image is flat, the result is not."""
    patterns = default_patterns(SETTINGS, 1)
    direction = patterns.wavevectors[0] / np.hypot(*patterns.wavevectors[0])
    k = 1.4 * OTF.cutoff * direction
    y, x = np.meshgrid(np.arange(256) * 0.04, np.arange(256) * 0.04, indexing="ij")
    truth = 1 + np.cos(2 * np.pi * (k[0] * y + k[1] * x))
    frames = stack(truth, patterns, 300, camera=Camera(100, 1, 0.1))
    image = wiener(frames, patterns, OTF, SETTINGS.model_copy(update={"wiener": 0.03}))
    wave = np.exp(-2j * np.pi * (k[0] * y + k[1] * x)) * np.hanning(256)[:, None] * np.hanning(256)

    def contrast(picture: np.ndarray) -> float:
        return float(2 * abs((wave * picture).sum()) / (abs(wave) * picture).sum())

    widefield = spline_zoom(frames.mean((0, 1)), 2, order=3, mode="nearest", grid_mode=True)
    assert contrast(widefield) < 0.01
    assert contrast(image) > 0.1


@pytest.mark.parametrize("photons", [500, 30, 5])
def test_automatic_filter_is_as_good_as_the_best_constant(
    truth: np.ndarray, photons: float
) -> None:
    """What an expert could reach by trying constants with the truth at hand, within 0.5 dB."""
    patterns = default_patterns(SETTINGS, 1)
    frames = stack(truth, patterns, photons, camera=Camera(100, 2, 1.5))
    constants = [SETTINGS.model_copy(update={"wiener": w}) for w in (0.01, 0.03, 0.1, 0.3)]
    best = max(compare(wiener(frames, patterns, OTF, s), truth).psnr for s in constants)
    assert compare(wiener(frames, patterns, OTF, SETTINGS), truth).psnr > best - 0.5


def test_frames_of_pure_noise_give_a_finite_faint_image() -> None:
    patterns = default_patterns(SETTINGS, 1)
    noise = np.random.default_rng(0).standard_normal((3, 3, 64, 64)).astype(np.float32)
    image = wiener(noise, patterns, OTF, SETTINGS)
    assert np.isfinite(image).all()
    assert image.std() < 1


def test_modulation_contrast_of_noise_is_one() -> None:
    patterns = default_patterns(SETTINGS, 1)
    rng = np.random.default_rng(0)
    frames = (rng.poisson(200.0, (3, 3, 96, 96)) * 2 + rng.normal(0, 3, (3, 3, 96, 96))).astype(
        "f4"
    )
    contrast = modulation_contrast(frames, patterns, Camera(0, 2, 3))
    assert contrast.mean() == pytest.approx(1, abs=0.02)


def test_modulation_contrast_of_a_uniform_object_is_the_pattern_over_the_noise() -> None:
    """Amplitude m/2 H(k) F at noise variance V / phases, F grey levels of light per frame."""
    settings = SETTINGS.model_copy(update={"excitation_na": 0.7, "excitation_nm": 525})
    patterns = default_patterns(settings, 1)
    camera = Camera(100, 2, 1.5)
    frames = stack(np.ones((192, 192)), patterns, 400, settings, camera)
    transfer = float(OTF(*patterns.wavevectors[0]))
    noise = np.sqrt((800 * 2 + 1.5**2) / 3) * np.sqrt(np.pi) / 2
    expected = 0.4 * transfer * 800 / noise
    assert modulation_contrast(frames, patterns, camera).mean() == pytest.approx(expected, rel=0.02)
    assert mcnr(frames, patterns, camera) == pytest.approx(expected, rel=0.1)


@pytest.mark.data
def test_measured_microtubules_reach_the_best_tuned_wiener_filter(data: Path) -> None:
    """BioSR level 9 at matched blur; 28.75 dB / 0.866 is the best over constants and notches."""
    folder = data / "sim/biosr_mt_levels"
    raw = tifffile.imread(folder / "BioSR_MT_cell001_level09_crop007_raw9.tif").astype("f4")
    truth = tifffile.imread(folder / "BioSR_MT_cell001_crop007_GTSIM.tif").squeeze()
    mrc = data / "sim/tirf_rdl_microtubules/TIRF488_cam1_0_z30_OTF2d.mrc"
    profile = np.abs(np.frombuffer(mrc.read_bytes()[-257 * 8 :], np.complex64))
    settings = SimSettings(
        na=1.41, wavelength_nm=525, pixel_size_nm=62.6, excitation_na=1.35, excitation_nm=488
    )
    otf = Otf.measured(profile, 0.0312, settings.cutoff)
    patterns = run(estimate_patterns(raw, settings, otf))
    image = wiener(raw.reshape(3, 3, 128, 128) - 100, patterns, otf, settings)
    scores = match_blur(image, truth)
    assert scores.psnr > 28.7
    assert scores.ssim > 0.86


@pytest.mark.data
def test_published_stacks_are_sharpened_by_six_decibels_with_estimated_patterns(
    data: Path,
) -> None:
    """Burns & Liu 2023, zoom 4; mean of the 8 stacks 32.9 dB, widefield 25.6 dB."""
    folder = data / "sim/burns_pinn_simulated/SIM/microtubules"
    pixel, cutoff = 65.0, 0.367 / 0.065
    settings = SimSettings(
        na=1.49, wavelength_nm=2980 / cutoff, pixel_size_nm=pixel, zoom=4, camera_offset=0
    )
    otf = Otf.from_psf(imread(folder / "psf.png"), pixel / 4000, cutoff)
    for number in (2, 8):
        raw = tifffile.imread(folder / f"input_frames/{number}.tif").astype("f4")
        truth = imread(folder / f"ground_truth/{number}.png")
        patterns = run(estimate_patterns(raw, settings, otf))
        assert not patterns.verdict.startswith("failed")
        np.testing.assert_allclose(patterns.period_nm, 3 * pixel, rtol=1e-3)
        frames = raw.reshape(3, 3, 120, 120)
        widefield = spline_zoom(frames.mean((0, 1)), 4, order=3, mode="nearest", grid_mode=True)
        gain = compare(wiener(frames, patterns, otf, settings), truth).psnr
        gain -= compare(widefield, truth).psnr
        assert gain > 6
