"""The trained network of the SIM panel: which one, training it on a layer, taking another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QFileDialog, QHBoxLayout

from napari_physgen.app.blank import blank
from napari_physgen.app.form import SettingsForm
from napari_physgen.app.job_panel import Task
from napari_physgen.app.labour_free_jobs import once
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.result_bar import file_stem
from napari_physgen.app.section import Section
from napari_physgen.app.sim_series import read_series
from napari_physgen.app.sim_words import CHOICES
from napari_physgen.app.words import Words
from napari_physgen.sim.settings import SimSettings
from napari_physgen.sim.training_settings import SimTrainingSettings

if TYPE_CHECKING:
    from napari_physgen.app.widgets.sim import ReconstructSim
    from napari_physgen.backend import Job
    from napari_physgen.provenance import Record
    from napari_physgen.recipe import Finished
    from napari_physgen.sim.model import SimModel

MODEL = "Model (*.safetensors)"
SHIPPED = "In use: the network that comes with the program. It knows simulated objects only."


class TrainedSection(Section):
    """Opens by itself where the method is the trained network."""

    def __init__(self, panel: ReconstructSim) -> None:
        super().__init__("Trained network")
        self.panel = panel
        self.train_button = panel.starter(
            "Train on this layer...",
            self._ask_train,
            "Teach the network with all stacks of this layer, without any ground truth, and save "
            "it. Minutes on a GPU, longer without.",
        )
        self.load_button = panel.starter(
            "Load...", self._ask_load, "Use a network that was saved before."
        )
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.train_button)
        line.addWidget(self.load_button)
        self.form = SettingsForm(
            SimTrainingSettings,
            hidden=tuple(SimSettings.model_fields),
            choices={"start": CHOICES["start"]},
        )
        self.words = Words()
        self._about: tuple[Path, str] | None = None
        self.column.addWidget(self.words)
        self.column.addLayout(line)
        self.column.addWidget(self.form)
        self.describe()

    def describe(self) -> None:
        """Say which network is in use; open where it is the method."""
        values = self.panel.form.values()
        path: Path | None = values["model"]
        if path is None:
            self.words.setText(SHIPPED)
        else:
            about = self._about[1] if self._about and self._about[0] == path else ""
            self.words.setText(f"In use: {path.name}. {about}".strip())
        if values["method"] == "trained":
            self.expand()

    def train(self, path: Path) -> None:
        """Train a network on the chosen layer and save it as `path`."""
        layer = self.panel.source()
        layout = self.panel.layout_of(layer)
        values = self.form.values() | self.panel.settings().model_dump()
        # From the order of each stack on, the layer says the rest.
        values["order"] = layout.order
        settings: Any = SimTrainingSettings.parse(values)
        target = path if path.suffix == ".safetensors" else Path(f"{path}.safetensors")

        def job() -> Job[Finished[SimModel]]:
            from napari_physgen import recipe

            series = read_series(layer, layout)
            stacks = np.asarray(series).reshape(-1, *_stack_shape(series.shape, settings.frames))
            inputs = {"raw": list(stacks)}
            sources = {"raw": layer.name}
            finished = yield from recipe.start("sim-train", settings, inputs, sources=sources)
            replace(finished.result, record=finished.record.to_dict()).save(target)
            return finished

        def done(model: SimModel, record: Record | None) -> str:
            self._use(target, model)
            return f"{model.summary} Saved as {target.name} and in use."

        self.panel.launch(Task(job, layer, settings, done, tunable=False))

    def load(self, path: Path) -> None:
        """Use the network in a file."""

        def read() -> SimModel:
            from napari_physgen.sim.model import load

            return load(path)

        def done(model: SimModel, record: Record | None) -> str:
            self._use(path, model)
            return ""

        settings = self.panel.settings()
        task = Task(
            lambda: once("reading the network", read), blank(path.stem, 1.0), settings, done
        )
        self.panel.launch(task)

    def _use(self, path: Path, model: SimModel) -> None:
        self._about = path, f"{model.summary} {seen_in_words(model)}".strip()
        self.panel.form.put({"method": "trained", "model": path})
        self.describe()

    def _ask_train(self) -> None:
        layer = self.panel.source()
        start = output_folder() / f"{file_stem(layer.name)}.safetensors"
        name, _ = QFileDialog.getSaveFileName(self, "Train and save as", str(start), MODEL)
        if name:
            self.train(Path(name))

    def _ask_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load a network", str(output_folder()), MODEL)
        if name:
            self.load(Path(name))


def seen_in_words(model: SimModel) -> str:
    """Say what a network has learned from."""
    seen = model.seen
    parts = [
        f"{_range(seen.photons)} photons per pixel",
        f"{_range(seen.frames)} frames",
        f"modulation {_range(seen.modulation)}",
    ]
    return f"It has seen {', '.join(parts)}."


def _range(values: tuple[float, float]) -> str:
    low, high = (f"{value:.2g}" for value in values)
    return low if low == high else f"{low} to {high}"


def _stack_shape(shape: tuple[int, ...], frames: int) -> tuple[int, ...]:
    """Return (frame, y, x), or (y, x) of a montage."""
    return shape[-3:] if len(shape) > 2 and shape[-3] >= frames else shape[-2:]
