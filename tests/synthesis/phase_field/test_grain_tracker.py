"""Grains of one orientation never merge, and nobody sees how."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from napari_physgen.backend import run
from napari_physgen.metrics.particles import connected
from napari_physgen.synthesis.phase_field.grain_tracker import REACH, kept_apart
from napari_physgen.synthesis.settings import PhaseFieldSettings
from napari_physgen.synthesis.simulate import simulate


def disc(centre: tuple[float, float], radius: float, size: int = 64) -> np.ndarray:
    """Smooth round grain (y, x) that continues across the edges."""
    axes = [np.abs(np.arange(size) + 0.5 - c) for c in centre]
    y, x = (np.minimum(a, size - a) for a in axes)
    grain: np.ndarray = 0.5 * (1 - np.tanh(np.hypot(y[:, None], x) - radius))
    return grain


def with_matrix(grains: list[np.ndarray], colours: int) -> np.ndarray:
    """Order parameters (colour, y, x): the grains in colour 0, the rest in the last one."""
    eta = np.zeros((colours, *grains[0].shape))
    eta[0] = np.sum(grains, 0)
    eta[-1] = 1 - eta[0]
    return eta


def gaps_of_colours(eta: np.ndarray) -> list[float]:
    """Narrowest gap of each pair of grains that share a colour."""
    found, size = [], np.array(eta.shape[1:], float)
    for colour in eta:
        parts = connected(colour > 0.5, periodic=True)
        trees = [cKDTree(np.argwhere(parts == i), boxsize=size) for i in range(1, parts.max() + 1)]
        found += [
            one.query(other.data)[0].min() - 1 for j, one in enumerate(trees) for other in trees[:j]
        ]
    return found


def test_two_grains_of_one_orientation_part() -> None:
    eta = with_matrix([disc((32, 20), 9), disc((32, 42), 7)], 4)
    before = eta.copy()
    assert kept_apart(eta, periodic=True)
    # The smaller one moved, as a whole.
    np.testing.assert_allclose(eta[0], disc((32, 20), 9), atol=0.05)
    moved = [c for c in (1, 2) if eta[c].max() > 0.9]
    assert len(moved) == 1
    np.testing.assert_allclose(eta[moved[0]], disc((32, 42), 7), atol=0.05)
    np.testing.assert_array_equal(eta.sum(0), before.sum(0))
    np.testing.assert_array_equal(eta[-1], before[-1])


def test_tidied_grains_stay_as_they_are() -> None:
    eta = with_matrix([disc((32, 20), 9), disc((32, 42), 7)], 4)
    kept_apart(eta, periodic=True)
    tidy = eta.copy()
    assert not kept_apart(eta, periodic=True)
    np.testing.assert_array_equal(eta, tidy)


def test_grains_far_apart_keep_their_orientation() -> None:
    eta = with_matrix([disc((16, 16), 6), disc((44, 44), 6)], 3)
    assert not kept_apart(eta, periodic=True)


@pytest.mark.parametrize("periodic", [True, False])
def test_grains_meet_across_periodic_edges_only(periodic: bool) -> None:
    eta = with_matrix([disc((30, 9), 6), disc((30, 55), 6)], 3)
    assert kept_apart(eta, periodic) == periodic


def test_three_mutual_neighbours_get_three_orientations() -> None:
    centres = [(22, 22), (22, 40), (38, 31)]
    eta = with_matrix([disc(c, radius) for c, radius in zip(centres, (7, 6, 5), strict=True)], 6)
    before = eta.sum(0)
    while kept_apart(eta, periodic=True):
        pass
    owners = {int(eta[:, y, x].argmax()) for y, x in centres}
    assert len(owners) == 3
    np.testing.assert_array_equal(eta.sum(0), before)
    assert not [gap for gap in gaps_of_colours(eta[:-1]) if gap < REACH]


@pytest.mark.parametrize("colours", [8, 12])
def test_crowds_end_without_near_pairs(colours: int) -> None:
    """Twenty small grains of one colour, of which many are near others."""
    rng = np.random.default_rng(0)
    cells = [(8 + 12 * (i // 5), 6 + 12 * (i % 5)) for i in range(20)]
    grains = [disc(c, rng.uniform(2, 3)) for c in cells]
    eta = with_matrix(grains, colours)
    before = eta.sum(0)
    rounds = 0
    while kept_apart(eta, periodic=True):
        rounds += 1
        assert rounds < 10
    assert min(gaps_of_colours(eta[:-1])) >= REACH
    np.testing.assert_allclose(eta.sum(0), before, atol=1e-12)


def test_parts_are_numbered_across_periodic_edges_only() -> None:
    mask = np.zeros((6, 8), bool)
    mask[0, 1] = mask[5, 1] = True  # one part across the upper edge
    mask[3, 0] = mask[3, 7] = mask[2, 7] = True  # one across the left edge
    mask[2, 4] = True
    closed, open_ = connected(mask, periodic=False), connected(mask, periodic=True)
    assert closed.max() == 5
    assert open_.max() == 3
    assert open_[0, 1] == open_[5, 1]
    assert open_[3, 0] == open_[3, 7] == open_[2, 7]
    for parts in (closed, open_):
        assert set(np.unique(parts)) == set(range(parts.max() + 1))
        np.testing.assert_array_equal(parts > 0, mask)
        assert parts.dtype == np.uint32


def test_empty_and_full_masks_have_no_part_and_one() -> None:
    assert connected(np.zeros((4, 5), bool), periodic=True).max() == 0
    assert connected(np.ones((3, 4, 5), bool), periodic=True).max() == 1


def test_few_orientations_give_the_same_grains_as_many() -> None:
    """28 grains that share 12 order parameters grow as with 24 of them."""
    few, many = (
        run(
            simulate(
                PhaseFieldSettings(
                    material="grains",
                    size=80,
                    grains=28,
                    order_parameters=count,
                    duration=50,
                    device="cpu",
                )
            )
        ).labels
        for count in (12, 24)
    )
    assert few.max() == many.max()
    table = np.zeros((few.max() + 1, many.max() + 1))
    np.add.at(table, (few.ravel(), many.ravel()), 1)
    assert table.max(1).sum() / few.size > 0.98
    assert table.max(0).sum() / few.size > 0.98


def test_grains_stay_where_no_orientation_is_free() -> None:
    """Better two grains that may merge than one that merges with another at once."""
    eta = with_matrix([disc((32, 22), 7), disc((32, 42), 6)], 2)
    before = eta.copy()
    assert not kept_apart(eta, periodic=True)
    np.testing.assert_array_equal(eta, before)
