"""Calibration: simulations that look like given images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_physgen.backend import Command, Progress, Stop, run
from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import Direction
from napari_physgen.synthesis import PhaseFieldSettings, simulate
from napari_physgen.synthesis._match_families import families, neighbours, start
from napari_physgen.synthesis._match_statistics import Statistics, curves, statistics
from napari_physgen.synthesis.calibrate import Calibration, calibrate
from napari_physgen.synthesis.calibration_settings import CalibrationSettings

QUICK = CalibrationSettings(size=96, trials=1, look="spinodal", device="cpu")


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    """Phases of a spinodal structure that the calibration knows nothing of."""
    settings = PhaseFieldSettings(
        material="spinodal", size=160, fraction=0.55, duration=100, seed=11, device="cpu"
    )
    labels = run(simulate(settings)).labels
    return np.kron(labels > 0, np.ones((2, 2), bool))


@pytest.fixture(scope="module")
def target(mask: np.ndarray) -> Statistics:
    return statistics([mask], [1.0])


@pytest.fixture(scope="module")
def result(mask: np.ndarray) -> Calibration:
    return run(calibrate(mask * 50.0, mask.astype(np.uint8), settings=QUICK))


def test_simulation_has_the_length_and_the_fraction_of_the_image(
    result: Calibration, target: Statistics
) -> None:
    assert result.metrics["length_px"] == pytest.approx(target.length)
    assert result.metrics["simulated_length_px"] == pytest.approx(target.length, rel=0.05)
    assert result.metrics["simulated_fraction"] == pytest.approx(target.fraction, abs=0.03)


def test_simulation_comes_closer_than_the_default_preset(result: Calibration) -> None:
    assert result.distance < result.default_distance
    assert result.metrics["distance"] == result.distance


def test_settings_give_the_simulation_that_was_shown(result: Calibration) -> None:
    again = run(simulate(result.settings))
    assert (again.labels == result.simulated.labels).all()
    assert PhaseFieldSettings.parse(result.settings.model_dump()) == result.settings


def test_summary_and_outputs_say_what_the_lengths_mean(
    result: Calibration, mask: np.ndarray
) -> None:
    assert result.unit == "px"
    assert "without a scale" in result.summary
    field, _, phases = result.outputs()
    assert field.zoom == pytest.approx(1 / result.settings.pixel_size_nm)
    assert (phases.data == mask).all()


def test_curves_are_normalised_and_on_a_common_axis(result: Calibration) -> None:
    for x, image, simulation in result.curves.values():
        assert x.shape == image.shape == simulation.shape
        assert image.max() == pytest.approx(1)
    x, image, simulation = result.curves["correlation"]
    assert x[0] == 0
    assert image[0] == pytest.approx(1)
    assert np.abs(image - simulation).max() < 0.3


def test_cell_is_in_nm_where_the_image_has_a_scale(mask: np.ndarray, result: Calibration) -> None:
    scaled = run(
        calibrate([mask * 50.0], [mask.astype(np.uint8)], pixel_size_nm=4.0, settings=QUICK)
    )
    assert scaled.unit == "nm"
    # The cell is rounded to four digits.
    assert scaled.settings.pixel_size_nm == pytest.approx(
        4 * result.settings.pixel_size_nm, rel=1e-3
    )
    assert scaled.distance == pytest.approx(result.distance, rel=0.02)
    assert scaled.zoom == pytest.approx(result.zoom, rel=1e-3)
    assert "without a scale" not in scaled.summary


def test_stop_keeps_the_best_so_far(mask: np.ndarray) -> None:
    def stop_after_a_trial(progress: Progress) -> Command | None:
        return Stop() if "distance" in progress.metrics else None

    settings = QUICK.model_copy(update={"trials": 50})
    job = calibrate(mask * 50.0, mask.astype(np.uint8), settings=settings)
    stopped = run(job, stop_after_a_trial)
    assert stopped.metrics["trials"] < 50
    assert np.isnan(stopped.default_distance)
    assert stopped.simulated.labels.shape == (96, 96)


def test_stop_before_anything_could_be_compared_says_so(mask: np.ndarray) -> None:
    job = calibrate(mask * 50.0, mask.astype(np.uint8), settings=QUICK)
    with pytest.raises(UserError, match="Stopped before"):
        run(job, lambda progress: Stop())


def test_image_with_too_few_particles_is_refused() -> None:
    half = np.zeros((128, 128), np.uint8)
    half[64:] = 1
    with pytest.raises(UserError, match="lower magnification"):
        run(calibrate(half, half, settings=QUICK))


def test_pixel_sizes_must_be_positive(mask: np.ndarray) -> None:
    with pytest.raises(UserError, match="above 0 nm"):
        run(calibrate(mask * 1.0, pixel_size_nm=-3, settings=QUICK))


def test_statistics_are_in_physical_units_and_pooled(mask: np.ndarray, target: Statistics) -> None:
    fine = np.kron(mask, np.ones((2, 2), bool))
    pooled = statistics([mask, fine], [10.0, 5.0])
    assert pooled.length == pytest.approx(10 * target.length, rel=0.02)
    assert pooled.fraction == pytest.approx(target.fraction)
    assert statistics([mask], [10.0]).distance(pooled) < 0.01
    assert target.distance(target) == 0
    assert curves(target, target)["spectrum"][1].max() == 1


def test_distance_grows_with_every_kind_of_difference(mask: np.ndarray, target: Statistics) -> None:
    reach = 2 * target.length
    larger = statistics([mask], [1.3], reach=reach)
    stretched = statistics([np.repeat(mask, 2, 1)], [1.0], reach=reach)
    other = statistics([~mask], [1.0], reach=reach)
    for different in (larger, stretched, other):
        assert target.distance(different) > 0.05


def test_families_follow_directions_sizes_and_fraction(target: Statistics) -> None:
    plain = replace(
        target, stretched=Direction(0, 0), cubes=Direction(0, 0), diameters=np.ones(9), fraction=0.2
    )
    assert families(plain, "auto") == ["rounded"]
    assert families(plain, "cuboids") == ["cuboids"]
    assert "rafts" in families(replace(plain, stretched=Direction(0, 0.4)), "auto")
    assert "cuboids" in families(replace(plain, cubes=Direction(0, 0.4)), "auto")
    assert "bimodal" in families(replace(plain, diameters=np.array([1, 1, 1, 9.0])), "auto")
    assert "spinodal" in families(replace(plain, fraction=0.5), "auto")


@pytest.mark.parametrize("along", [-10, 80])
def test_rafts_are_started_along_the_stretched_direction(target: Statistics, along: float) -> None:
    wanted = replace(target, stretched=Direction(along, 0.5), cubes=Direction(-10, 0.5))
    begin = start("rafts", wanted, QUICK)
    # Three times the load and a short time, to see it at once.
    strong = {"load": 3 * begin.load, "duration": 15.0, "frames": 0}
    phase = run(simulate(begin.model_copy(update=strong))).labels > 0
    found = statistics([phase], [1.0], periodic=True).stretched
    assert abs((found.angle_deg - along + 90) % 180 - 90) < 20


def test_neighbours_are_valid_settings(target: Statistics) -> None:
    for family in ("bimodal", "rafts", "cuboids", "lamellae", "rounded", "spinodal"):
        begin = start(family, target, QUICK)
        for changed in neighbours(begin):
            assert PhaseFieldSettings.parse(changed.model_dump()) != begin
