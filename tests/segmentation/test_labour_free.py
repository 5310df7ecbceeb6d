"""From micrographs to labels without a label; finished steps are not done again."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from napari_physgen.backend import Progress, Stop, run
from napari_physgen.errors import UserError
from napari_physgen.segmentation import (
    LabourFreeSettings,
    LookAlike,
    PredictSettings,
    SegmentationModel,
    SegmentationSettings,
    labour_free_presets,
    load,
    predict,
)
from napari_physgen.segmentation import train as real_train
from napari_physgen.segmentation.labour_free import (
    LOOK,
    MODEL,
    TRANSLATION,
    Store,
    labour_free,
    training_set,
)
from napari_physgen.synthesis import TranslationModel, TranslationSettings
from napari_physgen.synthesis import train_translation as real_translation

# The package's attribute of this name is the function.
WORKFLOW = importlib.import_module("napari_physgen.segmentation.labour_free")
ALL = ["look", "translation", "model"]
PLAIN = PredictSettings(flips=False, device="cpu", precision="32-true")


def labels(model: SegmentationModel, image: np.ndarray) -> np.ndarray:
    return run(predict(model, image, PLAIN)).labels


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of the real training, but small ones."""

    def train(pictures: Any, masks: Any, how: SegmentationSettings, **rest: Any) -> Any:
        sizes = {"features": 8, "crop": 64, "batch": 4, "learning_rate": 1e-2}
        return real_train(pictures, masks, how.model_copy(update=sizes), **rest)

    def train_translation(pictures: Any, real: Any, how: TranslationSettings, **rest: Any) -> Any:
        sizes = {"features": 8, "crop": 64, "batch": 1, "blocks": 1, "judge_features": 8}
        return real_translation(pictures, real, how.model_copy(update=sizes), **rest)

    monkeypatch.setattr(WORKFLOW, "train", train)
    monkeypatch.setattr(WORKFLOW, "train_translation", train_translation)


@pytest.fixture
def known_look(monkeypatch: pytest.MonkeyPatch, look: LookAlike) -> None:
    """Look-alikes that are there already."""

    def again(*_: Any) -> Any:
        yield Progress(0, 1, "rendering")
        return look

    monkeypatch.setattr(WORKFLOW, "look_alike", again)


def refuse(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let these steps fail if they are begun."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("was to be read, not computed")

    for name in names:
        monkeypatch.setattr(WORKFLOW, name, never)


# ---- to the end -------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_micrographs_are_labelled_without_a_label(
    micrographs: list[np.ndarray],
    hidden: list[np.ndarray],
    quick: LabourFreeSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their masks only score. The second run reads all steps from the folder."""
    steps: list[Progress] = []
    job = labour_free(micrographs, quick, pixel_size_nm=4.0, folder=tmp_path / "project")
    model = run(job, steps.append)  # type: ignore[arg-type]
    for image, mask in zip(micrographs, hidden, strict=True):
        found = labels(model, image) > 0
        assert (found & mask).sum() / (found | mask).sum() > 0.85
    assert model.classes == ("matrix", "particles")
    assert model.pixel_size_nm == 4
    assert "look-alikes" in model.summary

    assert {p.total for p in steps} == {steps[0].total}
    assert all(a.step <= b.step for a, b in itertools.pairwise(steps))
    assert steps[-1].step <= steps[-1].total
    assert len({p.message for p in steps}) >= 4

    refuse(monkeypatch, "look_alike", "train", "train_translation")
    again = run(labour_free(micrographs, quick, pixel_size_nm=4.0, folder=tmp_path / "project"))
    assert (labels(again, micrographs[0]) == labels(model, micrographs[0])).mean() > 0.9999
    assert Store(tmp_path / "project").finished() == {LOOK, MODEL}
    assert load(tmp_path / "project" / MODEL).classes == model.classes


@pytest.mark.usefixtures("small", "known_look")
def test_with_a_translation_it_goes_to_the_end_and_resumes(
    micrographs: list[np.ndarray],
    quick: LabourFreeSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = quick.model_copy(update={"translation": "cyclegan", "training_steps": 2})
    model = run(labour_free(micrographs, settings, folder=tmp_path))
    assert labels(model, micrographs[0]).shape == micrographs[0].shape
    assert "on 8 images" in model.summary  # 4 rendered ones, 4 translated ones
    assert Store(tmp_path).finished() == {LOOK, TRANSLATION, MODEL}

    # Without its model, the workflow goes on after the translation.
    (tmp_path / MODEL).unlink()
    refuse(monkeypatch, "look_alike", "train_translation")
    again = run(labour_free(micrographs, settings, folder=tmp_path))
    assert (labels(again, micrographs[0]) == labels(model, micrographs[0])).mean() > 0.999


@pytest.mark.usefixtures("small", "known_look")
def test_same_seed_same_labels(micrographs: list[np.ndarray], quick: LabourFreeSettings) -> None:
    settings = [quick.model_copy(update={"training_steps": 12, "seed": seed}) for seed in (3, 3, 4)]
    first, second, other = (
        run(predict(run(labour_free(micrographs, how)), micrographs[0], PLAIN)).probabilities
        for how in settings
    )
    np.testing.assert_array_equal(first, second)
    assert abs(first - other).max() > 0.01


@pytest.mark.usefixtures("small", "known_look")
def test_stop_keeps_the_model_as_it_is(
    micrographs: list[np.ndarray], quick: LabourFreeSettings
) -> None:
    def stop(progress: Progress) -> Stop | None:
        return Stop() if progress.metrics.get("loss") is not None else None

    model = run(labour_free(micrographs, quick), stop)
    assert "stopped early" in model.summary
    assert labels(model, micrographs[0]).shape == micrographs[0].shape


# ---- what is kept -----------------------------------------------------------------------------


@pytest.fixture
def begun(
    monkeypatch: pytest.MonkeyPatch, look: LookAlike, trained: SegmentationModel
) -> list[str]:
    """The steps that are begun, none of which computes anything."""
    names: list[str] = []

    class Translation:
        metrics: ClassVar[dict[str, float]] = {"steps": float("inf")}

        @staticmethod
        def translate(pictures: Any, masks: Any, seed: int) -> list[np.ndarray]:
            return list(pictures)

        @staticmethod
        def agreement(pictures: Any, masks: Any) -> list[float]:
            return [1.0] * len(pictures)

        @staticmethod
        def save(path: Path) -> None:
            path.write_bytes(b"")

    def step(name: str, result: Callable[[], Any]) -> Callable[..., Any]:
        def job(*_: Any, **__: Any) -> Any:
            names.append(name)
            yield Progress(0, 1, name)
            return result()

        return job

    def other_look() -> LookAlike:
        """Look-alikes are never twice the same."""
        looks.append(look)
        return replace(look, pictures=tuple(p + len(looks) for p in look.pictures))

    looks: list[LookAlike] = []
    monkeypatch.setattr(WORKFLOW, "look_alike", step("look", other_look))
    monkeypatch.setattr(WORKFLOW, "train_translation", step("translation", lambda: Translation))
    monkeypatch.setattr(WORKFLOW, "load_translation", lambda path: Translation)
    monkeypatch.setattr(WORKFLOW, "train", step("model", lambda: trained))
    return names


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({}, []),
        ({"training_steps": 7}, ["model"]),
        ({"self_training": 9}, ["model"]),
        ({"translation_steps": 7}, ["translation", "model"]),
        ({"translation": "fastcut"}, ["translation", "model"]),
        ({"translation": "none"}, ["model"]),
        ({"pictures": 9}, ALL),
        ({"trials": 9}, ALL),
        ({"simulations": 9}, ALL),
        ({"look": "auto"}, ALL),
        ({"classes": "large and fine"}, ALL),
        ({"seed": 1}, ALL),
        ({"device": "auto"}, []),
    ],
    ids=lambda value: str(value),
)
def test_a_change_repeats_the_steps_that_depend_on_it(
    micrographs: list[np.ndarray],
    quick: LabourFreeSettings,
    tmp_path: Path,
    begun: list[str],
    change: dict[str, Any],
    again: list[str],
) -> None:
    settings = quick.model_copy(update={"translation": "cyclegan"})
    run(labour_free(micrographs, settings, folder=tmp_path))
    assert begun == ALL
    begun.clear()
    run(labour_free(micrographs, settings.model_copy(update=change), folder=tmp_path))
    assert begun == again


def test_other_images_repeat_everything(
    micrographs: list[np.ndarray], quick: LabourFreeSettings, tmp_path: Path, begun: list[str]
) -> None:
    settings = quick.model_copy(update={"translation": "cyclegan"})
    for images in (micrographs, [m[:, ::-1] for m in micrographs], micrographs[:1]):
        begun.clear()
        run(labour_free(images, settings, folder=tmp_path))
        assert begun == ALL


def test_without_a_folder_nothing_is_kept(
    micrographs: list[np.ndarray], quick: LabourFreeSettings, begun: list[str]
) -> None:
    for _ in range(2):
        run(labour_free(micrographs, quick))
    assert begun == ["look", "model"] * 2
    assert Store(None).finished() == set()


def test_a_lost_list_of_steps_is_no_harm(
    micrographs: list[np.ndarray], quick: LabourFreeSettings, tmp_path: Path, begun: list[str]
) -> None:
    run(labour_free(micrographs, quick, folder=tmp_path))
    (tmp_path / "steps.json").write_text("{", encoding="utf-8")
    run(labour_free(micrographs, quick, folder=tmp_path))
    assert begun == ["look", "model"] * 2


def test_a_damaged_step_is_named(
    micrographs: list[np.ndarray], quick: LabourFreeSettings, tmp_path: Path, begun: list[str]
) -> None:
    run(labour_free(micrographs, quick, folder=tmp_path))
    (tmp_path / LOOK).write_bytes(b"no look")
    with pytest.raises(UserError, match=r"look.npz is damaged: delete it and run the step again"):
        run(labour_free(micrographs, quick, folder=tmp_path))


def test_a_folder_that_cannot_be_made_is_named(
    micrographs: list[np.ndarray], quick: LabourFreeSettings, tmp_path: Path, begun: list[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be made: choose another"):
        run(labour_free(micrographs, quick, folder=tmp_path / "file" / "project"))


@pytest.mark.usefixtures("small", "known_look")
def test_a_stopped_training_is_taken_up_again(
    micrographs: list[np.ndarray], quick: LabourFreeSettings, tmp_path: Path
) -> None:
    """Else the folder gives the half-trained model for ever."""

    def stop(progress: Progress) -> Stop | None:
        return Stop() if progress.metrics.get("loss") is not None else None

    settings = quick.model_copy(update={"training_steps": 3})
    run(labour_free(micrographs, settings, folder=tmp_path), stop)
    model = run(labour_free(micrographs, settings, folder=tmp_path))
    assert model.metrics["steps"] == 3


@pytest.mark.usefixtures("small", "known_look")
def test_stop_before_the_training_ends_all_of_it(
    micrographs: list[np.ndarray], quick: LabourFreeSettings, tmp_path: Path
) -> None:
    def stop(progress: Progress) -> Stop | None:
        return Stop() if progress.message.startswith("translation") else None

    settings = quick.model_copy(update={"translation": "cyclegan"})
    with pytest.raises(UserError, match="run it again to go on"):
        run(labour_free(micrographs, settings, folder=tmp_path), stop)


@pytest.mark.usefixtures("small")
def test_the_bar_of_all_steps_never_goes_back(
    micrographs: list[np.ndarray], quick: LabourFreeSettings
) -> None:
    seen: list[int] = []
    run(labour_free(micrographs, quick), lambda progress: seen.append(progress.step))
    assert seen == sorted(seen)
    assert seen[-1] <= 1000


# ---- what is trained on -----------------------------------------------------------------------


class Faded:
    """A translation that spoils some tiles."""

    def __init__(self, agreement: Callable[[int], float]) -> None:
        self._agreement = agreement
        self.seeds: list[int] = []

    def translate(self, pictures: Any, masks: Any, seed: int) -> list[np.ndarray]:
        assert len(pictures) == len(masks)
        self.seeds.append(seed)
        return [picture + 10 for picture in pictures]

    def agreement(self, pictures: Any, masks: Any) -> list[float]:
        assert all(p.shape == m.shape == (128, 128) for p, m in zip(pictures, masks, strict=True))
        assert all(p.min() > 5 for p in pictures)
        return [self._agreement(k) for k in range(len(pictures))]


def wide(look: LookAlike, side: int = 300) -> LookAlike:
    random = np.random.default_rng(0)
    masks = tuple((random.random((side, side)) > 0.5).astype(np.uint8) for _ in range(5))
    pictures = tuple(mask.astype(np.float32) for mask in masks)
    return LookAlike(pictures, masks, (), simulation=look.simulation, length=20.0)


def test_without_a_translation_rendered_pictures_are_trained_on(look: LookAlike) -> None:
    pictures, masks = run(training_set(look, None))
    for picture, known in zip(pictures, look.pictures, strict=True):
        np.testing.assert_array_equal(picture, known)
    for mask, known_mask in zip(masks, look.masks, strict=True):
        np.testing.assert_array_equal(mask, known_mask)


def test_the_worst_tiles_of_translated_pictures_are_left_out(look: LookAlike) -> None:
    """15 % of them; the rendered pictures keep their masks."""
    source = wide(look)
    spoiled = Faded(lambda k: 0.3 if k in (2, 9, 15) else 0.9 + 0.001 * k)
    pictures, masks = run(training_set(source, spoiled, 7))  # type: ignore[arg-type]
    assert len(pictures) == len(masks) == 10
    assert spoiled.seeds == [7, 8, 9, 10, 11]
    rendered, translated = masks[:5], masks[5:]
    assert all((mask >= 0).all() for mask in rendered)
    unknown = [(mask < 0).sum() / 128**2 for mask in translated]
    assert unknown == [1, 0, 1, 1, 0]  # four tiles each: 2 is in the first, 9 in the third ...
    assert (translated[0][128:256, :128] == -1).all()
    for mask, known in zip(translated, source.masks, strict=True):
        np.testing.assert_array_equal(mask[mask >= 0], known[mask >= 0])


def test_if_all_tiles_agree_equally_none_is_left_out(look: LookAlike) -> None:
    _, masks = run(training_set(wide(look), Faded(lambda k: 0.8)))  # type: ignore[arg-type]
    assert all((mask >= 0).all() for mask in masks)


@pytest.mark.usefixtures("small")
def test_pictures_smaller_than_a_tile_are_trained_on(look: LookAlike) -> None:
    small_ones = wide(look, 96)
    how = TranslationSettings(
        steps=1, features=8, crop=64, batch=1, blocks=1, judge_features=8, device="cpu"
    )
    model: TranslationModel = run(
        real_translation(small_ones.pictures, small_ones.pictures, how, masks=small_ones.masks)
    )
    pictures, masks = run(training_set(small_ones, model))
    assert len(pictures) == len(masks) == 10


# ---- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ([], "There are no images"),
        ([np.zeros((100, 100))], "flat"),
        ([np.random.default_rng(0).random((100, 40))], "too small"),
        ([np.random.default_rng(0).random((5, 100, 100))], "has the shape"),
    ],
)
def test_bad_input_is_named(images: list[np.ndarray], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        run(labour_free(images))


def test_only_the_preset_that_says_so_has_a_translation() -> None:
    kinds = {name: how.translation for name, how in labour_free_presets.items()}
    assert kinds == {"quick": "none", "standard": "none", "translated": "cyclegan"}
