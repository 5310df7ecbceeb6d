"""A lattice is found with its period, and described by what a shift does not change."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_physgen.errors import UserError
from napari_physgen.regions import lattice
from napari_physgen.regions._fourier import Lattice, LocalFourier, find_lattice

Cell = tuple[tuple[float, float], tuple[float, float]]


def square(period: float, turn: float = 0.0) -> Cell:
    """Return reciprocal vectors (y, x), cycles per pixel; `turn` in degrees."""
    c, s = np.cos(np.deg2rad(turn)) / period, np.sin(np.deg2rad(turn)) / period
    return (c, s), (-s, c)


def hexagonal(period: float, turn: float = 0.0) -> Cell:
    """Return the same of a lattice whose planes are `period` apart."""
    turns = np.deg2rad([turn, turn + 60])
    first, second = np.stack([np.cos(turns), np.sin(turns)], 1) / period
    return tuple(first), tuple(second)


def picture(
    shape: tuple[int, int],
    cell: Cell,
    *,
    polar: float = 0.0,
    shift: tuple[float, float] = (0.3, 0.7),
    noise: float = 0.0,
    inverted: bool = False,
) -> np.ndarray:
    """Return a lattice whose second order is out of phase with the first by `polar` radians."""
    y, x = np.indices(shape)
    y, x = (axis - at for axis, at in zip((y, x), shift, strict=True))
    if inverted:
        y, x = -y, -x
    image = np.zeros(shape)
    for h, k in [(1, 0), (0, 1), (1, 1), (1, -1), (2, 0), (0, 2)]:
        g = h * np.array(cell[0]) + k * np.array(cell[1])
        order = abs(h) + abs(k)
        phase = polar if order == 2 else 0.0
        image += 2.0 ** (1 - order) * np.cos(2 * np.pi * (g[0] * y + g[1] * x) + phase)
    return image + noise * np.random.default_rng(0).standard_normal(shape)


def everywhere(shape: tuple[int, int]) -> np.ndarray:
    return np.ones(shape, bool)


CELLS = [
    pytest.param(square(9.7), 9.7, id="square"),
    pytest.param(square(12.6, 17), 12.6, id="turned square"),
    pytest.param(hexagonal(11.3), 11.3, id="hexagonal"),
    pytest.param(hexagonal(8.4, 40), 8.4, id="turned hexagonal"),
]


@pytest.mark.parametrize("shape", [(128, 128), (96, 170)])
@pytest.mark.parametrize(("cell", "period"), CELLS)
def test_the_period_is_found_within_one_percent(
    cell: Cell, period: float, shape: tuple[int, int]
) -> None:
    found = find_lattice(picture(shape, cell, noise=0.7), everywhere(shape))
    assert found is not None
    assert found.period == pytest.approx(period, rel=0.01)
    far = np.linalg.norm(found.spots[:, None] - np.array(cell), axis=-1)
    mirrored = np.linalg.norm(found.spots[:, None] + np.array(cell), axis=-1)
    assert np.minimum(far, mirrored).min(0) == pytest.approx(0, abs=0.15 / min(shape))


@pytest.mark.parametrize(("cell", "period"), CELLS)
def test_points_without_data_do_not_change_the_period(cell: Cell, period: float) -> None:
    shape = (128, 140)
    valid = everywhere(shape)
    valid[30:60, 50:95] = False
    valid[np.random.default_rng(1).random(shape) < 0.1] = False
    image = np.where(valid, picture(shape, cell, noise=0.5), 0)
    found = find_lattice(image, valid)
    assert found is not None
    assert found.period == pytest.approx(period, rel=0.02)


@pytest.mark.parametrize("blur", [0.0, 1.0, 2.0, 4.0, 10.0])
@pytest.mark.parametrize("seed", range(4))
def test_noise_and_smooth_textures_have_no_lattice(blur: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((128, 128))
    if blur:
        image = gaussian_filter(image, blur)
        image = image / image.std() + 0.05 * rng.standard_normal(image.shape)
    assert find_lattice(image, everywhere(image.shape)) is None


def windowed_sum(
    image: np.ndarray, valid: np.ndarray, node: tuple[int, int], sigma: float, f: np.ndarray
) -> complex:
    """Return sum g I exp(-2 pi i f (p - node)) / sum g over the points p with data."""
    y, x = np.indices(image.shape)
    y, x = y - node[0], x - node[1]
    weight = valid * np.exp(-(y**2 + x**2) / (2 * sigma**2))
    wave = np.exp(-2j * np.pi * (f[0] * y + f[1] * x))
    return complex((weight * image * wave).sum() / weight.sum())


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_local_amplitudes_are_windowed_sums_also_at_the_frame_and_beside_holes(
    stride: int,
) -> None:
    shape, sigma = (45, 58), 5.0
    valid = everywhere(shape)
    valid[10:22, 30:41] = False
    image = np.random.default_rng(3).standard_normal(shape)
    local = LocalFourier(image, valid, sigma, stride)
    nodes = tuple(-(-side // stride) for side in shape)
    assert local.weight.shape == nodes
    for place in [(0, 0), (5, 3), (-4, 9)]:
        f = np.array(place) / local.sides
        found = local.amplitude(place)
        for at in itertools.product((0, nodes[0] // 3, nodes[0] - 1), (0, nodes[1] // 2)):
            node = at[0] * stride, at[1] * stride
            expected = windowed_sum(image, valid, node, sigma, f)
            assert found[at] == pytest.approx(expected, abs=3e-3), (place, at)


def test_the_weight_of_a_window_is_the_part_of_it_with_data() -> None:
    local = LocalFourier(np.zeros((80, 80)), everywhere((80, 80)), 4.0, 4)
    assert local.weight[10, 10] == pytest.approx(1, abs=0.01)
    assert local.weight[0, 10] == pytest.approx(0.5, abs=0.06)
    assert local.weight[0, 0] == pytest.approx(0.25, abs=0.06)


SHAPE = (96, 96)
CELL = square(9.7, 12)
WIDE = 6.5  # px: windows that resolve the spots well, so that only the claim is tested


def parts(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return power (feature, y, x) and bispectrum (triad, y, x), away from the frame."""
    found = Lattice(
        np.array([CELL[0], CELL[1], *np.multiply(CELL, 2), np.sum(CELL, 0)]), period=9.7
    )
    power, products = lattice._spots(LocalFourier(image, everywhere(image.shape), WIDE, 4), found)
    inner = np.s_[:, 5:-5, 5:-5]
    return power[inner], (products[::2] + 1j * products[1::2])[inner]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.37, -2.81), (4.5, 0.2)])
def test_a_shift_of_the_lattice_changes_neither_power_nor_bispectrum(
    shift: tuple[float, float],
) -> None:
    power, products = parts(picture(SHAPE, CELL, polar=1.0))
    shifted, moved = parts(picture(SHAPE, CELL, polar=1.0, shift=shift))
    strong = np.abs(products).mean((1, 2)) > 0.3 * np.abs(products).max()
    assert strong.sum() >= 3
    size = np.abs(products).max()
    np.testing.assert_allclose(moved[strong], products[strong], atol=0.05 * size)
    np.testing.assert_allclose(shifted.mean((1, 2)), power.mean((1, 2)), atol=0.02)


def test_an_inversion_conjugates_the_bispectrum_and_leaves_the_power() -> None:
    power, products = parts(picture(SHAPE, CELL, polar=1.0))
    same, conjugated = parts(picture(SHAPE, CELL, polar=1.0, inverted=True))
    strong = np.abs(products).mean((1, 2)) > 0.3 * np.abs(products).max()
    mean, turned = products[strong].mean((1, 2)), conjugated[strong].mean((1, 2))
    size = np.abs(mean).max()
    np.testing.assert_allclose(turned, mean.conj(), atol=0.05 * size)
    assert np.abs(turned - mean).max() > size
    np.testing.assert_allclose(same.mean((1, 2)), power.mean((1, 2)), atol=0.02)


def separation(values: np.ndarray, left: np.ndarray, right: np.ndarray) -> float:
    """Return the largest distance of the means of two sides in standard deviations."""
    first, second = values[:, left], values[:, right]
    spread = np.sqrt((first.var(1) + second.var(1)) / 2)
    return float((np.abs(first.mean(1) - second.mean(1)) / spread).max())


def test_variants_that_differ_by_an_inversion_are_told_apart_by_the_bispectrum_only() -> None:
    shape = (160, 192)
    image = picture(shape, CELL, polar=1.0)
    other = picture(shape, CELL, polar=1.0, inverted=True, shift=(2.0, 1.1))
    image[:, 96:] = other[:, 96:]
    image += 0.4 * np.random.default_rng(4).standard_normal(shape)
    power, products = parts(image)
    left = np.zeros(power.shape[1:], bool)
    left[:, :15] = True
    right = left[:, ::-1]
    assert separation(power, left, right) < 2
    assert separation(np.concatenate([products.real, products.imag]), left, right) > 6


def described(image: np.ndarray, **chosen: object) -> lattice.Features:
    valid = everywhere(image.shape)
    found = find_lattice(image, valid)
    assert found is not None
    chosen = {"window": 22, "stride": 4} | chosen
    return lattice.describe(image, valid, found, **chosen)


def test_descriptors_are_white_and_lie_on_the_grid() -> None:
    features = described(picture((100, 130), CELL, polar=0.5, noise=0.5), stride=4)
    assert features.shape == (25, 33)
    assert (features.step, features.start, features.window) == ((4.0, 4.0), (0.0, 0.0), 22)
    assert 0 < features.evidence <= 1
    np.testing.assert_allclose(features.points.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(features.points.std(0), 1, atol=1e-3)


def test_brightness_and_contrast_do_not_matter() -> None:
    image = picture(SHAPE, CELL, polar=0.5, noise=0.5)
    once, again = described(image), described(30 * image + 200)
    np.testing.assert_allclose(np.abs(again.values), np.abs(once.values), atol=0.05)


def test_nodes_in_a_hole_are_not_valid_and_a_mask_of_specks_is_refused() -> None:
    image, valid = picture(SHAPE, CELL, noise=0.3), everywhere(SHAPE)
    valid[30:70, 30:70] = False
    found = Lattice(np.array(CELL), 9.7)
    features = lattice.describe(image, valid, found, window=22, stride=4)
    assert not features.valid[12, 12]
    assert features.valid[2, 2]
    assert (features.values[:, ~features.valid] == 0).all()
    specks = np.zeros(SHAPE, bool)
    specks[::8, ::8] = True
    with pytest.raises(UserError, match="No window of 22 px holds enough"):
        lattice.describe(image, specks, found, window=22, stride=4)


def turned(cell: Cell, period: float) -> np.ndarray:
    """Return mean turned features of a lattice of one orientation."""
    local = LocalFourier(picture(SHAPE, cell, noise=0.5), everywhere(SHAPE), 4.0, 4)
    features = lattice._turned(local, Lattice(np.array(cell), period))
    return features[:, 5:-5, 5:-5].mean((1, 2))


@pytest.mark.parametrize("turn", [7.0, 15.0, 30.0, 45.0])
def test_turned_features_hardly_change_when_the_lattice_is_turned(turn: float) -> None:
    """By less than 15 %: directions are 7.5 degrees apart. Another lattice changes them more."""
    upright, other = turned(square(9.7), 9.7), turned(hexagonal(9.7), 9.7)
    within = {"rtol": 0.15, "atol": 0.05}
    np.testing.assert_allclose(turned(square(9.7, turn), 9.7), upright, **within)
    assert (~np.isclose(other, upright, **within)).sum() >= 6
