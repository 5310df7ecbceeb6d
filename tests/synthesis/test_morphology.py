"""Cut masks have what was asked for: share, length scale, sizes, channels, fine particles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
from drawn_particles import discs, field
from scipy.stats import ks_2samp

from napari_physgen.metrics.microstructure import characteristic_length
from napari_physgen.metrics.particles import connected, equivalent_diameters
from napari_physgen.synthesis.appearance import FINE, MATRIX, PARTICLE
from napari_physgen.synthesis.morphology import Structures
from napari_physgen.synthesis.population import Population, populate
from napari_physgen.synthesis.texture import signed_distance

NONE = np.zeros(0, np.float32)
PLAIN = Population(
    length=30.0, fraction=0.55, fine=NONE, fine_density=0.0, widest=0.3, channel=3.0, sizes=NONE
)
SHAPE = (256, 280)


def structures(fields: list[np.ndarray], share: float) -> Structures:
    labels = [(f > np.quantile(f, 1 - share)).astype(np.uint8) for f in fields]
    lengths = [characteristic_length(mask > 0, periodic=True) for mask in labels]
    return Structures.of(fields, labels, float(np.mean(lengths)))


def waves(share: float) -> Structures:
    """Spinodal-like: periodic random waves above a level."""
    return structures([field((160, 160), 16, seed) for seed in range(3)], share)


def round_particles(count: int = 40) -> Structures:
    """Equal discs of 9 cells, apart from each other."""
    masks = [discs((192, 192), [9.0] * count, seed) for seed in range(3)]
    share = float(np.mean([mask.mean() for mask in masks]))
    return structures([signed_distance(mask) for mask in masks], share)


def several(source: Structures, like: Population, count: int, **how: float) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [source.cut(SHAPE, like, random, **how) for _ in range(count)]


def test_the_level_keeps_the_share_of_the_labels() -> None:
    source = waves(0.4)
    for values, level in zip(source.fields, source.levels, strict=True):
        assert (values > level).mean() == pytest.approx(0.4, abs=0.001)


def test_masks_have_shape_type_and_classes() -> None:
    mask = waves(0.5).cut((131, 90), PLAIN, np.random.default_rng(0))
    assert mask.shape == (131, 90)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {MATRIX, PARTICLE}


def test_same_random_numbers_same_mask() -> None:
    source = waves(0.5)
    first, second, other = (source.cut(SHAPE, PLAIN, np.random.default_rng(n)) for n in (4, 4, 5))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize("share", [0.45, 0.6])
def test_share_and_length_are_those_asked_for(share: float) -> None:
    """The length differs from mask to mask as it does between images, its mean does not."""
    masks = several(waves(share), replace(PLAIN, fraction=share), 8)
    lengths = [characteristic_length(mask == PARTICLE) for mask in masks]
    assert np.mean([(mask == PARTICLE).mean() for mask in masks]) == pytest.approx(share, abs=0.05)
    assert np.mean(lengths) == pytest.approx(30, rel=0.15)


@pytest.mark.parametrize("length", [16.0, 48.0])
def test_the_length_follows_the_image(length: float) -> None:
    masks = several(waves(0.5), replace(PLAIN, fraction=0.5, length=length), 6, zoom_spread=0.0)
    lengths = [characteristic_length(mask == PARTICLE) for mask in masks]
    assert np.mean(lengths) == pytest.approx(length, rel=0.2)


def test_without_zoom_turn_and_warp_it_is_the_simulation_from_another_place() -> None:
    """At the simulation's own length each pixel is a cell, up to a shift by part of one."""
    source = waves(0.5)
    like = replace(PLAIN, fraction=0.5, length=source.length, widest=0.0)
    mask = source.cut(
        (160, 160), like, np.random.default_rng(1), zoom_spread=0.0, turn_deg=0.0, warp=0.0
    )
    best = 0.0
    for values, level in zip(source.fields, source.levels, strict=True):
        known, seen = 2.0 * (values > level) - 1, 2.0 * (mask == PARTICLE) - 1
        match = np.fft.ifft2(np.fft.fft2(known) * np.fft.fft2(seen).conj()).real / mask.size
        best = max(best, float(match.max()))
    assert best > 0.9  # 1 - 2 x the share of pixels that differ


def test_warping_bends_boundaries_without_changing_the_share() -> None:
    source = waves(0.5)
    like = replace(PLAIN, fraction=0.5, widest=0.0)
    how = {"zoom_spread": 0.0, "turn_deg": 0.0}
    straight, bent = (
        source.cut(SHAPE, like, np.random.default_rng(3), warp=warp, **how) for warp in (0.0, 1.0)
    )
    assert (straight != bent).mean() > 0.02
    assert bent.mean() == pytest.approx(straight.mean(), abs=0.06)


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_isolated_particles_have_the_sizes_of_the_image(share: float) -> None:
    """A wide distribution from a simulation of equal discs."""
    random = np.random.default_rng(1)
    sizes = np.sort(16 * np.exp(0.3 * random.standard_normal(200))).astype(np.float32)
    like = replace(PLAIN, fraction=share, sizes=sizes)
    masks = several(round_particles(), like, 12)
    found = np.concatenate([equivalent_diameters(mask == PARTICLE) for mask in masks])
    assert found.size > 200
    assert ks_2samp(found, sizes).statistic < 0.15
    assert np.mean([(mask == PARTICLE).mean() for mask in masks]) == pytest.approx(share, rel=0.15)


def test_particles_grow_to_their_share_with_channels_between_them() -> None:
    """Simulated at a third, asked for at a half: none meets another, matrix between them stays."""
    like = replace(PLAIN, fraction=0.5, channel=4.0, widest=0.0)
    source = round_particles()
    how = {"zoom_spread": 0.0, "turn_deg": 0.0, "warp": 0.0}
    grown = several(source, like, 4, **how)
    few = several(source, replace(like, fraction=0.36), 4, **how)
    for mask, before in zip(grown, few, strict=True):
        assert (mask == PARTICLE).mean() > (before == PARTICLE).mean() + 0.05
        assert connected(mask > 0, periodic=False).max() > 20
    channels = [populate(mask, like.length).channel for mask in grown]
    assert np.mean(channels) == pytest.approx(4, abs=1.5)


def test_the_matrix_is_as_wide_in_places_as_in_the_image() -> None:
    dense = several(waves(0.55), PLAIN, 4)
    sparse = several(waves(0.55), replace(PLAIN, widest=1.2), 4)
    widest = [np.mean([populate(m, 30.0).widest for m in masks]) for masks in (dense, sparse)]
    assert widest[1] > 1.4 * widest[0]


@pytest.fixture(scope="module")
def with_fine() -> list[np.ndarray]:
    like = replace(PLAIN, fine=np.array([5, 6, 7, 8], np.float32), fine_density=0.003)
    return several(waves(0.55), like, 6)


def test_fine_particles_touch_nothing(with_fine: list[np.ndarray]) -> None:
    """One row of matrix at least is between them and all others, diagonally too."""
    for mask in with_fine:
        fine = mask == FINE
        around = scipy.ndimage.binary_dilation(fine, np.ones((3, 3)))
        assert not (around & (mask == PARTICLE)).any()
        assert fine.any()


def test_fine_particles_have_the_number_and_the_sizes_of_the_image(
    with_fine: list[np.ndarray],
) -> None:
    sizes, density = [], []
    for mask in with_fine:
        area = np.bincount(connected(mask == FINE, periodic=False).ravel())[1:]
        sizes.append(2 * np.sqrt(area / np.pi))
        density.append(area.size / (mask != PARTICLE).sum())
    assert np.mean(np.concatenate(sizes)) == pytest.approx(6.5, rel=0.12)
    assert np.concatenate(sizes).max() < 8 * 1.15 * 1.2
    assert np.mean(density) == pytest.approx(0.003, rel=0.4)


def test_without_fine_particles_in_the_image_there_are_none() -> None:
    assert not (several(waves(0.55), PLAIN, 1)[0] == FINE).any()
