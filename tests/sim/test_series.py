"""Series of stacks: what is shared, what a stop leaves, and how good quick images are."""

from __future__ import annotations

from dataclasses import replace

import dask.array
import numpy as np
import pytest
from scipy.ndimage import shift
from sim_sample import PATTERNS, SETTINGS, SIZE, truth

from napari_physgen.backend import Progress, Stop, run
from napari_physgen.errors import UserError
from napari_physgen.metrics.image import compare
from napari_physgen.sim import SimSettings, pinn, reconstruct
from napari_physgen.sim.following import followed
from napari_physgen.sim.reconstruct import reconstruct_stack
from napari_physgen.sim.series import Series
from napari_physgen.sim.simulate import simulate
from napari_physgen.sim.stacks import Stacks
from napari_physgen.sim.warm import ITERATIONS

QUICK = SETTINGS.model_copy(update={"method": "wiener"})
FULL = SETTINGS.model_copy(update={"regularisation": None, "iterations": 310})
"""As a user has it: smoothness by search."""


def moved(time: int) -> np.ndarray:
    """Return the sample at a time: it drifts by 0.7 raw px along each axis and changes."""
    there = shift(truth(), 1.4 * time, order=1, mode="reflect")
    fading = np.linspace(1, 1 + 0.2 * time, truth().shape[1], dtype=np.float32)
    return np.clip(there * fading, 0, None)


def recorded(time: int, photons: float = 100, settings: SimSettings = FULL) -> np.ndarray:
    return simulate(moved(time), settings, photons * 0.9**time, 10 + time, PATTERNS)


@pytest.fixture(scope="module")
def movie() -> np.ndarray:
    return np.stack([recorded(time) for time in range(3)])


def test_a_series_is_its_stacks_one_by_one(movie: np.ndarray) -> None:
    series = run(reconstruct(movie, QUICK, PATTERNS))
    assert isinstance(series, Series)
    assert series.axes == ("t",)
    for time, raw in enumerate(movie):
        own = followed(raw, PATTERNS, QUICK, None)
        alone = run(reconstruct_stack(raw, QUICK, own))
        np.testing.assert_array_equal(series.image[time], alone.image)
        assert series.points[time].chi2 == alone.chi2
    sim, *others = series.outputs()
    assert sim.axes == ("t", "y", "x")
    assert sim.data.shape == (3, 2 * SIZE, 2 * SIZE)
    assert {output.name for output in others} >= {"Wiener", "widefield", "residual"}
    assert series.metrics["chi2"] == pytest.approx(np.mean([p.chi2 for p in series.points]))


@pytest.mark.parametrize(
    ("shape", "series"),
    [
        ((9,), None),
        ((3, 3), None),
        ((5, 9), (5,)),
        ((45,), (5,)),
        ((5, 3, 3), (5,)),
        ((2, 5, 9), (2, 5)),
        ((2, 5, 3, 3), (2, 5)),
    ],
)
def test_axes_in_front_of_the_frames_are_a_series(
    shape: tuple[int, ...], series: tuple[int, ...] | None
) -> None:
    stacks = Stacks.of(np.zeros((*shape, 64, 64)), QUICK)
    assert (stacks and stacks.shape) == series


def test_planes_of_a_frame_order_are_an_axis_of_the_series() -> None:
    raw = np.zeros((2, 36, 64, 64))
    planes = SETTINGS.model_copy(update={"order": "angle-z-phase"})
    for named, axes in [(("t",), ("t", "z")), (("z",), ("z", "t")), ((), ("t", "z"))]:
        stacks = Stacks.of(raw, planes, named)
        assert stacks is not None
        assert (stacks.shape, stacks.axes) == ((2, 4), axes)
    with pytest.raises(UserError, match="2 axes in front"):
        Stacks.of(raw.reshape(2, 4, 9, 64, 64), QUICK, ("t",))


def test_a_lazy_series_is_read_one_stack_at_a_time(movie: np.ndarray) -> None:
    largest = 0

    def read(block: np.ndarray) -> np.ndarray:
        nonlocal largest
        largest = max(largest, len(block))
        return block

    lazy = dask.array.from_array(movie, chunks=(1, 9, SIZE, SIZE)).map_blocks(read)
    made = run(reconstruct(lazy, QUICK, PATTERNS))
    assert largest == 1
    np.testing.assert_array_equal(made.image, run(reconstruct(movie, QUICK, PATTERNS)).image)


def test_channels_have_patterns_of_their_own_and_time_points_share_them() -> None:
    coarser = replace(PATTERNS, wavevectors=0.85 * PATTERNS.wavevectors)
    channels = [simulate(truth(), FULL, 300, 1, patterns) for patterns in (PATTERNS, coarser)]
    raw = np.stack([channels, channels])
    told: list[Progress] = []
    series = run(reconstruct(raw, QUICK, axes=("t", "c")), told.append)
    assert isinstance(series, Series)
    periods = [point.patterns.period_nm.mean() for point in series.points]
    expected = PATTERNS.period_nm.mean() * np.array([1, 1 / 0.85])
    np.testing.assert_allclose(periods, [*expected, *expected], rtol=0.01)
    starts = [p for p in told if p.message.startswith("reading") and p.step == 0]
    assert len(starts) == 2
    assert "time 2 of 2, channel 1 of 2: Wiener" in [p.message for p in told]


def test_patterns_follow_bleaching_and_phases_that_drift(movie: np.ndarray) -> None:
    """Half a radian is found; where nothing drifted the phases stay as they are."""
    drifted = replace(PATTERNS, phases=PATTERNS.phases + np.array([[0.0], [0.5], [0.0]]))
    raw = simulate(truth(), FULL, 300, 3, drifted).astype(float)
    bleached = 100 + (raw - 100) * np.linspace(1, 0.7, 9)[:, None, None]
    found = followed(bleached, PATTERNS, FULL, None)
    error = np.angle(np.exp(1j * (found.phases - drifted.phases)))
    assert np.abs(error).max() < 0.15
    lamp = np.linspace(1, 0.7, 9).reshape(3, 3)
    np.testing.assert_allclose(found.intensities, lamp / lamp.mean(), rtol=0.03)
    still = followed(movie[0], PATTERNS, FULL, None)
    np.testing.assert_allclose(np.exp(1j * still.phases), np.exp(1j * PATTERNS.phases))


def test_a_stop_keeps_the_stacks_that_are_finished(movie: np.ndarray) -> None:
    settings = SETTINGS.model_copy(update={"iterations": 12})

    def stop_in_the_second(progress: Progress) -> Stop | None:
        late = progress.message.startswith("time 2 of 3: variational") and progress.step == 5
        return Stop() if late else None

    whole = run(reconstruct(movie[:1], settings, PATTERNS))
    series = run(reconstruct(movie, settings, PATTERNS), stop_in_the_second)
    assert isinstance(series, Series)
    assert series.image.shape == (1, 2 * SIZE, 2 * SIZE)
    np.testing.assert_array_equal(series.image, whole.image)
    assert "1 of 3 stacks" in series.summary
    assert "Stopped early" in series.summary


@pytest.mark.parametrize(("order", "word"), [("auto", "trying"), ("angle-phase", "reading")])
def test_a_stop_before_the_first_stack_reads_no_more_of_the_series(
    movie: np.ndarray, order: str, word: str
) -> None:
    """Its Wiener image is made, with patterns from what was read, estimated once."""
    told: list[str] = []

    def listener(progress: Progress) -> Stop | None:
        told.append(progress.message)
        return Stop() if progress.message.startswith(word) else None

    settings = SETTINGS.model_copy(update={"order": order})
    series = run(reconstruct(movie.reshape(27, SIZE, SIZE), settings), listener)
    assert isinstance(series, Series)
    assert series.image.shape == (1, 2 * SIZE, 2 * SIZE)
    assert series.stage == "wiener"
    assert told.count("reading the series") == 1
    alone: list[str] = []
    known = QUICK.model_copy(update={"order": "angle-phase"})
    run(reconstruct(movie[0], known), lambda p: alone.append(p.message))
    assert sum("looking" in m for m in told) == sum("looking" in m for m in alone)


def test_a_dark_time_point_is_left_empty_and_named(movie: np.ndarray) -> None:
    raw = movie.copy()
    raw[1] = 100
    series = run(reconstruct(raw, QUICK, PATTERNS))
    assert isinstance(series, Series)
    assert not series.image[1].any()
    assert series.image[2].any()
    assert "time 2 of 3 could not be reconstructed: Frames 1, 2" in series.summary
    late = run(reconstruct(raw[1:], QUICK, PATTERNS))
    assert not late.image[0].any()
    np.testing.assert_array_equal(late.image[1], series.image[2])
    with pytest.raises(UserError, match="constant"):
        run(reconstruct(np.full_like(raw, 100), QUICK, PATTERNS))


def test_a_spoilt_stack_has_no_part_in_the_patterns(movie: np.ndarray) -> None:
    raw = movie.astype(np.float32)
    raw[0, 4, 10, 10] = np.nan
    series = run(reconstruct(raw, QUICK))
    assert isinstance(series, Series)
    assert not series.image[0].any()
    assert "time 1 of 3 could not be reconstructed: Frame 5 is not finite" in series.summary
    np.testing.assert_array_equal(series.image[1:], run(reconstruct(raw[1:], QUICK)).image)


def test_a_channel_without_light_leaves_the_others(movie: np.ndarray) -> None:
    raw = np.stack([np.full_like(movie[:2], 100), movie[:2]], 1)
    series = run(reconstruct(raw, QUICK, axes=("t", "c")))
    assert isinstance(series, Series)
    assert not series.image[:, 0].any()
    assert series.image[:, 1].any((1, 2)).all()
    assert series.summary.count("could not be reconstructed") == 1
    assert "channel 1 of 2 could not be reconstructed: Frames 1, 2" in series.summary
    with pytest.raises(UserError, match="constant"):
        run(reconstruct(raw[:, :1], QUICK, axes=("t", "c")))


def test_a_quick_image_of_a_moving_sample_is_as_good_as_a_full_one(movie: np.ndarray) -> None:
    """And takes a sixth of the iterations; held-out misfits scatter by 0.02 at this size."""
    first, full = (run(reconstruct_stack(movie[i], FULL, PATTERNS)) for i in (0, 2))
    told: list[Progress] = []
    quick = run(reconstruct_stack(movie[2], FULL, PATTERNS, warm=first.warm), told.append)
    assert quick.warm is not None
    assert quick.warm.solution.follows
    steps = sum(p.message == "variational" for p in told)
    assert steps <= ITERATIONS + 2, "two reports at the starts of its stages"
    assert compare(quick.image, moved(2)).psnr > compare(full.image, moved(2)).psnr - 0.1
    assert quick.chi2 < full.chi2 + 0.01


def test_networks_are_trained_on_the_first_stack_and_applied_to_the_others(
    movie: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinn, "REFIT", 3)
    settings = SETTINGS.model_copy(update={"method": "pinn", "network_steps": 10, "iterations": 10})
    told: list[Progress] = []
    series = run(reconstruct(movie[:2], settings, PATTERNS), told.append)
    trained = {p.message.partition(":")[0] for p in told if "network 1 of 1" in p.message}
    assert trained == {"time 1 of 2"}
    assert series.std is not None
    assert (series.std > 0).all()


def test_another_scene_begins_anew(movie: np.ndarray) -> None:
    """What taught little about a bright, sharp scene is not held against it."""
    first = run(reconstruct_stack(movie[0], SETTINGS, PATTERNS))
    assert first.warm is not None
    bad = replace(first.warm, solution=replace(first.warm.solution, chi2=0.5))
    again = run(reconstruct_stack(movie[1], SETTINGS, PATTERNS, warm=bad))
    alone = run(reconstruct_stack(movie[1], SETTINGS, PATTERNS))
    np.testing.assert_array_equal(again.image, alone.image)
    assert again.warm is not None
    assert not again.warm.solution.follows
