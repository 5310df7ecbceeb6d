"""Region maps from end to end, on easy spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_physgen.backend.job import Stop
from napari_physgen.regions.evaluate import evaluate
from napari_physgen.regions.map import map_regions
from napari_physgen.regions.settings import RegionSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.regions.results import RegionMap


def _cube() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return counts (channel, y, x) of two kinds and their labels; the second is smaller."""
    truth = np.ones((40, 40), np.int64)
    truth[:, 26:] = 2
    energy = np.arange(64)
    kinds = np.stack([20 + 60 * np.exp(-(((energy - at) / 4) ** 2)) for at in (20, 40)])
    rates = kinds[truth - 1].transpose(2, 0, 1)
    return np.random.default_rng(7).poisson(rates).astype(np.float32), truth


def _mapped(data: NDArray[np.float32], stop: bool = False, **choices: object) -> RegionMap:
    usual = {"kind": "spectra", "signal_axis": "first", "method": "fast", "regions": 2}
    job = map_regions(data, RegionSettings.model_validate(usual | choices))
    try:
        next(job)
        while True:
            job.send(Stop() if stop else None)
    except StopIteration as end:
        result: RegionMap = end.value
        return result


@pytest.fixture(scope="module")
def usual() -> RegionMap:
    return _mapped(_cube()[0])


def test_two_spectra_are_found_and_numbered_by_size(usual: RegionMap) -> None:
    assert evaluate(usual.labels, _cube()[1]).adjusted_rand > 0.95
    assert (usual.labels == 1).sum() > (usual.labels == 2).sum() > 0


def test_probabilities_sum_to_one_and_entropy_is_within_its_bounds(usual: RegionMap) -> None:
    np.testing.assert_allclose(usual.probabilities.sum(0), 1, atol=1e-4)
    assert usual.entropy.min() >= 0
    assert usual.entropy.max() <= 1 + 1e-4


def test_walls_are_vectors_among_the_outputs(usual: RegionMap) -> None:
    kinds = {one.name: one.kind for one in usual.outputs()}
    assert kinds["regions"] == "labels"
    assert kinds["walls"] == "vectors"


def test_the_same_seed_gives_the_same_pixels(usual: RegionMap) -> None:
    np.testing.assert_array_equal(_mapped(_cube()[0]).labels, usual.labels)


def test_the_number_of_spectra_is_found() -> None:
    assert _mapped(_cube()[0], regions="auto").choices.regions == 2


def test_wall_length_scales_with_the_height_of_pixels(usual: RegionMap) -> None:
    square = _mapped(_cube()[0], pixel_size_nm=0.5)
    assert square.wall_length == pytest.approx(0.5 * usual.wall_length, rel=0.02)
    tall = _mapped(_cube()[0], pixel_size_nm=0.5, pixel_height_nm=1.0)
    assert tall.wall_length == pytest.approx(2 * square.wall_length, rel=0.05)


def test_pixels_that_are_not_numbers_have_no_region() -> None:
    data = _cube()[0]
    data[:, 5:9, 5:9] = np.nan
    labels = _mapped(data).labels
    assert (labels[5:9, 5:9] == 0).all()
    assert (np.delete(labels, np.s_[5:9], axis=0) > 0).all()


def test_a_stopped_job_still_gives_a_map() -> None:
    found = _mapped(_cube()[0], stop=True, method="vae")
    assert found.labels.shape == (40, 40)
    assert found.summary.startswith("Stopped early.")
    assert "network" not in found.metrics
