"""Patterns that a lattice repeats: learned, matched and drawn again."""

from __future__ import annotations

import numpy as np
import pytest

from napari_physgen.regions._patterns import Correlator, learn

SIDE, PERIOD = 128, 12.0
LATTICES = {
    "square": np.array([[1.0, 0.0], [0.0, 1.0]]),
    "hexagonal": np.array([[1.0, 0.0], [0.5, 0.75**0.5]]),
}


def lattice(kind: str, side: int = SIDE, period: float = PERIOD, sigma: float = 2.5) -> np.ndarray:
    """Return (y, x) Gaussians on the points of a lattice, the mean taken off."""
    y = np.arange(side)
    reach = np.arange(-2 * side // int(period), 2 * side // int(period) + 4)
    points = np.stack(np.meshgrid(reach, reach), -1).reshape(-1, 2) @ (period * LATTICES[kind])
    points = points[((points > -4 * sigma) & (points < side + 4 * sigma)).all(1)]
    rows, columns = (np.exp(-((y - p[:, None]) ** 2) / (2 * sigma**2)) for p in points.T)
    image = np.einsum("py,px->yx", rows, columns)
    return (image - image.mean()).astype(np.float32)


def everywhere(side: int = SIDE) -> np.ndarray:
    return np.ones((side, side), bool)


def frame(side: int = SIDE, width: int = 12) -> np.ndarray:
    inner = np.zeros((side - 2 * width,) * 2, bool)
    return np.pad(inner, width, constant_values=True)


def holed() -> np.ndarray:
    valid = everywhere()
    valid[40:52, 60:80] = False
    valid[90:96, :30] = False
    return valid


def learned(image, valid, period=PERIOD, inside=None, seed=0):
    inside = valid if inside is None else inside
    return learn(image, valid, inside, period, np.random.default_rng(seed))


def explained(image: np.ndarray, picture: np.ndarray, where: np.ndarray) -> float:
    return 1 - float(((image - picture)[where] ** 2).mean() / image[where].var())


def cells(kind: str, area: float) -> float:
    return area / (PERIOD**2 * abs(np.linalg.det(LATTICES[kind])))


def nearest_crop(image: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Return the crop of an image that differs least from a patch."""
    crops = np.lib.stride_tricks.sliding_window_view(image, patch.shape)
    differ = ((crops - patch) ** 2).sum((2, 3))
    made: np.ndarray = crops[np.unravel_index(differ.argmin(), differ.shape)]
    return made


@pytest.mark.parametrize("period", [11.3, 12.0])
@pytest.mark.parametrize("valid", [everywhere(), holed()], ids=["whole", "holes"])
@pytest.mark.parametrize("kind", LATTICES)
def test_a_perfect_lattice_is_drawn_again_up_to_its_frame(kind, valid, period) -> None:
    image = lattice(kind, period=period)
    seen = np.where(valid, image, 0)
    pattern = learned(seen, valid, period)
    assert pattern is not None
    picture = Correlator(seen, valid, period).picture(pattern.values)
    assert picture.shape == image.shape
    assert picture.dtype == np.float32
    assert explained(image, picture, valid) > 0.97
    assert explained(image, picture, frame() & valid) > 0.9


@pytest.mark.parametrize("kind", LATTICES)
def test_the_picture_goes_on_where_no_data_are(kind) -> None:
    image, valid = lattice(kind), holed()
    seen = np.where(valid, image, 0)
    pattern = learned(seen, valid)
    assert pattern is not None
    picture = Correlator(seen, valid, PERIOD).picture(pattern.values)
    assert explained(image, picture, ~valid) > 0.95


def test_a_pattern_does_not_draw_another_lattice() -> None:
    square, hexagonal = lattice("square"), lattice("hexagonal")
    pattern = learned(square, everywhere())
    assert pattern is not None
    picture = Correlator(hexagonal, everywhere(), PERIOD).picture(pattern.values)
    assert explained(hexagonal, picture, everywhere()) < 0.8


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", LATTICES)
def test_learned_pattern_is_the_cell_up_to_a_shift(kind, seed) -> None:
    image = lattice(kind)
    pattern = learned(image, everywhere(), seed=seed)
    assert pattern is not None
    cell = nearest_crop(image, pattern.values)
    assert explained(cell, pattern.values, np.ones_like(cell, bool)) > 0.97


def test_only_the_region_inside_is_learned() -> None:
    """Two lattices side by side: the pattern is that of the one that was asked for."""
    halves = np.broadcast_to(np.arange(SIDE) < SIDE // 2, (SIDE, SIDE))
    image = np.where(halves, lattice("square"), lattice("hexagonal"))
    pattern = learned(image, everywhere(), inside=halves)
    assert pattern is not None
    cell = nearest_crop(lattice("square"), pattern.values)
    assert explained(cell, pattern.values, np.ones_like(cell, bool)) > 0.97


def test_a_region_in_a_corner_of_a_large_image_is_learned_from_its_own_part() -> None:
    side = 400
    corner = np.zeros((side, side), bool)
    corner[-90:, -90:] = True
    image = np.where(corner, lattice("square", side), lattice("hexagonal", side))
    pattern = learned(image, everywhere(side), inside=corner)
    assert pattern is not None
    cell = nearest_crop(lattice("square"), pattern.values)
    assert explained(cell, pattern.values, np.ones_like(cell, bool)) > 0.95


def test_misfit_is_the_weighted_sum_of_squares_scaled_up_to_a_whole_patch() -> None:
    rng = np.random.default_rng(1)
    valid = rng.random((30, 34)) > 0.2
    image = np.where(valid, rng.standard_normal((30, 34)), 0).astype(np.float32)
    correlator = Correlator(image, valid, 4.0)
    r, g = correlator.radius, correlator.weight
    pattern = rng.standard_normal((2 * r + 1,) * 2).astype(np.float32)
    found = correlator.misfit(pattern)
    assert found.shape == (30 + 2 * r, 34 + 2 * r)
    data, known = (np.pad(part, 2 * r) for part in (image, valid))
    for y, x in [(r, r), (20, 17), (r - 2, 20), (29 + r, 33 + r)]:
        part = slice(y, y + 2 * r + 1), slice(x, x + 2 * r + 1)
        held = float((g * known[part]).sum())
        if held > 0.3 * g.sum():
            direct = (g * known[part] * (data[part] - pattern) ** 2).sum() * g.sum() / held
            assert found[y, x] == pytest.approx(direct, rel=1e-4)
        else:
            assert not correlator.usable[y, x]
            assert found[y, x] > 1e6


def test_misfit_of_a_patch_vanishes_where_it_was_taken() -> None:
    image = np.random.default_rng(2).standard_normal((40, 40)).astype(np.float32)
    correlator = Correlator(image, everywhere(40), 5.0)
    misfit = correlator.misfit(correlator.patch(18, 25))
    place = np.unravel_index(misfit.argmin(), misfit.shape)
    assert tuple(np.subtract(place, correlator.radius)) == (18, 25)
    assert misfit.min() < 1e-3 * np.median(misfit[correlator.usable])


@pytest.mark.parametrize("kind", LATTICES)
def test_every_cell_holds_about_one_match(kind) -> None:
    image = lattice(kind)
    correlator = Correlator(image, everywhere(), PERIOD)
    pattern = learned(image, everywhere())
    assert pattern is not None
    places = correlator.matches(pattern.values)[correlator.centres(everywhere())]
    assert places.sum() == pytest.approx(cells(kind, SIDE**2), rel=0.1)
    assert places.max() == pytest.approx(1, abs=0.05)


def test_mean_patch_is_the_mean_over_the_places() -> None:
    rng = np.random.default_rng(3)
    image = rng.standard_normal((50, 50)).astype(np.float32)
    correlator = Correlator(image, everywhere(50), 5.0)
    spots = [(15, 20), (30, 22), (25, 35)]
    places = np.zeros((50, 50), np.float32)
    places[tuple(np.transpose(spots))] = 1
    places = np.pad(places, correlator.radius)
    patches = np.stack([correlator.patch(*spot) for spot in spots])
    np.testing.assert_allclose(correlator.mean_patch(places), patches.mean(0), atol=1e-5)
    np.testing.assert_allclose(correlator.mean_patch(places, 2), (patches**2).mean(0), atol=1e-5)


@pytest.mark.parametrize("side", [96, 192])
def test_error_is_the_noise_over_the_root_of_the_matches(side) -> None:
    """And the pattern is as far from the true one as its error says."""
    noise, clean = 0.2, lattice("square", side)
    image = clean + noise * np.random.default_rng(4).standard_normal(clean.shape)
    pattern = learned(image.astype(np.float32), everywhere(side))
    assert pattern is not None
    deep = (side - 2 * np.ceil(1.2 * PERIOD)) ** 2
    assert pattern.matches == pytest.approx(cells("square", deep), rel=0.25)
    assert pattern.error.mean() == pytest.approx(noise / pattern.matches**0.5, rel=0.1)
    off = (pattern.values - nearest_crop(clean, pattern.values)) / pattern.error
    assert 0.7 < off.std() < 1.4


def test_a_region_too_small_has_no_pattern() -> None:
    inside = np.zeros((SIDE, SIDE), bool)
    inside[50:60, 50:60] = True
    assert learned(lattice("square"), everywhere(), inside=inside) is None


def test_same_seed_learns_the_same_pattern() -> None:
    image = lattice("hexagonal")
    first, second = (learned(image, everywhere(), seed=7) for _ in range(2))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.values, second.values)
