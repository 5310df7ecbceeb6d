"""What came out, in words, and the ways to keep it: TIFF, recipe, settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_physgen.app.preferences import output_folder
from napari_physgen.app.results import KEY
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.layers import Layer

    from napari_physgen.app.job_panel import JobPanel
    from napari_physgen.io import Image
    from napari_physgen.outputs import Output
    from napari_physgen.provenance import Record

OME, IMAGEJ = "OME-TIFF (*.ome.tif)", "TIFF for ImageJ and Fiji, main image only (*.tif)"


@dataclass(frozen=True)
class Kept:
    """The last result, ready to be saved.

    Parameters
    ----------
    name : str
        Name of the source, for file names.
    outputs : sequence of Output
    pixel_size_nm : float or None
        Pixel size of the input.
    record : Record
    depth_nm : float or None
        Distance of the planes along z, where the outputs have such an axis.
    steps : mapping
        Axis -> (distance, unit) along further axes, such as time.
    """

    name: str
    outputs: Sequence[Output]
    pixel_size_nm: float | None
    record: Record
    depth_nm: float | None = None
    steps: Mapping[str, tuple[float, str]] = field(default_factory=dict)

    def images(self) -> list[Image]:
        """Return what goes into a file."""
        from napari_physgen.io import Image

        images = Image.kept(self.outputs, self.pixel_size_nm, self.record, self.depth_nm)
        return [replace(image, step={**self.steps, **image.step}) for image in images]


class ResultBar(QWidget):
    """Summary line with Export, Save recipe and Load settings."""

    def __init__(self, panel: JobPanel) -> None:
        super().__init__()
        self.panel = panel
        self.kept: Kept | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.title = QLabel("<b>Result</b>")
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        line = QHBoxLayout()
        line.setSpacing(4)
        self.export_button = QPushButton("Export TIFF...")
        self.export_button.setToolTip(
            "<p>Save the result with its pixel size, units and record, for Fiji, OMERO, napari.</p>"
        )
        self.export_button.clicked.connect(lambda: panel.attempt(self._ask_export))
        self.recipe_button = QPushButton("Save recipe...")
        self.recipe_button.setToolTip(
            "<p>Save these settings as a file that repeats the work, here or with "
            "<code>napari-physgen run</code>.</p>"
        )
        self.recipe_button.clicked.connect(lambda: panel.attempt(self._ask_recipe))
        load = QPushButton("Load settings")
        load.setToolTip("<p>Take the settings from an earlier result or a recipe file.</p>")
        menu = QMenu(load)
        menu.addAction("From the selected layer", lambda: panel.attempt(self.load_from_layer))
        menu.addAction("From a file...", lambda: panel.attempt(self._ask_load))
        load.setMenu(menu)
        for button in (self.export_button, self.recipe_button, load):
            line.addWidget(button)
        for part in (self.title, self.summary):
            part.hide()
            layout.addWidget(part)
        layout.addLayout(line)
        self.export_button.setEnabled(False)

    def tell(self, summary: str) -> None:
        """Show what came out."""
        self.summary.setText(summary)
        self.title.show()
        self.summary.show()

    def keep(self, kept: Kept) -> None:
        """Remember a result for Export."""
        self.kept = kept
        self.export_button.setEnabled(True)

    def export(self, path: str | Path, imagej: bool = False) -> Path:
        """Save the last result.

        Parameters
        ----------
        path : path
        imagej : bool
            Only the main image, as ImageJ and Fiji read it without a plugin; otherwise
            all images as OME-TIFF.

        Raises
        ------
        UserError
            If there is no result or it cannot be written.
        """
        from napari_physgen.io import write_imagej_tiff, write_ome_tiff

        if self.kept is None:
            raise UserError("There is no result to export yet: press Run first.")
        images = self.kept.images()
        return write_imagej_tiff(path, images[:1]) if imagej else write_ome_tiff(path, images)

    def save_recipe(self, path: str | Path) -> Path:
        """Save the recipe of the last result, or of the form before the first run."""
        from napari_physgen.recipe import Recipe

        if self.kept is not None:
            return Recipe.of(self.kept.record).save(path)
        settings = self.panel.settings().model_dump(mode="json")
        return Recipe(tool=self.panel.tool, settings=settings).save(path)

    def load_from_layer(self, layer: Layer | None = None) -> None:
        """Restore the form from a result layer, by default the selected one."""
        from napari_physgen.provenance import Record
        from napari_physgen.recipe import Recipe

        layer = layer or self.panel.viewer.layers.selection.active
        values: Any = None if layer is None else layer.metadata.get(KEY)
        if layer is None or "tool" not in (values or {}):
            raise UserError("Select a layer made by napari-physgen in the layer list first.")
        self._load(Recipe.of(Record.from_dict(values)), f"layer '{layer.name}'")

    def load_from_file(self, path: str | Path) -> None:
        """Restore the form from a recipe or an exported TIFF."""
        from napari_physgen.recipe import Recipe

        self._load(Recipe.load(path), Path(path).name)

    def _load(self, recipe: Any, origin: str) -> None:
        self.panel.take_settings(recipe.tool, recipe.parse().model_dump(), origin)
        self.panel.message.setText(f"settings loaded from {origin}")

    def _ask_export(self) -> None:
        if self.kept is None:
            raise UserError("There is no result to export yet: press Run first.")
        start = output_folder() / f"{file_stem(self.kept.name)} {self.panel.tool}.ome.tif"
        name, chosen = QFileDialog.getSaveFileName(
            self, "Export TIFF", str(start), f"{OME};;{IMAGEJ}"
        )
        if not name:
            return
        imagej = chosen == IMAGEJ
        stem = name
        for ending in (".ome.tiff", ".ome.tif", ".tiff", ".tif"):
            stem = stem.removesuffix(ending)
        path = self.export(stem + (".tif" if imagej else ".ome.tif"), imagej)
        self.panel.message.setText(f"saved {path}")

    def _ask_recipe(self) -> None:
        name = file_stem(self.kept.name) if self.kept else self.panel.tool
        start = output_folder() / f"{name}.recipe.yaml"
        path, _ = QFileDialog.getSaveFileName(self, "Save recipe", str(start), "Recipe (*.yaml)")
        if path:
            self.save_recipe(path if path.endswith((".yaml", ".yml")) else f"{path}.yaml")
            self.panel.message.setText(f"saved {path}")

    def _ask_load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self,
            "Load settings",
            str(output_folder()),
            "Recipe or exported TIFF (*.yaml *.yml *.json *.tif *.tiff)",
        )
        if path:
            self.load_from_file(path)


def file_stem(name: str) -> str:
    """Return a layer's name as a file name that every system takes."""
    return re.sub(r'[<>:"/\\|?*]+', "_", name).strip(" .") or "result"
