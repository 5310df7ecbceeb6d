"""The number of regions and the wall cost: steps, slow changes, repeats, planted maps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_physgen.backend.job import Stop, run
from napari_physgen.regions import choose, mixture
from napari_physgen.regions._interfaces import lies_between, smoothness, steps, widths
from napari_physgen.regions._perturb import perturbed, within
from napari_physgen.regions.features import Features
from napari_physgen.regions.results import WallChoice

SIDE = 48
HALVES = np.broadcast_to(np.arange(SIDE) >= SIDE // 2, (SIDE, SIDE)).astype(np.int64)


def planted(regions: int) -> np.ndarray:
    """Return one region, two halves, a half and two quarters, or four quarters."""
    down, right = HALVES.T, HALVES
    return [0 * down, right, right + down * right, 2 * down + right][regions - 1]


def normal(clean: np.ndarray, seed: int = 0, noise: float = 1.0, **more) -> Features:
    """Return normal features that scatter about (feature, y, x) means."""
    values = clean + noise * np.random.default_rng(seed).standard_normal(clean.shape)
    valid = np.ones(clean.shape[1:], bool)
    return Features(values.astype(np.float32), "gaussian", 1.0, valid, **more)


def gaussian(truth: np.ndarray, seed: int = 0, apart: float = 4.0) -> Features:
    return normal((apart * np.eye(4, 3))[truth].transpose(2, 0, 1), seed)


def counted(truth: np.ndarray, seed: int = 0, mean: float = 4.0) -> Features:
    """Return Poisson spectra of 12 channels, in which each region has 3 bright ones."""
    bright = np.arange(12) // 3 == np.arange(4)[:, None]
    rates = (mean * np.where(bright, 2.0, 1.0))[truth].transpose(2, 0, 1)
    values = np.random.default_rng(seed).poisson(rates).astype(np.float32)
    return Features(values, "counts", 1.0, np.ones_like(truth, bool))


def profile(across: np.ndarray, noise: float = 0.2, **more) -> Features:
    """Return two features of which one changes along x as told."""
    clean = np.zeros((2, SIDE, SIDE))
    clean[0] = across
    return normal(clean, 5, noise, **more)


def known(features: Features, truth: np.ndarray) -> mixture.Mixture:
    """Return the map with the usual wall cost that is found from the true one."""
    start = np.eye(truth.max() + 1, dtype=np.float32)[truth].transpose(2, 0, 1)
    return mixture.solve(features, start, choose.USUAL)


def count(features: Features, most: int, hear=None) -> list[choose.Count]:
    return run(choose.count_regions(features, choose.USUAL, most, 2, 0), hear)


@pytest.mark.parametrize(("window", "blur"), [(9, 0.0), (9, 2.0), (16, 2.9)])
def test_jump_is_one_across_a_step_and_across_one_that_a_window_blurs(window, blur) -> None:
    across = gaussian_filter(np.where(HALVES[0] == 1, 4.0, 0.0), blur)
    (step,) = steps(profile(across, window=window), HALVES)
    assert step.pair == (0, 1)
    assert step.length == pytest.approx(SIDE, rel=0.08)
    assert step.jump == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("window", [1, 5])
def test_jump_is_small_across_a_ramp_between_two_halves(window) -> None:
    (step,) = steps(profile(np.linspace(0, 8, SIDE), window=window), HALVES)
    assert step.jump < 0.5


@pytest.mark.parametrize(("steep", "least", "most"), [(True, 0.9, 1.1), (False, 0.0, 0.6)])
def test_jumps_of_counts_tell_a_step_from_a_ramp(steep, least, most) -> None:
    share = HALVES[0] if steep else np.linspace(0, 1, SIDE)
    rates = np.ones((6, SIDE, SIDE)) * 10.0
    rates[0] += 20 * share
    values = np.random.default_rng(2).poisson(rates).astype(np.float32)
    features = Features(values, "counts", 1.0, np.ones((SIDE, SIDE), bool))
    (step,) = steps(features, HALVES)
    assert least < step.jump < most


def test_walls_shorter_than_a_few_steps_are_not_judged() -> None:
    labels = np.zeros((SIDE, SIDE), np.int64)
    labels[20, 20] = 1
    assert steps(gaussian(labels), labels) == []


@pytest.mark.parametrize("width", [3, 6, 12])
def test_width_is_that_of_a_planted_stripe_and_0_of_an_empty_region(width) -> None:
    labels = np.zeros((SIDE, SIDE), np.int64)
    labels[10 : 10 + width] = 1
    _, stripe, empty = widths(gaussian(labels), labels, 3)
    assert stripe == pytest.approx(width, rel=0.08)
    assert empty == 0


def test_a_line_along_a_wall_lies_between_and_one_in_a_region_does_not() -> None:
    labels = np.zeros((SIDE, SIDE), np.int64)
    labels[:, 24:26], labels[:, 26:] = 1, 2
    assert lies_between(gaussian(labels), labels, 1)
    assert not lies_between(gaussian(labels), labels, 0)
    labels[:, 26:] = 0
    assert not lies_between(gaussian(labels), labels, 1)


def test_a_slow_surface_explains_a_wave_better_than_two_regions_but_not_a_step() -> None:
    wave = profile(4 * np.cos(np.pi * (np.arange(SIDE) + 0.5) / SIDE), 0.5)
    assert smoothness(wave, HALVES) < 0.9
    assert smoothness(profile(4.0 * HALVES[0], 0.5), HALVES) > 1.0
    assert smoothness(wave, 0 * HALVES) == np.inf


def test_thinned_counts_keep_their_mean_and_are_worth_as_much_evidence() -> None:
    features = counted(HALVES, mean=20.0)
    again = perturbed(features, HALVES, np.random.default_rng(3))
    assert again.values.mean() == pytest.approx(0.67 * features.values.mean(), rel=0.01)
    assert (again.values <= features.values).all()
    assert again.evidence == pytest.approx(features.evidence / 0.67)
    ratio = (again.values.var(axis=(1, 2)) / again.values.mean(axis=(1, 2)))[6:]
    np.testing.assert_allclose(ratio, 1.0, atol=0.1)


def test_added_noise_has_half_the_scatter_within_regions() -> None:
    mixing = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 2.0]])
    noise = np.tensordot(mixing, normal(np.zeros((3, SIDE, SIDE))).values, 1)
    means = np.array([[0.0, 0, 0], [9, 0, 0]])[HALVES].transpose(2, 0, 1)
    features = normal(means + noise, noise=0.0)
    inner = within(features, HALVES)
    np.testing.assert_allclose(inner, mixing @ mixing.T, atol=0.15)
    added = perturbed(features, HALVES, np.random.default_rng(4)).values - features.values
    np.testing.assert_allclose(np.cov(added.reshape(3, -1)), 0.25 * inner, atol=0.06)
    again = normal(means + noise + added, noise=0.0)
    np.testing.assert_allclose(np.diag(within(again, HALVES) / inner), 1.25, atol=0.06)


def test_windows_that_overlap_share_their_added_noise() -> None:
    """Side 22 px, grid 4 px: a Gaussian of one grid step, neighbours correlate as exp(-1/4)."""
    features = normal(np.zeros((1, 96, 96)), window=22, step=(4.0, 4.0))
    labels = np.zeros((96, 96), np.int64)
    added = (perturbed(features, labels, np.random.default_rng(6)).values - features.values)[0]
    assert added.std() == pytest.approx(0.5, rel=0.03)
    shared = np.corrcoef(added[:, 1:].ravel(), added[:, :-1].ravel())[0, 1]
    assert shared == pytest.approx(np.exp(-0.25), abs=0.05)


@pytest.mark.parametrize("make", [gaussian, counted])
@pytest.mark.parametrize("regions", [2, 3, 4])
def test_planted_number_of_regions_is_found(regions, make) -> None:
    chosen, *others = count(make(planted(regions), regions), regions + 1)
    assert chosen.choice.regions == regions
    assert not chosen.refused
    assert chosen.choice.stability > 0.9
    tried = [one.choice.regions for one in others]
    assert tried == [number for number in range(1, regions + 2) if number != regions]


@pytest.mark.parametrize("make", [gaussian, counted])
def test_pure_noise_is_one_region(make) -> None:
    assert count(make(planted(1), 1), 3)[0].choice.regions == 1


def test_a_slow_gradient_is_one_region() -> None:
    features = profile(np.linspace(0, 8, SIDE), 1.0)
    chosen, *others = count(features, 3)
    assert chosen.choice.regions == 1
    assert all("slow" in one.refused for one in others)


def test_a_stripe_narrower_than_what_is_resolved_is_refused() -> None:
    labels = np.zeros((SIDE, SIDE), np.int64)
    labels[:, 20:24] = 1
    clean = (6 * np.eye(2, 3))[labels].transpose(2, 0, 1)
    (chosen, refused) = count(normal(clean, window=16), 2)
    assert chosen.choice.regions == 1
    assert refused.choice.icl > chosen.choice.icl
    assert refused.refused == "one of the regions is narrower than what is resolved"


def test_a_thin_line_of_pixels_is_a_region_unless_it_mixes_its_two_sides() -> None:
    across = np.where(np.abs(np.arange(SIDE) - 24.5) < 1, 6.0, 0.0)
    assert count(profile(across, 1.0), 2)[0].choice.regions == 2
    across = np.where(np.arange(SIDE) > 25, 12.0, across)
    chosen, *others = count(profile(across, 1.0), 3)
    assert chosen.choice.regions == 2
    assert others[-1].refused == "one of the regions is narrower than what is resolved"


def test_counting_regions_may_be_stopped_and_answers_with_the_best_so_far() -> None:
    heard = []

    def hear(progress):
        heard.append(progress.step)
        return Stop() if progress.step == 2 else None

    tried = count(gaussian(planted(3)), 6, hear)
    assert heard == [1, 2]
    assert len(tried) == 2
    assert tried[0].choice.regions == 2


def test_dearer_walls_are_shorter_and_the_usual_cost_is_kept_where_all_are_stable() -> None:
    features = gaussian(planted(3), apart=6.0)
    rough = known(features, planted(3))
    chosen, tried = run(choose.wall_costs(features, rough, 0, compare=True))
    assert [point.wall_cost for point in tried] == list(choose.WALL_COSTS)
    assert all(0 <= point.stability <= 1 for point in tried)
    lengths = [point.length for point in tried]
    assert all(dear <= cheap + 1e-6 for cheap, dear in pairwise(lengths))
    assert chosen == choose.USUAL


@pytest.mark.parametrize(
    ("stability", "chosen"),
    [
        ((0.5, 0.6, 0.8, 0.97, 1.0), 5.0),  # the nearest of those about as stable as any
        ((0.99, 0.98, 0.96, 1.0, 1.0), 2.5),  # a gain too small to leave the usual one
        ((1.0, 0.9, 0.8, 0.7, 0.6), 0.6),
    ],
)
def test_another_wall_cost_must_be_clearly_more_stable(stability, chosen) -> None:
    points = [
        WallChoice(cost, 0.0, 0.0, one)
        for cost, one in zip(choose.WALL_COSTS, stability, strict=True)
    ]
    assert choose._steadiest(points) == chosen


def test_misfit_grows_as_walls_get_shorter() -> None:
    features = gaussian(planted(2), apart=1.2)
    rough = known(features, planted(2))
    _, tried = run(choose.wall_costs(features, rough, 0, compare=False))
    assert tried[0].length > tried[-1].length
    assert tried[0].misfit < tried[-1].misfit


def test_the_usual_cost_is_taken_without_comparing_repeats() -> None:
    features = gaussian(planted(2))
    rough = known(features, planted(2))
    chosen, tried = run(choose.wall_costs(features, rough, 0, compare=False))
    assert chosen == choose.USUAL
    assert all(np.isnan(point.stability) for point in tried)


def test_comparing_wall_costs_may_be_stopped() -> None:
    features = gaussian(planted(2))
    rough = known(features, planted(2))
    job = choose.wall_costs(features, rough, 0, compare=True)
    chosen, tried = run(job, lambda progress: Stop())
    assert chosen == choose.USUAL
    assert [point.wall_cost for point in tried] == [choose.USUAL]
