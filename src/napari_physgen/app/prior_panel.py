"""The frame of the tools that work with a prior: it is chosen, learned and read in one way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtWidgets import QVBoxLayout

from napari_physgen.app.blank import blank
from napari_physgen.app.job_panel import JobPanel, Task
from napari_physgen.app.labour_free_jobs import once
from napari_physgen.app.prior_section import PriorSection
from napari_physgen.app.prior_source import read_prior
from napari_physgen.app.results import warm_up
from napari_physgen.app.strip import Strip
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_physgen.backend import Job
    from napari_physgen.generative import GenerativeModel
    from napari_physgen.provenance import Record

EXAMPLES = "examples"  # what a training shows: crops below each other, stages side by side
ROWS = 3
STAGES = {
    "noisy": "What the network sees.",
    "cleaned": "What it makes of it so far.",
    "sharp": "The truth.",
}


class PriorPanel(JobPanel):
    """A panel with a prior."""

    kinds: ClassVar[dict[str, str]]
    prior_title: ClassVar[str]
    curves: ClassVar[dict[str, str]] = {"held-out": "loss on images kept aside (falls)"}

    prior: PriorSection

    def no_prior(self, kind: str) -> str:
        """Return what to say while there is no prior of a kind."""
        return ""

    def add_prior(self, layout: QVBoxLayout) -> None:
        """Add the choice of the prior."""
        self.prior = PriorSection(self, self.prior_title, self.kinds)
        layout.addWidget(self.prior)

    def add_more(self, layout: QVBoxLayout) -> None:
        """Add the pictures of a training."""
        self.strip = Strip(STAGES)
        layout.insertWidget(layout.indexOf(self.curves_plot), self.strip)

    def learn(self) -> None:
        """Train a prior on the chosen layers."""
        lessons = self.prior.lessons()

        def done(model: GenerativeModel, record: Record | None) -> str:
            self.prior.use(model)
            self.curves_plot.hide()
            return ""

        source = blank("prior", lessons.settings.pixel_size_nm or 1.0, ("y", "x"))
        self.launch(Task(lessons.job, source, lessons.settings, done, tunable=False))

    def read(self, path: Path) -> None:
        """Use the prior in a file."""

        def done(model: GenerativeModel, record: Record | None) -> str:
            self.prior.use(model, path)
            return ""

        def job() -> Job[GenerativeModel]:
            return once("reading the prior", lambda: read_prior(path))

        self.launch(Task(job, blank(path.stem, 1.0), self.settings(), done, tunable=False))

    def do(self, message: str, work: Callable[[], object], words: str) -> None:
        """Do one thing in the worker and say so at the end."""

        def done(_: object, record: Record | None) -> str:
            self.prior.refresh()
            return words

        def job() -> Job[bool]:
            return once(message, lambda: work() is None or True)

        self.launch(Task(job, blank("file", 1.0), self.settings(), done, tunable=False))

    def launch(self, task: Task) -> None:
        """Run a task in the worker."""
        self.strip.clear()
        super().launch(replace(task, job=lambda: self._sharing(task)))

    def _sharing(self, task: Task) -> Job[Any]:
        """Run a job that leaves the window a core to draw with."""
        from napari_physgen.backend import describe_device, resolve_device
        from napari_physgen.backend.device import beside_a_window

        warm_up()  # before: numba, which draws labels, sets the number of threads anew
        with beside_a_window():
            device = resolve_device(getattr(task.settings, "device", "auto"))
            self._device = describe_device(device)
            return (yield from task.job())

    def show_pictures(self, pictures: Sequence[Output]) -> None:
        """Show what a network learns in the strip and all else in the viewer."""
        if pictures and pictures[0].name == EXAMPLES:
            self.strip.show_pictures(stages(pictures[0].data))
        else:
            super().show_pictures(pictures)

    def lock(self, running: bool) -> None:
        """Leave open what makes sense while a job runs, or while none does."""
        super().lock(running)
        if hasattr(self, "prior"):
            self.prior.lock(running)


def stages(examples: Any) -> list[Output]:
    """Return the first crop of a training at every stage."""
    side = examples.shape[0] // ROWS
    columns = max(round(examples.shape[1] / side), 1)
    parts = zip(STAGES, range(columns), strict=False)
    width = examples.shape[1] // columns
    return [Output(name, examples[:side, i * width : (i + 1) * width]) for name, i in parts]
