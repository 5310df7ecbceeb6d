"""New images as a folder: one file per image and one per mask, for training elsewhere.

::

    images/0001.ome.tif   one image with its pixel size and record
    masks/0001.ome.tif    the mask that it follows, under the same name
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_physgen.errors import UserError
from napari_physgen.io import Image, write_ome_tiff
from napari_physgen.outputs import Output

if TYPE_CHECKING:
    from napari_physgen.generative.results import Generated
    from napari_physgen.outputs import Kind
    from napari_physgen.provenance import Record

IMAGES, MASKS = "images", "masks"


def write_folder(made: Generated, record: Record, folder: Path) -> None:
    """Write images and, where there are any, their masks.

    Raises
    ------
    UserError
        If that cannot be done.
    """
    axes = ("z", "y", "x")[-(made.images.ndim - 1) :]
    parts: list[tuple[str, Kind]] = [(IMAGES, "image"), (MASKS, "labels")]
    for name, kind in parts:
        stack = made.images if name == IMAGES else made.masks
        if stack is None:
            continue
        try:
            (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            raise UserError(
                f"The folder {folder / name} cannot be made: choose another one."
            ) from None
        for number, data in enumerate(stack, 1):
            image = Image.of(Output(name, data, kind, axes=axes), made.pixel_size_nm, record)
            write_ome_tiff(folder / name / f"{number:04}.ome.tif", [image])
