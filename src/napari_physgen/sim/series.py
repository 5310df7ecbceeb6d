"""Time-lapses, channels and z-stacks: one raw stack after the other.

The patterns are estimated once per channel and follow each stack (`sim.following`). Each stack
begins with what the one before it in its channel taught (`sim.warm`), which takes a sixth of the
iterations. Time and channels are never mixed: no image sees the frames of another.

Of each stack only the images are kept, in arrays that the caller may provide (a file that grows):
what is finished stays when the job is stopped or interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.backend.job import placed
from napari_physgen.errors import UserError
from napari_physgen.sim.following import common_patterns, followed
from napari_physgen.sim.reconstruct import overheard, reconstruct_stack
from napari_physgen.sim.results import Patterns, Reconstruction

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

    from napari_physgen.backend import Job
    from napari_physgen.outputs import Output
    from napari_physgen.physics.optics import Otf
    from napari_physgen.sim.settings import SimSettings
    from napari_physgen.sim.stacks import Sink, Stacks
    from napari_physgen.sim.warm import Warm

IMAGES = ("SIM", "std", "Wiener", "widefield", "residual")
"""What is kept of each stack, by the names of its outputs."""


@dataclass(frozen=True)
class Point:
    """How one stack of a series went.

    Parameters
    ----------
    label : str
        Where it is: "time 4 of 20".
    chi2 : float
        Held-out chi2.
    stage : str
        The stage that made its image.
    warm : bool
        Whether it began with what the one before taught.
    patterns : Patterns or numpy.ndarray
        Its illumination.
    """

    label: str
    chi2: float
    stage: str
    warm: bool
    patterns: Patterns | NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class Series(Reconstruction):
    """The images of a series: as a `Reconstruction`, with the axes of the series in front.

    `chi2` is the mean over the stacks, `patterns` are those of the first stack.

    Parameters
    ----------
    axes : tuple of str
        Names of the axes in front; ("frame",) if a stop left them incomplete.
    points : tuple of Point
        The stacks in their order.
    """

    axes: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()

    def outputs(self) -> list[Output]:
        """Return the images as stacks; what is shown of the patterns stays as it is."""
        return [
            replace(output, axes=(*self.axes, "y", "x")) if output.name in IMAGES else output
            for output in super().outputs()
        ]


def reconstruct_series(
    stacks: Stacks,
    settings: SimSettings,
    patterns: Patterns | ArrayLike | None,
    otf: Otf | ArrayLike | str | Path | None,
    sink: Sink,
    stopped: bool = False,
) -> Job[Series]:
    """Reconstruct the stacks of a series (a job); see `sim.reconstruct`.

    A stop keeps the stacks that are finished; the first one is kept as far as it came, also if the
    job was `stopped` before. A stack that cannot be reconstructed (a closed shutter) stays empty,
    and so does a channel whose patterns cannot be estimated; the summary says so.

    Raises
    ------
    UserError
        If no stack can be reconstructed: what is wrong with the first.
    """
    running = _Series(stacks, settings.model_copy(update={"order": stacks.order}), sink)
    running.stopped = stopped
    common = running.common
    for place in stacks:
        if running.stopped and running.begun:
            break
        channel = stacks.channel(place)
        if channel not in common:
            common[channel] = patterns
            if patterns is None and settings.pattern not in ("given", "speckle"):
                members = [p for p in stacks if stacks.channel(p) == channel]
                if running.stopped:
                    members = [place]
                job = common_patterns(stacks, members, running.settings, otf)
                try:
                    common[channel] = yield from running.watched(job, "")
                except UserError as error:
                    running.leave_empty(stacks.channel_label(place), error)
                    running.lost.add(channel)
        if channel in running.lost:
            continue
        yield from running.add(place, otf)
    return running.result()


class _Series:
    """A series, and how far it is."""

    def __init__(self, stacks: Stacks, settings: SimSettings, sink: Sink) -> None:
        self.settings = settings
        self.stopped = False
        self.common: dict[tuple[int, ...], Any] = {}
        self.lost: set[tuple[int, ...]] = set()
        self._stacks, self._sink = stacks, sink
        self._images: dict[str, NDArray[Any]] = {}
        self._points: list[Point] = []
        self._failed: list[str] = []
        self._error: UserError | None = None
        self._warm: dict[tuple[int, ...], Warm] = {}
        self._first: Reconstruction | None = None

    @property
    def begun(self) -> bool:
        """Whether there is a finished stack."""
        return self._first is not None

    def watched(self, job: Job[Any], where: str) -> Job[Any]:
        """Run a part, say where it is, and note what the listener wants."""
        result, self.settings, stopped = yield from overheard(placed(job, where), self.settings)
        self.stopped |= stopped
        return result

    def add(self, place: tuple[int, ...], otf: Any) -> Job[None]:
        """Reconstruct the stack at a place."""
        label, channel = self._stacks.label(place), self._stacks.channel(place)
        early = self.stopped
        warm, patterns = self._warm.get(channel), self.common[channel]
        try:
            raw = self._stacks[place]
            if isinstance(patterns, Patterns):
                patterns = followed(raw, patterns, self.settings, otf)
            settings = self.settings
            if early:
                settings = settings.model_copy(update={"method": "wiener"})
            job = reconstruct_stack(raw, settings, patterns, otf, warm)
            result = yield from self.watched(job, f"{label}: ")
        except UserError as error:
            self.leave_empty(label, error)
            return
        if self.stopped and self._first is not None:
            return
        self._keep(place, result)
        again = result.warm is not None and result.warm.solution.follows
        self._points.append(Point(label, result.chi2, result.stage, again, result.patterns))
        if result.warm is not None:
            self._warm[channel] = result.warm
            if isinstance(result.patterns, Patterns):
                self.common[channel] = result.warm.improved(result.patterns)

    def leave_empty(self, label: str, error: UserError) -> None:
        """Note what could not be reconstructed, and why."""
        self._error = self._error or error
        self._failed.append(f"{label} could not be reconstructed: {error}")

    def _keep(self, place: tuple[int, ...], result: Reconstruction) -> None:
        """Put the images of a stack to those of the others."""
        outputs = [output for output in result.outputs() if output.name in IMAGES]
        if self._first is None:
            self._first = result
            sizes = dict(zip(self._stacks.axes, self._stacks.shape, strict=True))
            arrays = self._sink(outputs, sizes)
            names = [output.name for output in outputs]
            self._images = dict(zip(names, arrays, strict=True))
        for output in outputs:
            if output.name in self._images:
                self._images[output.name][place] = output.data
        self._done = int(np.ravel_multi_index(place, self._stacks.shape)) + 1

    def result(self) -> Series:
        """Collect what is finished."""
        first = self._first
        if first is None:
            assert self._error is not None, "a stack returns something or raises"
            raise self._error
        shape, axes, count = self._stacks.shape, self._stacks.axes, self._done
        images = self._images
        if count < len(self._stacks) and self.stopped:
            if len(shape) > 1:
                axes = ("frame",)
                images = {
                    name: data.reshape(-1, *data.shape[len(shape) :])
                    for name, data in images.items()
                }
            images = {name: data[:count] for name, data in images.items()}
        chi2 = np.array([point.chi2 for point in self._points])
        shown = first.patterns
        metrics = {
            "chi2": float(chi2.mean()),
            "chi2_worst": float(chi2.max()),
            "warm": float(sum(point.warm for point in self._points)),
            **(shown.metrics if isinstance(shown, Patterns) else {}),
            **{f"chi2_{i + 1}": float(value) for i, value in enumerate(chi2)},
        }
        return Series(
            image=images["SIM"],
            std=images.get("std"),
            widefield=images["widefield"],
            wiener=images.get("Wiener"),
            residual=images["residual"],
            chi2=float(chi2.mean()),
            patterns=shown,
            stage=first.stage,
            summary=self._words(shown),
            metrics=metrics,
            device=first.device,
            axes=axes,
            points=tuple(self._points),
        )

    def _words(self, patterns: Any) -> str:
        """Say what came out."""
        chi2 = [point.chi2 for point in self._points]
        warm = sum(point.warm for point in self._points)
        words = [
            f"{len(chi2)} of {len(self._stacks)} stacks, held-out misfit {min(chi2):.3f} to "
            f"{max(chi2):.3f} (1 = noise)."
        ]
        if warm:
            words.append(f"{warm} of them went on from what the one before taught.")
        if kept := sum(point.stage == "pinn" for point in self._points):
            words.append(f"The network was kept in {kept}.")
        if self.stopped:
            words.append("Stopped early.")
        words += self._failed
        if isinstance(patterns, Patterns):
            words.append(f"Patterns: {patterns.summary}.")
        return " ".join(words)
