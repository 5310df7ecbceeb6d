"""From unlabelled micrographs to a model that labels them: simulate, translate, train.

Zahran et al., "Physics Informed Generative AI Enabling Labour Free Segmentation For Microscopy
Analysis", arXiv:2602.01710 (2026): masks from phase-field simulations, a CycleGAN that makes them
look like the micrographs, a U-Net trained on those pairs alone. No step sees a label.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_physgen.backend import Progress, Stop
from napari_physgen.backend.job import portion, relayed
from napari_physgen.errors import UserError
from napari_physgen.provenance import Input, Record
from napari_physgen.segmentation.look_alike import LookAlike, look_alike
from napari_physgen.segmentation.model import SegmentationModel, load
from napari_physgen.segmentation.prepare import Prepared, prepare
from napari_physgen.segmentation.settings import (
    CLASS_NAMES,
    LabourFreeSettings,
    SegmentationSettings,
)
from napari_physgen.segmentation.store import STOPPED, Store
from napari_physgen.segmentation.train import train
from napari_physgen.synthesis import TranslationSettings, load_translation, train_translation

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from napari_physgen.backend import Command, Job
    from napari_physgen.synthesis import TranslationModel

R = TypeVar("R")

LOOK, TRANSLATION, MODEL = "look.npz", "translation.safetensors", "model.safetensors"
_SHARES = {"look": 0.2, "translation": 0.5, "model": 0.3}  # of the time
_TILE = 128  # px, in which translated pictures are checked against their masks
_WORST = 0.15  # of these tiles are left out of the training
# Where the stages of a step begin and end in it; "": all others.
_STAGES = {
    "look": {
        "finding": (0.0, 0.02),
        "trial": (0.02, 0.35),
        "simulating look-alikes": (0.42, 0.85),
        "rendering": (0.85, 1.0),
        "": (0.35, 0.42),  # the best trial again, and the default preset
    },
    "translation": {},
    "model": {
        "translating": (0.0, 0.1),
        "learning": (0.1, 0.65),
        "getting used": (0.65, 1.0),
    },
}


def labour_free(
    real_images: Sequence[NDArray[np.generic]],
    settings: LabourFreeSettings | None = None,
    *,
    pixel_size_nm: float | Sequence[float | None] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Job[SegmentationModel]:
    """Make a segmentation model for micrographs without a single label.

    Parameters
    ----------
    real_images : sequence of numpy.ndarray
        (y, x) or colour pictures, any size and grey levels.
    settings : LabourFreeSettings, optional
    pixel_size_nm : float or sequence of float, optional
        Of all images or of each one.
    folder : path-like, optional
        Where to keep each finished step. Run again with the same images and settings, the
        finished ones are read instead.

    Returns
    -------
    generator
        A job. `Stop` keeps the model as it is once the segmentation is being trained; before, it
        raises `UserError` and keeps the steps so far in the folder.

    Raises
    ------
    UserError
        As `prepare`, `synthesis.calibrate` and the steps do.
    """
    settings = settings or LabourFreeSettings()
    prepared = prepare(real_images, pixel_size_nm=pixel_size_nm)
    store = Store(folder)
    plan = _Plan(settings)
    look = yield from plan.stage("look", look_step(prepared, settings, store))
    translation = None
    if settings.translation != "none":
        translation = yield from plan.stage(
            "translation", translation_step(prepared, look, settings, store)
        )
    return (
        yield from plan.stage("model", model_step(prepared, look, translation, settings, store))
    )


def look_step(prepared: Prepared, settings: LabourFreeSettings, store: Store) -> Job[LookAlike]:
    """Simulate and render look-alikes, or read them from the store."""
    names = ("classes", "particles", "look", "simulations", "trials", "pictures", "seed")
    key = _key(prepared, settings, names)
    known = store.read(LOOK, key, LookAlike.load)
    if known is not None:
        return known
    look = yield from look_alike(prepared.images, settings)
    whole = len(look.pictures) == settings.pictures
    store.write(LOOK, key if whole else STOPPED, look.save)
    return look


def translation_step(
    prepared: Prepared, look: LookAlike, settings: LabourFreeSettings, store: Store
) -> Job[TranslationModel]:
    """Train the translation to real look-alikes, or read it from the store."""
    if settings.translation == "none":
        raise UserError("These settings have no translation: choose CycleGAN or FastCUT.")
    names = ("translation", "translation_steps", "seed", "precision")
    key = _key(prepared, settings, names) + _look_key(look)
    known = store.read(TRANSLATION, key, load_translation)
    if known is not None:
        return known
    how = TranslationSettings(
        method=settings.translation,
        steps=settings.translation_steps,
        seed=settings.seed,
        device=settings.device,
        precision=settings.precision,
    )
    model = yield from train_translation(
        look.pictures, list(prepared.images), how, masks=look.masks
    )
    whole = model.metrics["steps"] >= settings.translation_steps
    store.write(TRANSLATION, key if whole else STOPPED, model.save)
    return model


def model_step(
    prepared: Prepared,
    look: LookAlike,
    translation: TranslationModel | None,
    settings: LabourFreeSettings,
    store: Store,
) -> Job[SegmentationModel]:
    """Train the segmentation, or read it from the store."""
    names = tuple(name for name in LabourFreeSettings.model_fields if name != "device")
    key = _key(prepared, settings, names) + _look_key(look)
    known = store.read(MODEL, key, load)
    if known is not None:
        return known
    began = time.perf_counter()
    pictures, masks = yield from training_set(look, translation, settings.seed)
    how = SegmentationSettings(
        steps=settings.training_steps,
        self_training=settings.self_training,
        seed=settings.seed,
        device=settings.device,
        precision=settings.precision,
    )
    model = yield from train(
        pictures,
        masks,
        how,
        real=prepared.images,
        classes=CLASS_NAMES[settings.classes],
        pixel_size_nm=prepared.pixel_size_nm,
        length=look.length,
    )
    words = f"{model.summary} {look.summary} {' '.join(prepared.notes)}".strip()
    record = Record(
        tool="labour-free",
        settings=settings.model_dump(mode="json"),
        seed=settings.seed,
        inputs=tuple(
            Input.of(f"image {number}", image) for number, image in enumerate(prepared.images, 1)
        ),
        device=model.device,
        duration_s=round(time.perf_counter() - began, 3),
    )
    model = replace(model, summary=words, record=record.to_dict())
    whole = model.metrics["steps"] >= settings.training_steps
    whole &= model.metrics.get("self_training_steps", 0) >= settings.self_training
    store.write(MODEL, key if whole else STOPPED, model.save)
    return model


def training_set(
    look: LookAlike, translation: TranslationModel | None, seed: int = 0
) -> Job[tuple[list[NDArray[np.float32]], list[NDArray[np.int64]]]]:
    """Collect pictures and masks to train on: rendered ones and, if there are any, translated.

    Tiles whose mask cannot be read off the translated picture are marked as unknown (-1).
    """
    pictures = list(look.pictures)
    masks = [np.asarray(mask, np.int64) for mask in look.masks]
    if translation is None:
        return pictures, masks
    translated = []
    for number, (picture, mask) in enumerate(zip(look.pictures, look.masks, strict=True)):
        yield Progress(number, len(pictures), "translating the look-alikes")
        translated += translation.translate([picture], [mask], seed=seed + number)
    return pictures + translated, masks + _audited(translation, translated, masks)


def _audited(
    translation: TranslationModel,
    pictures: Sequence[NDArray[np.float32]],
    masks: Sequence[NDArray[np.int64]],
) -> list[NDArray[np.int64]]:
    """Return the masks without the tiles that agree least with their translated pictures."""
    marked = [mask.copy() for mask in masks]
    windows = [
        (number, np.s_[y : y + _TILE, x : x + _TILE])
        for number, mask in enumerate(masks)
        for y in range(0, mask.shape[0] - _TILE + 1, _TILE)
        for x in range(0, mask.shape[1] - _TILE + 1, _TILE)
    ]
    if not windows:
        return marked
    tiles = [pictures[number][window] for number, window in windows]
    agreement = translation.agreement(tiles, [masks[n][window] for n, window in windows])
    limit = np.quantile(agreement, _WORST)
    for (number, window), value in zip(windows, agreement, strict=True):
        if value < limit:
            marked[number][window] = -1
    return marked


class _Plan:
    """One progress bar for all steps."""

    def __init__(self, settings: LabourFreeSettings) -> None:
        shares = dict(_SHARES)
        if settings.translation == "none":
            del shares["translation"]
        self._shares = {name: share / sum(shares.values()) for name, share in shares.items()}
        self._done = 0.0

    def stage(self, name: str, job: Job[R]) -> Job[R]:
        """Run a step as its part of the bar; `Stop` before the model ends all of it."""
        start = self._done
        self._done += self._shares[name]
        whole = job if name == "model" else _to_its_end(job)
        return (yield from portion(whole, start, self._done, _STAGES[name]))


def _to_its_end(job: Job[R]) -> Job[R]:
    """Run a job; raise UserError if it was stopped."""
    heard: list[Command] = []
    result = yield from relayed(job, hear=heard.append)
    if Stop() in heard:
        raise UserError(
            "Stopped before the segmentation was trained. Finished steps are kept if the "
            "project has a folder: run it again to go on."
        )
    return result


def _key(prepared: Prepared, settings: LabourFreeSettings, names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for image in prepared.images:
        digest.update(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes())
    values: dict[str, Any] = settings.model_dump(mode="json", include=set(names))
    digest.update(json.dumps(values, sort_keys=True).encode())
    return digest.hexdigest()


def _look_key(look: LookAlike) -> str:
    digest = hashlib.sha256()
    for picture in look.pictures:
        digest.update(np.ascontiguousarray(picture).tobytes())
    return digest.hexdigest()
