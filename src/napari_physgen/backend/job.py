"""The job contract: a generator that reports, listens and returns a result.

``job(inputs..., settings) -> Generator[Progress, Command | None, Result]``.
A viewer runs it in a worker thread, the command line as a progress bar, a test
as a loop; `run` drains one in a script.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from napari_physgen.outputs import Output


@dataclass(frozen=True)
class Progress:
    """Where a job stands.

    Parameters
    ----------
    step, total : int
        Steps done and steps planned in the current stage (`total` may shrink).
    message : str
        The stage, in the microscopist's words.
    metrics : mapping
        Current figures by name, for live curves.
    preview : callable, optional
        Makes the current images; called only if somebody looks, in the job's own
        thread or while the job waits for the next command.
    """

    step: int
    total: int
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    preview: Callable[[], list[Output]] | None = None


@dataclass(frozen=True)
class Stop:
    """Command: end early and return the best result so far."""


@dataclass(frozen=True, init=False)
class Tune:
    """Command: go on with some tunable settings changed."""

    changes: Mapping[str, Any]

    def __init__(self, **changes: Any) -> None:
        object.__setattr__(self, "changes", changes)


Command = Stop | Tune

R = TypeVar("R")
Job = Generator[Progress, Command | None, R]


def run(
    job: Job[R],
    on_progress: Callable[[Progress], Command | None] | None = None,
) -> R:
    """Run a job to its end and return its result.

    Parameters
    ----------
    job : generator
        A started job, e.g. ``sim.reconstruct(raw, settings)``.
    on_progress : callable, optional
        Called with every `Progress`; may return a `Command` (`Stop()`,
        `Tune(...)`) or None to go on.

    Returns
    -------
    object
        What the job returns.
    """
    command: Command | None = None
    try:
        while True:
            progress = job.send(command)
            command = on_progress(progress) if on_progress else None
    except StopIteration as end:
        result: R = end.value
        return result


def relayed(
    job: Job[R],
    show: Callable[[Progress], Progress] | None = None,
    hear: Callable[[Command], object] | None = None,
) -> Job[R]:
    """Run a job inside another one.

    Parameters
    ----------
    job : generator
    show : callable, optional
        Makes what the listener sees of what the job says; default: the same.
    hear : callable, optional
        Called with every command before the job gets it; what it raises ends the job.

    Returns
    -------
    generator
        A job with the same result; commands reach the inner one.
    """
    command: Command | None = None
    try:
        while True:
            try:
                progress = job.send(command)
            except StopIteration as end:
                result: R = end.value
                return result
            command = yield show(progress) if show else progress
            if hear and command is not None:
                hear(command)
    finally:
        job.close()


TICKS = 1000
"""Steps of a job that is made of portions."""


def portion(
    job: Job[R],
    start: float,
    stop: float,
    stages: Mapping[str, tuple[float, float]] | None = None,
) -> Job[R]:
    """Run a job as a part of a larger one, with one progress for all of it.

    Parameters
    ----------
    job : generator
    start, stop : float
        Where it begins and ends in the larger one, 0 to 1.
    stages : mapping
        Where stages of the job begin and end in it, 0 to 1, by the first words of their message;
        stages that are not named cover all of it. The progress never goes back.

    Returns
    -------
    generator
        A job of TICKS steps; commands reach the inner one.
    """
    reached = 0.0

    def as_part(inner: Progress) -> Progress:
        nonlocal reached
        named = (span for words, span in (stages or {}).items() if inner.message.startswith(words))
        first, last = next(named, (0.0, 1.0))
        reached = max(reached, first + (last - first) * inner.step / max(inner.total, 1))
        step = round(TICKS * (start + (stop - start) * reached))
        return replace(inner, step=step, total=TICKS)

    return relayed(job, as_part)


def placed(job: Job[R], where: str) -> Job[R]:
    """Run a job whose messages say where it is: ``where`` stands in front of each."""
    return relayed(job, lambda inner: replace(inner, message=where + inner.message))


class Stopped(Exception):
    """Raised by a `Report` in a function that shall end early."""


class Report:
    """What a plain function calls on its way, to be a job."""

    def __init__(self) -> None:
        self._latest: Progress | None = None
        self._fresh = False
        self._stop = threading.Event()
        self._news = threading.Condition()

    def __call__(self, progress: Progress) -> None:
        """Tell where the function stands.

        Raises
        ------
        Stopped
            If it shall end.
        """
        with self._news:
            self._latest = progress
        self.wake()
        self.check()

    def check(self) -> None:
        """Raise Stopped if the function shall end; for places between two reports."""
        if self._stop.is_set():
            raise Stopped

    def end(self) -> None:
        """Ask the function to end at its next report or check."""
        self._stop.set()

    def wake(self) -> None:
        """End a `wait`."""
        with self._news:
            self._fresh = True
            self._news.notify()

    def wait(self, seconds: float) -> Progress | None:
        """Return what was told last, after at most `seconds` without news."""
        with self._news:
            self._news.wait_for(lambda: self._fresh, seconds)
            self._fresh = False
            return self._latest


def threaded(work: Callable[[Report], R], message: str, patience: float = 0.2) -> Job[R]:
    """Run a plain function in a thread, as a job.

    For functions that are best written without yielding, such as a sampler that calls a solver that
    calls a network: whatever is deep inside can be ended between two network evaluations.

    Parameters
    ----------
    work : callable
        ``work(report)``. After a `Stop` its next report or check raises `Stopped`, which it turns
        into its best result so far.
    message : str
        What is being done, until it reports itself.
    patience : float
        Longest time between two looks for commands, s.
    """
    report = Report()
    # Not a pool of one: its threads are joined when Python exits, however long they need.
    future: Future[R] = Future()
    context = contextvars.copy_context()
    thread = threading.Thread(
        target=lambda: context.run(_settle, future, work, report), daemon=True
    )
    thread.start()
    latest = Progress(0, 1, message)
    try:
        while not future.done():
            if isinstance((yield latest), Stop):
                report.end()
            latest = report.wait(patience) or latest
        return future.result()
    finally:
        report.end()
        thread.join()


def _settle(future: Future[R], work: Callable[[Report], R], report: Report) -> None:
    try:
        future.set_result(work(report))
    except BaseException as error:
        future.set_exception(error)
    report.wake()
