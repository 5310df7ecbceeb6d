"""The mixture whose walls cost their length: likelihoods, objective, planted regions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multinomial, multivariate_normal
from sklearn.metrics import adjusted_rand_score

from napari_physgen.physics.wall_edges import label_length
from napari_physgen.regions import mixture
from napari_physgen.regions._likelihood import Counts, Gaussian
from napari_physgen.regions.features import Features


def quarters(side: int = 40) -> np.ndarray:
    labels = np.zeros((side, side), np.int64)
    labels[:, side // 2 :] = 1
    labels[side // 2 :, : side // 2] = 2
    return labels


def gaussian(side: int = 40, apart: float = 2.5, seed: int = 0) -> tuple[Features, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = quarters(side)
    means = apart * np.eye(3, 4)
    values = rng.standard_normal((4, side, side)) + means[truth].transpose(2, 0, 1)
    return Features(values.astype(np.float32), "gaussian", 1.0, np.ones_like(truth, bool)), truth


def counted(side: int = 40, seed: int = 0) -> tuple[Features, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = quarters(side)
    spectra = np.where(np.arange(12) // 4 == np.arange(3)[:, None], 4.0, 2.0)
    values = rng.poisson(spectra[truth].transpose(2, 0, 1)).astype(np.float32)
    return Features(values, "counts", 1.0, np.ones_like(truth, bool)), truth


def test_normal_likelihood_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((200, 3))
    share = torch.from_numpy(np.eye(2)[rng.integers(0, 2, 200)].T.copy())
    model = Gaussian(torch.from_numpy(values), 0.5)
    nats = model.of(share)
    for region in range(2):
        mean, covariance = model.means[region].numpy(), model.covariances[region].numpy()
        np.testing.assert_allclose(
            nats[region], multivariate_normal(mean, covariance).logpdf(values), rtol=1e-9
        )


def test_count_likelihood_is_that_of_scipy_less_the_common_coefficient() -> None:
    rng = np.random.default_rng(2)
    values = rng.poisson(3.0, (60, 7)).astype(float)
    share = torch.from_numpy(np.eye(2)[rng.integers(0, 2, 60)].T.copy())
    model = Counts(torch.from_numpy(values))
    nats = model.of(share).numpy()
    exact = np.stack([multinomial.logpmf(values, values.sum(1), p) for p in model.means.numpy()])
    np.testing.assert_allclose(nats[1] - nats[0], exact[1] - exact[0], atol=1e-9)


def test_objective_is_tempered_likelihood_less_the_price_of_walls() -> None:
    features, truth = gaussian()
    model = Gaussian(torch.from_numpy(features.points), features.evidence)
    nats = model.of(torch.from_numpy(np.eye(3, dtype=np.float32)[truth.ravel()].T.copy())).numpy()
    direct = np.take_along_axis(nats, truth.reshape(1, -1), 0).sum()
    walls = label_length(truth, (1.0, 1.0), np.ones_like(truth, bool))
    assert mixture.objective(features, truth, 2.5) == pytest.approx(direct - 2.5 * walls, rel=1e-5)


@pytest.mark.parametrize("planted", [gaussian, counted])
def test_several_starts_find_planted_regions(planted) -> None:
    features, truth = planted()
    found = mixture.fit(features, 3, 2.5, restarts=2)
    assert adjusted_rand_score(truth.ravel(), found.labels.ravel()) > 0.95
    np.testing.assert_allclose(found.probabilities.sum(0), 1, atol=1e-5)
    assert found.objective == pytest.approx(mixture.objective(features, found.labels, 2.5))


def test_same_seed_gives_the_same_map() -> None:
    features, _ = gaussian()
    first, second = (mixture.fit(features, 3, 2.5, restarts=2, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.probabilities, second.probabilities)


def test_dearer_walls_are_shorter_at_nearly_the_same_misfit() -> None:
    features, truth = gaussian(apart=1.5)
    start = np.eye(3, dtype=np.float32)[truth].transpose(2, 0, 1)
    free, dear = (mixture.solve(features, start, cost) for cost in (0.0, 2.5))
    assert dear.length < 0.3 * free.length
    assert dear.misfit < 1.1 * free.misfit
