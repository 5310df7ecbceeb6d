"""Estimated patterns against the patterns that made the stack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_physgen.backend import run
from napari_physgen.errors import UserError
from napari_physgen.physics.noise import Camera
from napari_physgen.physics.optics import Otf
from napari_physgen.sim import Patterns, SimSettings, estimate_patterns, simulate
from napari_physgen.sim.patterns import search_ring
from napari_physgen.sim.simulate import default_patterns, filaments

SETTINGS = SimSettings(na=1.49, wavelength_nm=525, pixel_size_nm=65, order="angle-phase")
SIZE = 128


def stack(
    settings: SimSettings = SETTINGS,
    photons: float = 60,
    truth: Patterns | None = None,
    damping: float = 0.3,
    seed: int = 3,
) -> np.ndarray:
    otf = Otf.ideal(settings.na, settings.wavelength_nm, damping)
    truth = truth or default_patterns(settings, seed)
    return simulate(filaments((2 * SIZE, 2 * SIZE), seed), settings, photons, seed, truth, otf=otf)


def off(found: Patterns, truth: Patterns) -> tuple[float, float, float]:
    """Return the largest errors: wavevector in DFT px, phase rms in degrees, modulation."""
    pixel = truth.pixel_size_nm / 1000
    sign = np.sign(np.sum(found.wavevectors * truth.wavevectors, axis=1))[:, None]
    k_off = sign * found.wavevectors - truth.wavevectors
    middle = np.full(2, (SIZE - 1) / 2 * pixel)
    phase = sign * found.phases - truth.phases + 2 * np.pi * (k_off @ middle)[:, None]
    phase = np.degrees(np.angle(np.exp(1j * phase)))
    return (
        float(np.linalg.norm(k_off, axis=1).max() * SIZE * pixel),
        float(np.sqrt(np.mean(phase**2, axis=1)).max()),
        float(np.abs(found.modulation / truth.modulation - 1).max()),
    )


@pytest.fixture(scope="module")
def found() -> Patterns:
    return run(estimate_patterns(stack(), SETTINGS))


def test_wavevector_phases_and_modulation_are_recovered(found: Patterns) -> None:
    shift, phase, modulation = off(found, default_patterns(SETTINGS, 3))
    assert shift < 0.05
    assert phase < 4
    assert modulation < 0.05
    assert not found.verdict.startswith("failed")
    assert found.order == "angle-phase"


def test_many_photons_leave_no_systematic_error() -> None:
    truth = default_patterns(SETTINGS, 3)
    found = run(estimate_patterns(stack(photons=2000, truth=truth), SETTINGS))
    shift, phase, modulation = off(found, truth)
    assert shift < 0.015
    assert phase < 2.5
    assert modulation < 0.03
    assert found.verdict == "good"


@pytest.mark.parametrize("damping", [0.15, 0.6])
def test_damping_of_the_otf_is_fitted(damping: float) -> None:
    found = run(estimate_patterns(stack(photons=200, damping=damping), SETTINGS))
    assert found.otf_damping == pytest.approx(damping, rel=0.2)


def test_given_damping_is_kept() -> None:
    settings = SETTINGS.model_copy(update={"otf_damping": 0.4})
    assert run(estimate_patterns(stack(), settings)).otf_damping == 0.4


def test_unequal_phase_steps_are_found() -> None:
    """Equal steps are not assumed: the steps of a real TIRF-SIM."""
    truth = default_patterns(SETTINGS, 3)
    steps = np.radians([0, 134, -87])
    truth = replace(truth, phases=truth.phases[:, :1] + steps)
    found = run(estimate_patterns(stack(photons=200, truth=truth), SETTINGS))
    assert not found.verdict.startswith("failed")
    assert off(found, truth)[1] < 3


def test_steps_that_differ_between_angles_stay_different() -> None:
    truth = default_patterns(SETTINGS, 3)
    steps = np.radians([[0, 134, -87], [0, 120, -120], [0, 100, -130]])
    truth = replace(truth, phases=truth.phases[:, :1] + steps)
    found = run(estimate_patterns(stack(photons=200, truth=truth), SETTINGS))
    assert off(found, truth)[1] < 4


@pytest.mark.parametrize(
    ("angles", "phases", "fraction"), [(2, 3, 0.9), (3, 5, 0.8), (3, 3, 1.05), (5, 4, 0.9)]
)
def test_any_number_of_angles_and_phases_up_to_tirf(
    angles: int, phases: int, fraction: float
) -> None:
    settings = SETTINGS.model_copy(update={"angles": angles, "phases": phases})
    truth = default_patterns(settings, 5)
    truth = replace(truth, wavevectors=truth.wavevectors * fraction / 0.9)
    found = run(estimate_patterns(stack(settings, truth=truth), settings))
    assert not found.verdict.startswith("failed")
    assert off(found, truth)[0] < 0.1


@pytest.mark.parametrize("degrees", [2.0, -3.5])
def test_an_angle_off_equal_spacing_stays_where_it_is(degrees: float) -> None:
    """2 degrees are 1.5 DFT pixels, as far as the side peaks of the others."""
    truth = default_patterns(SETTINGS, 3)
    turn = np.radians(degrees)
    turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    wavevectors = truth.wavevectors.copy()
    wavevectors[1] = turned @ wavevectors[1]
    truth = replace(truth, wavevectors=wavevectors)
    assert off(run(estimate_patterns(stack(truth=truth), SETTINGS)), truth)[0] < 0.05


@pytest.mark.parametrize("order", ["angle-phase", "phase-angle"])
def test_frame_order_is_found(order: str) -> None:
    settings = SETTINGS.model_copy(update={"order": order})
    raw = stack(settings)
    found = run(estimate_patterns(raw, settings.model_copy(update={"order": "auto"})))
    assert found.order == order
    assert not found.verdict.startswith("failed")


def test_wrong_frame_order_is_not_good() -> None:
    raw = stack(SETTINGS.model_copy(update={"order": "phase-angle"}))
    assert run(estimate_patterns(raw, SETTINGS)).verdict != "good"


def test_brightness_of_the_frames_is_reported() -> None:
    fading = np.linspace(1, 0.8, 9)
    raw = 100 + (stack(photons=200) - 100.0) * fading[:, None, None]
    found = run(estimate_patterns(raw, SETTINGS.model_copy(update={"camera_offset": 100.0})))
    assert not found.verdict.startswith("failed")
    assert found.intensities is not None
    assert found.intensities.ravel() == pytest.approx(fading / fading.mean(), rel=0.02)


def test_frames_without_a_pattern_are_never_good() -> None:
    flat = default_patterns(SETTINGS, 3, modulation=0.0)
    for seed in range(4):
        found = run(estimate_patterns(stack(truth=flat, seed=seed), SETTINGS))
        assert found.verdict.startswith("failed")
        assert "try the excitation NA" in found.verdict


def test_an_angle_without_a_pattern_is_named() -> None:
    truth = default_patterns(SETTINGS, 3)
    truth = replace(truth, modulation=np.array([0.8, 0.0, 0.8]))
    found = run(estimate_patterns(stack(truth=truth), SETTINGS))
    assert found.verdict.startswith("failed: the pattern of angle 2 was not found")


def test_excitation_aperture_narrows_the_search() -> None:
    low, high = search_ring(SETTINGS)
    near, far = search_ring(
        SETTINGS.model_copy(update={"excitation_na": 1.35, "excitation_nm": 488.0})
    )
    assert near < 2 * 1.35 / 0.488 < far
    assert far - near < 0.2 * (high - low)


def test_impossible_excitation_is_refused() -> None:
    settings = SETTINGS.model_copy(update={"excitation_na": 1.49, "excitation_nm": 300.0})
    with pytest.raises(UserError, match="too fine"):
        run(estimate_patterns(stack(), settings))


def test_sign_convention_first_points_right_and_next_turn_by_less_than_ninety_degrees(
    found: Patterns,
) -> None:
    assert found.wavevectors[0, 1] > 0
    assert np.all(np.sum(found.wavevectors[1:] * found.wavevectors[:-1], axis=1) >= 0)


def test_cropped_patterns_match_the_cropped_frames(found: Patterns) -> None:
    whole = found.illumination((SIZE, SIZE))
    part = found.cropped(10, 20).illumination((50, 60))
    assert part == pytest.approx(whole[:, 10:60, 20:80], abs=1e-4)


def test_spectrum_lies_beside_the_source_with_circles_on_the_peaks(found: Patterns) -> None:
    outputs = {output.name: output for output in found.outputs()}
    spectrum, circles = outputs["spectrum"], outputs["OTF and pattern circles"]
    assert spectrum.data.shape == (SIZE, SIZE)
    assert spectrum.offset == circles.offset
    assert spectrum.translation[1] >= SIZE
    centres = circles.data.mean(axis=1)
    assert centres[0] == pytest.approx([SIZE // 2] * 2)
    expected = SIZE // 2 + found.wavevectors[0] * SIZE * 0.065
    assert centres[1] == pytest.approx(expected, abs=1e-3)
    assert outputs["illumination"].data.shape == (9, SIZE, SIZE)


def test_dense_camera_noise_does_not_hide_a_pattern_at_nine_electrons() -> None:
    camera = Camera(offset=100, gain=2, read_noise=3)
    truth = default_patterns(SETTINGS, 8)
    raw = simulate(filaments((2 * SIZE, 2 * SIZE), 8), SETTINGS, 9, 8, truth, camera)
    found = run(estimate_patterns(raw, SETTINGS))
    assert not found.verdict.startswith("failed")
    assert off(found, truth)[0] < 0.3
