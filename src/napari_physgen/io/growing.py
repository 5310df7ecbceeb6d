"""A TIFF file that grows while a series is computed.

Until the series is finished the file beside the final one, ``NAME.unfinished.ome.tif``, has all its
planes: those that are computed, and 0 for the others. It can be opened at any time, also after the
program was killed. `finish` writes the final file, whole or not at all, and takes it away.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from napari_physgen.io.atomic import in_words
from napari_physgen.io.image import Image
from napari_physgen.io.ome_tiff import lay_out, write_ome_tiff

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from napari_physgen.outputs import Output

ENDING = ".unfinished.ome.tif"


class GrowingTiff:
    """Arrays in a file for the images of a series.

    Parameters
    ----------
    path : path-like
        The final file, ``NAME.ome.tif``.
    pixel_size_nm : float, optional
        Pixel size of the raw frames, nm.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        pixel_size_nm: float | tuple[float, float] | None = None,
    ) -> None:
        self.path = Path(path)
        stem = self.path.name.removesuffix(self.path.suffix).removesuffix(".ome")
        self.unfinished = self.path.with_name(stem + ENDING)
        self._pixel = pixel_size_nm

    def __call__(self, first: Sequence[Output], sizes: Mapping[str, int]) -> list[np.ndarray]:
        """Lay the file out for the outputs of the first stack; return its planes as arrays.

        Parameters
        ----------
        first : sequence of Output
        sizes : mapping
            The axes of the series: their sizes by their names.

        Raises
        ------
        UserError
            If the folder is not writable or the disk is full.
        """
        images = [
            Image.of(
                replace(
                    output,
                    data=np.broadcast_to(output.data, (*sizes.values(), *output.data.shape)),
                    axes=(*sizes, *output.axes),
                ),
                self._pixel,
            )
            for output in first
        ]
        try:
            lay_out(self.unfinished, images)
            maps = [
                tifffile.memmap(self.unfinished, series=number, mode="r+")
                for number in range(len(images))
            ]
        except OSError as error:
            raise in_words(error, self.path) from error
        return [m.reshape(image.data.shape) for m, image in zip(maps, images, strict=True)]

    def finish(self, images: Sequence[Image]) -> Path:
        """Write the final file and take the unfinished one away.

        Windows lets nobody take a file whose arrays are in use: there it stays.
        """
        written = write_ome_tiff(self.path, images)
        with suppress(PermissionError):
            self.unfinished.unlink(missing_ok=True)
        return written
