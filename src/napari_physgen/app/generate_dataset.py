"""Keep new images as a folder: one file per image, and one per mask, for training elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

from napari_physgen.app.preferences import output_folder
from napari_physgen.app.section import Section
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from napari_physgen.app.widgets.generate import Generate
    from napari_physgen.generative.results import Generated
    from napari_physgen.provenance import Record


class FolderSection(Section):
    """The button that asks where to."""

    def __init__(self, panel: Generate) -> None:
        super().__init__("Make a data set", bold=True)
        self.panel = panel
        self.button = panel.starter(
            "To a folder...",
            self.ask,
            "Save every image, and its mask, as a TIFF of its own in the folders images and masks.",
        )
        self.column.addWidget(self.button)

    def ask(self) -> None:
        """Ask for a folder and fill it."""
        self._made()  # what is missing is said before anybody looks for a folder
        folder = QFileDialog.getExistingDirectory(self, "Data set", str(output_folder()))
        if folder:
            self.save(Path(folder))

    def save(self, folder: Path) -> None:
        """Save the last images; raises UserError without any."""
        made, record = self._made()

        def work() -> None:
            from napari_physgen.generative.folder import write_folder

            write_folder(made, record, folder)

        self.panel.do("saving the images", work, f"Saved {len(made.images)} images in {folder}.")

    def _made(self) -> tuple[Generated, Record]:
        made, kept = self.panel.made, self.panel.results.kept
        if made is None or kept is None:
            raise UserError("There are no images to save yet: press Run first.")
        return made, kept.record

    def lock(self, running: bool) -> None:
        """Leave the button open when there is something to save."""
        self.button.setEnabled(not running and self.panel.made is not None)
