"""Learn from labels that the user has corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel

from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.inputs import pixel_size_nm, shown_plane
from napari_physgen.app.job_panel import Task
from napari_physgen.app.labour_free_images import Place
from napari_physgen.app.labour_free_project import CORRECTED
from napari_physgen.app.section import Section
from napari_physgen.backend.job import Progress
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.app.widgets.labour_free import LabourFree
    from napari_physgen.backend import Job
    from napari_physgen.provenance import Record
    from napari_physgen.segmentation import SegmentationModel

SMALLEST = 16  # px


class CorrectSection(Section):
    """Choosers of an image and its corrected labels, and the button."""

    def __init__(self, panel: LabourFree) -> None:
        super().__init__("Correct and learn", bold=True)
        self.panel = panel
        self.labels = LayerChooser(panel.viewer, _is_labels)
        self.images = LayerChooser(panel.viewer, panel.accepts)
        self.labels.setToolTip(
            "<p>Labels that you have corrected with the brush (or strokes in a layer of their "
            "own).</p>"
        )
        self.images.setToolTip(
            "<p>The image that they belong to; of a stack the plane on view.</p>"
        )
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        for row, (title, part) in enumerate((("Labels", self.labels), ("Image", self.images))):
            grid.addWidget(QLabel(title), row, 0)
            grid.addWidget(part, row, 1)
        self.column.addLayout(grid)
        self.strokes = QCheckBox("Strokes only: 1 matrix, 2 particles")
        self.strokes.setToolTip(
            "<p>Learn only where something is painted: 1 on the matrix, 2 on the first class, 3 on "
            "the second. Otherwise the labels are taken as a whole, 0 being the matrix.</p>"
        )
        self.column.addWidget(self.strokes)
        self.words = panel.step(
            self.column,
            "",
            {
                "Learn from my corrections": (
                    self.learn,
                    "Train the model a little more on this plane with your labels. Takes a minute "
                    "or two; the model before stays in the project.",
                )
            },
        )
        self.labels.chosen.connect(self._follow)
        self._follow(self.labels.layer)

    def learn(self) -> None:
        """Train the current model further on the corrected plane."""
        panel, labels, image = self.panel, self.labels.layer, self.images.layer
        if labels is None or image is None:
            raise UserError("There is nothing to learn from: apply the model and correct labels.")
        if not panel.current.there:
            raise UserError("There is no model to correct yet: train one or load one first.")
        point = panel.viewer.dims.point
        plane, mask = shown_plane(image, point), shown_plane(labels, point).copy()
        if plane.shape != mask.shape:
            raise UserError(
                f"'{labels.name}' does not belong to '{image.name}': choose the labels of that "
                "image."
            )
        place, current, folder = Place(), panel.current, panel.project.folder
        size, strokes = pixel_size_nm(image), self.strokes.isChecked()

        def job() -> Job[SegmentationModel]:
            return corrected(current.get, plane, mask, size, strokes, place, folder)

        def done(model: SegmentationModel, record: Record | None) -> str:
            panel.use(model, folder / CORRECTED)
            self.words.setText(f"{model.summary} Press Apply to see what it has learned.")
            return ""

        task = Task(job, image, panel.settings(), done, tunable=False)
        panel.begin(task, "correct", place)

    def _follow(self, labels: Layer | None) -> None:
        """Choose the image that labels were made from."""
        for layer in self.panel.viewer.layers:
            if labels is not None and labels.name.startswith(f"{layer.name} "):
                self.images.choose(layer)

    def lock(self, running: bool) -> None:
        """Leave the choice open while nothing runs."""
        for part in (self.labels, self.images, self.strokes):
            part.setEnabled(not running)


def corrected(
    load: Callable[[], SegmentationModel],
    plane: NDArray[Any],
    mask: NDArray[Any],
    size: float | None,
    strokes: bool,
    place: Place,
    folder: Path,
) -> Job[SegmentationModel]:
    """Train a model further on a corrected plane and keep it in the project (a job)."""
    from napari_physgen.segmentation import prepare, train
    from napari_physgen.segmentation.prepare import resampled, scale_of
    from napari_physgen.segmentation.train import fine_tuned

    yield Progress(0, 1, "looking at the corrections")
    model = load()
    ready = prepare([plane], smallest=SMALLEST)
    top, bottom, left, right = ready.boxes[0]
    classes = np.asarray(mask, np.int64)[top:bottom, left:right] - int(strokes)
    if (classes < 0).all():
        raise UserError("Nothing is painted on this plane: paint some strokes first.")
    classes = np.where(ready.valid[0], classes, -1)
    picture = ready.images[0]
    place.zoom, place.corner = scale_of(model.pixel_size_nm, size).zoom, (top, left)
    if place.zoom != 1:
        picture = np.asarray(resampled(picture, place.zoom), np.float32)
        classes = _nearest(classes, picture.shape, place.zoom)
    tuned = yield from train(
        [picture],
        [classes],
        fine_tuned(model.settings),
        real=[picture],
        pixel_size_nm=model.pixel_size_nm,
        length=model.length,
        start=model,
    )
    folder.mkdir(parents=True, exist_ok=True)
    tuned.save(folder / CORRECTED)
    return tuned


def _nearest(labels: NDArray[Any], shape: tuple[int, ...], zoom: float) -> NDArray[Any]:
    """Return labels at another pixel size, pixels as `resampled` places them."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) / zoom).astype(int), old - 1)
        for new, old in zip(shape, labels.shape, strict=True)
    )
    return labels[np.ix_(rows, columns)]


def _is_labels(layer: Layer) -> bool:
    from napari.layers import Labels

    return isinstance(layer, Labels) and not layer.name.endswith((" particles", " (live)"))
