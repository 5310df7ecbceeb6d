"""Under a finished region map: its regions, what was decided and why, and the place at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_physgen.app.region_plots import WallCurve, counts_table, regions_table
from napari_physgen.app.region_probe import RegionProbe
from napari_physgen.app.result_bar import Kept
from napari_physgen.app.section import Section
from napari_physgen.app.words import Words

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_physgen.app.region_scan import Scan
    from napari_physgen.app.region_task import Channels
    from napari_physgen.io import Image
    from napari_physgen.provenance import Record
    from napari_physgen.regions.results import Choices, RegionMap

COUNTS_TIP = (
    "<p>Numbers of regions that were tried. Evidence and ICL (integrated completed likelihood) "
    "are in nats below the best; stability is how alike maps of perturbed data are, 1 at best.</p>"
)
SURE_TIP = "<p>Mean probability of the pixels to belong to their region: 1 is certain.</p>"


class RegionReview(QWidget):
    """What can be seen of a region map beside its layers.

    Signals
    -------
    chosen(float)
        A wall cost that the user points at in the L-curve.
    """

    chosen = Signal(float)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.probe = RegionProbe(viewer)
        self.notes = Words()
        self.curve = WallCurve()
        self.curve.chosen.connect(self.chosen)
        self.table, self.counts = Words(), Words()
        self.table.setToolTip(SURE_TIP)
        self.counts.setToolTip(COUNTS_TIP)
        self.tables = Section("Regions and how they were found")
        for words in (self.table, self.counts, self.notes):
            self.tables.column.addWidget(words)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.probe, self.curve, self.tables):
            layout.addWidget(part)
        self.hide()

    def follow(
        self,
        scan: Scan,
        result: RegionMap,
        labels: Labels | None,
        channels: Channels | None = None,
        *,
        auto: bool = True,
    ) -> None:
        """Show a map and where it came from; an earlier L-curve stays if there is no new one.

        Parameters
        ----------
        scan : Scan
        result : RegionMap
        labels : napari.layers.Labels or None
            The layer whose colours the regions have.
        channels : Channels, optional
            What prototypes of channels are means of.
        auto : bool
            Whether the wall cost was found by itself.
        """
        choices = result.choices
        if choices.walls:
            self.curve.draw(choices.walls, choices.wall_cost, auto)
        elif self.probe.scan is not None and self.probe.scan.layer is scan.layer:
            self.curve.put(choices.wall_cost)
        else:
            self.curve.draw((), choices.wall_cost)
        self.probe.follow(scan, result, channels)
        self.table.setText(_regions(result, labels))
        if choices.counts or not self.counts.text():
            self.counts.setText(counts_table(choices.counts, choices.regions))
        self.notes.setText(decided(choices))
        self.show()

    def forget(self) -> None:
        """Show nothing any more."""
        self.probe.forget()
        self.curve.draw((), 0.0)
        self.counts.setText("")
        self.hide()


@dataclass(frozen=True)
class KeptMap(Kept):
    """A region map, ready to be saved; pixels need not be squares.

    Parameters
    ----------
    height_nm : float or None
        Distance of two pixels along y, where it is not that along x.
    """

    height_nm: float | None = None

    @classmethod
    def of(cls, name: str, result: RegionMap, record: Record) -> Self:
        """Return what of a map can be saved as pictures."""
        settings = result.settings
        pictures = [output for output in result.outputs() if output.kind != "vectors"]
        pixel, height = settings.pixel_size_nm, settings.pixel_height_nm
        return cls(name, pictures, pixel, record, height_nm=height)

    def images(self) -> list[Image]:
        """Return what goes into a file."""
        images = super().images()
        if self.height_nm is None or self.pixel_size_nm is None:
            return images
        share = self.height_nm / self.pixel_size_nm
        taller = []
        for image in images:
            size, unit = image.step["y"]
            step = {**image.step, "y": (size * share, unit)}
            origin = {**image.origin, "y": image.origin["y"] * share}
            taller.append(replace(image, step=step, origin=origin))
        return taller


def decided(choices: Choices) -> str:
    """Say what was decided, in words."""
    words = []
    if choices.window > 1:
        period = f" (lattice period {choices.period:.3g} px)" if choices.period else ""
        words.append(f"Window {choices.window} px{period}, grid step {choices.stride} px.")
    return " ".join([*words, f"Wall cost {choices.wall_cost:.3g}."])


def _regions(result: RegionMap, layer: Labels | None) -> str:
    labels = result.labels
    inside = max(int((labels > 0).sum()), 1)
    numbers = range(1, len(result.probabilities) + 1)
    masks = [labels == number for number in numbers]
    shares = np.array([mask.sum() / inside for mask in masks])
    sure = [
        float(result.probabilities[number - 1][mask].mean()) if mask.any() else 0.0
        for number, mask in zip(numbers, masks, strict=True)
    ]
    return regions_table(shares, np.array(sure), [_colour(layer, n) for n in numbers])


def _colour(layer: Labels | None, number: int) -> str:
    colour = None if layer is None else layer.get_color(number)
    if colour is None:
        return "gray"
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in np.asarray(colour)[:3])
