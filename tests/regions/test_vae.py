from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.metrics import adjusted_rand_score

from napari_physgen.backend import Stop, Tune, run
from napari_physgen.physics.wall_edges import label_length
from napari_physgen.regions import mixture
from napari_physgen.regions.features import Features
from napari_physgen.regions.settings import RegionSettings
from napari_physgen.regions.vae import DenseResult, dense_vae

CPU = torch.device("cpu")
SETTINGS = RegionSettings(steps=45, restarts=3)


def domains(shape, regions, seed, size):
    """Smooth domains: which of several smooth random fields is the largest."""
    rng = np.random.default_rng([seed, 1])
    fields = [gaussian_filter(rng.standard_normal(shape), size) for _ in range(regions)]
    return np.argmax(fields, axis=0)


def slope(shape):
    y, x = (np.linspace(-1, 1, n) for n in shape)
    return y[:, None] + 0.5 * x


def gaussian_scan(shape=(32, 32), regions=2, apart=5.0, drift=0.0, seed=0, count=6):
    """Descriptors with unit scatter, `apart` between regions, and a drift across the scan."""
    rng = np.random.default_rng([seed, 2])
    truth = domains(shape, regions, seed, max(shape) / 8)
    means = rng.standard_normal((regions, count)) * apart / np.sqrt(2 * count)
    along = rng.standard_normal(count)
    values = rng.standard_normal((count, *shape)) + means[truth].transpose(2, 0, 1)
    values += drift * (along / np.linalg.norm(along))[:, None, None] * slope(shape)
    features = Features(values.astype(np.float32), "gaussian", 0.25, np.ones(shape, bool))
    return features, truth


def counted_scan(shape=(32, 32), drift=0.0, seed=0, channels=40, counts=120):
    """Spectra of two regions; the drift makes them softer along the scan."""
    rng = np.random.default_rng([seed, 3])
    truth = domains(shape, 2, seed, max(shape) / 8)
    axis = np.linspace(0, 1, channels)
    peaks = [np.exp(-(((axis - centre) / 0.06) ** 2)) for centre in (0.3, 0.7)]
    spectra = np.stack([1 + 2 * peaks[0] + peaks[1], 1 + peaks[0] + 2 * peaks[1]])
    rate = spectra[truth].transpose(2, 0, 1) * np.exp(
        drift * slope(shape) * (axis[:, None, None] - 0.5)
    )
    total = counts * (1 + 0.3 * slope(shape))
    values = rng.poisson(rate / rate.sum(0) * total).astype(np.float32)
    return Features(values, "counts", 1.0, np.ones(shape, bool)), truth


def soft(labels, regions=2, share=0.9):
    map_ = np.eye(regions, dtype=np.float32)[labels] * (share - (1 - share) / (regions - 1))
    return (map_ + (1 - share) / (regions - 1)).transpose(2, 0, 1).copy()


def with_errors(truth, share, seed=0):
    """A map of two regions in which some nodes are wrong."""
    wrong = np.random.default_rng([seed, 4]).random(truth.shape) < share
    return np.where(wrong, 1 - truth, truth)


def train(features, start, wall_cost=1.0, settings=SETTINGS, on_progress=None) -> DenseResult:
    return run(dense_vae(features, start, settings, wall_cost, CPU), on_progress)


def agreement(result, truth):
    return adjusted_rand_score(truth.ravel(), result.q.argmax(0).ravel())


def error(features, result):
    """Root mean square of what the decoder gets wrong."""
    return float(np.sqrt(np.mean((features.values - result.reconstruction) ** 2)))


def test_shapes():
    features, truth = gaussian_scan((24, 32))
    result = train(features, soft(truth), settings=RegionSettings(steps=10, latent=3))
    assert result.q.shape == (2, 24, 32)
    assert result.latent.shape == result.logvar.shape == (3, 24, 32)
    assert result.reconstruction.shape == features.values.shape
    np.testing.assert_allclose(result.q.sum(0), 1, atol=1e-5)
    assert {"loss", "misfit", "length", "held-out"} <= set(result.history)


@pytest.mark.parametrize("perimeter", ["crofton", "tv", "modica-mortola", "mumford-shah"])
def test_walls_cost_shortens_them_at_nearly_unchanged_reconstruction(perimeter):
    features, truth = gaussian_scan(apart=3.5)
    start = soft(with_errors(truth, 0.1))
    settings = RegionSettings(steps=30, perimeter=perimeter)
    free, paid = (train(features, start, cost, settings) for cost in (0.0, 1.0))
    lengths = [label_length(result.q.argmax(0)) for result in (free, paid)]
    assert lengths[1] < 0.7 * lengths[0]
    assert error(features, paid) < 1.02 * error(features, free)
    assert agreement(paid, truth) > agreement(free, truth)
    assert paid.better


def test_training_itself_shortens_the_walls():
    """The length in the loss, before anything is made of the network's map."""
    features, truth = gaussian_scan(apart=3.5)
    result = train(features, soft(with_errors(truth, 0.1)), settings=RegionSettings(steps=90))
    lengths = [length for _, length in result.history["length"]]
    misfits = [misfit for _, misfit in result.history["misfit"]]
    assert lengths[-1] < 0.7 * lengths[0]
    assert misfits[-1] < 1.02 * misfits[0]


@pytest.mark.parametrize("scan", [gaussian_scan, counted_scan])
@pytest.mark.parametrize("wall_cost", [0.3, 3.0])
def test_objective_is_never_below_that_of_the_start(scan, wall_cost):
    features, truth = scan()
    for labels in (with_errors(truth, 0.1), domains(truth.shape, 2, 9, 4)):
        result = train(features, soft(labels), wall_cost, RegionSettings(steps=6, restarts=2))
        at_start = mixture.objective(features, labels, wall_cost)
        reached = mixture.objective(features, result.q.argmax(0), wall_cost)
        assert result.gain >= 0
        assert reached - at_start == pytest.approx(result.plain_gain, abs=0.05)
        assert result.slow or reached >= at_start - 0.05


def test_the_start_comes_back_where_nothing_is_gained():
    features, truth = gaussian_scan(apart=8)
    start = mixture.fit(features, 2, 1.0)
    result = train(features, soft(start.labels))
    assert agreement(result, truth) > 0.98
    if not result.better:
        np.testing.assert_array_equal(result.q, soft(start.labels))
        assert result.gain == 0


@pytest.mark.parametrize("seed", range(2))
def test_drift_that_fools_the_mixture_is_told_from_regions(seed):
    """Descriptors that drift as far as the regions are apart, as with mistilt or thickness."""
    features, truth = gaussian_scan((48, 48), apart=4.0, drift=8.0, seed=seed)
    fast = mixture.fit(features, 2, 1.0)
    result = train(features, soft(fast.labels))
    assert adjusted_rand_score(truth.ravel(), fast.labels.ravel()) < 0.9
    assert agreement(result, truth) > 0.95
    assert result.slow
    assert result.better


def test_drift_of_spectra_is_told_from_regions():
    features, truth = counted_scan((48, 48), drift=1.5)
    fast = mixture.fit(features, 2, 1.0)
    result = train(features, soft(fast.labels))
    assert adjusted_rand_score(truth.ravel(), fast.labels.ravel()) < 0.6
    assert agreement(result, truth) > 0.8
    assert result.slow


def test_slow_latent_follows_the_drift():
    features, truth = gaussian_scan((48, 48), apart=4.0, drift=4.0)
    result = train(features, soft(truth))
    inside = truth == 0
    drift = slope(truth.shape)[inside]
    best = max(abs(np.corrcoef(drift, one[inside])[0, 1]) for one in result.latent)
    assert best > 0.9


@pytest.mark.parametrize("scan", [gaussian_scan, counted_scan])
def test_no_drift_is_invented(scan):
    for seed in range(2):
        features, truth = scan((48, 48), seed=seed)
        assert not train(features, soft(truth)).slow


def test_nodes_without_data_have_no_influence():
    features, truth = gaussian_scan()
    valid = np.ones(truth.shape, bool)
    valid[8:20, 10:16] = False
    labels = with_errors(truth, 0.05)
    one = train(replace(features, valid=valid), soft(labels))
    values = np.where(valid, features.values, 50.0).astype(np.float32)
    start = soft(np.where(valid, labels, 1 - labels))
    two = train(replace(features, values=values, valid=valid), start)
    np.testing.assert_allclose(one.q[:, valid], two.q[:, valid], atol=1e-5)
    np.testing.assert_allclose(one.latent[:, valid], two.latent[:, valid], atol=1e-5)


def test_same_seed_same_map():
    features, truth = gaussian_scan(apart=3.5)
    start = soft(with_errors(truth, 0.1))
    one, two = (train(features, start) for _ in range(2))
    np.testing.assert_array_equal(one.q, two.q)
    np.testing.assert_array_equal(one.latent, two.latent)


def test_one_region_stays_one_region():
    features, _ = gaussian_scan(regions=1)
    result = train(features, np.ones((1, 32, 32), np.float32))
    assert (result.q == 1).all()
    assert result.gain >= 0


def test_expected_spectra_have_the_totals_of_the_measured_ones():
    features, truth = counted_scan()
    result = train(features, soft(truth))
    np.testing.assert_allclose(
        result.reconstruction.sum(0), features.values.sum(0), rtol=1e-3, atol=1e-2
    )


def test_large_scans_are_trained_on_in_crops():
    features, truth = gaussian_scan((24, 176), apart=3.5)
    result = train(features, soft(with_errors(truth, 0.1)), settings=RegionSettings(steps=20))
    assert result.q.shape == (2, 24, 176)
    assert agreement(result, truth) > 0.9


def test_stop_keeps_the_best_so_far():
    features, truth = gaussian_scan(apart=3.5)
    start = soft(with_errors(truth, 0.1))
    result = train(features, start, on_progress=lambda p: Stop() if p.step == 5 else None)
    assert result.stopped
    assert result.history["loss"][-1][0] == 4
    assert result.better


def test_stop_before_the_first_step_keeps_at_least_the_start():
    features, truth = gaussian_scan()
    result = train(features, soft(truth), on_progress=lambda p: Stop())
    assert result.stopped
    assert agreement(result, truth) > 0.95


def test_tuned_wall_cost_is_that_of_the_map():
    """A map that became expensive walls half-way is one of expensive walls."""
    features, truth = gaussian_scan(apart=3.5)
    start = soft(with_errors(truth, 0.1))

    def dearer(progress):
        return Tune(wall_cost=3.0) if progress.step == 20 else None

    cheap = train(features, start, 0.1)
    tuned = train(features, start, 0.1, on_progress=dearer)
    assert label_length(tuned.q.argmax(0)) < 0.8 * label_length(cheap.q.argmax(0))
    steps = [step for step, _ in tuned.history["loss"]]
    assert steps == sorted(set(steps))
    assert steps[-1] >= 60


def test_preview_is_the_map_as_it_is():
    features, truth = gaussian_scan()
    features = replace(features, step=(4.0, 4.0), start=(8.0, 8.0))
    seen = []

    def look(progress):
        if progress.preview:
            seen.append(progress.preview()[0])

    train(features, soft(truth), on_progress=look, settings=RegionSettings(steps=2))
    first = seen[0]
    assert first.kind == "labels"
    assert first.zoom == 0.25
    assert first.translation == (8.0, 8.0)
    np.testing.assert_array_equal(first.data, truth + 1)
