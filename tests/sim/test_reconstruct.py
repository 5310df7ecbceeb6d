"""The whole way from raw frames to the image: truth, stages, commands, memory, measured data."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy.ndimage import zoom as spline_zoom
from sim_sample import CAMERA, PATTERNS, SETTINGS, SIZE, expected, recorded, truth

from napari_physgen.backend import run
from napari_physgen.backend.job import Command, Progress, Stop, Tune
from napari_physgen.metrics.image import compare, match_blur
from napari_physgen.sim import Patterns, Reconstruction, SimSettings, pinn, reconstruct
from napari_physgen.sim.illumination import known_illumination
from napari_physgen.sim.pinn import Refinement

module = importlib.import_module("napari_physgen.sim.reconstruct")
"""The package's attribute of this name is the job."""


def using(**changes: object) -> SimSettings:
    return SETTINGS.model_copy(update=changes)


@pytest.fixture(scope="module")
def raw() -> np.ndarray:
    return recorded(expected(150)).reshape(9, SIZE, SIZE)


@pytest.fixture(scope="module")
def variational(raw: np.ndarray) -> Reconstruction:
    """The image as a user gets it: patterns, damping and smoothness are estimated."""
    settings = using(otf_damping=None, regularisation=None, iterations=150)
    return run(reconstruct(raw, settings))


@pytest.fixture(scope="module")
def known(raw: np.ndarray) -> Reconstruction:
    """A quick image with everything given."""
    return run(reconstruct(raw, SETTINGS, PATTERNS))


def test_variational_image_beats_widefield_and_wiener(variational: Reconstruction) -> None:
    assert variational.wiener is not None
    wide = spline_zoom(variational.widefield, 2, order=3, mode="nearest", grid_mode=True)
    found, wiener, widefield = (
        compare(image, truth()).psnr for image in (variational.image, variational.wiener, wide)
    )
    assert found > wiener + 1.5
    assert wiener > widefield + 3


def test_image_explains_unseen_pixels_to_within_their_noise(variational: Reconstruction) -> None:
    assert 0.9 < variational.chi2 < 1.15
    assert 0.75 < np.mean(variational.residual**2) < variational.chi2, "fitted ones are closer"
    assert f"{variational.chi2:.3f}" in variational.summary
    assert "failed" not in variational.summary


def test_image_is_positive_and_keeps_the_light(
    raw: np.ndarray, variational: Reconstruction
) -> None:
    assert variational.stage == "variational"
    assert variational.image.shape == (2 * SIZE, 2 * SIZE)
    assert variational.image.dtype == np.float32
    assert variational.image.min() >= 0
    light = raw.mean() - CAMERA.offset
    assert variational.image.mean() == pytest.approx(light, rel=0.05)


def test_patterns_and_the_frames_that_they_show_give_nearly_the_same_image(
    raw: np.ndarray, known: Reconstruction
) -> None:
    """On the grid of the result; on the raw grid some of the fine pattern is lost."""
    for zoom, least in ((2, 40), (1, 28)):
        frames = PATTERNS.illumination((SIZE, SIZE), zoom)
        given = run(reconstruct(raw, SETTINGS, frames))
        assert compare(given.image, known.image).psnr > least
        assert given.wiener is None
        assert given.image.shape == known.image.shape


def test_four_axes_and_the_other_frame_order_give_the_same_image(
    raw: np.ndarray, known: Reconstruction
) -> None:
    by_phase = raw.reshape(3, 3, SIZE, SIZE).swapaxes(0, 1)
    turned = replace(PATTERNS, order="phase-angle")
    again = run(reconstruct(by_phase, SETTINGS, turned))
    np.testing.assert_array_equal(again.image, known.image)
    frames = PATTERNS.illumination((SIZE, SIZE), 2).reshape(3, 3, 2 * SIZE, 2 * SIZE)
    settings = using(order="phase-angle", iterations=10)
    straight = run(reconstruct(raw, using(iterations=10), frames))
    given = run(reconstruct(by_phase, settings, frames.swapaxes(0, 1)))
    np.testing.assert_array_equal(given.image, straight.image)


def test_known_frames_are_sorted_by_angle_on_the_grid_of_the_result_with_mean_one() -> None:
    settings = using(phases=4)
    frames = np.broadcast_to(np.arange(1.0, 13.0)[:, None, None], (12, 64, 64))
    straight = known_illumination(frames, (64, 64), "angle-phase", settings)
    assert straight.shape == (12, 128, 128)
    np.testing.assert_allclose(straight[:, 5, 9], np.arange(1, 13) / 6.5, rtol=1e-6)
    sorted_frames = known_illumination(frames, (64, 64), "phase-angle", settings)
    expected_order = np.array([1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12])
    np.testing.assert_allclose(sorted_frames[:, 5, 9], expected_order / 6.5, rtol=1e-6)


def test_illumination_of_a_crop_is_the_crop_of_the_illumination() -> None:
    y, x = 7, 12
    for zoom in (1, 2, 4):
        whole = PATTERNS.illumination((64, 64), zoom)
        part = PATTERNS.cropped(y, x).illumination((30, 25), zoom)
        cut = whole[:, y * zoom : (y + 30) * zoom, x * zoom : (x + 25) * zoom]
        np.testing.assert_allclose(part, cut, atol=1e-4)


def test_wiener_method_is_quick_and_judged_like_the_others(
    raw: np.ndarray, known: Reconstruction
) -> None:
    result = run(reconstruct(raw, using(method="wiener"), PATTERNS))
    assert result.stage == "wiener"
    assert result.wiener is not None
    np.testing.assert_array_equal(result.image, result.wiener)
    assert result.chi2 > known.chi2


def test_paper_method_is_a_stage_of_its_own(
    raw: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_physgen.sim.paper.CHANNELS", (4, 8))
    result = run(reconstruct(raw, using(method="paper", network_steps=2), PATTERNS))
    assert result.stage == "paper"
    assert np.isfinite(result.image).all()
    assert result.std is None


def told_to(
    command: Command, word: str, step: int = 3
) -> tuple[list[Progress], Callable[[Progress], Command | None]]:
    """Return a listener that gives `command` at a step of a stage, and what it was told."""
    told: list[Progress] = []

    def listener(progress: Progress) -> Command | None:
        told.append(progress)
        return command if word in progress.message and progress.step == step else None

    return told, listener


@pytest.mark.parametrize(("word", "step"), [("Wiener", 1), ("looking", 2)])
def test_stop_before_the_first_iteration_returns_the_wiener_image(
    raw: np.ndarray, word: str, step: int
) -> None:
    told, listener = told_to(Stop(), word, step)
    result = run(reconstruct(raw, using(method="pinn")), listener)
    assert result.stage == "wiener"
    assert result.wiener is not None
    np.testing.assert_array_equal(result.image, result.wiener)
    assert told[-1].message == "Wiener"


def test_stop_while_the_frame_order_is_found_returns_the_wiener_image(raw: np.ndarray) -> None:
    _, listener = told_to(Stop(), "trying", 0)
    frames = np.concatenate([raw.mean(0, keepdims=True), raw])
    result = run(reconstruct(frames, using(method="pinn", order="auto")), listener)
    assert result.stage == "wiener"
    assert "Frame order widefield-angle-phase" in result.summary


def test_stop_while_iterating_returns_that_image_at_once_and_skips_the_network(
    raw: np.ndarray,
) -> None:
    told, listener = told_to(Stop(), "variational", 8)
    result = run(reconstruct(raw, using(method="pinn"), PATTERNS), listener)
    assert result.stage == "variational"
    assert "stopped early" in result.summary
    assert told[-1].step == 8
    assert np.isfinite(result.image).all()


@pytest.mark.parametrize(("word", "kept"), [("part 1 of 4", False), ("network 1 of 1", True)])
def test_stop_during_the_network_returns_what_there_is(
    raw: np.ndarray, monkeypatch: pytest.MonkeyPatch, word: str, kept: bool
) -> None:
    monkeypatch.setattr(pinn, "REFIT", 5)
    told, listener = told_to(Stop(), word)
    settings = using(method="pinn", network_steps=50, iterations=20)
    result = run(reconstruct(raw, settings, PATTERNS), listener)
    assert result.stage in ("variational", "pinn")
    assert (result.std is not None) == kept
    assert word in told[-1].message
    assert told[-1].step <= 5 + 3


def test_smoothness_can_be_tuned_while_the_job_runs(raw: np.ndarray, known: Reconstruction) -> None:
    """Whether during the Wiener preview or the first iterations: as if given from the start."""
    smooth = run(reconstruct(raw, using(regularisation=0.5), PATTERNS))
    rough = using(regularisation=None)
    for word, step in (("Wiener", 1), ("variational", 0)):
        _, listener = told_to(Tune(regularisation=0.5), word, step)
        tuned = run(reconstruct(raw, rough, PATTERNS), listener)
        np.testing.assert_array_equal(tuned.image, smooth.image)
    assert compare(smooth.image, known.image).psnr < 50


@pytest.mark.parametrize("factor", [0.99, 1.0, 1.01])
def test_network_is_kept_only_if_the_held_out_misfit_falls(
    raw: np.ndarray, known: Reconstruction, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    """A network that is given out as better, equal or worse than the variational image."""

    def pretend(scene, measurement, solution, settings, networks=()):  # type: ignore[no-untyped-def]
        yield Progress(0, 1, "network")
        rho = scene.rho()
        return Refinement(2 * rho, torch.ones_like(rho), solution.chi2 * factor)

    monkeypatch.setattr(module, "refine", pretend)
    result = run(reconstruct(raw, using(method="pinn"), PATTERNS))
    better = factor < 1
    assert result.stage == ("pinn" if better else "variational")
    assert ("was kept" if better else "did not help and was dropped") in result.summary
    np.testing.assert_allclose(result.image, known.image * (2 if better else 1), rtol=1e-6)
    assert result.std is not None


def test_same_seed_gives_the_same_pixels_and_another_seed_others(
    raw: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinn, "REFIT", 5)
    settings = using(method="pinn", network_steps=5, iterations=10)
    first, again, other = (
        run(reconstruct(raw, settings.model_copy(update={"seed": seed}), PATTERNS))
        for seed in (0, 0, 1)
    )
    assert first.std is not None
    assert again.std is not None
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.std, again.std)
    assert (first.image != other.image).mean() > 0.5


def test_a_full_gpu_hands_the_job_to_the_processor_and_says_so(
    raw: np.ndarray, known: Reconstruction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pretended GPU that takes the forward model and then runs out of memory."""
    original = module.Case.operator

    def operator(case: module.Case, device: torch.device):  # type: ignore[no-untyped-def]
        if device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return original(case, device)

    monkeypatch.setattr(module, "resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(module.Case, "operator", operator)
    told: list[Progress] = []
    result = run(reconstruct(raw, SETTINGS, PATTERNS), told.append)
    assert any("Not enough memory on the GPU" in p.message for p in told)
    assert any("on the CPU" in p.message for p in told)
    assert result.device.startswith("CPU")
    np.testing.assert_array_equal(result.image, known.image)


def angle_error(patterns: object, angles: list[float]) -> float:
    """Largest difference of directions, degrees; a pattern has no sense of direction."""
    assert isinstance(patterns, Patterns)
    turn = patterns.angles_deg - np.array(angles)
    return float(np.abs((turn + 90) % 180 - 90).max())


BIOSR = SimSettings(
    na=1.41,
    wavelength_nm=525,
    pixel_size_nm=62.6,
    excitation_na=1.35,
    excitation_nm=488,
    method="variational",
)
DIRECTIONS, PERIODS = [-84.85, -144.95, 155.02], [180.2, 180.5, 180.1]


@pytest.mark.data
def test_measured_bright_microtubules_are_resolved_as_in_the_published_image(data: Path) -> None:
    """BioSR level 9 (Qiao et al. 2021) against its own GT-SIM, at matched blur."""
    folder = data / "sim/biosr_mt_levels"
    raw = tifffile.imread(folder / "BioSR_MT_cell001_level09_crop007_raw9.tif")
    published = tifffile.imread(folder / "BioSR_MT_cell001_crop007_GTSIM.tif").squeeze()
    otf = data / "sim/tirf_rdl_microtubules/TIRF488_cam1_0_z30_OTF2d.mrc"
    settings = BIOSR.model_copy(update={"iterations": 149, "regularisation": 0.04})
    result = run(reconstruct(raw, settings, otf=otf))
    assert angle_error(result.patterns, DIRECTIONS) < 0.5
    assert isinstance(result.patterns, Patterns)
    np.testing.assert_allclose(result.patterns.period_nm, PERIODS, atol=0.5)
    assert result.chi2 < 1.25
    assert match_blur(result.image, published).psnr > 28.5


@pytest.mark.data
def test_measured_faint_microtubules_never_show_wrong_patterns_as_good(data: Path) -> None:
    """BioSR level 1, 6 photons per pixel."""
    folder = data / "sim/biosr_mt_levels"
    raw = tifffile.imread(folder / "BioSR_MT_cell001_level01_crop007_raw9.tif")
    quick = BIOSR.model_copy(update={"method": "wiener"})
    for settings in (quick, quick.model_copy(update={"excitation_na": None})):
        result = run(reconstruct(raw, settings))
        assert isinstance(result.patterns, Patterns)
        right = angle_error(result.patterns, DIRECTIONS) < 0.5
        assert right or result.patterns.verdict != "good"
        assert result.patterns.verdict in result.summary
