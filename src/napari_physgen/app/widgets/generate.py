"""Generate: new images from what a prior learned, on their own or following masks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout

from napari_physgen.app.blank import blank
from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.generate_dataset import FolderSection
from napari_physgen.app.generate_fidelity import GeneratedFidelity
from napari_physgen.app.job_panel import Task
from napari_physgen.app.prior_panel import PriorPanel
from napari_physgen.app.prior_source import FILE, IMAGES, MASKS, as_classes
from napari_physgen.app.region_layers import look_at
from napari_physgen.app.result_bar import Kept
from napari_physgen.app.results import KEY
from napari_physgen.errors import UserError
from napari_physgen.generative.settings import GenerateSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_physgen.backend import Job, Progress
    from napari_physgen.generative.results import Generated
    from napari_physgen.provenance import Record
    from napari_physgen.recipe import Finished

NO_MASKS = "no masks"


class Generate(PriorPanel):
    """The dock widget."""

    tool = "generate"
    title = "Generate"
    about = "New images of the kind that a prior learned."
    input_title = ""
    model = GenerateSettings
    hidden = ("model",)
    tucked = ("seed",)
    prior_title = "1  Prior"
    kinds: ClassVar[dict[str, str]] = {
        IMAGES: "learn from images",
        MASKS: "learn from images and masks",
        FILE: "from a file",
    }

    def __init__(self, napari_viewer: ViewerModel) -> None:
        self.made: Generated | None = None
        super().__init__(napari_viewer)
        self.form.put({"model": ""})
        self._describe()

    # ---- the frame ----------------------------------------------------------------------

    def add_start(self, layout: QVBoxLayout) -> None:
        """Add the prior, and the title of the form."""
        self.add_prior(layout)
        layout.addWidget(QLabel("<b>2  Images</b>"))

    def add_steps(self, layout: QVBoxLayout) -> None:
        """Add the masks to follow, and Run."""
        self.masks = LayerChooser(self.viewer, _is_labels, none=NO_MASKS)
        self.masks.setToolTip(
            "<p>Labels that the images follow, e.g. of Simulate microstructure: one image for each "
            "plane. For priors that learned from images with masks.</p>"
        )
        self.masks.chosen.connect(lambda _: self._describe())
        self.prior.changed.connect(self._describe)
        line = QHBoxLayout()
        line.addWidget(QLabel("Follow"))
        line.addWidget(self.masks, 1)
        layout.addLayout(line)
        self.step(
            layout,
            "",
            {"Run": (self.run, "Make the images; Stop keeps those that are finished.")},
            extra=(self.pause_button, self.stop_button),
        )

    def _build(self) -> None:
        super()._build()
        self.fidelity = GeneratedFidelity(self)
        self.folder = FolderSection(self)
        layout = self.results.layout()
        assert isinstance(layout, QVBoxLayout)
        for part in (self.folder, self.fidelity):
            layout.addWidget(part)

    def lock(self, running: bool) -> None:
        """Leave open what makes sense while a job runs, or while none does."""
        super().lock(running)
        self.masks.setEnabled(not running)
        if hasattr(self, "folder"):
            self.folder.lock(running)
            self.fidelity.lock(running)

    def count(self, progress: Progress) -> str:
        """Return how far it is; samplings divide their time finely."""
        return f", {progress.step / progress.total:.0%}" if progress.total > 1 else ""

    def no_prior(self, kind: str) -> str:
        """Return what to say while there is no prior."""
        if kind == FILE:
            return "Load a prior that was saved here or by napari-physgen prior train."
        return "Learn a prior first; it can be saved and used again."

    def fill(self, values: Mapping[str, Any]) -> None:
        """Show settings by name, and the prior that they name."""
        self.form.put(values)
        self.prior.take(str(values.get("model", "")))

    def _describe(self) -> None:
        """Say which settings the masks decide."""
        following = self.masks.layer is not None
        for name in ("count", "size"):
            self.form.remark(name, "(as the masks)" if following else "")

    def live_begins(self, layer: Layer) -> None:
        """Bring the forming image into view."""
        look_at(self.viewer, layer)

    # ---- go -----------------------------------------------------------------------------

    def run(self) -> None:
        """Make new images."""
        prior = self.prior.current
        if not prior.there:
            raise UserError("There is no prior yet: press Learn under '1  Prior', or load one.")
        settings = self.form.value().model_copy(update={"model": self.prior.file})
        follow = self.masks.layer
        labels = None if follow is None else follow.data
        sources = {} if follow is None else {"masks": follow.name}

        def job() -> Job[Finished[Generated]]:
            from napari_physgen import recipe

            model = prior.get()
            told: dict[str, Any] = {}
            if labels is not None:
                array = np.asarray(labels)
                planes = array.reshape(-1, *array.shape[-model.design.dimensions :])
                told["masks"] = as_classes(list(planes), model.classes)
            return recipe.start("generate", settings, told, sources=sources, model=model)

        def done(result: Generated, record: Record | None) -> str:
            self.made = result
            self.prior.refresh()
            self._hide_earlier()
            placed = replace(task, source=self._place(prior.model))
            layers = self.show_results(placed, result.outputs(), record)
            look_at(self.viewer, layers[0])
            self.lock(False)
            if record is not None:
                name, size = task.source.name, result.pixel_size_nm
                self.results.keep(Kept(name, result.outputs(), size, record))
            return result.summary

        task = Task(job, self._place(prior.model), settings, done, tunable=False)
        self.launch(task)

    def _place(self, model: Any) -> Layer:
        """Return where new images belong: at the origin, with the pixels of the prior."""
        size = None if model is None else model.pixel_size_nm
        place = blank(self.prior.name, 1.0, ("image", "y", "x"))
        # Micrometres as micrographs have them: other units would switch off those of all layers.
        step, unit = (1.0, "pixel") if size is None else (size / 1000, "micrometer")
        place.scale, place.units = (1.0, step, step), ("pixel", unit, unit)
        return place

    def _hide_earlier(self) -> None:
        """Hide earlier images, which lie at the same place."""
        for layer in self.viewer.layers:
            if layer.metadata.get(KEY, {}).get("tool") == self.tool:
                layer.visible = False


def _is_labels(layer: Layer) -> bool:
    from napari.layers import Labels

    return isinstance(layer, Labels)
