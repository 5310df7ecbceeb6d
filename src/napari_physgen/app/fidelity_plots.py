"""Plots of how alike two sets of images are, and of the sizes of particles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_physgen.app.plots import COLOURS, make_plot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.synthesis.fidelity_results import Fidelity

BINS = 20


class FidelityPlots(QWidget):
    """Histograms of the entropies and a map of the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.legend = QLabel()
        self._line = QHBoxLayout()
        self._line.setSpacing(2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.legend)
        layout.addLayout(self._line)
        self.plots: list[Any] = []
        self.setFixedHeight(190)
        self.hide()

    def draw(self, report: Fidelity) -> None:
        """Show a report."""
        if not self.plots:
            self._make()
        colours = dict(zip(report.entropy, COLOURS, strict=False))
        words = [f"<span style='color: {c}'>● {name}</span>" for name, c in colours.items()]
        self.legend.setText(" &nbsp; ".join(words))
        histogram, points = self.plots
        histogram.clear()
        points.clear()
        edges = np.histogram_bin_edges(np.concatenate(list(report.entropy.values())), BINS)
        for name, colour in colours.items():
            counts, _ = np.histogram(report.entropy[name], edges)
            _bars(histogram, edges, counts, colour)
            x, y = report.embedding[report.groups == name].T
            points.plot(
                x, y, pen=None, symbol="o", symbolSize=5, symbolBrush=colour, symbolPen=None
            )
        self.show()

    def _make(self) -> None:
        for title, bottom in (("entropy", "bit"), ("map of patches (t-SNE)", "")):
            plot = make_plot(bottom)
            plot.setTitle(title, size="9pt", color=plot.getAxis("bottom").textPen().color())
            self._line.addWidget(plot)
            self.plots.append(plot)
        for side in ("left", "bottom"):
            self.plots[1].getAxis(side).setStyle(showValues=False)
        self.plots[0].setToolTip(
            "<p>Entropy of the grey values of each patch: the curves should lie on each other.</p>"
        )
        self.plots[1].setToolTip(
            "<p>Every point is a patch; alike patches lie close to each other. Good look-alikes "
            "mix with the real ones.</p>"
        )


class SizeHistogram(QWidget):
    """How many particles have which diameter."""

    def __init__(self) -> None:
        super().__init__()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.plot: Any = None
        self.setFixedHeight(170)
        self.hide()

    def draw(self, sizes: NDArray[np.float64], unit: str) -> None:
        """Show a histogram of equivalent diameters; nothing without particles."""
        self.setVisible(bool(sizes.size))
        if not sizes.size:
            return
        if self.plot is None:
            self.plot = make_plot("")
            self._layout.addWidget(self.plot)
            self.plot.setToolTip(
                "<p>Equivalent diameters of the particles that the edge does not cut.</p>"
            )
        self.plot.clear()
        counts, edges = np.histogram(sizes, BINS, (0, float(sizes.max())))
        _bars(self.plot, edges, counts, COLOURS[0])
        self.plot.setTitle(
            f"diameters, {unit}: {sizes.size}, median {np.median(sizes):.4g}",
            size="9pt",
            color=self.plot.getAxis("bottom").textPen().color(),
        )


def _bars(plot: Any, edges: NDArray[Any], counts: NDArray[Any], colour: str) -> None:
    plot.plot(
        edges,
        counts,
        stepMode="center",
        fillLevel=0,
        brush=colour + "60",
        pen={"color": colour, "width": 2},
    )
