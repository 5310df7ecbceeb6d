"""Initial conditions: where particles may lie, what fields average to, how grains are coloured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from napari_physgen.metrics.particles import connected
from napari_physgen.synthesis.phase_field import initial


def gaps(points: np.ndarray, shape: tuple[int, ...], periodic: bool) -> np.ndarray:
    """Distances of all pairs of points."""
    apart = np.abs(points[:, None] - points[None])
    if periodic:
        apart = np.minimum(apart, np.asarray(shape) - apart)
    pairs: np.ndarray = np.sqrt((apart**2).sum(-1))[np.triu_indices(len(points), 1)]
    return pairs


@pytest.mark.parametrize("mean", [0.5, 0.42])
def test_fluctuation_has_exactly_its_mean_and_about_its_amplitude(mean: float) -> None:
    field = initial.fluctuation((64, 50), mean, 0.03, seed=3)
    assert float(field.mean()) == pytest.approx(mean, abs=1e-15)
    assert float(field.std()) == pytest.approx(0.03, rel=0.05)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shape", [(60, 90), (20, 30, 25)])
def test_places_keep_their_distance(shape: tuple[int, ...], periodic: bool) -> None:
    points = initial.places(shape, 40, 7.0, 0, periodic=periodic)
    assert len(points) > 25
    assert (points >= 0).all()
    assert (points < np.asarray(shape)).all()
    assert gaps(points, shape, periodic).min() >= 7.0


def test_places_in_a_closed_box_may_be_near_across_its_edges() -> None:
    """Where distances do not wrap, more points fit."""
    closed = initial.places((30, 30), 200, 6.0, 0, periodic=False)
    assert pdist(closed).min() >= 6.0
    assert gaps(closed, (30, 30), periodic=True).min() < 6.0


def test_full_samples_take_no_more_places() -> None:
    """Discs of radius 5 in the plane are at their densest at 1 / (2 sqrt(3) 25) per cell."""
    points = initial.places((40, 40), 1000, 10.0, 0)
    assert 0.4 * 1600 / 86.6 < len(points) <= 1600 / 86.6


def test_places_lie_where_they_are_allowed() -> None:
    allowed = np.zeros((50, 50), bool)
    allowed[10:20, 30:] = True
    points = initial.places((50, 50), 8, 3.0, 0, allowed=allowed)
    assert len(points) == 8
    assert allowed[tuple(points.astype(int).T)].all()


def test_same_seed_gives_the_same_start_and_another_one_does_not() -> None:
    starts = [
        (
            initial.fluctuation((16, 16), 0.5, 0.1, seed),
            torch.as_tensor(initial.places((80, 80), 9, 8.0, seed, "first")),
            initial.nuclei((40, 40), np.array([[5.0, 5], [5, 20], [20, 5], [30, 25]]), 3.0, seed),
            initial.coloured_grains((40, 40), 12, 6, seed, True),
        )
        for seed in (5, 5, 6)
    ]
    for one, same, other in zip(*starts, strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, other)


def test_generations_of_particles_have_their_own_places() -> None:
    first, second = (initial.places((80, 80), 9, 8.0, 0, name) for name in ("first", "second"))
    assert not np.isin(first, second).any()


def test_distances_go_across_periodic_edges_only() -> None:
    points = np.array([[1.5, 1.5], [12.5, 10.5]])
    for periodic, expected in ((True, np.hypot(2, 2)), (False, np.hypot(7, 9))):
        length, index = initial.distances((20, 20), points, periodic)
        assert float(length[1, 1]) == 0
        assert int(index[12, 10]) == 1
        assert float(length[19, 19]) == pytest.approx(expected)


def test_nuclei_are_discs_of_their_radius_and_one_variant_each() -> None:
    points = np.array([[10.0, 12.0], [38.0, 40.0], [2.0, 45.0]])
    eta = initial.nuclei((50, 60), points, 5.0, seed=1)
    assert eta.shape == (initial.VARIANTS, 50, 60)
    for y, x in points.astype(int):
        assert sorted(eta[:, y, x].tolist())[:-1] == [0, 0, 0]
        assert float(eta[:, y, x].max()) > 0.99
    # A soft disc covers more than a sharp one: pi (r^2 + (pi w / 2)^2 / 3), w its half width.
    area = np.pi * (25 + (np.pi * initial.SOFT / 2) ** 2 / 3)
    assert float(eta.sum()) == pytest.approx(3 * area, rel=0.02)


def test_no_nuclei_leave_the_matrix_empty() -> None:
    assert float(initial.nuclei((8, 8), np.empty((0, 2)), 3.0, 0).sum()) == 0


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shape", [(64, 64), (24, 24, 24)])
def test_grains_that_touch_have_different_colours(shape: tuple[int, ...], periodic: bool) -> None:
    """Seen from outside: as many connected regions as there are grains."""
    grains = 30
    eta = initial.coloured_grains(shape, grains, 20, 0, periodic).numpy()
    assert set(np.unique(eta)) == {0.0, 1.0}
    np.testing.assert_array_equal(eta.sum(0), 1)
    regions = sum(int(connected(colour > 0, periodic).max()) for colour in eta)
    assert regions == grains


def test_colours_are_shared_by_grains_far_from_each_other() -> None:
    eta = initial.coloured_grains((96, 96), 60, 8, 0, True)
    assert all(bool(colour.any()) for colour in eta)
