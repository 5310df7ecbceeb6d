"""Front ends: counts stay counts, scans that are too large are read in parts, textures differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_physgen.errors import UserError
from napari_physgen.regions.describe import (
    Joined,
    _rings,
    binned,
    describe,
    joined,
    overdispersion,
    small_patterns,
)
from napari_physgen.regions.features import Features
from napari_physgen.regions.scan import Scan, read_scan
from napari_physgen.regions.settings import RegionSettings


def described(data: Any, mask: Any = None, **chosen: Any) -> Features:
    settings = RegionSettings(**chosen)
    return describe(read_scan(data, settings, mask), settings)


def rng() -> np.random.Generator:
    return np.random.default_rng(8)


def poisson(*shape: int, mean: float = 3.0) -> np.ndarray:
    return rng().poisson(mean, shape)


def yes(*shape: int) -> np.ndarray:
    return np.ones(shape, bool)


class Cube:
    """A (signal, y, x) cube that is read in parts; remembers how large they were."""

    ndim = 3

    def __init__(self, shape: tuple[int, int, int], dtype: Any = np.float32) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._data = np.random.default_rng(0).poisson(2.0, shape).astype(dtype)
        self.asked: list[int] = []

    def __getitem__(self, index: Any) -> np.ndarray:
        part = self._data[index]
        self.asked.append(part.size)
        return part

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise AssertionError("the whole cube was read")


def test_a_window_or_grid_step_larger_than_the_scan_is_refused() -> None:
    image = rng().standard_normal((40, 50))
    with pytest.raises(UserError, match="window of 41 px is larger than the scan of 40 x 50"):
        described(image, window=41)
    with pytest.raises(UserError, match="grid step of 21 px"):
        described(image, stride=21)
    assert described(image, window=40, stride=20).shape == (2, 3)


@pytest.mark.parametrize("shape", [(16, 16, 20), (16, 16, 5, 5)])
@pytest.mark.parametrize("ignore_rotation", [False, True])
def test_a_signal_that_is_the_same_everywhere_is_refused(
    shape: tuple[int, ...], ignore_rotation: bool
) -> None:
    with pytest.raises(UserError, match="All points look the same"):
        described(np.full(shape, 0.5), ignore_rotation=ignore_rotation)


def test_the_window_of_a_lattice_follows_from_its_period() -> None:
    wave = np.cos(2 * np.pi * np.arange(96) / 9.4)
    image = wave[:, None] + wave + 0.2 * rng().standard_normal((96, 96))
    features = described(image)
    assert (features.window, features.step) == (round(2.2 * 9.4), (4.0, 4.0))
    assert described(image, window=31, stride=3).window == 31


@pytest.mark.parametrize("mean", [2.0, 20.0])
def test_poisson_counts_are_not_overdispersed(mean: float) -> None:
    counts = poisson(64, 24, 24, mean=mean).astype(np.float32)
    assert overdispersion(counts, yes(24, 24)) == pytest.approx(1, abs=0.03)


def test_neither_totals_nor_walls_count_as_overdispersion() -> None:
    mean = np.ones((64, 24, 24))
    mean[:32, :, 12:] *= 4
    mean *= 3 * rng().uniform(0.5, 2, (24, 24))
    counts = rng().poisson(mean).astype(np.float32)
    assert overdispersion(counts, yes(24, 24)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("gain", [2, 5])
def test_overdispersion_is_the_ratio_of_variance_and_mean(gain: int) -> None:
    """Each event is counted `gain` times: the variance is `gain` times the mean."""
    counts = gain * poisson(64, 24, 24, mean=8).astype(np.float32)
    assert overdispersion(counts, yes(24, 24)) == pytest.approx(gain, rel=0.04)


@pytest.mark.parametrize("shape", [2.5, 10.0])
def test_overdispersion_of_negative_binomial_counts_has_its_closed_form(shape: float) -> None:
    """Given the sum s of two counts one is beta-binomial: E (n1 - n2)^2 / s = (s + 2r)/(1 + 2r)."""
    mean = 10.0
    counts = rng().negative_binomial(shape, shape / (shape + mean), (64, 24, 24))
    expected = (2 * mean + 2 * shape) / (1 + 2 * shape)
    found = overdispersion(counts.astype(np.float32), yes(24, 24))
    assert found == pytest.approx(expected, rel=0.04)


def test_points_without_data_do_not_count_as_overdispersion() -> None:
    counts, valid = poisson(64, 24, 24).astype(np.float32), yes(24, 24)
    counts[:, 8:16], valid[8:16] = 1e4 * rng().random((64, 8, 24)), False
    assert overdispersion(counts, valid) == pytest.approx(1, abs=0.03)
    assert overdispersion(counts, np.zeros_like(valid)) == 1


def test_evidence_of_overdispersed_spectra_is_less() -> None:
    plain, doubled = poisson(16, 16, 64), 2 * poisson(16, 16, 64)
    assert described(plain).evidence == pytest.approx(1, abs=0.06)
    assert described(doubled).evidence == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_binning_keeps_counts(stride: int) -> None:
    counts = poisson(5, 12, 18)
    total, valid = binned(counts, yes(12, 18), stride, mean=False)
    assert total.shape == (5, 12 // stride, 18 // stride)
    assert valid.all()
    np.testing.assert_array_equal(total.sum((1, 2)), counts.sum((1, 2)))
    np.testing.assert_array_equal(
        total[:, 1, 2], counts[:, stride : 2 * stride, 2 * stride : 3 * stride].sum((1, 2))
    )


def test_bins_hold_the_points_with_data_only() -> None:
    values, valid = rng().random((3, 9, 11)), yes(9, 11)
    valid[0, 1], valid[2:4, 4:6] = False, False
    values[:, ~valid] = np.nan
    mean, held = binned(values, valid, 2, mean=True)
    assert held.shape == (4, 5)
    assert held.sum() == 19
    assert not held[1, 2]
    np.testing.assert_allclose(
        mean[:, 0, 0], values[:, :2, :2][:, valid[:2, :2]].mean(1), rtol=1e-6
    )


def test_channels_are_joined_only_above_the_limit() -> None:
    few = poisson(512, 8, 8)
    assert joined(few) is few
    many = joined(poisson(1100, 8, 8))
    assert isinstance(many, Joined)
    assert many.shape == (367, 8, 8)
    part = many[:, 2:4, 1:]
    assert part.shape == (367, 2, 7)
    np.testing.assert_array_equal(part.sum(0), poisson(1100, 8, 8)[:, 2:4, 1:].sum(0))
    np.testing.assert_array_equal(part[1], poisson(1100, 8, 8)[3:6, 2:4, 1:].sum(0))


def test_large_scans_of_spectra_are_binned_and_keep_their_counts() -> None:
    data = poisson(16, 200, 120)
    features = described(data, kind="spectra", signal_axis="first")
    assert features.family == "counts"
    assert (features.shape, features.step, features.start) == ((100, 60), (2.0, 2.0), (0.5, 0.5))
    assert features.values.sum() == data.sum()


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_a_lazy_cube_of_spectra_is_read_and_described_in_slabs(dtype: Any) -> None:
    """At most 34 lines at once, of which a sample is taken to see whether values are counts."""
    cube = Cube((600, 300, 80), dtype)
    features = described(cube, kind="spectra", signal_axis="first")
    assert features.family == "counts"
    assert features.values.shape == (300, 150, 40)
    assert max(cube.asked) <= 34 * 600 * 80


def test_empty_spectra_are_no_data() -> None:
    data = poisson(16, 16, 64)
    data[3, 5] = 0
    features = described(data)
    assert not features.valid[3, 5]
    assert features.valid.sum() == 255
    assert features.points.shape == (255, 64)


def test_spectra_that_are_no_counts_become_principal_components() -> None:
    data = rng().random((16, 16, 64))
    data[2, 3, 4] = np.nan
    features = described(data)
    assert features.family == "gaussian"
    assert features.values.shape == (12, 16, 16)
    assert (features.values[:, 2, 3] == 0).all()
    np.testing.assert_allclose(features.points.std(0), 1, atol=1e-3)


@pytest.mark.parametrize("detector", [(20, 24), (25, 25), (96, 60)])
def test_small_patterns_keep_the_sum(detector: tuple[int, int]) -> None:
    patterns = poisson(*detector, 3, 4)
    small = small_patterns(patterns)
    assert max(small.shape[:2]) <= 24
    np.testing.assert_array_equal(small.sum((0, 1)), patterns.sum((0, 1)))
    if max(detector) <= 24:
        np.testing.assert_array_equal(small, patterns)


def spots(turn: float, radius: float = 6.0, folds: int = 4) -> np.ndarray:
    """Return a (21, 21) pattern of a central spot and of spots around it; `turn` in degrees."""
    y, x = np.mgrid[-10:11, -10:11]
    pattern = 3 * np.exp(-(y**2 + x**2) / 6)
    for angle in np.deg2rad(turn + 360 / folds * np.arange(folds)):
        at = radius * np.sin(angle), radius * np.cos(angle)
        pattern += np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 6)
    return pattern


def ringed(*patterns: np.ndarray) -> np.ndarray:
    """Return (feature, pattern)."""
    return _rings(np.stack(patterns, 2)[..., None].astype(np.float32))[..., 0]


def test_rings_of_a_pattern_do_not_change_when_it_is_turned() -> None:
    turned = ringed(*(spots(turn) for turn in (0, 11, 29, 45, 70)), spots(0, 7.5), spots(0, 6, 6))
    change = np.linalg.norm(turned - turned[:, :1], axis=0)
    assert change[:5].max() < 0.2 * change[5:].min()


def test_rings_of_a_pattern_do_not_depend_on_its_brightness() -> None:
    bright = ringed(spots(0), 7 * spots(0))
    np.testing.assert_allclose(bright[:, 1], bright[:, 0], atol=1e-5)


def test_diffraction_patterns_are_described_as_counts_or_by_their_rings() -> None:
    dose = np.stack([np.stack([spots(9 * y, 5 + (x > 5)) for x in range(12)]) for y in range(10)])
    data = rng().poisson(5 * dose)
    counted = described(data)
    assert (counted.family, counted.values.shape) == ("counts", (441, 10, 12))
    rings = described(data, ignore_rotation=True)
    assert rings.family == "gaussian"
    side = np.broadcast_to(np.arange(12) > 5, (10, 12))
    gap = rings.values[:, side].mean(1) - rings.values[:, ~side].mean(1)
    assert np.abs(gap).max() > 1.8  # unit variance: two sides apart have 2


def test_channels_stand_for_themselves_with_unit_variance() -> None:
    data = rng().standard_normal((3, 20, 30)) * np.array([1, 50, 1e-6])[:, None, None]
    mask = yes(20, 30)
    mask[4:8] = False
    features = described(data, mask, channels="real,real,real")
    assert (features.family, features.evidence, features.window) == ("gaussian", 1.0, 1)
    np.testing.assert_array_equal(features.valid, mask)
    np.testing.assert_allclose(features.points.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(features.points.std(0), 1, atol=1e-4)
    assert (features.values[:, ~mask] == 0).all()


def test_a_channel_that_is_constant_is_left_out() -> None:
    data = np.stack([np.full((20, 30), 7.0), 90 * rng().standard_normal((20, 30))])
    assert described(data, channels="value,value").values.shape == (1, 20, 30)


def test_roughness_tells_textures_of_the_same_brightness_apart() -> None:
    image = rng().standard_normal((80, 80))
    image[:, 40:] *= 3
    features = described(image)
    assert (features.step, features.window) == ((1.0, 1.0), 9)
    left, right = (features.values[..., part].reshape(3, -1) for part in (np.s_[:30], np.s_[50:]))
    gap = np.abs(left.mean(1) - right.mean(1)) / np.sqrt((left.var(1) + right.var(1)) / 2)
    assert gap[0] < 0.5
    assert gap[1:].max() > 5


def test_nodes_lie_where_their_pixels_are() -> None:
    """The feature at a node of step 3 is the mean of the pixels around its position."""
    ramp = np.stack(np.indices((30, 30))).astype(float)
    features = described(ramp, stride=3, channels="real,real")
    positions = features.start[0] + features.step[0] * np.arange(10)
    line = features.values[0, :, 0] * (positions.std()) + positions.mean()
    np.testing.assert_allclose(line, positions, atol=1e-4)


def test_the_scan_says_how_large_it_is() -> None:
    scan = Scan("channels", np.zeros((2, 5, 7)), yes(5, 7))
    assert scan.shape == (5, 7)
