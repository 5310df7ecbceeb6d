"""Grid maps spread to the pixels of the scan."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_physgen.backend import run
from napari_physgen.regions import mixture
from napari_physgen.regions.describe import describe
from napari_physgen.regions.features import Features
from napari_physgen.regions.prototypes import prototypes
from napari_physgen.regions.refine import refine, spread
from napari_physgen.regions.scan import Scan, read_scan
from napari_physgen.regions.settings import RegionSettings
from napari_physgen.regions.simulate import SimulatedScanSettings, simulate_scan


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


def _walls(labels: np.ndarray) -> np.ndarray:
    walls = np.zeros(labels.shape, bool)
    walls[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    walls[1:] |= labels[1:] != labels[:-1]
    return walls


def test_patterns_put_the_wall_of_two_lattices_within_three_pixels() -> None:
    sample = simulate_scan(SimulatedScanSettings(sample="two-phase", height=160, seed=6))
    scan = read_scan(sample.data, RegionSettings())
    features = describe(scan, RegionSettings())
    rough = mixture.fit(features, 2, 2.5)
    fine = run(refine(scan, features, rough.probabilities, 2.5, 0))
    distance = distance_transform_edt(~_walls(sample.labels))
    coarse = spread(rough.probabilities, features, scan.shape).argmax(0)
    assert np.median(distance[_walls(fine.labels)]) <= 3
    assert np.median(distance[_walls(fine.labels)]) <= np.median(distance[_walls(coarse)])


def test_the_wall_of_unequal_scatter_lies_where_the_mean_is_half_way() -> None:
    """Pixels of the wall are mixtures; the region that scatters more must not swallow them."""
    rng = np.random.default_rng(0)
    rise = np.clip((np.arange(64) - 29) / 6, 0, 1)
    values = rise + np.where(np.arange(64) > 32, 0.25, 0.05) * rng.standard_normal((2, 64, 64))
    scan = read_scan(values, RegionSettings(channels="real, imaginary"))
    features = describe(scan, RegionSettings())
    start = mixture.fit(features, 2, 2.5)
    fine = run(refine(scan, features, start.probabilities, 2.5, 0))
    wall = np.median(np.abs(np.diff(fine.labels, axis=1)).argmax(1)) + 0.5
    assert abs(wall - 32) <= 1


def test_prototypes_are_means_with_their_standard_errors() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((5, 12, 10)).astype(np.float32)
    labels = rng.integers(0, 2, (12, 10))
    scan = Scan("spectra", values, np.ones((12, 10), bool))
    means, errors = prototypes(scan, labels, 3, None)
    for region in (0, 1):
        own = values[:, labels == region]
        np.testing.assert_allclose(means[region], own.mean(1), rtol=1e-4)
        np.testing.assert_allclose(errors[region], own.std(1) / np.sqrt(own.shape[1]), rtol=1e-3)
    assert np.isnan(means[2]).all()
