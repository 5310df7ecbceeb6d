"""The noise found in a micrograph is the noise that was put in, whatever the micrograph shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import tifffile

from napari_physgen.errors import UserError
from napari_physgen.physics.noise import Camera, estimate_camera
from napari_physgen.physics.noise_level import NoiseLevel, camera_of, estimate_noise
from napari_physgen.sim.simulate import filaments
from napari_physgen.synthesis.draws import smooth_field


def domains(size: int = 256) -> np.ndarray:
    """Two phases with smooth walls all over the image, like a spinodal field."""
    field = smooth_field((size, size), 5, np.random.default_rng(1))
    return 0.55 + 0.45 * np.tanh(3 * field)


def cells(size: int = 256) -> np.ndarray:
    """Textured blobs on a dark ground."""
    rng = np.random.default_rng(2)
    blobs = np.maximum(smooth_field((size, size), 10, rng) - 0.8, 0)
    return 0.03 + blobs * np.exp(0.4 * smooth_field((size, size), 2.5, rng))


SCENES = {
    "domains": domains,
    "cells": cells,
    "filaments": lambda: filaments((256, 256), 1).astype(float),
    "flat": lambda: np.full((256, 256), 1.0),
}


def expected(scene: str, photons: float, camera: Camera) -> np.ndarray:
    """Noise-free grey levels, `photons` per pixel on average."""
    light = SCENES[scene]()
    return camera.offset + camera.gain * photons * light / light.mean()


def record(grey: np.ndarray, camera: Camera, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    light = camera.gain * rng.poisson((grey - camera.offset) / camera.gain)
    return camera.offset + light + camera.read_noise * rng.standard_normal(grey.shape)


def ratio(found: NoiseLevel, grey: np.ndarray, camera: Camera) -> np.ndarray:
    """Found over true standard deviation at some grey levels of an image."""
    levels = np.quantile(grey, [0.2, 0.5, 0.95, 0.99])
    return np.sqrt(found.camera.variance(levels) / camera.variance(levels))


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("photons", [2, 20, 200, 2000])
def test_noise_of_every_brightness_is_right(scene: str, photons: float) -> None:
    """Within 4 %, and within 13 % for the brightest pixels: no flat part is as bright as those."""
    camera = Camera(offset=100, gain=2.0, read_noise=3.0)
    grey = expected(scene, photons, camera)
    found = estimate_noise(record(grey, camera))
    deviation = ratio(found, grey, camera)
    assert deviation[:2] == pytest.approx(np.ones(2), abs=0.04)
    assert deviation[2:] == pytest.approx(np.ones(2), abs=0.13)
    assert found.correlation == (0, 0)


@pytest.mark.parametrize("scene", SCENES)
def test_constant_noise_has_no_gain(scene: str) -> None:
    grey = SCENES[scene]()
    noisy = grey + 0.1 * np.random.default_rng(3).standard_normal(grey.shape)
    found = estimate_noise(noisy)
    assert found.kind == "Gaussian"
    assert found.camera.gain == 0
    assert found.camera.read_noise == pytest.approx(0.1, rel=0.03)


def test_structure_does_not_count_as_noise() -> None:
    """Lattice fringes, a third of the image: their power is 200 times that of the noise."""
    y, x = np.mgrid[:256, :256]
    fringes = np.where(x > 170, np.cos(1.1 * x + 0.5 * y), 0)
    noisy = fringes + 0.05 * np.random.default_rng(0).standard_normal(fringes.shape)
    assert np.sqrt(estimate_noise(noisy).camera.variance(0)) == pytest.approx(0.05, rel=0.05)


def test_scan_noise_that_is_correlated_along_x_is_found_whole() -> None:
    """As in a confocal microscope whose detector is slower than its pixels."""
    camera = Camera(offset=10, gain=2.0, read_noise=2.0)
    for scene in ("domains", "cells"):
        grey = expected(scene, 20, camera)
        noise = record(grey, camera) - grey
        mixed = (noise + 0.3 * np.roll(noise, 1, axis=1)) / np.hypot(1, 0.3)
        found = estimate_noise(grey + mixed)
        assert ratio(found, grey, camera) == pytest.approx(np.ones(4), abs=0.08)
        assert found.correlation[0] == 0
        assert found.correlation[1] == pytest.approx(0.3 / 1.09, abs=0.04)


def test_correlation_in_both_directions_is_found_where_the_image_is_flat_somewhere() -> None:
    """As after resampling."""
    camera = Camera(offset=10, gain=2.0, read_noise=2.0)
    grey = expected("cells", 20, camera)
    blurred = scipy.ndimage.gaussian_filter(record(grey, camera) - grey, 0.5)
    weight = scipy.ndimage.gaussian_filter(np.eye(9)[4][:, None] * np.eye(9)[4], 0.5)
    found = estimate_noise(grey + blurred / np.sqrt((weight**2).sum()))
    assert ratio(found, grey, camera) == pytest.approx(np.ones(4), abs=0.08)
    assert found.correlation == pytest.approx((0.25, 0.25), abs=0.05)


def test_hot_and_dead_pixels_do_not_count() -> None:
    camera = Camera(offset=100, gain=2.0, read_noise=3.0)
    for photons in (2, 50):
        grey = expected("cells", photons, camera)
        noisy = record(grey, camera)
        rng = np.random.default_rng(1)
        places = rng.integers(0, noisy.size, 120)
        noisy.ravel()[places] = np.where(rng.random(120) < 0.7, 60000, 0)
        found = estimate_noise(noisy)
        assert ratio(found, grey, camera) == pytest.approx(np.ones(4), abs=0.08)


def test_photon_counts_are_zero_without_being_clipped() -> None:
    camera = Camera(offset=0, gain=40, read_noise=0)
    grey = expected("domains", 0.5, camera)
    counts = np.clip(record(grey, camera), 0, 255).astype(np.uint8)
    found = estimate_noise(counts)
    assert found.at_floor == pytest.approx(np.mean(counts == 0))
    assert found.at_floor > 0.6
    assert found.camera.gain == pytest.approx(40, rel=0.05)
    assert found.camera.offset == pytest.approx(0, abs=1)


def test_clipping_at_both_ends_leaves_the_noise_between() -> None:
    """Offset 0: half of the read noise is cut off; the brightest tenth is saturated."""
    camera = Camera(offset=0, gain=2.0, read_noise=6.0)
    y = np.linspace(0, 1, 256)
    light = 0.5 + 0.5 * np.cos(2 * np.pi * 3 * y)
    grey = camera.gain * 130 * light[:, None] * np.ones((1, 256))
    noisy = np.clip(np.rint(record(grey, camera)), 0, 255).astype(np.uint8)
    found = estimate_noise(noisy)
    levels = np.array([60, 100, 150, 200])
    deviation = np.sqrt(found.camera.variance(levels) / camera.variance(levels))
    assert deviation == pytest.approx(np.ones(4), abs=0.08)
    assert found.at_floor > 0.02
    assert found.at_ceiling > 0.1


def test_frames_of_a_stack_count_together() -> None:
    camera = Camera(offset=100, gain=2.0, read_noise=3.0)
    grey = expected("domains", 10, camera)
    stack = np.stack([record(grey, camera, seed) for seed in range(4)])
    assert ratio(estimate_noise(stack), grey, camera) == pytest.approx(np.ones(4), abs=0.05)


def test_type_and_unit_do_not_matter() -> None:
    camera = Camera(offset=100, gain=2.0, read_noise=3.0)
    grey = expected("cells", 50, camera)
    counts = np.rint(record(grey, camera)).astype(np.uint16)
    whole, scaled = estimate_noise(counts), estimate_noise(counts / 65535)
    assert scaled.camera.gain * 65535 == pytest.approx(whole.camera.gain, rel=1e-2)
    assert scaled.camera.offset * 65535 == pytest.approx(whole.camera.offset, rel=1e-2)


def test_an_image_that_is_mostly_empty_border_is_measured_inside() -> None:
    camera = Camera(offset=100, gain=2.0, read_noise=3.0)
    grey = expected("domains", 50, camera)
    padded = np.pad(record(grey, camera), 200)
    assert ratio(estimate_noise(padded), grey, camera) == pytest.approx(np.ones(4), abs=0.08)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((256, 256)), "constant"),
        (np.zeros((16, 200)), "at least 24"),
        (np.zeros(100), "at least 24"),
        (np.zeros((64, 64, 3)), "at least 24"),
        (np.full((64, 64), np.nan), "NaN"),
    ],
)
def test_images_without_measurable_noise_are_refused(image: np.ndarray, words: str) -> None:
    with pytest.raises(UserError, match=words):
        estimate_noise(image)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((100, -1, 2), "gain must be 0 or more"),
        ((100, 1, -2), "read noise must be 0 or more"),
        ((100, 0, 0), "both 0"),
        ((float("nan"), 1, 1), "offset"),
        ((100, float("inf"), 1), "gain"),
    ],
)
def test_impossible_cameras_are_refused(values: tuple[float, float, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        camera_of(*values)


def test_cameras_given_by_hand_are_kept() -> None:
    assert camera_of(100, 2, 1.5) == Camera(100, 2, 1.5)


def test_summary_says_what_a_user_must_know() -> None:
    level = NoiseLevel(Camera(12.3, 60, 0.3), (0.0, 0.21), at_floor=0.78, at_ceiling=0.0047)
    for words in ("60 grey levels per photon", "0.21 along x", "78 %", "0.47 %"):
        assert words in level.summary
    assert "everywhere" in NoiseLevel(Camera(0, 0, 4)).summary


@pytest.mark.data
def test_real_micrographs_have_the_noise_that_their_bright_partners_reveal(data: Path) -> None:
    """Confocal pairs of GigaDB 100888: low exposure minus what the high one predicts of it.

    The gain of mito is 66 grey levels, its noise 0.25 correlated along x; of nucleus 4.0 and none.
    """
    import skimage.io

    folder = data / "restoration/cf_pairs_sample"
    for name, correlation in (("mito-confocal", 0.25), ("nucleus", 0.0)):
        low, high = (
            skimage.io.imread(folder / f"{name}-{dose}snr.png")[..., 0] for dose in ("low", "high")
        )
        found = estimate_noise(low)
        greys, deviations = _revealed(low.astype(float), high.astype(float))
        estimate = np.sqrt(found.camera.variance(greys))
        assert np.abs(estimate / deviations - 1).max() < 0.1
        assert np.abs(estimate / deviations - 1).mean() < 0.05
        assert found.correlation == pytest.approx((0, correlation), abs=0.05)


def _revealed(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and noise of classes of pixels that the other image says are equally bright."""
    smooth = scipy.ndimage.gaussian_filter(high, 1).ravel()
    greys, deviations = [], []
    for group in np.array_split(np.argsort(smooth), 40):
        values = low.ravel()[group]
        line = np.polyfit(smooth[group], values, 1)
        if np.mean(values == 255) < 0.005:
            greys.append(values.mean())
            deviations.append(np.std(values - np.polyval(line, smooth[group])))
    return np.array(greys), np.array(deviations)


@pytest.mark.data
def test_raw_frames_have_the_noise_that_their_optics_tell(data: Path) -> None:
    """BioSR microtubules: above the cutoff of the lens there is nothing but noise."""
    for level in ("01", "09"):
        path = data / f"sim/biosr_mt_levels/BioSR_MT_cell001_level{level}_crop007_raw9.tif"
        raw = tifffile.imread(path)
        camera = estimate_camera(raw, 2 * 1.41 / 0.525, 62.6)
        assert ratio(estimate_noise(raw), raw, camera) == pytest.approx(np.ones(4), abs=0.04)
