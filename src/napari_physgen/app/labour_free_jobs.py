"""The steps of the labour-free workflow as jobs of the panel; all of it runs in the worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_physgen.backend.job import TICKS, Progress, Stop, portion
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_physgen.app.labour_free_images import Micrographs
    from napari_physgen.backend import Job
    from napari_physgen.segmentation import LabourFreeSettings, LookAlike, SegmentationModel
    from napari_physgen.segmentation.prepare import Prepared
    from napari_physgen.synthesis.fidelity_results import Fidelity

R = TypeVar("R")
APPLIED = 0.04  # share of Run all that applying the model takes
COMPARED = 16  # look-alikes that are compared with the images


@dataclass(frozen=True)
class Made:
    """Finished steps.

    Parameters
    ----------
    summaries : mapping
        Words by step.
    pictures : tuple of Output
        For the strip: simulated, translated, real.
    model : SegmentationModel or None
    applied : object
        What Run all labelled.
    """

    summaries: Mapping[str, str]
    pictures: tuple[Output, ...] = ()
    model: SegmentationModel | None = None
    applied: Any = field(default=None)


def once(message: str, work: Callable[[], R]) -> Job[R]:
    """Do one thing in the worker (a job)."""
    yield Progress(0, 1, message)
    return work()


def look_job(
    images: Micrographs, settings: LabourFreeSettings, folder: Path, kept: Collection[str] = ()
) -> Job[Made]:
    """Step 1: simulate and render look-alikes."""
    from napari_physgen.segmentation.labour_free import Store, look_step

    yield Progress(0, 1, "looking at the images")
    prepared = images.prepared()
    look = yield from look_step(prepared, settings, Store(folder))
    pictures = Output("simulated", look.pictures[0]), Output("real", prepared.images[0])
    return Made({"look": look.summary}, pictures)


def translation_job(
    images: Micrographs, settings: LabourFreeSettings, folder: Path, kept: Collection[str] = ()
) -> Job[Made]:
    """Step 2: learn to make look-alikes look real; `kept` are steps that were stopped early."""
    from napari_physgen.segmentation.labour_free import Store, translation_step

    yield Progress(0, 1, "looking at the images")
    prepared = images.prepared()
    look = yield from _look(prepared, settings, folder, kept)
    model = yield from translation_step(prepared, look, settings, Store(folder))
    summaries = {"look": look.summary, "translation": model.summary}
    return Made(summaries, tuple(model.outputs()))


def model_job(
    images: Micrographs, settings: LabourFreeSettings, folder: Path, kept: Collection[str] = ()
) -> Job[Made]:
    """Step 3: train the network that labels; `kept` are steps that were stopped early."""
    from napari_physgen.segmentation.labour_free import (
        TRANSLATION,
        Store,
        model_step,
        translation_step,
    )
    from napari_physgen.synthesis import load_translation

    yield Progress(0, 1, "looking at the images")
    prepared, store = images.prepared(), Store(folder)
    look = yield from _look(prepared, settings, folder, kept)
    translation = None
    if settings.translation != "none" and "translation" in kept:
        translation = load_translation(folder / TRANSLATION)
    elif settings.translation != "none":
        translation = yield from translation_step(prepared, look, settings, store)
    model = yield from model_step(prepared, look, translation, settings, store)
    summaries = {"look": look.summary, "model": own_words(model, look.summary)}
    if translation is not None:
        summaries["translation"] = translation.summary
    return Made(summaries, model=model)


def _look(
    prepared: Prepared, settings: LabourFreeSettings, folder: Path, kept: Collection[str]
) -> Job[LookAlike]:
    """Read the look-alikes, or make them if they belong to other images or settings."""
    from napari_physgen.segmentation import LookAlike
    from napari_physgen.segmentation.labour_free import LOOK, Store, look_step

    if "look" in kept:
        return LookAlike.load(folder / LOOK)
    return (yield from look_step(prepared, settings, Store(folder)))


def all_job(
    images: Micrographs,
    settings: LabourFreeSettings,
    folder: Path,
    apply: Callable[[SegmentationModel], Job[Any]],
) -> Job[Made]:
    """Run all steps as one, with one bar, and apply the model to the images."""
    from napari_physgen.segmentation import labour_free

    yield Progress(0, TICKS, "looking at the images")
    images.prepared()
    whole = labour_free(images.read(), settings, pixel_size_nm=images.sizes, folder=folder)
    model = yield from portion(whole, 0, 1 - APPLIED)
    summaries = kept_summaries(folder, settings)
    summaries["model"] = own_words(model, summaries["look"])
    applied = yield from portion(apply(model), 1 - APPLIED, 1)
    return Made(summaries, model=model, applied=applied)


def kept_summaries(folder: Path, settings: LabourFreeSettings) -> dict[str, str]:
    """Return the words of the steps before the model, from their files."""
    from napari_physgen.segmentation.labour_free import LOOK, TRANSLATION
    from napari_physgen.segmentation.look_alike import LookAlike
    from napari_physgen.synthesis import load_translation

    words = {"look": LookAlike.load(folder / LOOK).summary}
    if settings.translation != "none":
        words["translation"] = load_translation(folder / TRANSLATION).summary
    return words


def own_words(model: SegmentationModel, look: str) -> str:
    """Return the words of a model without those of the steps before it."""
    return model.summary.partition(look)[0].strip() if look else model.summary


def stage_of(message: str) -> str:
    """Return the step of Run all that a message belongs to."""
    if message.startswith("labelling"):
        return "apply"
    if message.startswith("translation"):
        return "translation"
    training = "learning", "getting used", "translating"
    return "model" if message.startswith(training) else "look"


def fidelity_job(images: Micrographs, folder: Path, translated: bool) -> Job[Fidelity]:
    """Compare the look-alikes, translated if there is a translation, with the real images."""
    from napari_physgen.segmentation.labour_free import LOOK
    from napari_physgen.segmentation.look_alike import LookAlike
    from napari_physgen.synthesis import fidelity
    from napari_physgen.synthesis.fidelity_settings import FidelitySettings

    yield Progress(0, 1, "looking at the images")
    real = images.prepared().images
    look = LookAlike.load(folder / LOOK)
    rendered = look.pictures[:COMPARED]
    made: Sequence[NDArray[np.generic]] = rendered
    if translated:
        made = yield from _translated(look, folder)
    smallest = min(min(image.shape) for image in (*real, *rendered))
    # Half an image at most, so that every image gives several patches.
    patch = min(128, max(32, smallest // 2))
    settings = FidelitySettings(patch=patch)
    return (
        yield from fidelity(
            list(real), list(made), list(rendered) if translated else None, settings
        )
    )


def _translated(look: LookAlike, folder: Path) -> Job[list[NDArray[np.float32]]]:
    from napari_physgen.segmentation.labour_free import TRANSLATION
    from napari_physgen.synthesis import load_translation

    model = load_translation(folder / TRANSLATION)
    pairs = list(zip(look.pictures, look.masks, strict=True))[:COMPARED]
    made: list[NDArray[np.float32]] = []
    for number, (picture, mask) in enumerate(pairs):
        command = yield Progress(number, len(pairs), "translating look-alikes")
        if isinstance(command, Stop):
            raise UserError("Stopped before the look-alikes could be compared.")
        made += model.translate([picture], [mask], seed=number)
    return made
