"""What was decided about a region map and why: the L-curve and the numbers of regions tried."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QPointF, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_physgen.app.plots import COLOURS, make_plot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_physgen.regions.results import CountChoice, WallChoice

CROWDED = 0.08  # of the plot: numbers closer than this would overlap
LINE, MARK = COLOURS[0], COLOURS[1]
TIP = (
    "<p>Every point is a map with another wall cost: to the right more walls, further up a worse "
    "fit. Good maps lie at the bend. Drag the marker, or click, to see another map.</p>"
)


class CostCurve:
    """Maps between: a polyline through the wall costs that were tried.

    Parameters
    ----------
    walls : sequence of WallChoice
        At least two.
    """

    def __init__(self, walls: Sequence[WallChoice]) -> None:
        self.walls = sorted(walls, key=lambda wall: wall.wall_cost)
        self.x = np.log10([max(wall.length, 1.0) for wall in self.walls])
        self.y = np.array([wall.misfit for wall in self.walls])
        # Nearly free walls are one step before the cheapest that was tried.
        costs = np.array([wall.wall_cost for wall in self.walls])
        self._least = 0.3 * float(min(costs[costs > 0], default=1.0))
        self._log = np.log(np.maximum(costs, self._least))

    def place(self, wall_cost: float) -> tuple[float, float]:
        """Return where on the line a wall cost is."""
        at = np.log(max(wall_cost, self._least))
        return float(np.interp(at, self._log, self.x)), float(np.interp(at, self._log, self.y))

    def nearest(self, x: float, y: float, unit: tuple[float, float] = (1.0, 1.0)) -> float:
        """Return the wall cost of the place nearest to a point.

        Close to one that was tried it is that one, elsewhere a number of two digits.

        Parameters
        ----------
        unit : (float, float)
            What counts as the same distance along x and y.
        """
        line = np.linspace(0, len(self.walls) - 1, 64 * (len(self.walls) - 1) + 1)
        index = np.arange(len(self.walls))
        distance = np.hypot(
            (np.interp(line, index, self.x) - x) / unit[0],
            (np.interp(line, index, self.y) - y) / unit[1],
        )
        best = float(line[np.argmin(distance)])
        if abs(best - round(best)) < 0.08:
            return self.walls[round(best)].wall_cost
        return float(f"{np.exp(np.interp(best, index, self._log)):.2g}")


class WallCurve(QWidget):
    """The L-curve; the marker is the wall cost in use and can be dragged along the line.

    Signals
    -------
    chosen(float)
        A wall cost that the user points at; many while the marker is dragged.
    """

    chosen = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.curve: CostCurve | None = None
        self.mark: Any = None
        self.plot: Any = None
        self._cost = 0.0
        self._best: float | None = None
        self._placing = False
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.setFixedHeight(165)
        self.setToolTip(TIP)
        self.hide()

    def draw(self, walls: Sequence[WallChoice], wall_cost: float, auto: bool = True) -> None:
        """Show wall costs that were tried, the one in use marked; hide where there are none.

        Parameters
        ----------
        walls : sequence of WallChoice
        wall_cost : float
        auto : bool
            Whether it was found by itself.
        """
        self.setVisible(len(walls) > 1)
        if len(walls) < 2:
            self.curve = None
            return
        self.curve, self._best = CostCurve(walls), wall_cost if auto else None
        if self.plot is None:
            self._make()
        self.plot.clear()
        self.plot.plot(self.curve.x, self.curve.y, pen={"color": LINE, "width": 2})
        self._points(self.curve)
        self._fit(self.curve)
        self.plot.addItem(self.mark)
        self.put(wall_cost)

    def put(self, wall_cost: float) -> None:
        """Move the marker to a wall cost without telling anybody."""
        if self.curve is None:
            return
        self._cost, self._placing = wall_cost, True
        self.mark.setPos(*self.curve.place(wall_cost))
        self._placing = False
        auto = ", found by itself" if wall_cost == self._best else ""
        self.plot.setTitle(
            f"L-curve: <span style='color: {MARK}'>wall cost {wall_cost:.3g}</span>{auto}",
            size="9pt",
            color=self.plot.getAxis("bottom").textPen().color(),
        )

    def point_at(self, x: float, y: float) -> None:
        """Take the wall cost nearest to a point of the plot."""
        if self.curve is None:
            return
        (left, right), (low, high) = self.plot.viewRange()
        cost = self.curve.nearest(x, y, (max(right - left, 1e-9), max(high - low, 1e-9)))
        told = cost != self._cost
        self.put(cost)
        if told:
            self.chosen.emit(cost)

    def _make(self) -> None:
        import pyqtgraph

        self.plot = make_plot("wall length, grid steps")
        self.plot.setLabel("left", "misfit, nats")
        self.plot.getAxis("left").enableAutoSIPrefix(False)
        self.mark = pyqtgraph.TargetItem(size=16, movable=True, pen={"color": MARK, "width": 2})
        self.mark.setZValue(10)
        self.mark.sigPositionChanged.connect(self._dragged)
        self.plot.scene().sigMouseClicked.connect(self._clicked)
        self._layout.addWidget(self.plot)

    def _points(self, curve: CostCurve) -> None:
        import pyqtgraph

        tips = [
            f"wall cost {wall.wall_cost:.3g}: stability {wall.stability:.2f}"
            for wall in curve.walls
        ]
        dots = pyqtgraph.ScatterPlotItem(
            curve.x,
            curve.y,
            data=tips,
            size=7,
            brush=LINE,
            pen=None,
            hoverable=True,
            tip=lambda x, y, data: data,
        )
        self.plot.addItem(dots)
        colour = self.plot.getAxis("bottom").textPen().color()
        told: list[tuple[float, float]] = []
        for wall, x, y in zip(curve.walls, curve.x, curve.y, strict=True):
            at = x / max(np.ptp(curve.x), 1e-9), y / max(np.ptp(curve.y), 1e-9)
            if any(math.dist(at, other) < CROWDED for other in told):
                continue
            told.append(at)
            words = pyqtgraph.TextItem(f"{wall.wall_cost:.3g}", color=colour, anchor=(-0.15, 0.9))
            words.setPos(x, y)
            self.plot.addItem(words)

    def _fit(self, curve: CostCurve) -> None:
        for values, fit in ((curve.x, self.plot.setXRange), (curve.y, self.plot.setYRange)):
            room = 0.12 * float(np.ptp(values)) or 0.1
            fit(float(values.min()) - room, float(values.max()) + 2 * room, padding=0)
        self.plot.getAxis("bottom").setTicks([ticks(*curve.x[[0, -1]])])

    def _dragged(self) -> None:
        if not self._placing:
            self.point_at(self.mark.pos().x(), self.mark.pos().y())

    def _clicked(self, event: Any) -> None:
        at: QPointF = self.plot.getPlotItem().vb.mapSceneToView(event.scenePos())
        if self.plot.getPlotItem().vb.sceneBoundingRect().contains(event.scenePos()):
            self.point_at(at.x(), at.y())


def ticks(one: float, other: float) -> list[tuple[float, str]]:
    """Return marks of a logarithmic axis around two decimal logarithms.

    Powers of ten over many decades, every digit over a part of one, so that there are a few marks
    whose words do not overlap.
    """
    low, high = min(one, other) - 0.3, max(one, other) + 0.3
    steps: tuple[float, ...] = (1,) if high - low > 2.5 else (1, 2, 5)
    if high - low < 1:
        steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    powers = range(math.floor(low), math.ceil(high))
    marks = [step * 10.0**power for power in powers for step in steps]
    return [(math.log10(mark), f"{mark:g}") for mark in marks if low <= math.log10(mark) <= high]


def counts_table(counts: Sequence[CountChoice], chosen: int) -> str:
    """Return the numbers of regions that were tried as an HTML table, the chosen one bold.

    Evidence is given by how much it is below the best.
    """
    if not counts:
        return ""
    best = [max(values) for values in zip(*((c.evidence, c.icl) for c in counts), strict=True)]
    rows: list[tuple[str, ...]] = [("regions", "evidence", "ICL", "stability")]
    for count in sorted(counts, key=lambda c: c.regions):
        cells = [
            f"{value - top:.0f}"
            for value, top in zip((count.evidence, count.icl), best, strict=True)
        ]
        rows.append((str(count.regions), *cells, f"{count.stability:.2f}"))
    return _table(rows, bold=str(chosen))


def regions_table(shares: NDArray[Any], sure: NDArray[Any], colours: Sequence[str]) -> str:
    """Return the regions as an HTML table: colour, share of the map, mean probability."""
    rows = [("", "region", "share", "mean probability")]
    for number, (share, certain, colour) in enumerate(zip(shares, sure, colours, strict=True), 1):
        square = f"<span style='color: {colour}'>&#9632;</span>"
        rows.append((square, str(number), f"{100 * share:.1f} %", f"{certain:.2f}"))
    return _table(rows)


def _table(rows: Sequence[Sequence[str]], bold: str = "") -> str:
    lines = []
    for number, row in enumerate(rows):
        mark = "b" if bold and row[0] == bold and number else ("small" if not number else "span")
        cells = "".join(
            f"<td align='right' style='padding-right: 10px'><{mark}>{cell}</{mark}></td>"
            for cell in row
        )
        lines.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"
