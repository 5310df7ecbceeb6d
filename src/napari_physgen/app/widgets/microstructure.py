"""Simulate microstructure: choose a look, play with it, make images with perfect masks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout

from napari_physgen.app.blank import blank
from napari_physgen.app.dataset_section import DatasetSection
from napari_physgen.app.gallery import Gallery
from napari_physgen.app.job_panel import JobPanel, Task
from napari_physgen.app.match_section import MatchSection
from napari_physgen.app.result_bar import Kept
from napari_physgen.app.results import KEY, warm_up
from napari_physgen.app.sketch import Sketch
from napari_physgen.app.sliders import Span
from napari_physgen.errors import UserError
from napari_physgen.synthesis.presets import presets
from napari_physgen.synthesis.settings import NATURAL, PhaseFieldSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_physgen.backend import Job, Progress
    from napari_physgen.provenance import Record
    from napari_physgen.synthesis.results import Microstructure

LOOKS: dict[str, tuple[str, str]] = {
    "gamma_prime": ("Gamma prime", "Ordered cuboids in a nickel superalloy, before any load."),
    "rafted": ("Rafted", "The cuboids after creep: merged into plates by the load."),
    "bimodal": ("Bimodal", "Coarse particles and a fine generation from cooling."),
    "ripening": ("Ripening", "Round particles; large ones grow, small ones dissolve."),
    "spinodal": ("Spinodal", "Two phases that separate into a labyrinth or droplets."),
    "tweed": ("Tweed", "Phases that separate along the soft directions of the crystal."),
    "grains": ("Grains", "A polycrystal; grain boundaries and grain numbers are known."),
    "dendrite": ("Dendrite", "A crystal that grows into its undercooled melt."),
}
# How and how large, not what: a change keeps the look.
NOT_LOOK = (
    "size",
    "pixel_size_nm",
    "seed",
    "frames",
    "time_unit_s",
    "device",
    "arithmetic",
)
MATERIALS = {
    "spinodal": "Two phases separate",
    "precipitates": "Particles in a matrix",
    "grains": "Polycrystal",
    "dendrite": "Freezing melt",
}


class SimulateMicrostructure(JobPanel):
    """The dock widget."""

    tool = "simulate"
    title = "Simulate microstructure"
    about = "Phase-field simulation of a material, with its exact masks."
    input_title = ""
    model = PhaseFieldSettings
    rows = (("Sample", ("size", "pixel_size_nm")),)
    choices: ClassVar[dict[str, dict[str, str]]] = {
        "material": MATERIALS,
        "boundary": {"periodic": "periodic", "no-flux": "closed (no flux)"},
    }
    sliders: ClassVar[dict[str, Span]] = {
        "duration": Span(10, 10000, log=True),
        "fraction": Span(0.05, 0.95),
        "temperature": Span(0, 0.95),
        "nuclei": Span(2, 200, log=True),
        "second_nuclei": Span(0, 200),
        "elastic_strength": Span(0, 10),
        "elastic_anisotropy": Span(0.2, 5, log=True),
        "load": Span(-1, 1),
        "orientation_deg": Span(-90, 90),
        "grains": Span(5, 2000, log=True),
        "undercooling": Span(0.3, 0.9),
        "surface_anisotropy": Span(0, 0.06),
    }
    curves: ClassVar[dict[str, str]] = {"free energy": "free energy"}
    curves_along = "time"

    def __init__(self, napari_viewer: ViewerModel) -> None:
        self.sketch = Sketch(napari_viewer)
        self._filling = False
        super().__init__(napari_viewer)
        self.destroyed.connect(self.sketch.runner.abandon)
        self.sketch.told.connect(self.trial.setText)
        self.sketch.toggled.connect(self._sketch_toggled)
        self.curves_plot.setToolTip(
            "<p>The free energy falls while the material evolves: steeply while phases form, "
            "slowly while they coarsen.</p>"
        )
        self.gallery.mark(self._look())

    # ---- what it looks like -------------------------------------------------------------

    def add_start(self, layout: QVBoxLayout) -> None:
        """Add the gallery."""
        layout.addWidget(QLabel("<b>Start from</b>"))
        self.gallery = Gallery({name: LOOKS.get(name, (name, "")) for name in presets})
        self.gallery.chosen.connect(self.choose_look)
        layout.addWidget(self.gallery)

    def choose_look(self, name: str) -> None:
        """Fill the form with a preset; size, cell, seed and computing stay."""
        self.fill(presets[name].model_dump(exclude=set(NOT_LOOK)))

    def fill(self, values: Mapping[str, Any]) -> None:
        """Show settings, and start the live preview again once instead of field by field."""
        self._filling = True
        try:
            self.form.put(values)
        finally:
            self._filling = False
        self.gallery.mark(self._look())
        self._sketch_changed("material")

    def setting_changed(self, name: str) -> None:
        """Follow an edit: natural values of another material, gallery, live preview."""
        if self._filling:
            return
        if name == "material":
            self.fill(_natural(self.form.values()[name]))
            return
        self.gallery.mark(self._look())
        self._sketch_changed(name)

    def _look(self) -> str | None:
        """Return the preset that the form shows, if it is one."""
        values = self.form.values()
        for name, settings in presets.items():
            look = settings.model_dump(exclude=set(NOT_LOOK)).items()
            if all(values[key] == value for key, value in look if self.form.matters(key)):
                return name
        return None

    # ---- try ----------------------------------------------------------------------------

    def add_steps(self, layout: QVBoxLayout) -> None:
        """Add the live preview, the image, and the two sections below."""
        self._add_trial(layout)
        self.step(
            layout,
            "2  Image",
            {"Run": (self.run, "Simulate the whole sample with its masks.")},
            extra=(self.pause_button, self.stop_button),
        )
        self.matching = MatchSection(self)
        self.data_set = DatasetSection(self)
        layout.addWidget(self.matching)
        layout.addWidget(self.data_set)

    def _add_trial(self, layout: QVBoxLayout) -> None:
        self.trial_button = QPushButton("Live preview")
        self.trial_button.setCheckable(True)
        self.trial_button.setToolTip(
            "<p>Let a small sample (128 x 128 cells) evolve again and again while you move the "
            "sliders.</p>"
        )
        self.trial_button.clicked.connect(lambda *_: self.attempt(self.toggle_sketch))
        self.hold_button = QPushButton("Pause")
        self.hold_button.setToolTip("<p>Hold the evolution of the small sample.</p>")
        self.hold_button.clicked.connect(lambda *_: self._hold())
        self.hold_button.setEnabled(False)
        self.trial = self.step(layout, "1  Try", {}, extra=(self.trial_button, self.hold_button))

    def toggle_sketch(self) -> None:
        """Start or end the live preview."""
        if self.sketch.on:
            self.sketch.stop()
            return
        self.trial_button.setChecked(False)  # until it runs
        self.sketch.start(self.settings())

    def _sketch_toggled(self, on: bool) -> None:
        self.trial_button.setChecked(on)
        self.hold_button.setEnabled(on)
        self.hold_button.setText("Pause")

    def _sketch_changed(self, name: str) -> None:
        if not self.sketch.on:
            return
        try:
            settings = self.settings()
        except UserError as error:
            self.trial.setText(str(error))  # the sliders may be on their way to a good place
            return
        self.hold_button.setText("Pause") if not self.form.tunable(name) else None
        self.sketch.change(settings, name, self.form.tunable(name))

    def _hold(self) -> None:
        self.hold_button.setText("Go on" if self.sketch.toggle_pause() else "Pause")

    # ---- image --------------------------------------------------------------------------

    def count(self, progress: Progress) -> str:
        """Return how far the material has evolved; its time is divided finely."""
        return f" {progress.step / progress.total:.0%}" if progress.total > 1 else ""

    def live_begins(self, layer: Layer) -> None:
        """Bring a simulation beside its micrograph into view."""
        task = self._task
        if task is not None and task.source in self.viewer.layers:
            self.viewer.reset_view(layers=[task.source, layer])

    def run(self) -> None:
        """Simulate the whole sample."""
        settings = self.settings()
        name = self.name_of(settings)

        def job() -> Job[Any]:
            from napari_physgen import recipe

            warm_up()
            return recipe.start(self.tool, settings, {})

        def done(result: Microstructure, record: Record | None) -> str:
            placed = replace(task, source=self._place(name, settings, result.movie_times))
            self.hide_earlier()
            layers = self.show_results(placed, result.outputs(), record)
            self._play(layers, result)
            self.curves_plot.replace("free energy", *result.energy.T.tolist())
            if record is not None:
                cell = settings.pixel_size_nm
                self.results.keep(Kept(name, result.outputs(), cell, record, depth_nm=cell))
            return result.summary

        task = Task(job, self._place(name, settings), settings, done)
        self.launch(task)

    def name_of(self, settings: PhaseFieldSettings) -> str:
        """Return what to call a sample in the layer list."""
        look = self._look()
        if look is not None:
            return LOOKS.get(look, (look, ""))[0]
        return {"precipitates": "Particles"}.get(settings.material, settings.material.title())

    def _place(
        self, name: str, settings: PhaseFieldSettings, times: tuple[float, ...] = ()
    ) -> Layer:
        axes = ("time", "z", "y", "x") if settings.depth > 1 else ("time", "y", "x")
        seconds = settings.time_unit_s
        if seconds is None:
            return blank(name, settings.pixel_size_nm, axes, times)
        return blank(name, settings.pixel_size_nm, axes, [seconds * t for t in times], "s")

    def hide_earlier(self) -> None:
        """Hide earlier samples, which lie at the same place."""
        for layer in self.viewer.layers:
            if layer.metadata.get(KEY, {}).get("tool") in (self.tool, "dataset"):
                layer.visible = False

    def _play(self, layers: list[Layer], result: Microstructure) -> None:
        """Show the time-lapse, at its end, in place of the last picture."""
        if result.movie is None:
            return
        movie = next(layer for layer in layers if layer.ndim > result.field.ndim)
        for layer in layers:
            layer.visible = layer is movie
        self.viewer.layers.selection.active = movie
        last = movie.data_to_world((len(result.movie) - 1, *(0,) * result.field.ndim))[0]
        self.viewer.dims.set_point(self.viewer.dims.ndim - movie.ndim, last)

    # ---- the frame ----------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether anything runs."""
        return super().busy or self.sketch.on

    def lock(self, running: bool) -> None:
        """Leave open what makes sense while a job runs, or while none does."""
        super().lock(running)
        for part in (self.gallery, self.trial_button):
            part.setEnabled(not running)
        self.matching.lock(running)
        self.data_set.lock(running)

    def launch(self, task: Task) -> None:
        """Run a task in the worker; the live preview makes way for it."""
        self.sketch.stop()
        super().launch(task)

    def abandon(self) -> None:
        """Stop everything and forget it."""
        super().abandon()
        self.sketch.stop()


def _natural(material: Any) -> dict[str, Any]:
    """Return the published values of a material where they differ from one to the other."""
    names = {name for values in NATURAL.values() for name in values}
    return PhaseFieldSettings(material=material).model_dump(include=names)
