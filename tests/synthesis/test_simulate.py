"""The simulation job: what it returns and what it listens to."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np
import pytest

from napari_physgen.backend import Progress, Stop, Tune, run
from napari_physgen.errors import UserError
from napari_physgen.metrics.microstructure import characteristic_length
from napari_physgen.synthesis import Microstructure, PhaseFieldSettings
from napari_physgen.synthesis.simulate import simulate, simulate_batch


def settings(material: str = "spinodal", **changes: object) -> PhaseFieldSettings:
    values = {"material": material, "size": 48, "duration": 40, "device": "cpu"}
    return PhaseFieldSettings.parse(values | changes)


def grown(material: str = "spinodal", **changes: object) -> Microstructure:
    return run(simulate(settings(material, **changes)))


# ---- what comes out ---------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.35, 0.5, 0.6])
def test_spinodal_fraction_is_the_one_asked_for(fraction: float) -> None:
    result = grown(size=96, duration=300, fraction=fraction)
    assert result.metrics["fraction"] == pytest.approx(fraction, abs=0.03)
    assert result.field.mean() == pytest.approx(0.3 + 0.4 * fraction, abs=1e-6)


def test_precipitate_fraction_is_the_one_asked_for() -> None:
    result = grown("precipitates", size=96, fraction=0.5, nuclei=40, duration=60)
    assert result.metrics["fraction"] == pytest.approx(0.5, abs=0.05)
    assert result.field.mean() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("boundary", ["periodic", "no-flux"])
def test_live_length_is_the_characteristic_length_of_the_field(boundary: str) -> None:
    lengths = []
    result = run(
        simulate(settings(size=128, duration=100, boundary=boundary)),
        lambda progress: lengths.append(progress.metrics["length"]),
    )
    expected = characteristic_length(result.field, periodic=boundary == "periodic")
    # Cosines see all of a box without flux, the window of the other one only its middle.
    within = 1e-4 if boundary == "periodic" else 0.1
    assert lengths[-1] == pytest.approx(expected, rel=within)


def test_heating_lowers_the_contrast_as_the_square_root() -> None:
    """Landau: the gap between the phases is 0.4 sqrt(1 - heating)."""
    cold, warm = (grown(size=64, duration=3000, temperature=t).field for t in (0.0, 0.5))
    assert np.ptp(cold) == pytest.approx(0.4, abs=0.01)
    assert np.ptp(warm) == pytest.approx(0.4 * math.sqrt(0.5), abs=0.01)


def test_spacing_is_reported_in_nanometres() -> None:
    """It scales with the cell and is the characteristic length of the mask."""
    small, large = (grown(size=96, duration=100, pixel_size_nm=p) for p in (1, 5))
    assert large.metrics["length_nm"] == pytest.approx(5 * small.metrics["length_nm"])
    np.testing.assert_array_equal(small.field, large.field)
    length = characteristic_length(small.labels > 0, periodic=True)
    assert small.metrics["length_nm"] == pytest.approx(length)


@pytest.mark.parametrize("material", ["spinodal", "precipitates", "grains"])
def test_same_seed_gives_the_same_pixels(material: str) -> None:
    changes = {"grains": 8} if material == "grains" else {}
    one, same, other = (grown(material, duration=10, seed=s, **changes) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.field, same.field)
    np.testing.assert_array_equal(one.labels, same.labels)
    np.testing.assert_array_equal(one.energy, same.energy)
    assert not np.array_equal(one.field, other.field)


@pytest.mark.parametrize(
    ("material", "first", "second"),
    [
        ("spinodal", {"fraction": 0.4}, {"elastic_strength": 3.0, "orientation_deg": 30.0}),
        ("spinodal", {"temperature": 0.3}, {"duration": 15.0, "mobility": 8.0}),
        (
            "precipitates",
            {"elastic_strength": 2.0, "load": -0.3, "nuclei": 60.0},
            {"second_nuclei": 30.0, "fraction": 0.4},
        ),
        ("grains", {"grains": 8}, {"grains": 14, "gradient_energy": 3.0}),
    ],
)
def test_batched_samples_are_those_simulated_alone(
    material: str, first: dict[str, object], second: dict[str, object]
) -> None:
    batch = [
        settings(material, seed=i, **{"duration": 20} | c) for i, c in enumerate((first, second))
    ]
    for together, parameters in zip(run(simulate_batch(batch)), batch, strict=True):
        alone = run(simulate(parameters))
        assert together.settings == parameters
        assert together.metrics["time"] == parameters.duration
        np.testing.assert_allclose(together.field, alone.field, atol=2e-4)
        assert np.mean(together.labels != alone.labels) < 0.002


def test_single_precision_follows_double_precision() -> None:
    fast, exact = (grown(duration=60, arithmetic=a) for a in ("float32", "float64"))
    np.testing.assert_allclose(fast.field, exact.field, atol=1e-3)
    assert fast.energy[-1, 1] == pytest.approx(exact.energy[-1, 1], rel=1e-4)


@pytest.mark.parametrize("material", ["spinodal", "precipitates", "grains"])
def test_three_dimensions_give_a_volume(material: str) -> None:
    changes = {"grains": 6} if material == "grains" else {"noise": 0.05}
    result = grown(material, size=32, depth=12, duration=10, **changes)
    assert result.field.shape == result.labels.shape == (12, 32, 32)
    assert len(np.unique(result.labels)) > 1
    assert all(output.axes == ("z", "y", "x") for output in result.outputs())


def test_closed_boxes_have_no_slope_at_their_edges() -> None:
    """Cosines are flat there: the first two rows differ far less than two rows elsewhere."""
    field = grown(size=64, duration=80, boundary="no-flux").field
    step = np.abs(np.diff(field, axis=0)).mean(1)
    assert step[0] < 0.3 * step.mean()
    assert np.abs(field[0] - field[-1]).mean() > 0.05  # and it does not continue there
    assert field.mean() == pytest.approx(0.5, abs=1e-6)


def test_grains_of_a_closed_box_end_at_its_edges() -> None:
    periodic, closed = (
        grown("grains", grains=10, duration=15, boundary=b) for b in ("periodic", "no-flux")
    )
    for result, joined in ((periodic, True), (closed, False)):
        edges = {result.labels[0, x] == result.labels[-1, x] for x in range(48)}
        assert (True in edges) == joined


def test_time_lapse_has_a_picture_at_equal_times() -> None:
    result = grown(frames=4, duration=20)
    assert result.movie is not None
    assert result.movie_labels is not None
    assert result.movie.shape == result.movie_labels.shape == (5, 48, 48)
    assert result.movie_times == pytest.approx((0, 5, 10, 15, 20))
    np.testing.assert_array_equal(result.movie[-1], result.field)
    np.testing.assert_array_equal(result.movie_labels[-1], result.labels)
    (movie,) = [output for output in result.outputs() if output.name == "time-lapse"]
    assert movie.axes == ("time", "y", "x")


def test_pictures_on_the_way_leave_the_end_alone() -> None:
    """A stop for a picture shortens a time step, which changes the end within the tolerance."""
    straight, watched = grown(duration=60), grown(duration=60, frames=6)
    np.testing.assert_allclose(straight.field, watched.field, atol=0.01)
    assert np.mean(straight.labels != watched.labels) < 0.01


def test_fine_generation_is_labelled_apart_and_appears_at_its_time() -> None:
    result = grown(
        "precipitates",
        size=96,
        nuclei=8,
        nucleus_radius=4,
        fraction=0.3,
        second_nuclei=60,
        second_fraction=0.1,
        second_time=0.75,
        duration=40,
        frames=8,
    )
    assert result.movie_labels is not None
    have = [2 in labels for labels in result.movie_labels]
    assert have[:6] == [False] * 6
    assert have[7:] == [True] * 2
    assert 1 in result.labels
    sizes = [np.mean(result.labels == label) for label in (1, 2)]
    assert sizes[1] < sizes[0]
    assert result.field.mean() == pytest.approx(0.3 + 0.4 * 0.3, abs=1e-5)


def test_time_is_told_in_hours_once_its_unit_is_known() -> None:
    assert "at 2 h" in grown(duration=10, time_unit_s=720).summary
    assert "at time 10" in grown(duration=10).summary


# ---- while it runs ----------------------------------------------------------------------------


def test_progress_runs_to_the_end_with_energy_length_and_preview() -> None:
    seen: list[Progress] = []
    previews = []

    def watch(progress: Progress) -> None:
        seen.append(progress)
        assert progress.preview is not None
        previews.append(progress.preview()[0])

    run(simulate(settings(duration=150, size=256)), watch)
    steps = [progress.step for progress in seen]
    assert steps == sorted(steps)
    assert steps[-1] == seen[-1].total
    assert len(seen) > 5
    assert {"free energy", "length"} <= set(seen[-1].metrics)
    assert all(math.isfinite(value) for value in seen[-1].metrics.values())
    assert all(preview.data.shape == (256, 256) for preview in previews)


@pytest.mark.parametrize("frames", [0, 3])
def test_stop_returns_the_state_so_far(frames: int) -> None:
    parameters = settings(size=128, duration=2000, frames=frames)
    result = run(simulate(parameters), lambda _: Stop())
    assert 0 < result.metrics["time"] < 2000
    assert result.energy[-1, 0] == result.metrics["time"]
    assert result.field.shape == (128, 128)
    assert "stopped" in result.summary
    if frames:
        assert result.movie_times[-1] == result.metrics["time"]


def test_stop_ends_a_batch_that_runs_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does where the whole batch does not fit into memory."""
    module = sys.modules[simulate_batch.__module__]
    monkeypatch.setattr(module, "with_memory_fallback", lambda start, place, _: start(place, 1))
    batch = [settings(size=64, duration=300, seed=i) for i in range(2)]
    results = run(simulate_batch(batch), once(Stop()))
    assert all(result.metrics["time"] < 300 for result in results)


def once(command: Tune | Stop) -> Callable[[Progress], Tune | Stop | None]:
    """Return a listener that gives a command at the first report only."""
    waiting = [command]
    return lambda _: waiting.pop() if waiting else None


def test_tune_changes_the_settings_and_the_material() -> None:
    """A mixture heated early ends with less contrast than one that stays cold."""
    parameters = settings(size=64, duration=150, noise=0.05)
    cold = run(simulate(parameters))
    warm = run(simulate(parameters), once(Tune(temperature=0.6)))
    assert warm.settings == replace_settings(parameters, temperature=0.6)
    assert np.ptp(warm.field) < 0.75 * np.ptp(cold.field)
    assert warm.field.mean() == pytest.approx(cold.field.mean(), abs=1e-6)


def replace_settings(given: PhaseFieldSettings, **changes: object) -> PhaseFieldSettings:
    return PhaseFieldSettings.parse(given.model_dump() | changes)


def test_tune_turns_rafts_on_while_it_runs() -> None:
    parameters = settings("precipitates", size=64, nuclei=60, duration=30)
    round_ones = run(simulate(parameters))
    rafts = run(simulate(parameters), once(Tune(elastic_strength=2.0, load=-0.3)))

    def steepness(field: np.ndarray) -> float:
        up, right = (np.square(np.diff(field, axis=axis)).mean() for axis in (0, 1))
        return float(up / right)

    assert steepness(rafts.field) > 1.3 > steepness(round_ones.field)


def test_tuning_what_cannot_change_is_an_error() -> None:
    with pytest.raises(UserError, match="'fraction' cannot be changed while the job runs"):
        run(simulate(settings()), once(Tune(fraction=0.3)))
