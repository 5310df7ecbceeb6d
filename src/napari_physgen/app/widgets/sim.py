"""Reconstruct SIM: raw stack in, super-resolved image out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from napari_physgen.app.frames import Layout, find_frames, guess_layout, read_frames
from napari_physgen.app.inputs import WHOLE, pixel_size_nm, visible_region
from napari_physgen.app.job_panel import JobPanel, Task, breathe
from napari_physgen.app.result_bar import Kept
from napari_physgen.app.results import KEY
from napari_physgen.app.side_view import SideView
from napari_physgen.errors import UserError
from napari_physgen.sim.settings import SimSettings

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from qtpy.QtWidgets import QVBoxLayout

    from napari_physgen.app.inputs import Region
    from napari_physgen.backend import Job
    from napari_physgen.provenance import Record
    from napari_physgen.recipe import Finished
    from napari_physgen.sim.results import Patterns, Reconstruction

# What the patterns depend on; a change of anything else keeps an estimate valid.
OPTICS = (
    "na",
    "wavelength_nm",
    "pixel_size_nm",
    "angles",
    "phases",
    "order",
    "excitation_nm",
    "excitation_na",
    "otf",
    "otf_damping",
    "camera_offset",
    "camera_gain",
)
PREVIEW_ITERATIONS = 60
PREVIEW = " preview"
PEAKS = (
    "<p>Peaks: how far the pattern of each angle stands out from the background in the "
    "spectrum. From 5 on it is safe.</p>"
)
MISFIT = (
    "<p>How far the image is from explaining camera pixels that it was not fitted to, "
    "in units of their noise: 1 is as good as it gets.</p>"
)
OUTDATED = "input or settings changed since: Estimate again, or Run will do it"


class ReconstructSim(JobPanel):
    """The dock widget."""

    tool = "sim"
    title = "Reconstruct SIM"
    about = (
        "Raw frames of one structured-illumination acquisition: the same field with the "
        "pattern at several angles and phases."
    )
    input_title = "Raw stack"
    model = SimSettings
    rows = (
        ("Microscope", ("na", "wavelength_nm", "pixel_size_nm")),
        ("Layout of the stack", ("angles", "phases", "order")),
    )
    choices: ClassVar[dict[str, dict[str, str]]] = {
        "order": {
            "auto": "find out",
            "angle-phase": "angle slowest",
            "phase-angle": "phase slowest",
        },
        "method": {
            "pinn": "Variational, then network (best)",
            "variational": "Variational, without network",
            "wiener": "Wiener (instant)",
            "paper": "Network of Burns & Liu 2023",
        },
    }
    curves: ClassVar[dict[str, str]] = {"held-out": "misfit on held-out pixels (1 = noise)"}

    def __init__(self, napari_viewer: ViewerModel) -> None:
        # An estimate, what it belongs to, and the array itself, so that no other takes its id.
        self._patterns: tuple[tuple[Any, ...], Patterns, Any] | None = None
        self.side = SideView(napari_viewer)
        super().__init__(napari_viewer)
        self.curves_plot.setToolTip(MISFIT)
        napari_viewer.dims.events.point.connect(self._describe)

    def add_steps(self, layout: QVBoxLayout) -> None:
        """Add Estimate, Preview and Run."""
        self.verdict = self.step(
            layout,
            "1  Patterns",
            {"Estimate": (self.estimate, "Find the illumination pattern and say if it is safe.")},
        )
        self.verdict.setToolTip(PEAKS)
        self.step(
            layout,
            "2  Image",
            {
                "Preview": (
                    self.preview,
                    "Reconstruct the middle of what is on view, at most 256 x 256 px, "
                    "without the network.",
                ),
                "Run": (self.run, "Reconstruct the whole image."),
            },
            extra=(self.pause_button, self.stop_button),
        )

    # ---- what I have --------------------------------------------------------------------

    def input_chosen(self, layer: Layer | None) -> None:
        """Read what the layer knows and say how its frames are taken."""
        if layer is not None:
            self._prefill(layer)
        self._describe()

    def setting_changed(self, name: str) -> None:
        """Say again how the frames are taken and whether the patterns still hold."""
        if name == "pixel_size_nm":
            self.form.remark(name)
        self._describe()

    def _prefill(self, layer: Layer) -> None:
        """Take from the layer what it knows about the microscope and the stack."""
        known = dict(layer.metadata.get("microscope", {}))
        if layout := guess_layout(layer):
            known = dict(zip(("angles", "phases"), layout, strict=True)) | known
        try:
            size = pixel_size_nm(layer)
        except UserError:
            size = None
        if size:
            known["pixel_size_nm"] = size
        self.form.put(known)
        self.form.remark("pixel_size_nm", "(from layer)" if size else "")

    def _describe(self) -> None:
        """Say how the stack is read and whether the estimated patterns still hold."""
        layer = self.chooser.layer
        if layer is None:
            self.reading.setText("Open a raw stack, or try File > Open Sample > napari-physgen.")
            return
        try:
            known = self._known_patterns(layer)
            self.reading.setText(self._layout(layer, known.order if known else "auto").words)
        except UserError as error:
            self.reading.setText(str(error))
        if self._patterns is not None:
            current = self._patterns[0] == self._key(layer)
            self.verdict.setText(self._patterns[1].summary if current else OUTDATED)

    def _layout(self, layer: Layer, found: str = "auto") -> Layout:
        """Return where the frames are; `found` is the order where nobody gave one."""
        values = self.form.values()
        order = found if values["order"] == "auto" else values["order"]
        return find_frames(layer, values["angles"], values["phases"], order, self.viewer.dims.point)

    def _read(self, region: Region = WHOLE) -> tuple[Layer, Any, SimSettings, Layout]:
        layer = self.source()
        layout = self._layout(layer)
        frames = read_frames(layer, layout, region)
        settings: SimSettings = self.settings().model_copy(update={"order": layout.order})
        return layer, frames, settings, layout

    # ---- go -----------------------------------------------------------------------------

    def estimate(self) -> None:
        """Estimate the patterns of the whole image."""
        layer, frames, settings, _ = self._read()
        key = self._key(layer)

        def job() -> Job[Patterns]:
            from napari_physgen.sim import estimate_patterns

            return estimate_patterns(frames, settings)

        def done(patterns: Patterns, record: Record | None) -> str:
            self._patterns = key, patterns, layer.data
            self._describe()
            self._show_patterns(task, patterns)
            return ""

        task = Task(job, layer, settings, done)
        self.launch(task)

    def _show_patterns(self, task: Task, patterns: Patterns) -> None:
        """Make layers of an estimate and bring the spectrum into view."""
        self.show_results(task, patterns.outputs(), None, renewed=_names(patterns))
        pictures = self._beside(task.source)
        for layer in pictures:
            layer.visible = True
        if pictures:
            self.viewer.layers.selection.active = task.source
            self.side.look([task.source, *pictures])

    def _look_at(self, source: Layer) -> None:
        """Hide the spectrum and return to the source, where the image will be."""
        for layer in self._beside(source):
            layer.visible = False
        for layer in self.viewer.layers:
            if KEY in layer.metadata and layer.name == f"{source.name} SIM{PREVIEW}":
                layer.visible = False  # it would stay behind under the new image
        self.side.back()

    def _beside(self, source: Layer) -> list[Layer]:
        """Return the spectrum and its circles, which lie beside the source."""
        if self._patterns is None:
            return []
        names = {
            f"{source.name} {output.name}"
            for output in self._patterns[1].outputs()
            if output.offset is not None
        }
        return [x for x in self.viewer.layers if x.name in names and KEY in x.metadata]

    def preview(self) -> None:
        """Reconstruct the visible part, quickly."""
        self._look_at(self.source())
        breathe()  # the canvas says what is visible when it draws
        region = visible_region(self.source())
        layer, frames, settings, _ = self._read(region)
        origin = region[0].start, region[1].start
        quick: dict[str, Any] = {"iterations": min(settings.iterations, PREVIEW_ITERATIONS)}
        if settings.method in ("pinn", "paper"):
            quick["method"] = "variational"
        settings = settings.model_copy(update=quick)
        patterns = self._known_patterns(layer)
        if patterns is not None:
            patterns = patterns.cropped(*origin)

        def done(result: Reconstruction, record: Record | None) -> str:
            image = result.outputs()[0]
            earlier = f"{layer.name} {image.name}{PREVIEW}"
            if earlier in self.viewer.layers:
                self.viewer.layers.remove(earlier)
            self.show_results(task, [image], record, suffix=PREVIEW)
            return f"Preview of {frames.shape[1]} x {frames.shape[2]} px. {result.summary}"

        job = self._job(layer, frames, settings, patterns)
        task = Task(job, layer, settings, done, origin)
        self.launch(task)

    def run(self) -> None:
        """Reconstruct the whole image."""
        layer, frames, settings, layout = self._read()
        key = self._key(layer)

        def done(result: Reconstruction, record: Record | None) -> str:
            from napari_physgen.sim.results import Patterns

            pictures: set[str] = set()
            if isinstance(result.patterns, Patterns):
                self._patterns = key, result.patterns, layer.data
                pictures = _names(result.patterns)
                self._describe()
            self.show_results(task, result.outputs(), record, renewed=pictures)
            if record is not None:
                name = f"{layer.name} {layout.place}".strip()
                self.results.keep(Kept(name, result.outputs(), settings.pixel_size_nm, record))
            return result.summary

        job = self._job(layer, frames, settings, self._known_patterns(layer))
        task = Task(job, layer, settings, done)
        self._look_at(layer)
        self.launch(task)

    def _job(self, layer: Layer, frames: Any, settings: SimSettings, patterns: Any) -> Any:
        def job() -> Job[Finished[Reconstruction]]:
            from napari_physgen import recipe

            sources = {"raw": layer.name}
            return recipe.start(
                "sim", settings, {"raw": frames}, sources=sources, patterns=patterns
            )

        return job

    def _known_patterns(self, layer: Layer) -> Patterns | None:
        if self._patterns is None or self._patterns[0] != self._key(layer):
            return None
        return self._patterns[1]

    def _key(self, layer: Layer) -> tuple[Any, ...]:
        """Return what an estimate belongs to: these pixels seen through this microscope."""
        values = self.form.values()
        try:
            index = str(self._layout(layer).index)
        except UserError:
            index = ""
        return (id(layer.data), index, *(values[name] for name in OPTICS))


def _names(patterns: Patterns) -> set[str]:
    return {output.name for output in patterns.outputs()}
