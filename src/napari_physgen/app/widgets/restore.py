"""Restore: a noisy, blurred or incomplete image in, the image and its uncertainty out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_physgen.app.boxes import CalmComboBox
from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.image_list import described
from napari_physgen.app.inputs import WHOLE, pixel_size_nm, pixels, visible_region
from napari_physgen.app.job_panel import Task, breathe
from napari_physgen.app.prior_panel import PriorPanel
from napari_physgen.app.prior_source import FILE, IMAGES, NOISY, PAIRS
from napari_physgen.app.restore_jobs import Part, Restored, Restoring, measuring
from napari_physgen.app.restore_views import RestoreViews
from napari_physgen.app.result_bar import Kept
from napari_physgen.app.results import KEY, contrast
from napari_physgen.errors import UserError
from napari_physgen.generative.settings import RestoreSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_physgen.backend import Progress
    from napari_physgen.outputs import Output
    from napari_physgen.physics.noise_level import NoiseLevel
    from napari_physgen.provenance import Record

PREVIEW = " preview"
CROP, SAMPLED_CROP = 256, 96  # px of a preview: by one evaluation, by samples
QUICK_STEPS, QUICK_SAMPLES, SAMPLES = 8, 2, 8
# What belongs to one image and must not be taken over to the next session.
OF_THE_IMAGE: dict[str, Any] = {
    "model": "",
    "samples": None,
    "camera_offset": None,
    "camera_gain": None,
    "read_noise": None,
    "pixel_size_nm": None,
}
# What a prior that is learned from the image itself depends on.
OF_THE_PRIOR = ("learning_steps", "camera_offset", "camera_gain", "read_noise", "seed")
NONE_YET = "Open an image or a stack, or try File > Open Sample > napari-physgen."
NO_UNCERTAINTY = (
    "This method is for comparison: the spread of its samples is no uncertainty. Choose Method "
    "'automatic' for one."
)


class Restore(PriorPanel):
    """The dock widget."""

    tool = "restore"
    title = "Restore"
    about = "A noisy, blurred, coarse or incomplete image, or a stack of them."
    input_title = "Image"
    model = RestoreSettings
    hidden = ("model", "samples")
    tucked = ("pixel_size_nm", "noise_factor")
    prior_title = "2  Prior"
    kinds: ClassVar[dict[str, str]] = {
        NOISY: "learn from this image",
        IMAGES: "learn from sharp images",
        PAIRS: "learn from noisy and sharp pairs",
        FILE: "from a file",
    }
    choices: ClassVar[dict[str, dict[str, str]]] = {
        "task": {
            "denoise": "remove noise",
            "deconvolve": "remove noise and blur",
            "super-resolve": "make pixels finer",
            "inpaint": "fill gaps",
            "sim": "reconstruct SIM",
        },
        "method": {
            "auto": "automatic (calibrated)",
            "direct": "one evaluation",
            "mmps": "moment matching (MMPS)",
            "pigdm": "PiGDM, not calibrated",
            "dps": "DPS, not calibrated",
            "mcg": "MCG, not calibrated",
            "diffpir": "DiffPIR, not calibrated",
            "ddnm": "DDNM, not calibrated",
            "ddrm": "DDRM, not calibrated",
            "ald": "Langevin, not calibrated",
            "repaint": "RePaint, not calibrated",
        },
        "brightness": {"as learned": "as the prior learned them", "fit": "fit to the prior"},
    }

    def __init__(self, napari_viewer: ViewerModel) -> None:
        self._measured: tuple[Any, NoiseLevel] | None = None
        self._own: tuple[Any, ...] | None = None  # what the prior of this image was learned from
        super().__init__(napari_viewer)
        self.form.put(OF_THE_IMAGE)
        self._follow_task()
        self.input_chosen(self.chooser.layer)

    # ---- the frame ----------------------------------------------------------------------

    def add_start(self, layout: QVBoxLayout) -> None:
        """Add the choosers of the image and of its planes."""
        super().add_start(layout)
        self.planes = CalmComboBox()
        self.planes.addItems(["all planes", "the plane on view"])
        self.planes.setToolTip("<p>What of a stack is restored; planes one by one.</p>")
        layout.addWidget(self.planes)

    def add_steps(self, layout: QVBoxLayout) -> None:
        """Add the noise, the prior, Preview and Run."""
        self.gaps = LayerChooser(self.viewer, _is_mask)
        self.gaps.setToolTip("<p>Labels, painted where pixels are missing or wrong.</p>")
        self.gap_line = QWidget()
        line = QHBoxLayout(self.gap_line)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(QLabel("Gaps"))
        line.addWidget(self.gaps, 1)
        layout.addWidget(self.gap_line)
        self.noise = self.step(
            layout,
            "1  Noise",
            {"Measure": (self.measure, "Find gain, offset and read noise from the image itself.")},
        )
        self.add_prior(layout)
        self.prior.choice.currentIndexChanged.connect(lambda _: self._follow_prior())
        self.prior.changed.connect(self._open_samples)
        self.samples_button = self.starter(
            f"{SAMPLES} samples",
            self.sample,
            "Make several images that explain the data equally well. What differs between them "
            "is not in the data.",
        )
        self.step(
            layout,
            "3  Image",
            {
                "Preview": (
                    self.preview,
                    f"Restore the middle of what is on view, at most {CROP} x {CROP} px.",
                ),
                "Run": (
                    self.run,
                    "Restore the image. The layers of its last result are renewed; rename one to "
                    "keep it.",
                ),
            },
            extra=(self.pause_button, self.stop_button),
        )

    def _build(self) -> None:
        super()._build()
        self.views = RestoreViews(self.viewer)
        layout = self.results.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.insertWidget(layout.count() - 1, self.views)
        layout.insertWidget(layout.count() - 1, self.samples_button)

    def lock(self, running: bool) -> None:
        """Leave open what makes sense while a job runs, or while none does."""
        super().lock(running)
        for part in (self.planes, self.gaps):
            part.setEnabled(not running)
        if not running:
            self._open_samples()

    def count(self, progress: Progress) -> str:
        """Return how far it is; samplings divide their time finely."""
        return f", {progress.step / progress.total:.0%}" if progress.total > 1 else ""

    def no_prior(self, kind: str) -> str:
        """Return what to say while there is no prior."""
        if kind == NOISY:
            return "Run learns it from the noise in the image: minutes, without any other image."
        if kind == FILE:
            return "Load a prior that was saved here or by napari-physgen prior train."
        return "Learn a prior first; it can be saved and serves all images of the kind."

    # ---- what I have --------------------------------------------------------------------

    def input_chosen(self, layer: Layer | None) -> None:
        """Read what the layer knows and say what it is."""
        self.planes.setVisible(layer is not None and layer.ndim > 2)
        self.prior.images.refresh()
        try:
            size = pixel_size_nm(layer) if layer is not None else None
        except UserError:
            size = None
        self.form.put({"pixel_size_nm": size})
        self.form.remark("pixel_size_nm", "(layer)" if size else "")
        self._describe()

    def setting_changed(self, name: str) -> None:
        """Show what the task needs and whether what was found still holds."""
        if name == "task":
            self._follow_task()
        if name == "pixel_size_nm":
            self.form.remark(name)
        self._describe()

    def fill(self, values: Mapping[str, Any]) -> None:
        """Show settings by name, and the prior that they name."""
        self.form.put({**values, "samples": None})
        self._follow_task()
        self.prior.take(str(values.get("model", "")))
        self.form.put({name: values[name] for name in ("brightness",) if name in values})

    def _follow_task(self) -> None:
        """Offer the priors that the task can use."""
        task = self.form.values()["task"]
        self.gap_line.setVisible(task == "inpaint")
        alone = [NOISY, IMAGES, PAIRS, FILE] if task == "denoise" else [IMAGES, FILE]
        self.prior.offer(alone)
        domain = "square root" if task == "denoise" else "linear"
        self.prior.form.put({"domain": domain})

    def _follow_prior(self) -> None:
        """Fit grey levels to priors that come with the package: they learned simulations."""
        self.form.put({"brightness": "fit" if self.prior.shipped else "as learned"})

    def _describe(self) -> None:
        """Say what the image is, what its noise is and whether the prior is its own."""
        layer = self.chooser.layer
        if layer is None:
            self.reading.setText(NONE_YET)
            self.noise.setText("")
            return
        try:
            pixels(layer)
            pixel_size_nm(layer)
            self.reading.setText(described(layer))
        except UserError as error:
            self.reading.setText(str(error))
        known = self._measured is not None and self._measured[0] == self._noise_key(layer)
        self.noise.setText(
            self._measured[1].summary if known and self._measured else "measured when it is needed"
        )
        if self.prior.kind == NOISY and self._own not in (None, self._own_key(layer)):
            self._own = None
            self.prior.use(None)

    def _noise_key(self, layer: Layer) -> tuple[Any, ...]:
        values = self.form.values()
        return id(layer.data), *(values[name] for name in ("camera_offset", "camera_gain"))

    def _own_key(self, layer: Layer) -> tuple[Any, ...]:
        """Return what a prior that is learned from the image itself belongs to."""
        values = self.form.values()
        return id(layer.data), *(values[name] for name in OF_THE_PRIOR)

    def _part(self, *, preview: bool = False) -> Part:
        """Return what of the chosen layer is restored."""
        layer, task = self.source(), self.form.values()["task"]
        region = WHOLE
        if preview:
            direct = task == "denoise" and self.form.values()["method"] in ("auto", "direct")
            breathe()  # the canvas says what is visible when it draws
            region = visible_region(layer, CROP if direct else SAMPLED_CROP)
        whole = task == "sim" or (self.planes.currentIndex() == 0 and not preview)
        model = self.prior.current.model
        if model is not None and model.design.dimensions == 3:
            whole = True
        return Part.of(layer, region, self.viewer.dims.point, whole)

    def _gaps(self, part: Part) -> Part | None:
        if self.form.values()["task"] != "inpaint":
            return None
        mask = self.gaps.layer
        if mask is None:
            raise UserError(
                "To fill gaps, paint them in a labels layer (Layers > New > Labels) and choose it."
            )
        lead, own = pixels(part.layer).shape[:-2], mask.data.shape[:-2]
        if mask.data.shape[-2:] != pixels(part.layer).shape[-2:] or own not in ((), lead):
            raise UserError(
                f"'{mask.name}' has another size than '{part.layer.name}': paint the gaps in a "
                "labels layer of the same size."
            )
        return Part(mask, part.index if own else (), part.region)

    # ---- go -----------------------------------------------------------------------------

    def measure(self) -> None:
        """Measure the noise of the image."""
        part, settings = self._part(), self.settings()
        key = self._noise_key(part.layer)

        def done(level: NoiseLevel, record: Record | None) -> str:
            self._measured = key, level
            self._behind_auto(level)
            self._describe()
            return ""

        self.launch(Task(lambda: measuring(part, settings), part.layer, settings, done))

    def _behind_auto(self, level: NoiseLevel) -> None:
        """Set the numbers that appear where somebody unticks "auto"."""
        camera = level.camera
        found = {
            "camera_offset": camera.offset,
            "camera_gain": camera.gain,
            "read_noise": camera.read_noise,
        }
        shown = self.form.values()
        auto = {name: None for name in found if shown[name] is None}
        self.form.put({name: found[name] for name in auto})
        self.form.put(auto)

    def preview(self) -> None:
        """Restore the visible part, quickly."""
        part = self._part(preview=True)
        settings = self.settings().model_copy(update={"steps": QUICK_STEPS})
        if settings.task != "denoise" or settings.method not in ("auto", "direct"):
            settings = settings.model_copy(update={"samples": QUICK_SAMPLES})
        wanted = Restoring(part, settings, self._prior(part.layer), self._gaps(part), quick=True)
        self._start(wanted, suffix=PREVIEW)

    def run(self) -> None:
        """Restore the image."""
        part = self._part()
        self._start(Restoring(part, self.settings(), self._prior(part.layer), self._gaps(part)))

    def sample(self) -> None:
        """Make several images that explain the data equally well."""
        part = self._part()
        settings = self.settings().model_copy(update={"samples": SAMPLES})
        wanted = Restoring(part, settings, self._prior(part.layer), self._gaps(part))
        self._start(wanted, first="samples")

    def settings(self) -> Any:
        """Return the form's settings with the prior in use; raises UserError."""
        return self.form.value().model_copy(update={"model": self.prior.file})

    def _prior(self, layer: Layer) -> Any:
        """Return the prior in use, None to learn it from the image; raises UserError."""
        current = self.prior.current
        if self.prior.kind == NOISY:
            return current if current.there and self._own == self._own_key(layer) else None
        if not current.there:
            raise UserError(
                "There is no prior yet: press Learn under '2  Prior', or choose another one."
            )
        return current

    def _start(self, wanted: Restoring, suffix: str = "", first: str = "restored") -> None:
        layer = wanted.part.layer
        key = self._own_key(layer)
        region = wanted.part.region
        origin = (region[0].start or 0, region[1].start or 0)

        def done(made: Restored, record: Record | None) -> str:
            if wanted.prior is None and not suffix:
                self._own = key
                self.prior.use(made.model)
            self.prior.refresh()
            outputs = [wanted.part.placed(output) for output in made.result.outputs()]
            layers = self._show(task, outputs, record, suffix)
            self.views.follow(layer, layers, first, made.left_over)
            self.strip.clear()
            self.curves_plot.hide()
            self._tell_noise(made)
            if record is not None and not suffix:
                size = wanted.settings.pixel_size_nm
                self.results.keep(Kept(layer.name, outputs, size, record))
            return self._said(wanted, made, suffix)

        task = Task(wanted.job, layer, wanted.settings, done, origin, tunable=False)
        self.launch(task)

    # ---- what came out ------------------------------------------------------------------

    def _tell_noise(self, made: Restored) -> None:
        from napari_physgen.physics.noise_level import NoiseLevel

        if self._measured is None or self.noise.text() != self._measured[1].summary:
            self.noise.setText(NoiseLevel(made.result.noise).summary)

    def _said(self, wanted: Restoring, made: Restored, suffix: str) -> str:
        words = [made.result.summary]
        if not made.result.calibrated:
            words.append(NO_UNCERTAINTY)
        if suffix:
            high, wide = made.result.mean.shape[-2:]
            quick = ", after a short training only" if wanted.prior is None else ""
            words.insert(0, f"Preview of {wide} x {high} px{quick}.")
        return " ".join(word for word in words if word)

    def _show(
        self,
        task: Task,
        outputs: Sequence[Output],
        record: Record | None,
        suffix: str,
    ) -> dict[str, Layer]:
        """Renew the layers of the last result of this image, take away what has no successor."""
        source = task.source
        axes = {f"{source.name} {output.name}{suffix}": len(output.axes) for output in outputs}
        for layer in self._earlier(source):
            kept = axes.get(layer.name) == layer.ndim and not suffix and self.live.layer is None
            if not kept and (suffix == "" or layer.name.endswith(PREVIEW)):
                self.viewer.layers.remove(layer)
        renewed = set() if suffix else {output.name for output in outputs}
        camera = self.viewer.scene.camera
        view = camera.center, camera.zoom
        self.show_results(task, outputs, record, suffix=suffix, renewed=renewed)
        camera.center, camera.zoom = view  # samples bring an axis, and napari fits the view anew
        by_name = {layer.name: layer for layer in self._earlier(source)}
        shown = {
            output.name: by_name[name]
            for output in outputs
            if (name := f"{source.name} {output.name}{suffix}") in by_name
        }
        for output in outputs:
            if output.kind == "image" and "contrast_limits" not in output.display:
                shown[output.name].contrast_limits = contrast(output.data)
        return shown

    def _earlier(self, source: Layer) -> list[Layer]:
        """Return the layers that this tool made of an image and nobody renamed."""
        names = RestoreViews.names()
        own = {f"{source.name} {name}{suffix}" for name in names for suffix in ("", PREVIEW)}
        return [
            layer
            for layer in self.viewer.layers
            if layer.name in own and layer.metadata.get(KEY, {}).get("tool") == self.tool
        ]

    def _open_samples(self) -> None:
        """Offer samples where the prior can make them."""
        there = self.prior.kind != NOISY and self.prior.current.there
        model = self.prior.current.model
        there = there and (model is None or model.learned != "noisy")
        self.samples_button.setEnabled(there and not self.runner.running)


def _is_mask(layer: Layer) -> bool:
    from napari.layers import Labels

    return isinstance(layer, Labels) and KEY not in layer.metadata
