"""One job in a worker thread, heard by the window at its own pace.

Jobs may report thousands of times a second. `relay` runs inside the worker around
the job's own generator: it forwards at most ten reports a second, and none before
the window has taken the last one; it makes the live picture in the worker, between
two steps of the job; it passes commands on at the next step; and it catches errors,
because the worker would swallow a RuntimeError (out of memory is one).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import GeneratorWorker

from napari_physgen.app.quiet import warnings_to_log
from napari_physgen.backend import Job, Progress, Stop, Tune

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_physgen.backend import Command
    from napari_physgen.outputs import Output

INTERVAL = 0.1
# A picture that took t seconds to make and draw is followed by no other for PATIENCE * t:
# live pictures cost a fast machine nothing and a slow one a sixth of its time.
PATIENCE = 5.0


@dataclass(frozen=True)
class Update:
    """What the window hears: the latest report and all figures since the last one."""

    progress: Progress
    figures: list[tuple[int, dict[str, float]]]
    pictures: list[Output] | None
    seconds_left: float | None


@dataclass(frozen=True)
class Ended:
    """How a job ended: a result or an error."""

    result: Any = None
    error: BaseException | None = None


@dataclass
class Control:
    """The strings between the window and the worker."""

    commands: SimpleQueue[Command] = field(default_factory=SimpleQueue)
    paused: Event = field(default_factory=Event)
    abandoned: Event = field(default_factory=Event)
    heard: Event = field(default_factory=Event)
    heard_at: float = 0.0
    watching: bool = True
    stopping: bool = False
    patience: float = PATIENCE

    def hear(self) -> None:
        """Say that the window has taken and drawn the last update."""
        self.heard_at = time.monotonic()
        self.heard.set()


def relay(
    make_job: Callable[[], Job[Any]], control: Control
) -> Generator[Update | None, None, Ended]:
    """Run a job; yield at most ten updates a second and return how it ended.

    Parameters
    ----------
    make_job : callable
        Starts the job; called here, in the worker, so that its imports happen here.
    control : Control
    """
    control.hear()
    try:
        return (yield from _forward(make_job(), control))
    except Exception as error:
        return Ended(error=error)


def _forward(job: Job[Any], control: Control) -> Generator[Update | None, None, Ended]:
    figures: list[tuple[int, dict[str, float]]] = []
    last, rest_until, clock = -INTERVAL, 0.0, _Clock()
    picture_from: float | None = None  # when the picture that is being drawn was begun
    stage = ""
    command: Command | None = None  # a generator takes none before its first step
    try:
        while not control.abandoned.is_set():
            try:
                progress = job.send(command)
            except StopIteration as end:
                return Ended(end.value)
            clock.tick(progress)
            if control.stopping and progress.message != stage:
                control.commands.put(Stop())  # not every stage can stop: ask the next one too
            stage = progress.message
            if progress.metrics:
                figures.append((progress.step, dict(progress.metrics)))
            now = time.monotonic()
            if now - last >= INTERVAL and not control.heard.is_set():
                last = now
                yield None  # lets the worker see that the window was closed
            elif now - last >= INTERVAL:
                if picture_from is not None:
                    spent = control.heard_at - picture_from
                    rest_until = control.heard_at + control.patience * spent
                pictures = picture_from = None
                if control.watching and progress.preview is not None and now >= rest_until:
                    pictures, picture_from = progress.preview(), now
                last = now
                control.heard.clear()
                yield Update(progress, figures, pictures, clock.left(progress))
                figures = []
            command = _next(control)
            while command is None and control.paused.is_set() and not control.abandoned.is_set():
                clock.rest(INTERVAL / 4)
                yield None
                command = _next(control)
        return Ended()
    finally:
        job.close()


def _next(control: Control) -> Command | None:
    """Return the next command; tunings that pile up are joined, a stop goes first."""
    changes: dict[str, Any] = {}
    try:
        while True:
            command = control.commands.get_nowait()
            if isinstance(command, Stop):
                control.stopping = True
                return command
            changes |= command.changes
    except Empty:
        return Tune(**changes) if changes else None


class _Clock:
    """Estimates the time left in the current stage from its own steps."""

    def __init__(self) -> None:
        self._stage = ""
        self._step = 0
        self._start = (time.monotonic(), 0)

    def tick(self, progress: Progress) -> None:
        if progress.message != self._stage or progress.step < self._step:
            self._stage, self._start = progress.message, (time.monotonic(), progress.step)
        self._step = progress.step

    def rest(self, seconds: float) -> None:
        """Wait without counting the time."""
        time.sleep(seconds)
        self._start = (self._start[0] + seconds, self._start[1])

    def left(self, progress: Progress) -> float | None:
        done, spent = progress.step - self._start[1], time.monotonic() - self._start[0]
        if done < 1 or spent < 1:
            return None
        return spent / done * max(progress.total - progress.step, 0)


class _Worker(GeneratorWorker[Any, Any, Any]):
    """A worker that closes its job when told to quit (the viewer closes)."""

    control: Control

    def run(self) -> None:
        """Do the work and tell, as the base class does, but see `quiet` about warnings."""
        self.started.emit()
        self._running = True
        try:
            with warnings_to_log():
                result = self.work()
            if isinstance(result, Exception):
                raise result
            if not self.abort_requested:
                self.returned.emit(result)
        except Exception as error:
            self.errored.emit(error)
        self._running = False
        self.finished.emit()
        self._finished.emit(self)

    def quit(self) -> None:
        # The base class would leave the job suspended in the middle of a step.
        self.control.abandoned.set()


class JobRunner(QObject):
    """At most one job at a time, in a napari worker.

    Parameters
    ----------
    patience : float
        A picture that took t seconds is followed by no other for ``patience * t``.

    Signals
    -------
    updated(Update)
        At most ten times a second.
    ended(Ended)
        Once per job, unless it was abandoned.
    """

    updated = Signal(object)
    ended = Signal(object)

    def __init__(self, patience: float = PATIENCE) -> None:
        super().__init__()
        self.patience = patience
        self._control = Control()
        self._worker: Any = None

    @property
    def running(self) -> bool:
        """Whether a job runs or waits."""
        return self._worker is not None

    @property
    def paused(self) -> bool:
        """Whether the job waits for `resume`."""
        return self.running and self._control.paused.is_set()

    def start(self, make_job: Callable[[], Job[Any]]) -> None:
        """Start a job made in the worker by `make_job`."""
        from napari.qt.threading import create_worker

        if self.running:
            raise RuntimeError("one job at a time")
        control = self._control = Control(patience=self.patience)
        worker = create_worker(
            relay,
            make_job,
            control,
            _worker_class=_Worker,
            _start_thread=False,
            _ignore_errors=True,
        )
        worker.control = control
        worker.yielded.connect(lambda update: self._hear(update, control))
        worker.returned.connect(lambda end: self._end(end, control))
        self._worker = worker
        worker.start()

    def stop(self) -> None:
        """Ask for the best result so far."""
        self._control.commands.put(Stop())
        self._control.paused.clear()

    def tune(self, **changes: Any) -> None:
        """Change tunable settings from the job's next step on."""
        self._control.commands.put(Tune(**changes))

    def pause(self) -> None:
        """Wait after the current step."""
        self._control.paused.set()

    def resume(self) -> None:
        """Go on after a pause."""
        self._control.paused.clear()

    def watch(self, watching: bool) -> None:
        """Whether live pictures are wanted."""
        self._control.watching = watching

    def abandon(self) -> None:
        """Stop after the current step and forget the result."""
        self._control.abandoned.set()
        self._worker = None

    def _hear(self, update: Update | None, control: Control) -> None:
        if update is not None and control is self._control and self.running:
            self.updated.emit(update)
        # After the events that this has caused, drawing above all.
        QTimer.singleShot(0, control.hear)

    def _end(self, end: Ended, control: Control) -> None:
        if control is not self._control or not self.running:
            return
        self._worker = None
        self.ended.emit(end)
