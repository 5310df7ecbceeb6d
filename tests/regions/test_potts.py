"""The convex solve for the map on a grid, and what walls cost in it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from napari_physgen.physics.wall_edges import label_length
from napari_physgen.regions._potts import Potts, _to_simplex, agreeing


def by_sorting(values: np.ndarray) -> np.ndarray:
    """Projection onto the simplex after Held, Wolfe & Crowder (1974)."""
    ordered = np.sort(values)[::-1]
    excess = (np.cumsum(ordered) - 1) / np.arange(1, len(values) + 1)
    level = excess[np.flatnonzero(ordered > excess)[-1]]
    return np.maximum(values - level, 0)


def open_grid(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.bool)


def flat(regions: int, *shape: int) -> torch.Tensor:
    return torch.full((regions, *shape), 1 / regions)


def random_cost(regions: int, shape: tuple[int, int], seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.exponential(1.0, (regions, *shape)).astype(np.float32))


def energy(
    labels: np.ndarray,
    cost: torch.Tensor,
    wall_cost: float,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> float:
    paid = np.take_along_axis(cost.numpy(), labels[None], 0).sum()
    return float(paid) + wall_cost * label_length(labels, spacing, np.ones(labels.shape, bool))


def of_disc(gain: float, radius: float = 7.0, side: int = 33) -> tuple[torch.Tensor, np.ndarray]:
    """Return costs that favour region 1 by `gain` per point in a disc, and 0 as much outside."""
    at = np.arange(side) - side // 2
    disc = np.hypot(at[:, None], at) <= radius
    cost = np.stack([np.where(disc, gain, 0), np.where(disc, 0, gain)])
    return torch.from_numpy(cost.astype(np.float32)), disc


def solved(
    cost: torch.Tensor,
    wall_cost: float,
    iterations: int = 400,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> np.ndarray:
    shape = cost.shape[1:]
    potts = Potts(spacing, open_grid(*shape))
    return potts.solve(cost, wall_cost, flat(len(cost), *shape), iterations).argmax(0).numpy()


def one_by_one(cost: torch.Tensor, wall_cost: float, labels: np.ndarray) -> np.ndarray:
    """Iterated conditional modes: better any single point until none can be bettered."""
    labels = labels.copy()
    for _ in range(20):
        before = labels.copy()
        for at in np.ndindex(labels.shape):
            trials = []
            for region in range(len(cost)):
                labels[at] = region
                trials.append(energy(labels, cost, wall_cost))
            labels[at] = int(np.argmin(trials))
        if (labels == before).all():
            break
    return labels


@pytest.mark.parametrize("regions", [1, 2, 3, 6])
def test_projection_onto_probabilities_is_that_of_the_sorting_algorithm(regions: int) -> None:
    values = np.random.default_rng(regions).normal(0, 2, (regions, 9, 9))
    made = _to_simplex(torch.from_numpy(values)).numpy()
    expected = np.apply_along_axis(by_sorting, 0, values)
    np.testing.assert_allclose(made, expected, atol=1e-12)


def test_projection_leaves_probabilities_as_they_are() -> None:
    values = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(4), 50).T[:, :, None])
    torch.testing.assert_close(_to_simplex(values), values)


@pytest.mark.parametrize("wall_cost", [0.2, 0.6, 1.5])
def test_map_of_a_tiny_grid_is_the_best_of_all_maps(wall_cost: float) -> None:
    cost = random_cost(2, (3, 4), 1)
    every = (np.array(z).reshape(3, 4) for z in product(range(2), repeat=12))
    least = min(energy(z, cost, wall_cost) for z in every)
    found = energy(solved(cost, wall_cost, 2000), cost, wall_cost)
    assert found == pytest.approx(least, abs=1e-4)


def test_map_of_three_regions_on_a_tiny_grid_is_the_best_or_next_to_it() -> None:
    for seed in range(4):
        cost = random_cost(3, (2, 3), seed)
        every = [np.array(z).reshape(2, 3) for z in product(range(3), repeat=6)]
        least = min(energy(z, cost, 0.5) for z in every)
        assert energy(solved(cost, 0.5, 2000), cost, 0.5) <= 1.03 * least


def test_disc_stays_while_its_evidence_outweighs_its_wall_and_vanishes_above() -> None:
    radius = 7.0
    gain = 1.0
    # Constant maps and the disc compete: the disc wins while gain pi r^2 > wall cost 2 pi r.
    break_even = gain * radius / 2
    cost, disc = of_disc(gain, radius)
    kept = solved(cost, 0.8 * break_even)
    assert (kept[disc] == 1).mean() > 0.95
    assert (kept[~disc] == 0).mean() > 0.99
    assert (solved(cost, 1.3 * break_even) == 0).all()


def test_map_is_never_worse_than_what_single_moves_reach() -> None:
    for seed in range(3):
        cost = random_cost(3, (8, 8), 10 + seed)
        moved = one_by_one(cost, 1.0, cost.argmin(0).numpy())
        best = solved(cost, 1.0, 600)
        assert energy(best, cost, 1.0) <= energy(moved, cost, 1.0) + 1e-4


def test_more_steps_reach_a_lower_cost() -> None:
    cost = random_cost(3, (24, 24), 5)
    costs = [energy(solved(cost, 1.0, steps), cost, 1.0) for steps in (3, 15, 300)]
    assert costs[0] > costs[1] > costs[2]


def test_solving_in_parts_goes_on_where_it_ended() -> None:
    cost = random_cost(3, (12, 12), 6)
    once = Potts((1.0, 1.0), open_grid(12, 12))
    twice = Potts((1.0, 1.0), open_grid(12, 12))
    start = flat(3, 12, 12)
    long = energy(once.solve(cost, 1.0, start, 80).argmax(0).numpy(), cost, 1.0)
    soft = twice.solve(cost, 1.0, start, 40)
    parts = energy(twice.solve(cost, 1.0, soft, 40).argmax(0).numpy(), cost, 1.0)
    assert parts == pytest.approx(long, rel=0.01)


def test_free_walls_give_the_cheapest_region_everywhere() -> None:
    cost = random_cost(4, (10, 11), 7)
    np.testing.assert_array_equal(solved(cost, 0.0), cost.argmin(0))


def test_points_without_data_cost_nothing() -> None:
    """Neither what they say nor walls against them: both halves are free to differ."""
    valid = open_grid(9, 12)
    valid[:, 5:7] = False
    cost = torch.zeros(2, 9, 12)
    cost[1, :, :5] = cost[0, :, 7:] = 0.5
    cost[0, :, 5:7] = 1e6
    found = Potts((1.0, 1.0), valid).solve(cost, 50.0, flat(2, 9, 12), 800).argmax(0)
    assert (found[:, :5] == 0).all()
    assert (found[:, 7:] == 1).all()


def test_wall_takes_the_cheap_way_on_anisotropic_pixels() -> None:
    """A strip along x keeps its walls unless steps along x are long, which makes walls dear."""
    cost = torch.zeros(2, 20, 20)
    cost[0, 8:12] = 1.0
    cost[1, :8] = cost[1, 12:] = 1.0
    kept = solved(cost, 1.5, spacing=(1.0, 1.0))
    assert (kept[8:12] == 1).all()
    # Steps along y are four times as long: the walls along x are not.
    assert (solved(cost, 1.5, spacing=(4.0, 1.0))[8:12] == 1).all()
    # Steps along x of 4 (in units of those along y): walls along x are four times as long.
    assert (solved(cost, 1.5, spacing=(1.0, 4.0)) == 0).all()


def test_probabilities_sum_to_one_and_are_surest_far_from_walls() -> None:
    cost, disc = of_disc(1.0)
    potts = Potts((1.0, 1.0), open_grid(33, 33))
    found = potts.solve(cost, 1.0, flat(2, 33, 33), 300)
    soft = potts.soften(cost, 1.0, found)
    torch.testing.assert_close(soft.sum(0), torch.ones(33, 33))
    assert float(soft[1, 16, 16]) > 0.95
    assert float(soft.max(0).values[:, 16].min()) < float(soft[1, 16, 16])
    np.testing.assert_array_equal(soft[1].numpy() > 0.5, disc)


def test_probabilities_agree_with_the_map_where_they_did_not() -> None:
    rng = np.random.default_rng(2)
    soft = torch.from_numpy(rng.dirichlet(np.ones(3), (8, 8)).transpose(2, 0, 1).copy())
    labels = torch.from_numpy(rng.integers(0, 3, (8, 8)))
    hard = torch.nn.functional.one_hot(labels, 3).movedim(-1, 0).double()
    made = agreeing(soft, hard)
    assert (made.argmax(0) == labels).all()
    torch.testing.assert_close(made.sum(0), torch.ones(8, 8, dtype=torch.float64))
