"""Light given as frames, from files too, and light that is random and unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import tifffile
import torch

from napari_physgen.backend import run
from napari_physgen.errors import UserError
from napari_physgen.physics.optics import Otf, frequencies
from napari_physgen.sim import SimSettings, reconstruct, simulate
from napari_physgen.sim.forward import Canvas
from napari_physgen.sim.illumination import laid_out
from napari_physgen.sim.light import plasmonic, speckle, speckle_cutoff
from napari_physgen.sim.measurement import Measurement
from napari_physgen.sim.simulate import CAMERA, default_patterns, filaments
from napari_physgen.sim.speckle import SpeckleOperator, averaged

SETTINGS = SimSettings(
    na=1.4,
    wavelength_nm=525,
    pixel_size_nm=80,
    pattern="given",
    otf_damping=1,
    method="variational",
    regularisation=0.1,
    iterations=60,
    device="cpu",
)
OBJECT = filaments((128, 128), 1)
COUNT = 8


@pytest.fixture(scope="module")
def light() -> np.ndarray:
    return plasmonic(OBJECT.shape, SETTINGS, COUNT, 1)


@pytest.fixture(scope="module")
def raw(light: np.ndarray) -> np.ndarray:
    layout = SETTINGS.model_copy(update={"angles": 1, "phases": COUNT})
    return simulate(OBJECT, layout, 100, 1, light)


@pytest.mark.parametrize("suffix", ["npy", "tif"])
def test_light_from_a_file_counts_as_the_same_light_given(
    tmp_path: Path, light: np.ndarray, raw: np.ndarray, suffix: str
) -> None:
    path = tmp_path / f"light.{suffix}"
    if suffix == "npy":
        np.save(path, light)
    else:
        tifffile.imwrite(path, light, metadata={"axes": "IYX"})
    quick = SETTINGS.model_copy(update={"iterations": 10})
    from_file = run(reconstruct(raw, quick.model_copy(update={"illumination": path})))
    given = run(reconstruct(raw, quick, patterns=light))
    np.testing.assert_array_equal(from_file.image, given.image)


def test_unmodulated_light_is_fitted() -> None:
    """Coarse stripes given as frames: a wrong camera offset is no haze of the sample."""
    layout = SETTINGS.model_copy(update={"angles": 2, "phases": 4, "iterations": 120})
    stripes = default_patterns(layout, 1, modulation=0.9)
    coarse = replace(stripes, wavevectors=stripes.wavevectors / 2)
    light = coarse.illumination((64, 64), 2)
    raw = simulate(OBJECT, layout, 100, 1, light)
    error = float(raw.mean() - CAMERA.offset) / 4
    wrong = layout.model_copy(update={"camera_offset": CAMERA.offset - error})
    result = run(reconstruct(raw, wrong, patterns=light))
    assert result.metrics["background"] == pytest.approx(error, rel=0.4)


def test_frames_of_known_light_need_no_angles_and_phases(raw: np.ndarray) -> None:
    assert (SETTINGS.angles, SETTINGS.phases) == (3, 3)
    layout = laid_out(SETTINGS, raw)
    assert (layout.angles, layout.phases) == (1, COUNT)
    chosen = SETTINGS.model_copy(update={"angles": 2, "phases": 4})
    assert laid_out(chosen, raw) == chosen


def test_frames_of_known_light_several_times_over_are_a_series(
    tmp_path: Path, light: np.ndarray, raw: np.ndarray
) -> None:
    quick = SETTINGS.model_copy(update={"iterations": 5})
    flat = np.concatenate([raw, raw])
    series = run(reconstruct(flat, quick, patterns=light))
    assert series.image.shape == (2, *OBJECT.shape)
    np.testing.assert_array_equal(series.image[0], run(reconstruct(raw, quick, light)).image)
    path = tmp_path / "light.npy"
    np.save(path, light)
    from_file = run(reconstruct(flat, quick.model_copy(update={"illumination": path})))
    np.testing.assert_array_equal(from_file.image, series.image)
    with pytest.raises(UserError, match="15 frames of"):
        run(reconstruct(flat[:-1], quick, light))


def test_known_light_must_be_given(raw: np.ndarray) -> None:
    with pytest.raises(UserError, match="choose the layer or the file"):
        run(reconstruct(raw, SETTINGS))


def test_few_frames_of_unknown_speckle_are_refused() -> None:
    settings = SETTINGS.model_copy(update={"pattern": "speckle"})
    with pytest.raises(UserError, match="50 frames or more"):
        run(reconstruct(np.zeros((49, 64, 64), np.float32), settings))


# --- speckle


def test_speckle_is_as_fine_as_the_objective_makes_it_and_has_full_contrast() -> None:
    frames = speckle((128, 128), SETTINGS, 20, 0)
    spectrum = np.abs(scipy.fft.fft2(frames))
    k = np.hypot(*frequencies((128, 128), 0.04))
    beyond = spectrum[:, k > 1.02 * speckle_cutoff(SETTINGS)]
    assert beyond.max() < 1e-4 * spectrum.max()
    assert frames.min() >= 0
    # Fully developed: the intensity is exponentially distributed, its standard deviation 1.
    assert frames.std() == pytest.approx(1, abs=0.05)


def unknown(frames: int = 4) -> SpeckleOperator:
    canvas = Canvas.around((64, 64), 2, 10)
    otf = Otf.ideal(SETTINGS.na, SETTINGS.wavelength_nm)
    return SpeckleOperator.unknown(frames, SETTINGS, otf, canvas, 0)


def test_unknown_light_can_be_nothing_but_speckle() -> None:
    """Whatever a fit makes of the field: not negative, and no finer than light can be."""
    operator = unknown()
    with torch.no_grad():
        operator.field += torch.randn(operator.field.shape, generator=torch.manual_seed(0))
    frames = operator.light()[0].detach().numpy()
    assert frames.min() >= 0
    spectrum = np.abs(scipy.fft.fft2(frames))
    k = np.hypot(*frequencies(frames.shape[1:], 0.04))
    assert spectrum[:, k > 1.05 * speckle_cutoff(SETTINGS)].max() < 1e-4 * spectrum.max()


def test_unknown_light_starts_nearly_flat_and_its_prior_prefers_a_flat_mean() -> None:
    operator = unknown()
    frames = operator.light()[0].detach()
    assert float(frames.mean()) == pytest.approx(1, abs=0.05)
    assert float(frames.std()) < 0.3
    start = float(operator.unlikely().detach())
    with torch.no_grad():
        operator.field += 0.02 * torch.randn(1, *operator.field.shape[1:])
    assert float(operator.unlikely().detach()) > start


def test_mean_of_the_frames_keeps_their_light_and_averages_their_noise() -> None:
    frames = np.random.default_rng(0).poisson(50, (1, 40, 64, 64)) * CAMERA.gain + CAMERA.offset
    measured = Measurement.of(frames.astype(np.float32), CAMERA, 0, torch.device("cpu"))
    mean = averaged(measured)
    assert float(mean.frames.mean()) == pytest.approx(50 * CAMERA.gain, rel=0.01)
    assert float(mean.frames.var()) == pytest.approx(float(mean.variance.mean()), rel=0.1)
