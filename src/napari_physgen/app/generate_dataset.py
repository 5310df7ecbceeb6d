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

IMAGES, MASKS = "images", "masks"


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
        count = len(made.images)
        self.panel.do(
            "saving the images",
            lambda: write(made, record, folder),
            f"Saved {count} images in {folder}.",
        )

    def _made(self) -> tuple[Generated, Record]:
        made, kept = self.panel.made, self.panel.results.kept
        if made is None or kept is None:
            raise UserError("There are no images to save yet: press Run first.")
        return made, kept.record

    def lock(self, running: bool) -> None:
        """Leave the button open when there is something to save."""
        self.button.setEnabled(not running and self.panel.made is not None)


def write(made: Generated, record: Record, folder: Path) -> None:
    """Write images/0001.ome.tif ... and masks/0001.ome.tif ...

    Raises
    ------
    UserError
        If that cannot be done.
    """
    from napari_physgen.io import Image, write_ome_tiff
    from napari_physgen.outputs import Output

    axes = ("z", "y", "x")[-(made.images.ndim - 1) :]
    for name, kind, stack in ((IMAGES, "image", made.images), (MASKS, "labels", made.masks)):
        if stack is None:
            continue
        try:
            (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder / name} cannot be made: {error.strerror}.") from error
        for number, data in enumerate(stack, 1):
            output = Output(name, data, "labels" if kind == "labels" else "image", axes=axes)
            image = Image.of(output, made.pixel_size_nm, record)
            write_ome_tiff(folder / name / f"{number:04d}.ome.tif", [image])
