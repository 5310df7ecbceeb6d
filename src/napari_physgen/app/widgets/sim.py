"""Reconstruct SIM: raw stack in, super-resolved image out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from napari_physgen.app.frames import Layout, find_frames, read_frames, within
from napari_physgen.app.inputs import WHOLE, pixels, visible_region
from napari_physgen.app.job_panel import JobPanel, Task, breathe
from napari_physgen.app.result_bar import Kept
from napari_physgen.app.results import KEY
from napari_physgen.app.sim_beads import BeadLine
from napari_physgen.app.sim_check import Judged, ReportSection
from napari_physgen.app.sim_extent import ExtentLine
from napari_physgen.app.sim_light import LightChooser, is_light
from napari_physgen.app.sim_order import TIP, OrderFinder
from napari_physgen.app.sim_origin import Origin, usual_layout
from napari_physgen.app.sim_patterns import PatternStep, names_of
from napari_physgen.app.sim_series import SeriesAxes
from napari_physgen.app.sim_trained import TrainedSection
from napari_physgen.app.sim_words import CHOICES, MISFIT
from napari_physgen.app.words import duration
from napari_physgen.errors import UserError
from napari_physgen.sim.settings import SimSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer
    from qtpy.QtWidgets import QVBoxLayout

    from napari_physgen.app.inputs import Region
    from napari_physgen.app.sim_series import Growing
    from napari_physgen.backend import Job
    from napari_physgen.outputs import Output
    from napari_physgen.provenance import Record
    from napari_physgen.recipe import Finished
    from napari_physgen.sim.results import Reconstruction

PREVIEW_ITERATIONS = 60
PREVIEW = " preview"


class ReconstructSim(JobPanel):
    """The dock widget."""

    tool = "sim"
    title = "Reconstruct SIM"
    about = (
        "Raw frames of structured illumination: the same field with the pattern at several angles "
        "and phases. Time points, planes and channels may be further axes."
    )
    input_title = "Raw stack"
    model = SimSettings
    rows = (
        ("Microscope", ("na", "wavelength_nm", "pixel_size_nm")),
        ("Light", ("pattern",)),
        ("Layout of the stack", ("angles", "phases", "order")),
    )
    choices: ClassVar[dict[str, dict[str, str]]] = CHOICES
    curves: ClassVar[dict[str, str]] = {"held-out": "misfit on held-out pixels (1 = noise)"}

    def __init__(self, napari_viewer: ViewerModel) -> None:
        self.growing: Growing | None = None
        self._origin = Origin()
        self.judged: Judged | None = None
        super().__init__(napari_viewer)
        self.curves_plot.setToolTip(MISFIT)
        inner = self.results.parentWidget()
        assert inner is not None
        column = cast("QVBoxLayout", inner.layout())
        column.insertWidget(column.indexOf(self.results) + 1, self.reports)
        napari_viewer.dims.events.point.connect(self.describe)

    def accepts(self, layer: Layer) -> bool:
        """Whether a layer is offered as raw stack."""
        return super().accepts(layer) and not is_light(layer)

    def add_start(self, layout: QVBoxLayout) -> None:
        """Add the choosers of the raw stack and of the known light."""
        super().add_start(layout)
        self.light = LightChooser(self)
        layout.addWidget(self.light)

    def add_steps(self, layout: QVBoxLayout) -> None:
        """Add the buttons before, for and after the image."""
        self.beads = BeadLine(self)
        self.form.advanced.column.addWidget(self.beads)
        self.pattern_step, self.finder = PatternStep(self), OrderFinder(self)
        self.verdict = self.step(
            layout,
            "1  Patterns",
            {
                "Estimate": (
                    self.estimate,
                    "Find the illumination pattern and say if it is safe.",
                ),
                "Find order": (self.finder.find, TIP),
                "Check": (
                    self.check,
                    "Check the raw frames: bleaching, motion, contrast of the pattern and more.",
                ),
            },
        )
        self.extent = ExtentLine(self)
        self.step(
            layout,
            "2  Image",
            {
                "Preview": (
                    self.preview,
                    "Reconstruct the middle of what is on view, at most 256 x 256 px, "
                    "without the network.",
                ),
                "Run": (self.run, "Reconstruct what is chosen below."),
            },
            extra=(self.pause_button, self.stop_button),
        )
        layout.addWidget(self.extent)

    def add_more(self, layout: QVBoxLayout) -> None:
        """Add the trained network; the quality report comes after the result."""
        self.trained = TrainedSection(self)
        self.reports = ReportSection(self)
        layout.addWidget(self.trained)

    # ---- what I have --------------------------------------------------------------------

    def input_chosen(self, layer: Layer | None) -> None:
        """Read what the layer knows and say how its frames are taken."""
        if layer is not None:
            self._origin = Origin.of(layer, self.form.values()["pattern"])
            self._origin.show(self.form)
        self.light.propose()
        self.describe()

    def setting_changed(self, name: str) -> None:
        """Say again how the frames are taken and whether the patterns still hold."""
        if name == "pattern":
            values, layer = self.form.values(), self.chooser.layer
            self.form.put(
                usual_layout(layer, values["pattern"], values["angles"], values["phases"])
            )
        self.form.remark(name)
        self.describe()

    def describe(self) -> None:
        """Say how the stack is read and whether the estimated patterns still hold."""
        layer, values = self.chooser.layer, self.form.values()
        self.light.setVisible(values["pattern"] == "given")
        self.trained.describe()
        if layer is None:
            self.reading.setText("Open a raw stack, or try File > Open Sample > napari-physgen.")
            self.extent.describe(None)
            return
        series = None
        try:
            known = self.pattern_step.known(layer)
            layout = self.layout_of(layer, known.order if known else "auto")
            series = SeriesAxes.of(layer, layout)
            told = (layout.words, self._origin.told(values))
            self.reading.setText("\n".join(words for words in told if words))
        except UserError as error:
            self.reading.setText(str(error))
        self.extent.describe(series)
        self.pattern_step.describe(layer)

    def layout_of(self, layer: Layer, found: str = "auto") -> Layout:
        """Return where the frames are; `found` is the order where nobody gave one."""
        values = self.form.values()
        order = found if values["order"] == "auto" else values["order"]
        return find_frames(layer, values["angles"], values["phases"], order, self.viewer.dims.point)

    def read(self, region: Region = WHOLE) -> tuple[Layer, Any, SimSettings, Layout]:
        layer = self.source()
        layout = self.layout_of(layer)
        frames = read_frames(layer, layout, region)
        order = layout.order
        if region != WHOLE:
            order = order.removeprefix("montage-")
        settings: SimSettings = self.settings().model_copy(update={"order": order})
        return layer, frames, settings, layout

    def known_light(self, settings: SimSettings, frames: Any, region: Region = WHOLE) -> Any:
        """Return what is known of the light: frames, an estimate, or None."""
        if settings.pattern == "given":
            return self.light.read(frames, region)
        patterns = self.pattern_step.known(self.source())
        if patterns is None or region == WHOLE:
            return patterns
        return patterns.cropped(region[0].start, region[1].start)

    # ---- go -----------------------------------------------------------------------------

    def launch(self, task: Task) -> None:
        """Run a task in the worker."""
        self.growing = None
        super().launch(task)

    def lock(self, running: bool) -> None:
        """Leave open what makes sense while a job runs, or while none does."""
        super().lock(running)
        for part in (self.light, self.extent, self.trained.form):
            part.setEnabled(not running)

    def estimate(self) -> None:
        """Estimate the patterns of the whole image."""
        self.pattern_step.estimate()

    def check(self) -> None:
        """Check the raw frames."""
        layer, frames, settings, _ = self.read()
        self.reports.check(layer, frames, settings, self.known_light(settings, frames))

    def report(self) -> None:
        """Check the frames and the image that was made last."""
        if self.judged is None:
            raise UserError("There is no image to report on yet: press Run first.")
        self.reports.judge(self.judged)

    def look_at(self, source: Layer) -> None:
        """Return to the source, where the image will be."""
        self.pattern_step.back(source)
        for layer in self.viewer.layers:
            if KEY in layer.metadata and layer.name == f"{source.name} SIM{PREVIEW}":
                layer.visible = False  # it would stay behind under the new image

    def preview(self) -> None:
        """Reconstruct the visible part, quickly."""
        source = self.source()
        self.look_at(source)
        breathe()  # the canvas says what is visible when it draws
        region = within(visible_region(source), self.layout_of(source), pixels(source).shape)
        layer, frames, settings, _ = self.read(region)
        quick: dict[str, Any] = {"iterations": min(settings.iterations, PREVIEW_ITERATIONS)}
        if settings.method in ("pinn", "paper"):
            quick["method"] = "variational"
        settings = settings.model_copy(update=quick)
        light = self.known_light(settings, frames, region)

        def done(result: Reconstruction, record: Record | None) -> str:
            image = result.outputs()[0]
            earlier = f"{layer.name} {image.name}{PREVIEW}"
            if earlier in self.viewer.layers:
                self.viewer.layers.remove(earlier)
            self.show_results(task, [image], record, suffix=PREVIEW)
            return f"Preview of {frames.shape[-2]} x {frames.shape[-1]} px. {result.summary}"

        job = self.job_of(layer, frames, settings, patterns=light)
        task = Task(job, layer, settings, done, (region[0].start, region[1].start))
        self.launch(task)

    def run(self) -> None:
        """Reconstruct the stack on view, or all of the layer."""
        if self.extent.all:
            self.extent.run_layer()
            return
        layer, frames, settings, layout = self.read()
        key, judged = self.pattern_step.key(layer), Judged.of(self, layer, settings)

        def done(result: Reconstruction, record: Record | None) -> str:
            from napari_physgen.sim.results import Patterns

            pictures: set[str] = set()
            if isinstance(result.patterns, Patterns):
                self.pattern_step.take(key, result.patterns, layer)
                pictures = names_of(result.patterns)
            self.show_results(task, result.outputs(), record, renewed=pictures)
            name = f"{layer.name} {layout.place}".strip()
            return self.finish(name, result, settings, record, judged)

        job = self.job_of(layer, frames, settings, patterns=self.known_light(settings, frames))
        task = Task(job, layer, settings, done)
        self.look_at(layer)
        self.launch(task)

    def finish(
        self,
        name: str,
        result: Reconstruction,
        settings: SimSettings,
        record: Record | None,
        judged: Judged,
        steps: Mapping[str, tuple[float, str]] | None = None,
    ) -> str:
        """Keep a result for Export and Report."""
        if record is not None:
            outputs, size = result.outputs(), settings.pixel_size_nm
            self.results.keep(Kept(name, outputs, size, record, steps=steps or {}))
        self.judged = judged.with_result(result)
        return result.summary

    def job_of(self, layer: Layer, raw: Any, settings: SimSettings, **extras: Any) -> Any:
        def job() -> Job[Finished[Reconstruction]]:
            from napari_physgen import recipe

            sources = {"raw": layer.name}
            return recipe.start("sim", settings, {"raw": raw}, sources=sources, **extras)

        return job

    def show_pictures(self, pictures: Sequence[Output]) -> None:
        """Show live pictures; of a series, go to the stack that is in work."""
        super().show_pictures(pictures)
        if self.growing is not None:
            self.growing.follow(self.viewer)

    def time_left(self, seconds: float) -> str:
        """Return the time that all stacks of a series need, or this stage."""
        growing = self.growing
        if growing is None:
            return super().time_left(seconds)
        return "" if growing.left is None else f", about {duration(growing.left)} left for all"
