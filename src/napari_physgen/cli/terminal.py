"""Jobs in a terminal: a progress bar, Ctrl-C, many files, and folders."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from napari_physgen.batch import stem as stem
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_physgen.backend.job import Command, Job, Progress

R = TypeVar("R")

_SUFFIX = ".safetensors"


@contextmanager
def bar(name: str, interrupts: Interrupts) -> Iterator[Callable[[Progress], Command | None]]:
    """Show a job as a progress bar on stderr; give the callback that feeds it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from napari_physgen.backend import Stop

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(name, total=None)
        stage: str | None = None
        stopped = False

        def report(progress: Progress) -> Command | None:
            nonlocal stage, stopped
            if progress.message != stage:
                stage = progress.message
                shown.reset(task, total=progress.total, description=f"{name}: {stage}")
            shown.update(task, completed=progress.step, total=progress.total)
            if interrupts.count and not stopped:
                stopped = True
                shown.update(task, description=f"{name}: stopping, Ctrl-C again gives up")
                return Stop()
            return None

        yield report


class Interrupts:
    """Counts Ctrl-C; the second one ends the program."""

    count = 0

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._count)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _count(self, *_: object) -> None:
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt


def drained(job: Job[R], name: str) -> R:
    """Run a job with a progress bar; Ctrl-C stops it."""
    from napari_physgen.backend import run

    with Interrupts() as interrupts, bar(name, interrupts) as report:
        return run(job, report)


def each(paths: Sequence[Path], work: Callable[[Path, Interrupts], None]) -> None:
    """Work on each file; those that fail are reported, and the exit code is 2 then."""
    failed = False
    with Interrupts() as interrupts:
        for path in paths:
            if interrupts.count:
                print(f"{path.name}: left out after Ctrl-C", file=sys.stderr)
                failed = True
                continue
            try:
                work(path, interrupts)
            except UserError as error:
                print(f"{path.name}: {error}", file=sys.stderr)
                failed = True
    if failed:
        raise SystemExit(2)


def make(folder: Path) -> None:
    """Make a folder; raises UserError where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise UserError(f"The folder {folder} cannot be made: choose another one.") from None


def model_file(out: Path) -> Path:
    """Return the model file to write, in a folder that is there."""
    target = out if out.suffix == _SUFFIX else Path(f"{out}{_SUFFIX}")
    make(target.parent)
    return target


def saved(summary: str, target: Path) -> None:
    """Say what came out and where it is."""
    print(f"{target.name}: {summary}")
    print(f"  saved as {target}")
