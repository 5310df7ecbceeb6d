"""A small sample that evolves again and again while somebody moves the sliders."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_physgen.app.blank import blank
from napari_physgen.app.live_preview import LivePreview
from napari_physgen.app.runner import Ended, JobRunner, Update
from napari_physgen.app.side_view import SideView
from napari_physgen.backend.job import Progress, Tune
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_physgen.backend import Job
    from napari_physgen.synthesis.settings import PhaseFieldSettings

NAME, OUTPUT = "Live preview", "sample"
SIZE = 128  # cells
SMOOTH = {"interpolation2d": "linear"}  # so few cells fill the window
# A sample needs this long from start to end at least, however fast the machine, and then stays.
SECONDS, HOLD = 4.0, 1.5
FRAMES = 100
NAP = 0.02
SETTLE_MS = 120  # sliders restart the sample when they rest for so long
# Times the tolerance: coarser time steps, which no eye can tell, half the work for gamma prime.
COARSER = 3.0
# Pictures may take most of the time here: they are what it is for.
PATIENCE = 0.5


class Sketch(QObject):
    """The live preview: its own job, its own layer.

    A tunable setting changes the sample as it is; any other one starts it again, and what
    still arrives from the earlier one is dropped.

    Signals
    -------
    told(str)
        Where the sample stands, in words, or why it cannot be simulated.
    toggled(bool)
        Whether it runs.
    """

    told = Signal(str)
    toggled = Signal(bool)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.runner = JobRunner(patience=PATIENCE)
        self.runner.updated.connect(self._update)
        self.runner.ended.connect(self._end)
        self.live = LivePreview(viewer, suffix="")
        self.side = SideView(viewer)
        self.pictures = 0
        self._run = 0
        self._settings: PhaseFieldSettings | None = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(SETTLE_MS)
        self._rest.timeout.connect(self._begin)

    @property
    def on(self) -> bool:
        """Whether it is switched on."""
        return self._settings is not None

    def start(self, settings: PhaseFieldSettings) -> None:
        """Begin with a sample."""
        self._settings = settings
        self._begin()
        self.toggled.emit(True)

    def change(self, settings: PhaseFieldSettings, name: str, tunable: bool) -> None:
        """Follow an edit of the field `name`."""
        if not self.on:
            return
        self._settings = settings
        if tunable and self.runner.running and not self._rest.isActive():
            self.runner.tune(**{name: getattr(settings, name)})
        else:
            self._rest.start()

    def stop(self) -> None:
        """End it and take its layer away."""
        self._rest.stop()
        self.runner.abandon()
        self.live.clear()
        self.side.back()
        if self.on:
            self._settings = None
            self.told.emit("")
            self.toggled.emit(False)

    def toggle_pause(self) -> bool:
        """Hold the evolution or go on; return whether it is held now."""
        if self.runner.paused:
            self.runner.resume()
        else:
            self.runner.pause()
        return self.runner.paused

    def _begin(self) -> None:
        settings = self._settings
        if settings is None:
            return
        sample = small(settings)
        self.runner.abandon()
        source = blank(NAME, sample.pixel_size_nm)
        self._run = self.live.begin(source, go_on=self.live.layer is not None)
        self.runner.start(lambda: looping(sample))

    def _update(self, update: Update) -> None:
        progress = update.progress
        if update.pictures:
            first = self.live.layer is None
            picture = replace(update.pictures[0], name=OUTPUT, display=SMOOTH)
            self.live.show([picture], self._run)
            self.pictures += 1
            if first and self.live.layer is not None and len(self.viewer.layers) > 1:
                self.side.look([self.live.layer])
        layer = self.live.layer
        if layer is not None and layer not in self.viewer.layers:
            self.stop()  # closed by hand
            return
        self.runner.watch(self.live.looked_at)
        if self._settings is not None and not self.runner.paused:
            self.told.emit(_words(progress, self._settings))

    def _end(self, end: Ended) -> None:
        self.stop()
        if end.error is not None:
            self.told.emit(
                str(end.error)
                if isinstance(end.error, UserError)
                else f"This sample cannot be simulated: {end.error or type(end.error).__name__}."
            )


def small(settings: PhaseFieldSettings) -> PhaseFieldSettings:
    """Return the same material on a grid that is fast enough to play with, in two dimensions."""
    size = min(settings.size, SIZE)
    # A time-lapse reports at each of its pictures, however few steps lie between them.
    changes: dict[str, Any] = {"size": size, "depth": 1, "frames": FRAMES}
    changes["tolerance"] = min(COARSER * settings.tolerance, 0.1)
    changes["grains"] = max(round(settings.grains * (size / settings.size) ** 2), 2)
    return settings.model_copy(update=changes)


def looping(settings: PhaseFieldSettings) -> Job[None]:
    """Simulate a sample again and again, each time with what was tuned last; never ends."""
    while True:
        settings = yield from _once(settings)


def _once(settings: PhaseFieldSettings) -> Job[PhaseFieldSettings]:
    """Let a sample evolve at a pace that can be watched; return its settings at the end."""
    from napari_physgen.synthesis import simulate

    job = simulate(settings)
    began, progress, command = time.monotonic(), Progress(0, 1), None
    try:
        while True:
            try:
                progress = job.send(command)
            except StopIteration:
                break
            command = yield progress
            # Structures form early and coarsen ever more slowly: the square root evens it out.
            due = began + SECONDS * (progress.step / max(progress.total, 1)) ** 0.5
            while command is None and time.monotonic() < due:
                time.sleep(NAP)
                command = yield progress
            if isinstance(command, Tune):
                settings = settings.tuned(**command.changes)
        end = time.monotonic() + HOLD
        while time.monotonic() < end:
            time.sleep(NAP)
            command = yield replace(progress, preview=None)
            if isinstance(command, Tune):
                return settings.tuned(**command.changes)
    finally:
        job.close()
    return settings


def _words(progress: Progress, settings: PhaseFieldSettings) -> str:
    at = settings.duration * progress.step / max(progress.total, 1)
    words = f"time {at:.3g} of {settings.duration:.4g}"
    length = progress.metrics.get("length")
    if length and settings.material in ("spinodal", "precipitates"):
        words += f", spacing {length * settings.pixel_size_nm:.3g} nm"
    return words
