"""Match to my micrograph: the settings whose simulation looks like an image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QLabel

from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.form import SettingsForm
from napari_physgen.app.inputs import pixel_size_nm, shown_plane
from napari_physgen.app.job_panel import Task
from napari_physgen.app.plots import Comparison
from napari_physgen.app.results import KEY, warm_up
from napari_physgen.app.section import Section
from napari_physgen.app.words import Words
from napari_physgen.errors import UserError
from napari_physgen.synthesis.calibration_settings import CalibrationSettings

if TYPE_CHECKING:
    from napari.layers import Layer
    from qtpy.QtGui import QShowEvent

    from napari_physgen.app.widgets.microstructure import SimulateMicrostructure
    from napari_physgen.backend import Job
    from napari_physgen.provenance import Record
    from napari_physgen.synthesis.calibrate import Calibration

CURVES = {"spectrum": "power spectrum", "correlation": "two-point correlation"}
# What the person, not the micrograph, decides.
OWN = {"size", "depth", "seed", "frames", "time_unit_s", "device", "arithmetic"}
TECHNICAL = ("labels_are", "size", "trials", "seed", "device")
CHOICES = {
    "look": {"auto": "find out", "lamellae": "lamellae (tweed)"},
    "particles": {"auto": "find out"},
}
GAP = 1.03  # from the left edge of the micrograph to its simulation, in its widths


class MatchSection(Section):
    """Choosers of the micrograph and its mask, the button, and how well it went."""

    def __init__(self, panel: SimulateMicrostructure) -> None:
        super().__init__("3 Match to my micrograph", bold=True)
        self.panel = panel
        self.images = LayerChooser(panel.viewer, panel.accepts)
        self.images.setToolTip("<p>The image that the simulation should look like.</p>")
        self.masks = LayerChooser(panel.viewer, _is_mask, none="none: find the phases")
        self.masks.setToolTip(
            "<p>Optional: a few brush strokes in a label layer, 1 on the matrix and 2 on the "
            "particles, or a whole mask with 0 for the matrix and 1 for the particles.</p>"
        )
        self.form = SettingsForm(CalibrationSettings, hidden=TECHNICAL, choices=CHOICES)
        self._titles = [QLabel("Image"), QLabel("Labels")]
        for label, chooser in zip(self._titles, (self.images, self.masks), strict=True):
            line = QHBoxLayout()
            line.addWidget(label)
            line.addWidget(chooser, 1)
            self.column.addLayout(line)
        self.column.addWidget(self.form)
        panel.step(
            self.column,
            "",
            {
                "Match": (
                    self.match,
                    "Find the settings whose simulation has the same spacing, direction and "
                    "arrangement as the image; takes about a minute.",
                )
            },
        )
        self.words = Words()
        self.comparison = Comparison(CURVES)
        self.column.addWidget(self.words)
        self.column.addWidget(self.comparison)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Align the titles with those of the form below, now that the fonts are known."""
        for label in self._titles:
            label.setFixedWidth(self.form.title_width)
        super().showEvent(event)

    def match(self) -> None:
        """Fill the form with the settings whose simulation looks like the micrograph."""
        panel, layer, mask = self.panel, self.images.layer, self.masks.layer
        if layer is None:
            raise UserError("There is no image to match: open a micrograph first.")
        point = panel.viewer.dims.point
        image, size = shown_plane(layer, point), pixel_size_nm(layer)
        labels = None if mask is None else [shown_plane(mask, point)]
        device = panel.form.values()["device"]
        how = CalibrationSettings.parse(self.form.values() | {"device": device})

        def job() -> Job[Calibration]:
            from napari_physgen.synthesis import calibrate

            warm_up()
            return calibrate(images=[image], labels=labels, pixel_size_nm=size, settings=how)

        def done(result: Calibration, record: Record | None) -> str:
            panel.fill(result.settings.model_dump(exclude=OWN))
            self._draw(result)
            self._show(task, result)
            self.words.setText(result.summary)
            return ""

        beside = (0.0, GAP * image.shape[-1])
        task = Task(job, layer, panel.settings(), done, origin=beside, tunable=False)
        panel.launch(task)

    def _draw(self, result: Calibration) -> None:
        """Draw the curves of micrograph and simulation, per um instead of per nm."""
        curves, words = dict(result.curves), {"correlation": f"distance, {result.unit}"}
        words["spectrum"] = f"1/{result.unit}"
        if result.unit == "nm" and "spectrum" in curves:
            x, *pair = curves["spectrum"]
            curves["spectrum"], words["spectrum"] = (1000 * x, pair[0], pair[1]), "1/µm"
        self.comparison.show_curves(curves, words)

    def _show(self, task: Task, result: Calibration) -> None:
        """Show the simulation beside the micrograph, and on it what was taken for particles."""
        viewer = self.panel.viewer
        outputs = result.outputs()
        simulated = [output for output in outputs if output.name.startswith("simulated")]
        found = [output for output in outputs if not output.name.startswith("simulated")]
        for layer in list(viewer.layers):
            if layer.name == f"{task.source.name} simulated" and KEY in layer.metadata:
                viewer.layers.remove(layer)
        names = [output.name for output in outputs]
        self.panel.show_results(replace(task, origin=(0, 0)), found, None, renewed=names)
        layers = self.panel.show_results(task, simulated, None, renewed=names)
        if task.source in viewer.layers:
            viewer.reset_view(layers=[task.source, *layers])

    def lock(self, running: bool) -> None:
        """Leave the choice open while nothing runs."""
        for chooser in (self.images, self.masks):
            chooser.setEnabled(not running)
        self.form.setEnabled(not running)


def _is_mask(layer: Layer) -> bool:
    from napari.layers import Labels

    return isinstance(layer, Labels) and KEY not in layer.metadata
