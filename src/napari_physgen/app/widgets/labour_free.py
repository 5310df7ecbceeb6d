"""Labour-free segmentation: from micrographs without labels to a model that labels them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from qtpy.QtWidgets import QVBoxLayout

from napari_physgen.app.apply_section import ApplySection
from napari_physgen.app.blank import blank
from napari_physgen.app.correct_section import CorrectSection
from napari_physgen.app.current_model import CurrentModel
from napari_physgen.app.fidelity_section import FidelitySection
from napari_physgen.app.job_panel import JobPanel, Task
from napari_physgen.app.labour_free_images import Place
from napari_physgen.app.labour_free_jobs import (
    Made,
    all_job,
    look_job,
    model_job,
    once,
    stage_of,
    translation_job,
)
from napari_physgen.app.labour_free_project import FILES, Project
from napari_physgen.app.micrograph_section import MicrographSection
from napari_physgen.app.model_bar import ModelBar
from napari_physgen.app.results import warm_up
from napari_physgen.app.score_section import ScoreSection
from napari_physgen.app.strip import Strip
from napari_physgen.app.words import duration
from napari_physgen.app.workflow_steps import WorkflowSteps
from napari_physgen.segmentation.settings import LabourFreeSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_physgen.app.labour_free_images import Micrographs
    from napari_physgen.app.runner import Ended, Update
    from napari_physgen.backend import Job, Progress
    from napari_physgen.outputs import Output
    from napari_physgen.provenance import Record
    from napari_physgen.segmentation import SegmentationModel

ALL = "all"
STRIP = {
    "simulated": "The simulation, drawn with the grey levels of your images.",
    "translated": "The same after the translation has learned from your images.",
    "real": "Part of one of your images.",
}


class LabourFree(JobPanel):
    """The dock widget."""

    tool = "labour-free"
    title = "Labour-free segmentation"
    about = "Micrographs of one material without any labels."
    input_title = ""
    model = LabourFreeSettings
    rows = (("Structure", ("classes", "particles")),)
    tucked = (
        "look",
        "translation",
        "simulations",
        "translation_steps",
        "training_steps",
        "self_training",
        "seed",
    )
    choices: ClassVar[dict[str, dict[str, str]]] = {
        "particles": {"auto": "find out"},
        "look": {"auto": "find out", "lamellae": "lamellae (tweed)"},
        "translation": {"none": "none", "cyclegan": "CycleGAN", "fastcut": "FastCUT"},
    }
    curves: ClassVar[dict[str, str]] = {
        "distance": "distance to the images",
        "loss": "training loss",
    }

    def __init__(self, napari_viewer: ViewerModel) -> None:
        self.current = CurrentModel(
            _read, "There is no model yet: press Train or Run all, or load one."
        )
        self._place = Place()
        self._doing = ""
        self._covering: list[Layer] = []
        super().__init__(napari_viewer)
        self.curves_plot.setToolTip(
            "<p>First how far the simulations are from your images, then the loss of the networks: "
            "both should fall.</p>"
        )
        self.list.changed.connect(self._images_changed)
        self.line.changed.connect(self._project_changed)
        self._images_changed()
        self.current.set(None, self.project.model())
        self._refresh()

    # ---- what I have --------------------------------------------------------------------

    def accepts(self, layer: Layer) -> bool:
        """Offer images with grey levels or colours, but none of our own results."""
        return super().accepts(layer) and np.dtype(_dtype(layer)) != bool

    def add_start(self, layout: QVBoxLayout) -> None:
        """Add the images and the project."""
        self.start = MicrographSection(self)
        self.list, self.line = self.start.list, self.start.line
        layout.addWidget(self.start)

    @property
    def project(self) -> Project:
        """Where the steps are kept."""
        return self.line.project

    def take_settings(self, tool: str, values: Mapping[str, Any], origin: str) -> None:
        """Show the settings of an earlier model, or of how it was applied."""
        if tool == "segment":
            self.applying.form.put(values)
        else:
            super().take_settings(tool, values, origin)

    def _images_changed(self) -> None:
        self.line.follow(self.start.described())
        self._describe()
        self._refresh()

    def _describe(self) -> None:
        """Say what the images are and what was done to them."""
        self.reading.setText(self.start.words())

    def _project_changed(self) -> None:
        path = self.project.model()
        if path is not None:  # else go on with the model at hand: it may be meant for these images
            self.current.set(None, path)
        self._refresh()

    def setting_changed(self, name: str) -> None:
        """Show which steps hold for these settings."""
        self._refresh()

    def fill(self, values: Mapping[str, Any]) -> None:
        """Show settings by name."""
        super().fill(values)
        self._refresh()

    # ---- the steps ----------------------------------------------------------------------

    def add_steps(self, layout: QVBoxLayout) -> None:
        """Add the effort, Run all and the steps."""
        self.steps = WorkflowSteps(self)
        layout.addWidget(self.steps)
        self.applying = ApplySection(self)
        layout.addWidget(self.applying)

    def add_more(self, layout: QVBoxLayout) -> None:
        """Add the strip and what can be done with the model."""
        self.strip = Strip(STRIP)
        layout.insertWidget(layout.indexOf(self.curves_plot), self.strip)
        layout.addWidget(self.applying.histogram)
        self.model_bar = ModelBar(self)
        layout.addWidget(self.model_bar)
        self.fidelity = FidelitySection(self)
        self.scoring = ScoreSection(self)
        self.correcting = CorrectSection(self)
        for part in (self.fidelity, self.scoring, self.correcting):
            layout.addWidget(part)

    def run_step(self, step: str) -> None:
        """Do one step; those before it are read from the project."""
        images, settings, folder = self.start.micrographs(), self.settings(), self.project.folder
        start = {"look": look_job, "translation": translation_job, "model": model_job}[step]
        kept = self.steps.kept() - {step}

        def job() -> Job[Made]:
            warm_up()
            return start(images, settings, folder, kept)

        self._start(job, step, images, settings)

    def run_all(self) -> None:
        """Do all steps and label the images."""
        images, settings, folder = self.start.micrographs(), self.settings(), self.project.folder
        subjects = self.applying.subjects()
        apply = self.applying.job(subjects, folder / FILES["model"])

        def job() -> Job[Made]:
            warm_up()
            return all_job(images, settings, folder, apply)

        self._start(job, ALL, images, settings)

    def _start(
        self, job: Any, doing: str, images: Micrographs, settings: LabourFreeSettings
    ) -> None:
        def done(made: Made, record: Record | None) -> str:
            return self._made(made, images, settings)

        self.line.begin(images)
        if doing != "model":
            self.strip.clear()
        task = Task(job, images.layers[0], settings, done, tunable=False)
        self.begin(task, doing, images.place)

    def _made(self, made: Made, images: Micrographs, settings: LabourFreeSettings) -> str:
        """Keep and show what a step has made."""
        for step, summary in made.summaries.items():
            self.project.note(step, summary, settings, images.described)
        self.strip.show_pictures(made.pictures)
        if made.model is not None:
            self.use(made.model, self.project.folder / FILES["model"])
        return self.applying.present(made.applied) if made.applied is not None else ""

    def use(self, model: SegmentationModel, path: Path) -> None:
        """Work with a model from now on."""
        self.current.set(model, path)
        self._refresh()

    # ---- the frame ----------------------------------------------------------------------

    def begin(self, task: Task, doing: str, place: Place | None = None) -> None:
        """Run a task and show which step it is."""
        self._doing, self._place = doing, place or Place()
        self.launch(task)

    def do(self, message: str, work: Callable[[], object], words: str) -> None:
        """Do one thing in the worker and say so at the end."""

        def done(_: object, record: Record | None) -> str:
            return words

        def job() -> Job[bool]:
            return once(message, lambda: work() is None or True)

        task = Task(job, blank("file", 1.0), self.settings(), done, tunable=False)
        self.begin(task, "file")

    def launch(self, task: Task) -> None:
        """Run a task in the worker."""
        super().launch(task)
        self._refresh()

    def count(self, progress: Progress) -> str:
        """Return how far a stage, or all of them, is."""
        if self._doing == ALL:
            return f", {progress.step / max(progress.total, 1):.0%} of all"
        return super().count(progress)

    def time_left(self, seconds: float) -> str:
        """Return the time left, of all steps if they run as one."""
        if self._doing != ALL:
            return super().time_left(seconds)
        # Matching and simulating are not of one pace; what follows them is.
        steady = self.steps.rows["look"].state != "running"
        return f", about {duration(seconds)} left" if steady else ""

    def live_begins(self, layer: Layer) -> None:
        """Show the plane of the live labels, the first; hide images above until the job ends."""
        task, dims = self._task, self.viewer.dims
        if task is not None and task.source.ndim > 2:
            first = task.source.data_to_world((0,) * task.source.ndim)
            for axis in range(task.source.ndim - 2):
                dims.set_point(dims.ndim - task.source.ndim + axis, first[axis])
        above = self.viewer.layers[self.viewer.layers.index(layer) + 1 :]
        self._covering = [image for image in self.list.layers if image in above and image.visible]
        for image in self._covering:
            image.visible = False

    def show_pictures(self, pictures: Sequence[Output]) -> None:
        """Show live labels on the image and all else in the strip."""
        labels = [self._place.of(output) for output in pictures if output.kind == "labels"]
        if labels:
            super().show_pictures(labels)
        if self._doing in (ALL, "look", "translation"):
            self.strip.show_pictures(pictures)

    def _update(self, update: Update) -> None:
        super()._update(update)
        if self._doing in (ALL, *FILES):
            stage = stage_of(update.progress.message) if self._doing == ALL else self._doing
            self._follow(stage)

    def _follow(self, stage: str) -> None:
        """Mark the step that is being done, and the one that has just ended."""
        rows = {**self.steps.rows, "apply": self.applying.row}
        order = list(rows)
        later = order[order.index(stage) :]  # no way back
        if any(rows[step].state == "running" for step in later):
            return
        if stage not in ("apply", self._doing):  # another loss, of another size
            self.curves_plot.clear()
        self._describe()  # the notes are there now
        self.steps.refresh(stage)
        self.applying.row.tell("running" if stage == "apply" else "open")

    def _end(self, end: Ended) -> None:
        super()._end(end)
        self._uncover()
        self._doing = ""
        self._describe()
        self._refresh()

    def abandon(self) -> None:
        """Stop the job and forget its result."""
        super().abandon()
        self._uncover()

    def _uncover(self) -> None:
        """Show the images again that were hidden for the live labels."""
        for image in self._covering:
            image.visible = True
        self._covering = []

    def _refresh(self) -> None:
        """Show states and open the buttons that make sense now."""
        if not hasattr(self, "correcting"):
            return
        self.steps.mark()
        self.steps.refresh(self._doing)
        if not self.runner.running and self.applying.row.state == "running":
            self.applying.row.tell("open")
        self.lock(self.runner.running)

    def lock(self, running: bool) -> None:
        """Leave open what makes sense while a job runs, or while none does."""
        super().lock(running)
        for part in (
            self.start,
            self.steps,
            self.applying,
            self.model_bar,
            self.fidelity,
            self.scoring,
            self.correcting,
        ):
            part.lock(running)


def _read(path: Path) -> SegmentationModel:
    from napari_physgen.segmentation import load

    return load(path)


def _dtype(layer: Layer) -> Any:
    return (layer.data[0] if getattr(layer, "multiscale", False) else layer.data).dtype
