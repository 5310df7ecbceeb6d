"""Map regions: a scan in, a map of physically separate regions out, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.job_panel import JobPanel, Task
from napari_physgen.app.listening import listen
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.region_axes import find_scan, read_mask
from napari_physgen.app.region_layers import apart, legible, look_at, overview, stacked
from napari_physgen.app.region_review import KeptMap, RegionReview
from napari_physgen.app.region_scan import Scan, square
from napari_physgen.app.region_task import LEAST_WINDOW, Channels, MapTask
from napari_physgen.app.result_bar import file_stem
from napari_physgen.app.results import KEY, warm_up
from napari_physgen.app.words import duration
from napari_physgen.errors import UserError
from napari_physgen.outputs import Output
from napari_physgen.regions.settings import RegionSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.backend import Job, Progress
    from napari_physgen.provenance import Record
    from napari_physgen.recipe import Finished
    from napari_physgen.regions.results import RegionMap

NONE_YET = (
    "Open a STEM or SPM image, a stack of channels, a spectrum image or a 4D-STEM scan, or try "
    "File > Open Sample > napari-physgen."
)
PAUSE = 200  # ms without a move of the marker before the map follows
# What belongs to one scan and must not be taken over to the next session.
OF_THE_SCAN: dict[str, Any] = {
    "kind": "auto",
    "signal_axis": "auto",
    "channels": "auto",
    "wall_cost": None,
    "window": None,
    "stride": None,
    "pixel_size_nm": None,
    "pixel_height_nm": None,
}


class MapRegions(JobPanel):
    """The dock widget."""

    tool = "regions"
    title = "Map regions"
    about = (
        "An image of a lattice, channels of a scanning probe, a spectrum or a diffraction pattern "
        "per pixel."
    )
    input_title = "Image or scan"
    model = RegionSettings
    rows = (("Sample", ("kind", "regions")),)
    choices: ClassVar[dict[str, dict[str, str]]] = {
        "kind": {
            "auto": "find out",
            "lattice": "Image of a lattice",
            "channels": "Channels (SPM, PFM)",
            "spectra": "Spectrum per pixel",
            "diffraction": "Diffraction per pixel",
        },
        "method": {
            "vae": "Physics VAE (best)",
            "fast": "Mixture model (seconds)",
            "classic": "Classic shift/rotation VAE",
        },
        "perimeter": {
            "crofton": "Cauchy-Crofton",
            "tv": "total variation",
            "modica-mortola": "Modica-Mortola",
            "mumford-shah": "Mumford-Shah",
        },
    }
    curves: ClassVar[dict[str, str]] = {"misfit": "misfit"}

    def __init__(self, napari_viewer: ViewerModel) -> None:
        self.mapped: tuple[MapTask, RegionMap] | None = None
        self._following = False  # the running job re-solves the last map
        self._behind = False  # the marker has moved since it began
        self._pointed = False  # the wall cost was taken from the L-curve
        self._covered: list[Layer] = []
        self._shown: dict[str, set[str]] = {}  # names of the outputs on view, by source
        super().__init__(napari_viewer)
        self._behind_auto(regions=3, wall_cost=1.0, window=32, stride=4)
        self.form.put({n: v for n, v in OF_THE_SCAN.items() if not n.startswith("pixel")})
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.timeout.connect(lambda: self.attempt(self.solve_again))
        listen(self, napari_viewer.dims.events.point, self._describe)

    # ---- the frame ----------------------------------------------------------------------

    def accepts(self, layer: Layer) -> bool:
        """Whether a layer is offered: images, also those of our readers, but no results."""
        from napari.layers import Image

        known = layer.metadata.get(KEY)
        return isinstance(layer, Image) and (known is None or "signal_axis" in known)

    def add_start(self, layout: QVBoxLayout) -> None:
        """Add the choosers of the scan and of the mask."""
        super().add_start(layout)
        self.masks = LayerChooser(self.viewer, _is_mask, none="whole scan")
        self.masks.setToolTip(
            "<p>Labels to stay inside of: what is not painted is left out of the map.</p>"
        )
        self.masks.chosen.connect(lambda _: self._describe())
        line = QHBoxLayout()
        line.addWidget(QLabel("Map"))
        line.addWidget(self.masks, 1)
        layout.addLayout(line)

    def add_steps(self, layout: QVBoxLayout) -> None:
        """Add Quick map and Run."""
        self.step(
            layout,
            "1  Preview",
            {
                "Quick map": (
                    self.quick,
                    "Map the whole scan with the mixture model, in seconds.",
                )
            },
        )
        self.step(
            layout,
            "2  Map",
            {
                "Run": (
                    self.run,
                    "Map the scan with the chosen method. The layers of the last map of this scan "
                    "are renewed; rename one to keep it.",
                )
            },
            extra=(self.pause_button, self.stop_button),
        )

    def _build(self) -> None:
        super()._build()
        self.review = RegionReview(self.viewer)
        self.review.chosen.connect(self._point)
        self.report_button = QPushButton("Save report...")
        self.report_button.setToolTip(
            "<p>Save regions, interfaces and wall lines as CSV tables and all choices as JSON.</p>"
        )
        self.report_button.clicked.connect(lambda *_: self.attempt(self._ask_report))
        self.report_button.setEnabled(False)
        layout = self.results.layout()
        assert layout is not None
        for part in (self.report_button, self.review):
            layout.addWidget(part)

    def lock(self, running: bool) -> None:
        """Leave open what makes sense while a job runs, or while none does."""
        super().lock(running)
        self.masks.setEnabled(not running)
        if not running:
            while self._covered:
                self._covered.pop().visible = True

    def count(self, progress: Progress) -> str:
        """Return how far the whole map is."""
        return f", {progress.step / progress.total:.0%}" if progress.total > 1 else ""

    def time_left(self, seconds: float) -> str:
        """Return the time that the whole map still needs."""
        return f", about {duration(seconds)} left"

    def live_begins(self, layer: Layer) -> None:
        """Hide the last map, which lies at the same place, until the job has ended."""
        for other in self.viewer.layers:
            ours = other is not layer and other.metadata.get(KEY, {}).get("tool") == self.tool
            if ours and other.visible and other.name.endswith((" regions", " walls")):
                other.visible = False
                self._covered.append(other)

    def show_pictures(self, pictures: Sequence[Output]) -> None:
        """Show live pictures, unless the map only follows the marker."""
        if not self._following:
            super().show_pictures(pictures)

    # ---- what I have --------------------------------------------------------------------

    def input_chosen(self, layer: Layer | None) -> None:
        """Read what the layer knows and say how it is taken."""
        if layer is not None:
            self._prefill(layer)
        if self.mapped is not None:
            self.review.setVisible(self.mapped[0].scan.layer is layer)
        self._describe()

    def setting_changed(self, name: str) -> None:
        """Say again how the scan is taken, and let the marker follow the wall cost."""
        if name in ("pixel_size_nm", "pixel_height_nm"):
            self.form.remark(name)
        if name == "wall_cost":
            self._pointed = False
            cost = self.form.values()[name]
            if cost is not None:
                self.review.curve.put(cost)
        self._describe()

    def fill(self, values: Mapping[str, Any]) -> None:
        """Show settings by name."""
        self.form.put(values)
        self._pointed = False

    def _prefill(self, layer: Layer) -> None:
        """Take from the layer what it knows, and forget what belonged to another one."""
        words = layer.metadata.get(KEY, {}).get("channels")
        known: dict[str, Any] = {"channels": words if isinstance(words, str) else "auto"}
        if self._pointed:
            known["wall_cost"] = None
        try:
            steps = self._find(layer).steps
        except UserError:
            steps = None
        known["pixel_size_nm"] = steps[1] if steps else None
        known["pixel_height_nm"] = steps[0] if steps and not square(steps) else None
        self.form.put(known)
        for name in ("pixel_size_nm", "pixel_height_nm"):
            self.form.remark(name, "(layer)" if known[name] else "")

    def _describe(self) -> None:
        """Say how the scan is read."""
        layer = self.chooser.layer
        if layer is None:
            self.reading.setText(NONE_YET)
            return
        try:
            scan = self._find(layer)
            self._mask(scan)
            self.reading.setText(scan.words())
        except UserError as error:
            self.reading.setText(str(error))

    def _find(self, layer: Layer) -> Scan:
        values = self.form.values()
        return find_scan(layer, values["kind"], values["signal_axis"], self.viewer.dims.point)

    def _mask(self, scan: Scan) -> NDArray[np.bool_] | None:
        if self.masks.layer is None:
            return None
        return read_mask(self.masks.layer, scan, self.viewer.dims.point)

    # ---- go -----------------------------------------------------------------------------

    def quick(self) -> None:
        """Map the whole scan with the mixture model."""
        self._start(self.settings().model_copy(update={"method": "fast"}))

    def run(self) -> None:
        """Map the scan with the chosen method."""
        self._start(self.settings())

    def solve_again(self) -> None:
        """Let the last map follow the wall cost, with everything else as it was found."""
        if self.mapped is None or self.runner.running:
            return
        last, result = self.mapped
        self._following = True
        self._launch(last.again(result.choices, self.form.values()["wall_cost"]), tunable=False)
        self.form.setEnabled(True)  # not tuned, yet the marker and the box must stay alive

    def _start(self, settings: RegionSettings) -> None:
        scan = self._find(self.source())
        if scan.data.ndim == 3:
            settings = settings.model_copy(update={"signal_axis": scan.signal})
        mask = self._mask(scan)
        name = self.masks.layer.name if self.masks.layer else ""
        self._following = False
        self._launch(MapTask(scan, settings, mask, name))

    def _launch(self, wanted: MapTask, *, tunable: bool = True) -> None:
        below: list[Output] = []
        channels: list[Channels] = []
        self._behind = False

        def job() -> Job[Finished[RegionMap]]:
            warm_up()
            finished = yield from wanted.start()
            below.extend(overview(wanted.scan))
            channels.extend(wanted.channels(finished.result))
            return finished

        def done(result: RegionMap, record: Record | None) -> str:
            self._show(task, wanted.scan, result, below, record)
            self._review(wanted, result, channels)
            if record is not None:
                self.results.keep(KeptMap.of(wanted.scan.layer.name, result, record))
            return result.summary

        task = Task(job, wanted.scan.place, wanted.settings, done, tunable=tunable)
        self.launch(task)

    def _tune(self, name: str) -> None:
        if self.form.values()[name] is not None:  # "auto" means: as it is now
            super()._tune(name)

    # ---- what came out ------------------------------------------------------------------

    def _show(
        self,
        task: Task,
        scan: Scan,
        result: RegionMap,
        below: Sequence[Output],
        record: Record | None,
    ) -> None:
        """Renew the layers of the last map of this scan, and take away what has no successor."""
        shown = [apart(legible(output, scan), task.source) for output in stacked(result, below)]
        names = {output.name for output in shown}
        camera = self.viewer.scene.camera
        view = camera.center, camera.zoom
        self.show_results(task, shown, record, renewed=names)
        camera.center, camera.zoom = view  # napari fits the view anew when there are more axes
        gone = {f"{scan.place.name} {name}" for name in self._shown.get(scan.place.name, ())}
        gone -= {f"{scan.place.name} {name}" for name in names}
        for layer in [x for x in self.viewer.layers if x.name in gone and KEY in x.metadata]:
            self.viewer.layers.remove(layer)
        self._shown[scan.place.name] = names

    def _review(self, wanted: MapTask, result: RegionMap, channels: Sequence[Channels]) -> None:
        scan, first = wanted.scan, result.outputs()[0].name
        labels = next(
            (x for x in self.viewer.layers if x.name == f"{scan.place.name} {first}"), None
        )
        new = self.mapped is None or self.mapped[0].scan.layer is not scan.layer
        if new and scan.place is not scan.layer and labels is not None:
            scan.layer.visible = False  # its last two axes are not those of the map
            look_at(self.viewer, labels)
        self.mapped = wanted, result
        self.curves_plot.hide()
        auto = self.form.values()["wall_cost"] is None
        self.review.follow(scan, result, labels, *channels, auto=auto)
        self.report_button.setEnabled(True)
        found = result.choices
        self._behind_auto(
            regions=found.regions,
            wall_cost=found.wall_cost,
            window=max(found.window, LEAST_WINDOW),
            stride=found.stride,
        )

    def _behind_auto(self, **values: Any) -> None:
        """Set the numbers that appear where somebody unticks "auto"."""
        shown = self.form.values()
        auto = {name: shown[name] for name in values if shown[name] in (None, "auto")}
        self.form.put({name: values[name] for name in auto})
        self.form.put(auto)

    def save_report(self, folder: str | Path) -> None:
        """Write the tables of the last map into a folder; raises UserError."""
        from napari_physgen.regions.report import write_report

        if self.mapped is None:
            raise UserError("There is no map to report on yet: press Quick map or Run first.")
        wanted, result = self.mapped
        write_report(result, folder, file_stem(wanted.scan.layer.name))
        self.message.setText(f"saved the report in {folder}")

    def _ask_report(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save report", str(output_folder()))
        if folder:
            self.save_report(folder)

    # ---- the wall cost ------------------------------------------------------------------

    def _point(self, cost: float) -> None:
        """Take a wall cost from the L-curve; a running job hears of it, a finished one repeats."""
        self.form.put({"wall_cost": cost})
        self._pointed = True
        if not self.runner.running:
            self._wait.start(PAUSE)
        elif self._following:
            self._behind = True

    def _end(self, end: Any) -> None:
        super()._end(end)
        if self._behind and end.error is None:
            self._wait.start(PAUSE)


def _is_mask(layer: Layer) -> bool:
    from napari.layers import Labels

    return isinstance(layer, Labels) and KEY not in layer.metadata
