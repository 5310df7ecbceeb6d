"""Two sizes of particles are told apart, and only where there are two."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_particles import discs, field, smooth_noise

from napari_physgen.metrics.particles import connected
from napari_physgen.synthesis.appearance import FINE, MATRIX, PARTICLE
from napari_physgen.synthesis.population import distinct, populate, size_limit, split_sizes
from napari_physgen.synthesis.texture import signed_distance

SHAPE = (320, 360)


def two_sizes(seed: int = 0) -> np.ndarray:
    """Labels: discs of 16 to 22 px with such of 3 to 5 px between them."""
    random = np.random.default_rng(seed)
    mask = discs(
        SHAPE, np.concatenate([random.uniform(16, 22, 20), random.uniform(3, 5, 60)]), seed
    )
    parts = connected(mask, periodic=False)
    area = np.bincount(parts.ravel())
    fine = (area < np.pi * 10**2)[parts] & mask
    return np.where(fine, FINE, mask * PARTICLE).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_two_sizes_become_two_classes(seed: int) -> None:
    labels = two_sizes(seed)
    assert {MATRIX, PARTICLE, FINE} == set(np.unique(labels))
    np.testing.assert_array_equal(split_sizes(labels > 0), labels)


@pytest.mark.parametrize("spread", [0.05, 0.3])
def test_one_size_stays_one_class(spread: float) -> None:
    """Also if its logarithm varies by as much as 0.3, as in coarsened precipitates."""
    radii = 9 * np.exp(spread * np.random.default_rng(1).standard_normal(80))
    mask = discs((480, 480), radii)
    assert set(np.unique(split_sizes(mask))) == {MATRIX, PARTICLE}


def test_small_particles_with_most_of_the_area_are_no_fine_ones() -> None:
    radii = [20.0] * 3 + [5.0] * 200
    mask = discs(SHAPE, radii)
    assert not (split_sizes(mask) == FINE).any()


def test_a_given_diameter_separates() -> None:
    labels = split_sizes(two_sizes() > 0, apart=38)
    parts = connected(labels > 0, periodic=False)
    area = np.bincount(parts.ravel())[1:]
    diameter = 2 * np.sqrt(area / np.pi)
    found = np.array([labels[parts == n + 1].max() for n in range(area.size)])
    np.testing.assert_array_equal(found, np.where(diameter < 38, FINE, PARTICLE))


def test_the_limit_lies_between_the_two_sizes() -> None:
    random = np.random.default_rng(0)
    sizes = np.concatenate([random.normal(40, 4, 50), random.normal(8, 1, 200)])
    limit = size_limit(sizes)
    assert limit is not None
    assert 11 < limit < 30


@pytest.mark.parametrize("count", [0, 5])
def test_few_particles_have_one_size(count: int) -> None:
    assert size_limit(np.linspace(5, 50, count)) is None


def test_equal_particles_have_one_size() -> None:
    assert size_limit(np.full(30, 12.0)) is None


def test_ridges_of_a_textured_matrix_are_no_particles() -> None:
    """They look like particles by their edges, but have a quarter of the contrast."""
    particles = discs(SHAPE, [14.0] * 20)
    ridges = (field(SHAPE, 20, seed=2) > 1.2) & (signed_distance(particles) < -6)
    image = 0.3 + 0.4 * particles + 0.1 * ridges + 0.03 * smooth_noise(SHAPE, 1)
    kept = distinct(image.astype(np.float32), particles | ridges)
    assert ridges.mean() > 0.02
    assert not (kept & ridges).any()
    np.testing.assert_array_equal(kept & particles, particles)


def test_dark_particles_are_distinct_too_and_equal_ones_all_stay() -> None:
    particles = discs(SHAPE, [14.0] * 20)
    image = 0.7 - 0.4 * particles + 0.05 * smooth_noise(SHAPE, 1)
    np.testing.assert_array_equal(distinct(image.astype(np.float32), particles), particles)


def test_a_population_is_measured() -> None:
    labels = two_sizes()
    group = populate(labels, 50.0)
    fine = np.bincount(connected(labels == FINE, periodic=False).ravel())[1:]
    assert group.fraction == (labels == PARTICLE).mean()
    assert group.length == 50
    np.testing.assert_allclose(np.sort(group.fine), np.sort(2 * np.sqrt(fine / np.pi)), rtol=1e-6)
    assert group.fine_density == pytest.approx(fine.size / (labels != PARTICLE).sum())
    assert group.sizes.min() > 30
    assert (np.diff(group.sizes) >= 0).all()


@pytest.mark.parametrize("width", [3, 5, 9])
def test_channels_have_the_drawn_width(width: int) -> None:
    """Squares of 30 px, a channel of this many pixels between them."""
    period = 30 + width
    y, x = np.indices((300, 300))
    labels = ((y % period < 30) & (x % period < 30)).astype(np.uint8) * PARTICLE
    assert populate(labels, period).channel == pytest.approx(width, abs=1)


def test_the_widest_place_is_that_of_a_patch_without_particles() -> None:
    y, x = np.indices((400, 400))
    labels = ((y % 20 < 14) & (x % 20 < 14)).astype(np.uint8) * PARTICLE
    dense = populate(labels, 20).widest
    labels[np.hypot(y - 200, x - 200) < 80] = MATRIX
    assert dense < 0.3
    assert populate(labels, 20).widest == pytest.approx(80 / 20, rel=0.2)


def test_a_population_without_fine_particles_or_channels_is_measured() -> None:
    labels = np.zeros((80, 80), np.uint8)
    labels[20:60, 20:60] = PARTICLE
    group = populate(labels, 40.0)
    assert group.fine.size == 0
    assert group.fine_density == 0
    assert np.isfinite([group.channel, group.widest]).all()
