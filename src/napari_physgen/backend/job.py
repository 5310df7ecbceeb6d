"""The job contract: a generator that reports, listens and returns a result.

``job(inputs..., settings) -> Generator[Progress, Command | None, Result]``.
A viewer runs it in a worker thread, the command line as a progress bar, a test
as a loop; `run` drains one in a script.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
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
    command, reached = None, 0.0
    while True:
        try:
            inner = job.send(command)
        except StopIteration as end:
            result: R = end.value
            return result
        named = (span for words, span in (stages or {}).items() if inner.message.startswith(words))
        first, last = next(named, (0.0, 1.0))
        reached = max(reached, first + (last - first) * inner.step / max(inner.total, 1))
        command = yield Progress(
            round(TICKS * (start + (stop - start) * reached)),
            TICKS,
            inner.message,
            inner.metrics,
            inner.preview,
        )
