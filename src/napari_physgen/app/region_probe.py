"""What is under the cursor beside what is usual in its region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_physgen.app.listening import listen
from napari_physgen.app.plots import COLOURS, make_plot
from napari_physgen.app.words import Words

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_physgen.app.region_scan import Scan
    from napari_physgen.app.region_task import Channels
    from napari_physgen.regions.results import RegionMap

PAUSE = 40  # ms between two pictures
SIDE = 112  # of a patch on the screen, px
FEW = 8  # values per pixel that are shown as a table
# Single spectra of few counts show nothing; around the cursor the region is nearly always one.
REACH = 2
HERE, USUAL = COLOURS[1], COLOURS[0]


class RegionProbe(QWidget):
    """Follows the cursor: the patch, spectrum or values there, and those of the region.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.scan: Scan | None = None
        self.result: RegionMap | None = None
        self.channels: Channels | None = None
        self._counts = False  # spectra are compared by their form alone
        self.words = Words()
        self.values = Words()
        self.pictures = [QLabel(), QLabel()]
        self.plot: Any = None
        self._curves: list[Any] = []
        self._at: tuple[int, int] | None = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        line = QHBoxLayout()
        for picture in self.pictures:
            picture.setFixedSize(SIDE, SIDE)
            line.addWidget(picture)
        line.addStretch(1)
        self._pair = QWidget()
        self._pair.setLayout(line)
        line.setContentsMargins(0, 0, 0, 0)
        for part in (self.words, self._pair, self.values):
            self._layout.addWidget(part)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)
        self.hide()
        listen(self, viewer.cursor.events.position, self._moved)

    def follow(self, scan: Scan, result: RegionMap, channels: Channels | None = None) -> None:
        """Show this map from now on; `channels` as its prototypes have them."""
        self.scan, self.result, self.channels, self._at = scan, result, channels, None
        self._counts = result.choices.kind == "spectra" and scan.counted()
        pictured, curved = self._pictured, self._curved
        self._pair.setVisible(pictured)
        if curved and self.plot is None:
            self._make()
        if self.plot is not None:
            self.plot.setVisible(curved)
        self.show()
        if self.place() is not None:
            self._draw()
            return
        self._say("Move the mouse over the map to compare a place with its region.")

    def forget(self) -> None:
        """Show nothing any more."""
        self.scan = self.result = self.channels = self._at = None
        self.hide()

    # ---- following ----------------------------------------------------------------------

    def _moved(self) -> None:
        if self.scan is not None and self.isVisible() and not self._timer.isActive():
            self._timer.start(PAUSE)

    def _draw(self) -> None:
        """Show what is under the cursor now, unless it was shown just before."""
        place = self.place()
        if place is None or place == self._at or self.scan is None or self.result is None:
            return
        self._at = place
        region = int(self.result.labels[place])
        if not region:
            self._say(f"y {place[0]}, x {place[1]}: no data")
            return
        share = float(self.result.probabilities[(region - 1, *place)])
        self.words.setText(f"y {place[0]}, x {place[1]}: region {region}, probability {share:.2f}")
        if self._pictured:
            self._show_patches(place, region)
        elif self._curved:
            self._show_curves(place, region)
        else:
            self._show_values(place, region)

    def _say(self, words: str) -> None:
        """Show words alone."""
        self.words.setText(words)
        self.values.setText("")
        for picture in self.pictures:
            picture.clear()
        for curve in self._curves:
            curve.setData([], [])

    def place(self) -> tuple[int, int] | None:
        """Return the pixel of the scan under the cursor, None outside."""
        if self.scan is None or self.result is None:
            return None
        layer = self.scan.place
        at = np.asarray(layer.world_to_data(self.viewer.cursor.position), float)[-2:]
        y, x = (int(value) for value in np.floor(at + 0.5))
        height, width = self.result.labels.shape
        return (y, x) if 0 <= y < height and 0 <= x < width else None

    # ---- pictures -----------------------------------------------------------------------

    def _show_patches(self, place: tuple[int, int], region: int) -> None:
        assert self.scan is not None
        assert self.result is not None
        usual = self.result.prototypes[region - 1]
        if self.result.choices.kind == "diffraction":
            here = self.scan.around(*place, 1).mean((-2, -1))
            here, usual = (np.sqrt(np.clip(pattern, 0, None)) for pattern in (here, usual))
        else:
            here = _patch(self.scan, place, usual.shape[-2:])
        for label, patch in zip(self.pictures, (here, usual), strict=True):
            label.setPixmap(_pixmap(patch))
        self.values.setText(f"<small>left: here, right: usual in region {region}</small>")

    def _show_curves(self, place: tuple[int, int], region: int) -> None:
        assert self.result is not None
        here, pixels = self._near(place, region)
        usual = self.result.prototypes[region - 1].astype(float)
        error = self.result.prototype_errors[region - 1].astype(float)
        if len(here) != len(usual):
            here, pixels = np.full(len(usual), np.nan), 0
        # The total is thickness or dose, not the kind of region.
        total = float(np.nansum(usual))
        scale = float(np.nansum(here)) / total if self._counts and total else 1.0
        x = self._axis(len(usual))
        curves = (scale * (usual - error), scale * (usual + error), here, scale * usual)
        for curve, values in zip(self._curves, curves, strict=True):
            curve.setData(x, values)
        self.plot.setLabel("bottom", self.scan.unit if self.scan else "")
        self.values.setText(
            f"<small><span style='color: {HERE}'>mean of {pixels} pixels around here</span>, "
            f"<span style='color: {USUAL}'>usual in region {region}</span></small>"
        )

    def _show_values(self, place: tuple[int, int], region: int) -> None:
        assert self.result is not None
        here, _ = self._near(place, region)
        usual = self.result.prototypes[region - 1]
        error = self.result.prototype_errors[region - 1]
        lines = [f"<tr><td></td><td>here</td><td>region {region}</td></tr>"]
        same = len(here) == len(usual)
        names = list(self.channels.names if self.channels and same else ["value"] * len(usual))
        for at, (value, spread) in enumerate(zip(usual, error, strict=True)):
            own = f"{here[at]:.3g}" if same else ""
            name = names[at] if names.count(names[at]) == 1 else f"{names[at]} {at + 1}"
            lines.append(
                f"<tr><td>{name} &nbsp;</td><td>{own} &nbsp;</td>"
                f"<td>{value:.3g} ± {spread:.1g}</td></tr>"
            )
        self.values.setText(f"<table>{''.join(lines)}</table>")

    @property
    def _pictured(self) -> bool:
        return self.result is not None and self.result.prototypes.ndim == 3

    @property
    def _curved(self) -> bool:
        """Whether there are too many values for a table."""
        values = 0 if self.result is None else self.result.prototypes.shape[1]
        return not self._pictured and values > FEW

    def _near(self, place: tuple[int, int], region: int) -> tuple[NDArray[Any], int]:
        """Return the mean of the pixels of the same region around a place, and how many."""
        assert self.scan is not None
        assert self.result is not None
        y, x = place
        rows = slice(max(y - REACH, 0), y + REACH + 1)
        columns = slice(max(x - REACH, 0), x + REACH + 1)
        if self.channels is not None:
            block = self.channels.values[:, rows, columns]
        else:
            block = self.scan.around(*place, REACH)
        block = block[None] if block.ndim == 2 else block
        block = block.astype(float)
        same = self.result.labels[rows, columns] == region
        same &= np.isfinite(block).all(0)
        if not same.any():
            return np.full(len(block), np.nan), 0
        return block[:, same].mean(1), int(same.sum())

    def _axis(self, length: int) -> NDArray[Any]:
        assert self.result is not None
        for axis in (self.result.prototype_axis, self.scan.values if self.scan else None):
            if axis is not None and len(axis) == length:
                return np.asarray(axis, float)
        return np.arange(length)

    def _make(self) -> None:
        import pyqtgraph

        self.plot = make_plot("")
        self.plot.setFixedHeight(150)
        self.plot.getAxis("left").enableAutoSIPrefix(False)
        low, high = (self.plot.plot(pen=None) for _ in range(2))
        self.plot.addItem(pyqtgraph.FillBetweenItem(low, high, brush=USUAL + "50"))
        here = self.plot.plot(pen={"color": HERE, "width": 1})
        self._curves = [low, high, here, self.plot.plot(pen={"color": USUAL, "width": 2})]
        self._layout.insertWidget(1, self.plot)


def _patch(scan: Scan, place: tuple[int, int], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the window around a place, NaN beyond the edges."""
    data = scan.data if scan.form == "image" else scan.data[0]
    height, width = shape
    window = np.full(shape, np.nan)
    top, left = place[0] - height // 2, place[1] - width // 2
    rows = slice(max(top, 0), min(top + height, scan.shape[0]))
    columns = slice(max(left, 0), min(left + width, scan.shape[1]))
    inside = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    window[inside] = np.asarray(data[rows, columns])
    return window


def _pixmap(patch: NDArray[Any]) -> QPixmap:
    """Return a grey picture from the darkest to the brightest per cent; NaN is black."""
    finite = patch[np.isfinite(patch)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    grey = np.clip((np.nan_to_num(patch, nan=low) - low) / max(high - low, 1e-12), 0, 1)
    grey = np.ascontiguousarray(255 * grey, np.uint8)
    height, width = grey.shape
    image = QImage(grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8).copy()
    return QPixmap.fromImage(image).scaled(
        SIDE, SIDE, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.FastTransformation
    )
