"""Unpaired translation: the terms of the loss, the guard, and all of it on a toy."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter
from torch.nn import functional as F

from napari_physgen.backend import Command, Progress, Stop, run
from napari_physgen.errors import UserError
from napari_physgen.metrics.segmentation import overlap
from napari_physgen.synthesis import _translate_model, translation
from napari_physgen.synthesis._translate_checks import INVERTED, contrast, edge_shift
from napari_physgen.synthesis._translate_games import new_game
from napari_physgen.synthesis._translate_images import Domain, noise, one_hot
from napari_physgen.synthesis._translate_losses import (
    Pool,
    frozen,
    least_squares,
    patch_contrast,
)
from napari_physgen.synthesis._translate_material import prepared
from napari_physgen.synthesis._translate_training import Training
from napari_physgen.synthesis.translation import (
    TranslationModel,
    load_translation,
    train_translation,
)
from napari_physgen.synthesis.translation_settings import (
    TranslationSettings,
    translation_presets,
)

Image = NDArray[np.float32]
Mask = NDArray[np.uint8]

TOY = TranslationSettings(
    steps=60,
    crop=32,
    features=8,
    blocks=1,
    batch=6,
    patch="34",
    judge_features=16,
    learning_rate=2e-3,
    average=0.9,
    device="cpu",
    precision="32-true",
)
SHORT = TOY.model_copy(
    update={"steps": 2, "batch": 2, "features": 4, "judge_features": 4, "patch": "16"}
)


def discs(seed: int, size: int = 96) -> Mask:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    mask = np.zeros((size, size), np.uint8)
    for _ in range(9):
        top, left, radius = random.uniform((0, 0, 6), (size, size, 13))
        mask[(y - top) ** 2 + (x - left) ** 2 < radius**2] = 1
    return mask


def drawn(mask: Mask, seed: int) -> Image:
    """Dark particles on a bright matrix, a little noise."""
    random = np.random.default_rng(seed)
    return (1 - 0.9 * mask + 0.02 * random.normal(size=mask.shape)).astype(np.float32)


def micrograph(mask: Mask, seed: int) -> Image:
    """Grey particles with bright rims on a dim matrix, coarse noise, other grey levels."""
    random = np.random.default_rng(seed)
    rim = binary_dilation(mask, iterations=2) & (mask == 0)
    grain = 0.25 * gaussian_filter(random.normal(size=mask.shape), 1) / 0.28
    image = gaussian_filter(0.45 - 0.35 * mask + 0.55 * rim, 0.7) + 0.4 * grain
    return (100 + 40 * image).astype(np.float32)


MASKS = [discs(k) for k in range(6)]
SIMULATED = [drawn(mask, k) for k, mask in enumerate(MASKS)]
REAL = [micrograph(discs(50 + k), k) for k in range(5)]


@pytest.fixture(scope="module")
def model() -> TranslationModel:
    return run(train_translation(SIMULATED, REAL, TOY, masks=MASKS))


@pytest.fixture(scope="module")
def short() -> TranslationModel:
    return run(train_translation(SIMULATED, REAL, SHORT, masks=MASKS))


def histogram_distance(images: list[Image], others: list[Image]) -> float:
    """Mean distance of the quantiles (Wasserstein), after scaling each image's range."""
    levels = np.linspace(0.01, 0.99, 50)

    def quantiles(set_: list[Image]) -> NDArray[np.float64]:
        return np.mean([np.quantile((i - i.min()) / np.ptp(i), levels) for i in set_], 0)

    return float(np.abs(quantiles(images) - quantiles(others)).mean())


# --- terms of the loss ---------------------------------------------------------------------------


def test_least_squares_is_zero_at_the_goal_and_one_at_the_other():
    assert least_squares(torch.ones(3, 4), 1) == 0
    assert least_squares(torch.zeros(3, 4), 1) == 1
    assert least_squares(torch.tensor([0.0, 1.0]), 0) == 0.5


def test_patch_contrast_of_equal_vectors_is_the_logarithm_of_their_number():
    same = F.normalize(torch.ones(2, 7, 5), dim=-1)
    assert patch_contrast(same, same).item() == pytest.approx(math.log(7))


def test_patch_contrast_of_orthogonal_vectors_is_that_of_one_good_and_many_bad_matches():
    """-log(exp(1/T) / (exp(1/T) + n - 1)) with T = 0.07, Park et al. 2020, eq. 3."""
    vectors = torch.eye(5, dtype=torch.float64)[None]
    expected = math.log(1 + 4 * math.exp(-1 / 0.07))
    assert patch_contrast(vectors, vectors).item() == pytest.approx(expected, rel=1e-3)
    wrong = patch_contrast(vectors, vectors.roll(1, 1)).item()
    assert wrong == pytest.approx(1 / 0.07, rel=1e-3)


def test_the_pool_hands_on_new_images_until_full_then_half_of_them():
    pool = Pool(50, torch.Generator().manual_seed(0))
    first = torch.arange(50.0).reshape(50, 1, 1, 1)
    assert torch.equal(pool.exchange(first), first)
    later = 100 + torch.arange(1000.0).reshape(1000, 1, 1, 1)
    shown = pool.exchange(later)
    assert (shown == later).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert shown.unique().numel() == 1000
    assert torch.equal(Pool(0, torch.Generator()).exchange(later), later)


def test_frozen_weights_get_no_gradient_and_hand_it_on():
    layer = torch.nn.Linear(2, 1)
    image = torch.ones(1, 2, requires_grad=True)
    with frozen(layer):
        value = layer(image).sum()
    value.backward()
    assert layer.weight.grad is None
    assert image.grad is not None
    assert layer.weight.requires_grad


@pytest.mark.parametrize("method", ["cyclegan", "cut", "fastcut"])
def test_every_term_reaches_only_the_weights_that_it_is_meant_for(method):
    game = new_game(SHORT.model_copy(update={"method": method}), 2)
    images, labels = Domain([torch.rand(64, 64)] * 2, [torch.ones(64, 64).long()] * 2).cut(
        32, 2, torch.Generator().manual_seed(0)
    )
    players = {name.partition(".")[0] for name, _ in game.named_parameters()}
    for term in game(images, labels, images.flip(-1)):
        game.zero_grad()
        game(images, labels, images.flip(-1))[term].backward()
        reached = {
            name.partition(".")[0]
            for name, weight in game.named_parameters()
            if weight.grad is not None and weight.grad.abs().sum() > 0
        }
        own = {"segmenter": {"segmenter"}, "auditor": {"auditor"}, "mask": {"translator"}}
        judges = {name for name in players if "judge" in name}
        allowed = own.get(term, players - judges - {"segmenter", "auditor"})
        assert reached, term
        assert reached <= (judges if term == "discriminator" else allowed), term


# --- images --------------------------------------------------------------------------------------


def test_noise_has_unit_variance_and_repeats():
    field = noise((4, 160, 160), torch.Generator().manual_seed(1))
    assert field.shape == (4, 2, 160, 160)
    torch.testing.assert_close(field.std((0, 2, 3)), torch.ones(2), rtol=0.15, atol=0)
    assert torch.equal(field, noise((4, 160, 160), torch.Generator().manual_seed(1)))


def test_squares_come_with_their_own_labels():
    image = torch.rand(70, 90)
    squares, labels = Domain([image], [(image * 1000).long()]).cut(64, 8, torch.Generator())
    assert squares.shape == (8, 1, 64, 64)
    assert labels is not None
    assert torch.equal((squares[:, 0] * 1000).long(), labels)


def test_unknown_labels_are_shown_as_nothing():
    shown = one_hot(torch.tensor([[[0, 1], [-1, 1]]]), 2)
    assert shown.sum(1).tolist() == [[[1, 1], [0, 1]]]


# --- checks --------------------------------------------------------------------------------------


def test_contrast_is_one_for_the_same_image_and_negative_for_its_negative():
    image, mask = SIMULATED[0], MASKS[0].astype(np.int64)
    assert contrast(image, image, None) == pytest.approx(1)
    assert contrast(image, image, mask) > 0.9
    assert contrast(image, 5 - image, mask) < -0.9
    # Rims alone, as on etched surfaces, are no exchange.
    rim = binary_dilation(mask, iterations=1) ^ mask.astype(bool)
    assert contrast(image, rim * 1.0, mask) > INVERTED


@pytest.mark.parametrize("moved", [-2, 0, 2])
def test_edge_shift_is_that_of_the_edge(moved):
    y, x = np.mgrid[:96, :96] - 48
    distance = np.hypot(y, x)
    mask = (distance < 25).astype(np.int64)
    before, after = (1 / (1 + np.exp(2 * (distance - r))) for r in (25, 25 + moved))
    assert edge_shift([before], [1 - after], [mask]) == pytest.approx(moved, abs=0.3)


# --- training ------------------------------------------------------------------------------------


def test_translated_images_have_grey_levels_like_the_real_ones(model: TranslationModel):
    translated = model.translate(SIMULATED, MASKS)
    before = histogram_distance(SIMULATED, REAL)
    assert histogram_distance(translated, REAL) < before / 2
    assert all(70 < image.min() < image.max() < 160 for image in translated)


def test_the_fast_method_does_so_too():
    fast = {"method": "fastcut", "pool": 0, "patch": "16", "steps": 90, "learning_rate": 1e-3}
    quick = run(train_translation(SIMULATED, REAL, TOY.model_copy(update=fast), masks=MASKS))
    before = histogram_distance(SIMULATED, REAL)
    assert histogram_distance(quick.translate(SIMULATED, MASKS), REAL) < before / 2
    assert quick.metrics["mask_iou"] > 0.85


def test_masks_stay_where_they_are(model: TranslationModel):
    """By the darkness of the particles in the translated image, and by the model's own figures."""
    for image, mask in zip(model.translate(SIMULATED, MASKS), MASKS, strict=True):
        smooth = gaussian_filter(image, 1)
        middle = (smooth[mask == 1].mean() + smooth[mask == 0].mean()) / 2
        assert overlap(smooth < middle, mask > 0).iou > 0.8
    assert model.metrics["mask_iou"] > 0.85
    assert abs(model.metrics["edge_shift_px"]) < 1.5
    assert model.metrics["contrast"] > 0.3


def test_another_seed_draws_another_image_of_the_same_mask(model: TranslationModel):
    first, again, other = (model.translate(SIMULATED[:1], seed=s)[0] for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    calm = [model.translate(SIMULATED[:1], seed=s, noise=0)[0] for s in (1, 2)]
    assert np.array_equal(*calm)


def test_agreement_finds_the_tile_with_a_wrong_mask(model: TranslationModel):
    translated = model.translate(SIMULATED[:3], MASKS[:3])
    right = model.agreement(translated, MASKS[:3])
    wrong = model.agreement(translated, [MASKS[0], MASKS[1], MASKS[0]])
    assert min(right) > 0.8
    assert wrong[:2] == right[:2]
    assert wrong[2] < right[2] - 0.2


def test_a_tiled_translation_equals_that_of_the_whole_image(model, monkeypatch):
    image, mask = (np.tile(a[0], (3, 2))[:251, :170] for a in (SIMULATED, MASKS))
    whole = model.translate(image, mask)[0]
    monkeypatch.setattr(_translate_model, "TILE", 2 * model.halo + 40)
    tiled = model.translate(image, mask)[0]
    np.testing.assert_allclose(tiled, whole, atol=1e-5 * np.ptp(whole))


def test_a_saved_model_translates_the_same(model: TranslationModel, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = load_translation(path, "cpu")
    assert loaded.settings == model.settings
    assert loaded.metrics == pytest.approx(model.metrics)
    assert set(loaded.history) == set(model.history)
    for one, other in zip(loaded.outputs(), model.outputs(), strict=True):
        assert one.name == other.name
        assert np.array_equal(one.data, other.data)
    first, second = (m.translate(SIMULATED[:1], MASKS[:1])[0] for m in (model, loaded))
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_the_strip_shows_simulated_translated_and_real_side_by_side(model: TranslationModel):
    outputs = model.outputs()
    assert [o.name for o in outputs] == ["simulated", "translated", "real"]
    lefts = [o.translation[1] for o in outputs]
    assert lefts[0] == 0
    assert lefts[1] > outputs[0].data.shape[1]
    assert lefts[2] > lefts[1] + outputs[1].data.shape[1]
    assert "IoU" in model.summary
    assert {"generator", "discriminator", "cycle", "identity", "mask"} < set(model.history)


@pytest.mark.parametrize("method", ["cyclegan", "cut", "fastcut"])
def test_same_seed_same_pixels(method):
    settings = SHORT.model_copy(update={"method": method})
    first, again = (
        run(train_translation(SIMULATED, REAL, settings, masks=MASKS)).translate(SIMULATED)
        for _ in "ab"
    )
    other = run(
        train_translation(SIMULATED, REAL, settings.model_copy(update={"seed": 1}), masks=MASKS)
    ).translate(SIMULATED)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_pairs_of_image_and_mask_are_the_same_as_masks_apart(short: TranslationModel):
    pairs = list(zip(SIMULATED, MASKS, strict=True))
    paired = run(train_translation(pairs, REAL, SHORT))
    assert np.array_equal(paired.translate(SIMULATED)[0], short.translate(SIMULATED)[0])


def test_without_masks_there_are_no_figures_of_masks():
    settings = SHORT.model_copy(update={"method": "fastcut"})
    plain = run(train_translation(SIMULATED, REAL, settings))
    assert set(plain.metrics) == {"contrast", "restarts", "steps"}
    assert plain.translate(SIMULATED[0])[0].shape == SIMULATED[0].shape
    with pytest.raises(UserError, match="trained without masks"):
        plain.agreement(SIMULATED, MASKS)


def test_the_published_configuration_runs():
    smaller = {"features": 4, "blocks": 1, "steps": 2, "crop": 64, "judge_features": 4}
    paper = translation_presets["paper"].model_copy(update=smaller | {"device": "cpu"})
    result = run(train_translation(SIMULATED, REAL, paper))
    assert result.metrics["steps"] == 2


def test_8_bit_16_bit_and_float_images_give_the_same(short: TranslationModel):
    grey = np.clip(SIMULATED[0] * 100, 0, 255).astype(np.uint8)
    first = short.translate(grey)[0]
    for same in (grey.astype(np.uint16) * 200, grey.astype(float) / 7 - 3):
        np.testing.assert_allclose(short.translate(same)[0], first, atol=1e-3)


def test_stop_keeps_a_model_that_works():
    def stop_soon(progress: Progress) -> Command | None:
        return Stop() if progress.step == 1 else None

    settings = SHORT.model_copy(update={"steps": 1000})
    stopped = run(train_translation(SIMULATED, REAL, settings, masks=MASKS), stop_soon)
    assert stopped.metrics["steps"] == 1
    assert "stopped" in stopped.summary
    assert np.isfinite(stopped.translate(SIMULATED)[0]).all()


def test_training_shows_itself(short: TranslationModel):
    shown: list[list[str]] = []

    def look(progress: Progress) -> None:
        if progress.preview and progress.step == 1:
            shown.append([output.name for output in progress.preview()])

    watched = run(train_translation(SIMULATED, REAL, SHORT, masks=MASKS), look)
    assert shown == [["simulated", "translated", "real"]]
    # Looking changes nothing.
    assert np.array_equal(watched.translate(SIMULATED)[0], short.translate(SIMULATED)[0])


def test_a_training_goes_on_from_an_earlier_model(model: TranslationModel):
    settings = TOY.model_copy(update={"steps": 2, "warm_up": 0.0, "learning_rate": 1e-6})
    more = run(train_translation(SIMULATED, REAL, settings, masks=MASKS, start=model))
    np.testing.assert_allclose(more.translate(SIMULATED)[0], model.translate(SIMULATED)[0], atol=1)
    with pytest.raises(UserError, match="other networks"):
        run(train_translation(SIMULATED, REAL, SHORT, masks=MASKS, start=model))


def test_exchanged_contrast_is_noticed_and_the_training_starts_again(short: TranslationModel):
    """The networks begin with a translator that returns the negative."""
    game = new_game(SHORT, 2)
    game.load_state_dict(short.game.state_dict())
    game.translator.forward = lambda inputs: -inputs[:, :1]  # type: ignore[method-assign]
    material = prepared(SIMULATED, MASKS, REAL)
    training = Training(game, material, torch.device("cpu"), 2)
    assert training.contrast() < INVERTED
    settings = SHORT.model_copy(update={"steps": 8})
    real_contrast = Training.contrast

    def inverted_at_first(self: Training) -> float:
        return -1.0 if self._game.attempt < 2 else real_contrast(self)

    messages: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "contrast", inverted_at_first)
        job = train_translation(SIMULATED, REAL, settings, masks=MASKS)
        result = run(job, lambda progress: messages.append(progress.message))
    assert result.metrics["restarts"] == 2
    assert any("start 3: dark and bright were exchanged" in words for words in messages)
    assert "Started 3 times" in result.summary


def test_a_contrast_that_stays_exchanged_is_told_in_the_end():
    settings = SHORT.model_copy(update={"steps": 4})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "contrast", lambda self: -1.0)
        result = run(train_translation(SIMULATED, REAL, settings, masks=MASKS))
    assert result.metrics["restarts"] == translation.RESTARTS


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("simulated", "real", "masks", "words"),
    [
        ([], REAL, None, "no simulated images"),
        (SIMULATED, [], None, "no real images"),
        (SIMULATED, [REAL[0][:50]], None, "at least 64 px"),
        (SIMULATED, [np.zeros((80, 80))], None, "flat"),
        (SIMULATED, [np.zeros((80, 80, 3))], None, "without colour"),
        ([np.full((80, 80), np.nan)], REAL, None, "NaN"),
        (SIMULATED, REAL, MASKS[:2], "give as many"),
        (SIMULATED, REAL, [m[:80] for m in MASKS], "same"),
        (SIMULATED, REAL, [m * 0 for m in MASKS], "empty"),
        (SIMULATED, REAL, [m * 200 for m in MASKS], "per phase"),
        (SIMULATED, REAL, [m * 0.5 for m in MASKS], "per phase"),
        ([(SIMULATED[0], MASKS[0]), SIMULATED[1]], REAL, None, "with none"),
    ],
)
def test_bad_input_is_told_in_words(simulated, real, masks, words):
    with pytest.raises(UserError, match=words):
        run(train_translation(simulated, real, SHORT, masks=masks))


def test_masks_with_unknown_classes_are_refused(short: TranslationModel):
    with pytest.raises(UserError, match="class 2"):
        short.translate(SIMULATED[:1], [MASKS[0] * 2])


def test_another_kind_of_file_is_refused(tmp_path: Path, short: TranslationModel):
    from napari_physgen.backend import save_model

    save_model(tmp_path / "a.safetensors", {"x": torch.ones(1)}, {"kind": "other"})
    with pytest.raises(UserError, match="no translation"):
        load_translation(tmp_path / "a.safetensors")
    broken = replace(short, settings=TOY)
    broken.save(tmp_path / "b.safetensors")
    with pytest.raises(UserError, match="does not fit"):
        load_translation(tmp_path / "b.safetensors")


def test_presets_are_valid_and_the_published_one_is_as_published():
    for preset in translation_presets.values():
        assert TranslationSettings.parse(preset.model_dump()) == preset
    paper = translation_presets["paper"]
    assert (paper.features, paper.blocks, paper.cycle, paper.identity) == (64, 9, 10, 5)
    assert (paper.pool, paper.patch, paper.learning_rate, paper.batch) == (50, "70", 2e-4, 1)
