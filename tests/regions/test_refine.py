"""Grid maps spread to the pixels of the scan."""

from __future__ import annotations

import numpy as np

from napari_physgen.regions.features import Features
from napari_physgen.regions.refine import spread


def _grid() -> Features:
    return Features(
        np.zeros((1, 3, 4), np.float32),
        "gaussian",
        1.0,
        np.ones((3, 4), bool),
        step=(4.0, 4.0),
        start=(2.0, 2.0),
    )


def test_spread_is_exact_at_the_nodes_and_held_outside_them() -> None:
    q = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)
    full = spread(q, _grid(), (13, 17))
    assert full.shape == (2, 13, 17)
    np.testing.assert_allclose(full[:, 2:11:4, 2:15:4], q, atol=1e-6)
    np.testing.assert_allclose(full[:, 0, 0], q[:, 0, 0], atol=1e-6)


def test_spread_is_linear_between_the_nodes() -> None:
    y, x = np.mgrid[:3, :4].astype(np.float32)
    plane = (0.1 * y + 0.2 * x)[None]
    full = spread(plane, _grid(), (13, 17))
    rows, columns = np.arange(2, 11), np.arange(2, 15)
    expected = 0.1 * (rows[:, None] - 2) / 4 + 0.2 * (columns[None] - 2) / 4
    np.testing.assert_allclose(full[0, 2:11, 2:15], expected, atol=1e-6)


def test_a_grid_of_the_pixels_themselves_is_left_alone() -> None:
    q = np.random.default_rng(1).random((3, 5, 6)).astype(np.float32)
    same = Features(np.zeros((1, 5, 6), np.float32), "gaussian", 1.0, np.ones((5, 6), bool))
    np.testing.assert_array_equal(spread(q, same, (5, 6)), q)
