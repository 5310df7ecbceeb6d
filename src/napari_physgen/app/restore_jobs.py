"""Restoring an image of the viewer; all of it runs in the worker."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.inputs import axis_names, pixels, shown_position
from napari_physgen.backend.job import Progress, Stop, portion, relayed
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.app.current_model import CurrentModel
    from napari_physgen.app.inputs import Region
    from napari_physgen.backend import Command, Job
    from napari_physgen.generative import GenerativeModel
    from napari_physgen.generative.results import Restoration
    from napari_physgen.generative.settings import RestoreSettings
    from napari_physgen.outputs import Output
    from napari_physgen.physics.noise_level import NoiseLevel
    from napari_physgen.recipe import Finished

LEARNING = 0.9  # share of the work if the prior is learned from the image itself
LEARNED = "learning"  # what the stage that Stop ends first is called
MEASURED = 8  # planes of a stack whose noise is measured
# A prior for one look at a crop, learned in seconds.
QUICK: dict[str, Any] = {"features": 8, "levels": 3, "batch": 8, "crop": 48, "steps": 80}


@dataclass(frozen=True)
class Part:
    """What of a layer is restored.

    Parameters
    ----------
    layer : napari.layers.Layer
    index : tuple
        Of its leading axes; empty: all planes.
    region : (slice, slice)
    """

    layer: Layer
    index: tuple[int, ...]
    region: Region

    @classmethod
    def of(cls, layer: Layer, region: Region, point: Sequence[float] | None, whole: bool) -> Part:
        """Return all planes of a layer, or the one that the viewer shows at `point`."""
        data = pixels(layer)
        index = () if whole else tuple(shown_position(layer, data.shape, point)[:-2])
        return cls(layer, index, region)

    def read(self) -> NDArray[Any]:
        """Return the pixels."""
        return np.asarray(pixels(self.layer)[(*self.index, ..., *self.region)])

    def placed(self, output: Output) -> Output:
        """Return an output with the names that the layer gives its axes."""
        own = axis_names(self.layer)
        spatial = len(own) - len(self.index) - 2
        names = list(output.axes)
        if self.index or len(names) < spatial + 2 or spatial <= 0:
            return output
        names[-2 - spatial : -2] = own[:spatial]
        return replace(output, axes=tuple(names))


@dataclass(frozen=True)
class Restored:
    """A result with what the panel says of it.

    Parameters
    ----------
    result : Restoration
    model : GenerativeModel
        The prior that was used.
    left_over : str
        What the residual tells, in a sentence.
    """

    result: Restoration
    model: GenerativeModel
    left_over: str

    def outputs(self) -> list[Output]:
        """Return those of the result."""
        return self.result.outputs()

    @property
    def metrics(self) -> Mapping[str, float]:
        """Those of the result."""
        return self.result.metrics

    @property
    def summary(self) -> str:
        """That of the result."""
        return self.result.summary


@dataclass(frozen=True)
class Restoring:
    """Everything that a run needs.

    Parameters
    ----------
    part : Part
    settings : RestoreSettings
    prior : CurrentModel or None
        None: learn from the image itself.
    gaps : Part or None
        Where to fill, not 0 there.
    quick : bool
        `part` is a crop: measure the noise in all of its plane, and learn little.
    """

    part: Part
    settings: RestoreSettings
    prior: CurrentModel[GenerativeModel] | None
    gaps: Part | None = None
    quick: bool = False

    def job(self) -> Job[Finished[Restored]]:
        """Read, learn if need be, restore and judge."""
        from napari_physgen import recipe

        began = time.perf_counter()
        yield Progress(0, 1, "reading the image")
        inputs = {"image": self.part.read()}
        sources = {"image": self.part.layer.name}
        extras: dict[str, Any] = {}
        if self.gaps is not None:
            inputs["mask"] = self.gaps.read()
            sources["mask"] = self.gaps.layer.name
        if self.quick and self.settings.task == "denoise":
            extras["noise"] = self._noise().camera
        if self.prior is None:
            model, stopped = yield from _noted(portion(self._learn(inputs["image"]), 0, LEARNING))
        else:
            model, stopped = self.prior.get(), ""
        run = recipe.start("restore", self.settings, inputs, sources=sources, model=model, **extras)
        if self.prior is None:
            run = portion(_deaf_once(run) if stopped else run, LEARNING, 1)
        finished = yield from run
        record = replace(
            finished.record,
            duration_s=round(time.perf_counter() - began, 3),
            interventions=(*([stopped] if stopped else []), *finished.record.interventions),
        )
        result = finished.result
        told = Restored(result, model, left_over(result, model, inputs.get("mask")))
        return recipe.Finished(told, record)

    def _learn(self, image: NDArray[Any]) -> Job[GenerativeModel]:
        from napari_physgen.generative._restore_checks import checked_image
        from napari_physgen.generative.restore import settings_for_itself
        from napari_physgen.generative.train import train

        data = checked_image(image)
        settings = settings_for_itself(data, self.settings)
        if self.quick:
            smaller = {"crop": min(QUICK["crop"], settings.crop)}
            settings = settings.model_copy(update=QUICK | smaller)
        return train(data, settings)

    def _noise(self) -> NoiseLevel:
        from napari_physgen.generative.measured import measured

        whole = replace(self.part, region=(slice(None), slice(None))).read()
        return measured(_some(whole), self.settings)


def measuring(part: Part, settings: RestoreSettings) -> Job[NoiseLevel]:
    """Measure the noise of an image (a job)."""
    from napari_physgen.generative.measured import measured

    yield Progress(0, 1, "measuring the noise")
    return measured(_some(part.read()), settings)


def left_over(result: Restoration, model: GenerativeModel, gaps: NDArray[Any] | None = None) -> str:
    """Say what the residual tells; nothing if it is too small for that."""
    from napari_physgen.metrics.residual import whiteness

    residual = result.residual
    expected = 1.0
    if residual.shape == result.mean.shape:
        noise = np.maximum(result.noise.variance(result.mean), 1e-12)
        if result.method in ("direct", "pairs"):
            expected = float(np.clip(1 - (result.std**2 / noise).mean(), 0.2, 1))
        if gaps is not None:
            residual = np.where(np.broadcast_to(gaps, residual.shape) == 0, residual, np.nan)
    stack = residual.reshape(-1, *residual.shape[-2:])
    try:
        judged = whiteness(stack, correlation=model.noise_correlation, expected=expected)
    except UserError:
        return ""
    return judged.summary


def _some(data: NDArray[Any]) -> list[NDArray[Any]]:
    """Return a few planes, evenly spaced."""
    planes = data.reshape(-1, *data.shape[-2:])
    count = min(len(planes), MEASURED)
    return [planes[round(i)] for i in np.linspace(0, len(planes) - 1, count)]


def _noted(job: Job[GenerativeModel]) -> Job[tuple[GenerativeModel, str]]:
    """Run a training and tell, for the record, where it was stopped."""
    shown, stopped = Progress(0, 1), ""

    def show(progress: Progress) -> Progress:
        nonlocal shown
        shown = progress
        return progress

    def hear(command: Command) -> None:
        nonlocal stopped
        if isinstance(command, Stop) and not stopped:
            stopped = f"stopped at {LEARNED} {shown.step}/{shown.total}"

    model = yield from relayed(job, show, hear)
    return model, stopped


def _deaf_once(job: Job[Any]) -> Job[Any]:
    """Let a job overhear the stop that was meant for the stage before: the window repeats it."""
    heard, command = False, None
    while True:
        try:
            progress = job.send(command)
        except StopIteration as end:
            return end.value
        command = yield progress
        if isinstance(command, Stop) and not heard:
            heard, command = True, None
