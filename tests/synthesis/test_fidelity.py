"""Fidelity: equal sets cannot be told apart, different ones can, and every figure says how far."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import scipy.stats

from napari_physgen.backend import Command, Progress, Stop, run
from napari_physgen.errors import UserError
from napari_physgen.synthesis import _fidelity_distances as distances
from napari_physgen.synthesis._fidelity_distances import Estimate, Sample
from napari_physgen.synthesis._fidelity_features import entropy, measure
from napari_physgen.synthesis._fidelity_patches import cut_all, grey_step
from napari_physgen.synthesis.fidelity import encoder_of, fidelity
from napari_physgen.synthesis.fidelity_results import FIGURES, Fidelity
from napari_physgen.synthesis.fidelity_settings import FidelitySettings

SMALL = FidelitySettings(patch=64, patches=40)
TINY = FidelitySettings(patch=64, patches=16)


def textures(count: int, seed: int, width: float = 2.0, size: int = 128) -> list[np.ndarray]:
    """Return 8-bit images of smoothed noise: a microstructure whose grain size is known."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        smooth = scipy.ndimage.gaussian_filter(rng.normal(size=(size, size)), width, mode="wrap")
        smooth = smooth / smooth.std() + rng.normal(0, 0.1, smooth.shape)
        images.append(np.clip(128 + 30 * smooth, 0, 255).astype(np.uint8))
    return images


def two_levels(images: list[np.ndarray]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [(image > 128) + rng.normal(0, 0.05, image.shape) for image in images]


def sample(count: int, seed: int, shift: float = 0.0, images: int = 10) -> Sample:
    features = np.random.default_rng(seed).normal(shift, 1, (count, 5))
    return Sample(features, np.arange(count) % images)


@pytest.fixture(scope="module")
def same() -> Fidelity:
    """Two sets of one kind, and a third one of another kind."""
    images = textures(10, 1)
    return run(fidelity(images, textures(10, 2), two_levels(images), SMALL))


# ---- the report -------------------------------------------------------------------------------


def test_sets_of_one_kind_are_not_told_apart(same: Fidelity) -> None:
    synthetic = same.comparisons[0]
    assert abs(same.separability - 0.5) < 3 * synthetic.separability.error < 0.3
    assert abs(same.nearest_neighbour - 0.5) < 3 * synthetic.nearest_neighbour.error < 0.3
    assert abs(same.kernel_distance) < 3 * synthetic.kernel_distance.error
    assert same.entropy_difference < 0.05
    assert synthetic.spectrum_db < 0.5
    assert synthetic.correlation_distance < 0.05


def test_another_kind_is_told_apart_by_every_figure(same: Fidelity) -> None:
    synthetic, simulated, halves = same.comparisons
    assert simulated.separability.value > 0.98
    assert simulated.nearest_neighbour.value > 0.95
    assert simulated.entropy_difference.value > 10 * synthetic.entropy_difference.value
    assert simulated.entropy_overlap < 0.2 < synthetic.entropy_overlap
    assert simulated.spectrum_db > 4 * synthetic.spectrum_db
    assert simulated.kernel_distance.value > 30 * simulated.kernel_distance.error
    assert simulated.frechet_distance > 4 * synthetic.frechet_distance
    assert abs(halves.separability.value - 0.5) < 0.2
    assert same.metrics["simulated_separability"] == simulated.separability.value
    assert same.metrics["real_separability"] == halves.separability.value
    assert same.metrics["separability"] == same.separability


def test_separability_grows_with_the_blur() -> None:
    found = []
    for sigma in (0.0, 0.4, 1.5):
        synthetic = [
            scipy.ndimage.gaussian_filter(image.astype(float), sigma) for image in textures(6, 2)
        ]
        report = run(
            fidelity(textures(6, 1), synthetic, settings=FidelitySettings(patch=64, patches=24))
        )
        found.append((report.separability, report.comparisons[0].spectrum_db))
    assert found == sorted(found)
    assert found[0][0] < 0.7
    assert found[-1][0] > 0.98


def test_map_keeps_another_kind_apart_and_mixes_one_kind(same: Fidelity) -> None:
    assert same.embedding.shape == (len(same.groups), 2)
    centres = {name: same.embedding[same.groups == name].mean(0) for name in same.entropy}
    spread = same.embedding[same.groups == "real"].std()
    assert np.linalg.norm(centres["real"] - centres["synthetic"]) < spread
    assert np.linalg.norm(centres["real"] - centres["simulated"]) > 2 * spread


def test_summary_speaks_of_shares_bits_and_what_differs(same: Fidelity) -> None:
    assert re.search(r"A classifier tells real from synthetic in \d+ ± \d+ %", same.summary)
    assert "50 % is perfect" in same.summary
    assert "simulated 100 %" in same.summary
    assert "10 real, 10 synthetic, 10 simulated; 40 patches of 64 px" in same.summary
    assert "Differs most" in same.summary
    assert not same.notes


def test_same_seed_gives_the_same_report() -> None:
    first, second = (run(fidelity(textures(5, 1), textures(4, 2), settings=TINY)) for _ in range(2))
    assert first.metrics == second.metrics
    np.testing.assert_array_equal(first.embedding, second.embedding)
    assert first.summary == second.summary


def test_grey_range_and_type_do_not_matter() -> None:
    eight = textures(4, 1)
    scaled = [image.astype(np.float32) / 255 * 3 - 7 for image in eight]
    wide = [image.astype(np.uint16) * 200 + 1000 for image in eight]
    parts = cut_all({"real": eight, "synthetic": scaled, "simulated": wide}, TINY)
    for other in ("synthetic", "simulated"):
        np.testing.assert_allclose(parts[other].pixels, parts["real"].pixels, atol=1e-5)
        np.testing.assert_allclose(parts[other].step, parts["real"].step, rtol=1e-5)


def test_the_real_images_themselves_are_noticed() -> None:
    images = textures(8, 1)
    report = run(fidelity(images, images, settings=SMALL))
    assert report.separability < 0.4
    assert any("the real images themselves" in note for note in report.notes)


def test_few_images_are_compared_by_their_strips_and_it_says_so() -> None:
    report = run(fidelity(textures(1, 1, size=256)[0], textures(4, 2), settings=TINY))
    assert "fewer than 4 real images: strips of them count" in report.summary
    assert "Images: 1 real, 4 synthetic" in report.summary
    assert [part.name for part in report.comparisons] == ["synthetic"]
    parts = cut_all({"real": textures(2, 1, size=256), "synthetic": textures(4, 2)}, TINY)
    assert 4 < len(np.unique(parts["real"].source)) <= 8
    assert parts["real"].images == 2


def test_features_of_an_encoder_replace_those_of_the_distances() -> None:
    def brightness(patches: np.ndarray) -> np.ndarray:
        assert patches.dtype == np.float32
        return np.stack([patches.mean((1, 2)), patches.std((1, 2))], 1)

    real, synthetic = textures(4, 1), textures(4, 2, width=5)
    plain = run(fidelity(real, synthetic, settings=TINY))
    encoded = run(fidelity(real, synthetic, settings=TINY, encoder=brightness))
    assert encoded.frechet < plain.frechet
    assert encoded.separability > 0.9
    with pytest.raises(ValueError, match="encoder"):
        run(fidelity(real, synthetic, settings=TINY, encoder=lambda patches: patches))


def test_a_network_serves_as_encoder() -> None:
    from napari_physgen.networks.unet import UNet

    net = UNet(1, 2, (4, 8)).eval()
    patches = np.random.default_rng(0).random((20, 32, 32), np.float32)
    features = encoder_of(net)(patches)
    assert features.shape == (20, 16)
    np.testing.assert_allclose(encoder_of(net)(patches[17:18]), features[17:18], rtol=1e-4)


def test_stop_keeps_the_patches_measured_so_far() -> None:
    def late(progress: Progress) -> Command | None:
        return Stop() if progress.step >= 16 else None

    report = run(fidelity(textures(6, 1), textures(6, 2), settings=SMALL), late)
    assert all(len(bits) == 16 for bits in report.entropy.values())
    with pytest.raises(UserError, match="Stopped before"):
        run(fidelity(textures(6, 1), textures(6, 2), settings=SMALL), lambda progress: Stop())


def test_page_holds_the_figures_the_plots_and_the_patches(same: Fidelity, tmp_path) -> None:
    path = same.save_page(tmp_path / "report")
    assert path == tmp_path / "report" / "fidelity.html"
    text = path.read_text(encoding="utf-8")
    assert text.count("<svg") == 4
    assert text.count("data:image/png;base64,") == len(same.examples) == 3
    for words in [figure.title for figure in FIGURES.values()] + list(same.entropy):
        assert words in text
    assert f"{same.separability:.3f}" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text), "it must need no other file"
    assert same.save_page(tmp_path / "named.html").read_text(encoding="utf-8") == text
    with pytest.raises(UserError, match="folder"):
        same.save_page(tmp_path / "no" / "such.html")


def test_examples_are_one_row_per_set(same: Fidelity) -> None:
    (output,) = same.outputs()
    assert output.data.shape == (3 * 64, 8 * 64)
    assert not output.export
    assert 0 <= output.data.min() <= output.data.max() <= 1


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "no real images"),
        ([np.zeros((128, 128))], "flat"),
        ([np.full((128, 128), np.nan)], "no numbers"),
        ([np.zeros((128, 128, 3), np.uint8)], "grey images"),
        (textures(3, 1, size=48), "smaller than a patch of 64 px"),
        (textures(1, 1), "only 4 patches of 64 px, at least 8"),
    ],
)
def test_unusable_images_are_refused_in_words(images: list[np.ndarray], words: str) -> None:
    with pytest.raises(UserError, match=words):
        run(fidelity(images, textures(4, 2), settings=SMALL))


# ---- its parts --------------------------------------------------------------------------------


def test_patches_are_dealt_evenly_over_the_images() -> None:
    uneven = [*textures(2, 1, size=256), *textures(2, 2, size=128)]
    parts = cut_all({"real": uneven, "synthetic": textures(3, 3)}, SMALL)
    assert len(parts["real"].pixels) == len(parts["synthetic"].pixels) == 12
    assert np.bincount(parts["real"].source).tolist() == [3, 3, 3, 3]


def test_many_images_give_one_patch_each_from_first_to_last() -> None:
    many = textures(40, 1, size=64)
    parts = cut_all({"real": many, "synthetic": many}, TINY)
    assert len(np.unique(parts["real"].source)) == 16
    assert (parts["real"].source.min(), parts["real"].source.max()) == (0, 39)


def test_entropy_of_uniform_noise_is_8_bits_and_of_two_levels_1_bit() -> None:
    rng = np.random.default_rng(0)
    assert entropy(rng.random((1024, 1024))) == pytest.approx(8, abs=1e-3)
    assert entropy(rng.integers(0, 2, (512, 512)).astype(float)) == pytest.approx(1, abs=1e-4)
    assert entropy(np.ones((8, 8))) == 0
    # Four greys that are as frequent as 1 : 1 : 2 : 4.
    assert entropy(np.repeat([0.1, 0.3, 0.5, 0.9], [1, 1, 2, 4])) == pytest.approx(1.75)


def test_rounding_to_few_greys_does_not_lower_the_entropy() -> None:
    image = 0.5 + 0.15 * np.random.default_rng(0).normal(size=(256, 256))
    for greys in (40, 64, 100, 255):
        rounded = np.rint(image * greys) / greys
        step = grey_step(rounded)
        assert step == pytest.approx(1 / greys, rel=0.03)
        assert entropy(rounded, step) == pytest.approx(entropy(image), abs=0.02)
        # Nor does a slight change after the rounding, which leaves the comb.
        changed = scipy.ndimage.gaussian_filter(rounded, 0.27)
        assert entropy(changed, grey_step(changed)) == pytest.approx(entropy(image), abs=0.02)


def test_only_rounded_tones_have_a_step() -> None:
    rng = np.random.default_rng(0)
    blobs = scipy.ndimage.gaussian_filter(rng.normal(size=(256, 256)), 4) > 0
    assert grey_step(rng.random((256, 256))) == 0
    assert grey_step(blobs * 1.0) == 0
    assert grey_step(scipy.ndimage.gaussian_filter(blobs * 0.9, 0.6)) == 0
    assert grey_step(0.1 + 0.8 * blobs + rng.normal(0, 0.03, blobs.shape)) == 0


def test_entropy_of_a_normal_distribution() -> None:
    """H = log2(sigma / bin sqrt(2 pi e)) for bins much narrower than sigma."""
    image = 0.5 + 0.1 * np.random.default_rng(0).normal(size=(1024, 1024))
    wanted = np.log2(0.1 * 256 * np.sqrt(2 * np.pi * np.e))
    assert entropy(image) == pytest.approx(wanted, abs=0.01)


def test_texture_is_strongest_at_its_wavelength_and_direction() -> None:
    y, x = np.mgrid[:128, :128]
    stripes = 0.5 + 0.5 * np.sin(2 * np.pi * x / 12)
    features = measure(stripes).features
    strength = {n: v for n, v in features.items() if n.startswith("texture strength")}
    assert max(strength, key=strength.__getitem__) == "texture strength at 12 px, 0 deg"
    turned = measure(0.5 + 0.5 * np.sin(2 * np.pi * y / 6)).features
    strength = {n: v for n, v in turned.items() if n.startswith("texture strength")}
    assert max(strength, key=strength.__getitem__) == "texture strength at 6 px, 90 deg"


def test_kernel_distance_is_the_published_estimator_for_independent_patches() -> None:
    """Binkowski et al. 2018, with loops instead of matrices."""
    first, second = sample(12, 0, images=12), sample(9, 1, shift=0.5, images=9)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 5 + 1) ** 3)

    x, y = first.features, second.features
    wanted = sum(k(x[i], x[j]) for i, j in product(range(12), repeat=2) if i != j) / (12 * 11)
    wanted += sum(k(y[i], y[j]) for i, j in product(range(9), repeat=2) if i != j) / (9 * 8)
    wanted -= 2 * sum(k(a, b) for a, b in product(x, y)) / (12 * 9)
    assert distances.kernel_distance(first, second).value == pytest.approx(wanted)


def test_kernel_distance_is_unbiased_and_its_error_is_right() -> None:
    found = [distances.kernel_distance(sample(40, 2 * i), sample(40, 2 * i + 1)) for i in range(80)]
    values, errors = np.array(found).T
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(80)
    assert values.min() < 0 < values.max()
    assert errors.mean() == pytest.approx(values.std(), rel=0.5)


def test_frechet_distance_equals_its_formula() -> None:
    first, second = (sample(60, seed).features for seed in (0, 1))
    second = second * [1, 2, 1, 0.5, 1] + [0, 0, 3, 0, 0]
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    shift = first.mean(0) - second.mean(0)
    wanted = shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert distances.frechet_distance(first, second) == pytest.approx(wanted)
    assert distances.frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_neighbours_of_the_own_image_do_not_count() -> None:
    """Patches of one image are copies of each other, in both sets alike: nothing to tell."""
    rng = np.random.default_rng(0)

    def clumps() -> Sample:
        source = np.arange(200) % 20
        return Sample(rng.normal(size=(20, 5))[source] + rng.normal(0, 0.01, (200, 5)), source)

    shares = [distances.nearest_neighbour(clumps(), clumps()).value for _ in range(10)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.08)
    assert distances.nearest_neighbour(sample(40, 0), sample(40, 1, shift=9)).value == 1


def test_chance_is_one_half_for_sets_of_different_numbers_of_images() -> None:
    values = [
        distances.nearest_neighbour(sample(40, i, images=2), sample(40, 99 + i, images=40)).value
        for i in range(20)
    ]
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)


def test_error_of_a_share_counts_images_rather_than_patches() -> None:
    scores = np.repeat([1.0, 0.0, 1.0, 1.0], 25)
    alike = distances.mean(scores, np.repeat(np.arange(4), 25))
    single = distances.mean(scores, np.arange(100))
    assert alike.value == single.value == 0.75
    assert alike.error == pytest.approx(np.std([1, 0, 1, 1], ddof=1) / 2)
    assert single.error == pytest.approx(np.sqrt(0.75 * 0.25 / 99))


def test_overlap_of_equal_and_of_disjoint_histograms() -> None:
    values = np.random.default_rng(0).normal(size=500)
    assert distances.overlap(values, values) == pytest.approx(1)
    assert distances.overlap(values, values + 20) == 0


def test_classifier_tells_what_a_shift_allows() -> None:
    """Two Gaussians d apart are told apart in Phi(d / 2) of all cases at best."""
    d = 0.6 * np.sqrt(5)
    share = distances.separability(sample(400, 0, images=40), sample(400, 1, 0.6, images=40))
    assert share.value == pytest.approx(scipy.stats.norm.cdf(d / 2), abs=0.04)
    assert isinstance(share, Estimate)


# ---- measured images --------------------------------------------------------------------------


@pytest.mark.data
def test_real_images_are_not_told_from_other_real_ones(data) -> None:
    """10 micrographs of one alloy: on average over divisions by images."""
    from PIL import Image

    paths = sorted((data / "sem" / "nasa_super" / "images").glob("spot[3-7]_*.png"))
    if len(paths) < 10:
        pytest.skip("needs the nasa_super images")
    images = [np.asarray(Image.open(path)) for path in paths]
    smooth = (scipy.ndimage.gaussian_filter(image.astype(float), 3) for image in images)
    other = two_levels([128 + s - np.median(s) for s in smooth])
    report = run(fidelity(images, other, settings=FidelitySettings(patches=60)))
    assert report.metrics["real_separability"] == pytest.approx(0.5, abs=0.1)
    assert report.metrics["real_nearest_neighbour"] == pytest.approx(0.5, abs=0.1)
    assert abs(report.metrics["real_kernel_distance"]) < 0.2
    assert report.separability > 0.98
    assert report.kernel_distance > 10
