"""Steps 1 to 3 of the labour-free workflow: rows, the preset and Run all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_physgen.app.boxes import CalmComboBox
from napari_physgen.app.labour_free_project import FILES
from napari_physgen.app.step_row import State, StepRow
from napari_physgen.segmentation.settings import labour_free_presets

if TYPE_CHECKING:
    from napari_physgen.app.widgets.labour_free import LabourFree

PRESETS = {
    "quick": "Quick, some 5 min",
    "standard": "Standard, some 10 min",
    "translated": "With CycleGAN, up to an hour",
}
OWN = "my own settings"
# What to look for and where to compute, not how thoroughly.
NOT_PRESET = {"classes", "particles", "look", "seed", "device", "precision"}
TITLES = {
    "look": "1  Look-alike simulation",
    "translation": "2  Translation",
    "model": "3  Training",
}
TIPS = {
    "look": "Phase-field simulations with the spacing, direction and arrangement of your images, "
    "drawn with their grey levels and textures. Their masks are exact.",
    "translation": "A network learns from your images how simulations should look, while their "
    "masks stay what they are.",
    "model": "A network learns on the look-alikes and their masks to label images, then gets used "
    "to yours. No label made by hand is needed.",
}
BUTTONS = {
    "look": ("Simulate", "Make look-alikes of the ticked images."),
    "translation": ("Translate", "Train the translation on the look-alikes and your images."),
    "model": ("Train", "Train the model on the look-alikes."),
}


class WorkflowSteps(QWidget):
    """The preset, Run all and one row per step."""

    def __init__(self, panel: LabourFree) -> None:
        super().__init__()
        self.panel = panel
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        self.preset = CalmComboBox()
        self.preset.addItems([*PRESETS.values(), OWN])
        self.preset.setToolTip(
            "<p>Quick: the simulations are drawn as the micrographs show them. Standard: a "
            "CycleGAN learns the look from the images, which takes longer and forgives more.</p>"
        )
        self.preset.activated.connect(self._choose)
        line = QHBoxLayout()
        line.addWidget(QLabel("<b>Effort</b>"))
        line.addWidget(self.preset, 1)
        layout.addLayout(line)
        run_all = panel.starter(
            "Run all",
            panel.run_all,
            "Do all steps one after the other and label the images. Steps that are done with these "
            "images and settings are not done again.",
        )
        self.row_of_run = QHBoxLayout()
        for button in (run_all, panel.pause_button, panel.stop_button):
            self.row_of_run.addWidget(button)
        layout.addLayout(self.row_of_run)
        self.rows: dict[str, StepRow] = {}
        self.buttons: dict[str, QPushButton] = {}
        for step, (text, tip) in BUTTONS.items():
            button = panel.starter(text, partial(panel.run_step, step), tip)
            self.rows[step] = StepRow(TITLES[step], TIPS[step], [button])
            self.buttons[step] = button
            layout.addWidget(self.rows[step])

    def mark(self) -> None:
        """Show which preset the form is."""
        values = self.panel.form.values()
        index = len(PRESETS)
        for number, name in enumerate(PRESETS):
            how = labour_free_presets[name].model_dump(exclude=NOT_PRESET)
            if name == "quick":  # then its number of steps means nothing
                how.pop("translation_steps")
            if all(values[key] == value for key, value in how.items()):
                index = number
        with QSignalBlocker(self.preset):
            self.preset.setCurrentIndex(index)

    def refresh(self, running: str) -> None:
        """Show the state of every step; `running` is the one that is being done."""
        panel = self.panel
        values = panel.form.values()
        for step, row in self.rows.items():
            if step == running:
                row.tell("running")
            elif step == "translation" and values["translation"] == "none":
                row.tell("left out")
            elif panel.project.has(step):
                words = panel.project.summary(step) or "Done before."
                row.tell(self._state(step), words)
            else:
                row.tell("open")

    def kept(self) -> set[str]:
        """Return the steps that were stopped early and are gone on with as they are."""
        return {step for step in self.rows if self._state(step) == "stopped"}

    def _state(self, step: str) -> State:
        """Return the state of a step that is not running."""
        panel = self.panel
        if not panel.project.has(step):
            return "open"
        same = not panel.list.layers or panel.start.described() == panel.project.images
        if not (same and panel.project.fits(step, panel.form.values())):
            return "old"
        return "stopped" if panel.project.stopped(step) else "done"

    def lock(self, running: bool) -> None:
        """Open the buttons of the steps whose step before is there."""
        has = self.panel.project.has
        plain = self.panel.form.values()["translation"] == "none"
        ready = {
            "look": True,
            "translation": has("look") and not plain,
            "model": has("look") and (plain or has("translation")),
        }
        assert set(ready) == set(FILES)
        for step, button in self.buttons.items():
            button.setEnabled(not running and ready[step])
        self.preset.setEnabled(not running)

    def _choose(self, index: int) -> None:
        if index < len(PRESETS):
            preset = labour_free_presets[list(PRESETS)[index]]
            self.panel.fill(preset.model_dump(exclude=NOT_PRESET))
        self.mark()
