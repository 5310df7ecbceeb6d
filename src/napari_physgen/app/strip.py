"""Small pictures side by side: simulated, translated, real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_physgen.app.results import contrast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_physgen.outputs import Output

SIDE = 94  # shown pixels
CROP = 256  # pixels of the pictures, so that all of them have one scale


class Strip(QWidget):
    """Titled pictures that follow a job.

    Parameters
    ----------
    titles : mapping
        Tooltip of each picture by its name, in the order of the strip.
    """

    def __init__(self, titles: Mapping[str, str]) -> None:
        super().__init__()
        self.pictures: dict[str, QLabel] = {}
        self._titles: dict[str, QLabel] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        for column, (name, tip) in enumerate(titles.items()):
            title, picture = QLabel(name), QLabel()
            picture.setFixedSize(SIDE, SIDE)
            picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
            for label in (title, picture):
                label.setToolTip(f"<p>{tip}</p>")
            grid.addWidget(title, 0, column, Qt.AlignmentFlag.AlignHCenter)
            grid.addWidget(picture, 1, column, Qt.AlignmentFlag.AlignHCenter)
            grid.setColumnStretch(column, 1)
            self.pictures[name], self._titles[name] = picture, title
        self.clear()

    def show_pictures(self, outputs: Sequence[Output]) -> None:
        """Show outputs by name; an image of another name is a simulation on its way."""
        first = next(iter(self.pictures))
        for output in outputs:
            if output.kind != "image" or output.data.ndim != 2:
                continue
            name = output.name if output.name in self.pictures else first
            self.pictures[name].setPixmap(_pixmap(output.data, self.devicePixelRatioF()))
            self._titles[name].show()
            self.show()

    def clear(self) -> None:
        """Forget the pictures and hide."""
        for name, label in self.pictures.items():
            label.setPixmap(QPixmap())
            self._titles[name].hide()
        self.hide()

    def shown(self, name: str) -> bool:
        """Whether there is a picture of this name."""
        return not self.pictures[name].pixmap().isNull()


def _pixmap(data: NDArray[Any], ratio: float) -> QPixmap:
    """Return the middle square of a picture in grey."""
    side = min(*data.shape, CROP)
    top, left = ((n - side) // 2 for n in data.shape)
    square = np.asarray(data[top : top + side, left : left + side], np.float32)
    low, high = contrast(square)
    grey = np.clip((np.nan_to_num(square) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    image = QImage(grey.tobytes(), side, side, side, QImage.Format.Format_Grayscale8)
    size = round(SIDE * ratio)
    smooth = Qt.TransformationMode.SmoothTransformation
    pixmap = QPixmap.fromImage(image).scaled(size, size, Qt.AspectRatioMode.KeepAspectRatio, smooth)
    pixmap.setDevicePixelRatio(ratio)
    return pixmap
