"""Live curves of a running job."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

COLOURS = ("#4aa3df", "#f0a030", "#5cc46c", "#d8609a", "#9b7fe0")
MOST = 4000


class LiveCurves(QWidget):
    """Figures against step, one curve per figure.

    Parameters
    ----------
    titles : mapping
        Title of each figure to draw, by its name in ``Progress.metrics``; other
        figures are left out.
    along : str
        "step", or a figure that grows over many orders of magnitude (time) and then makes a
        logarithmic axis.
    """

    def __init__(self, titles: Mapping[str, str], along: str = "step") -> None:
        super().__init__()
        self.titles = dict(titles)
        self.along = along
        self.points: dict[str, tuple[list[float], list[float]]] = {}
        self._plot: Any = None
        self._curves: dict[str, Any] = {}
        self._offset = self._last = 0
        self._layout = layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setFixedHeight(165)
        self.hide()
        # Importing pyqtgraph takes half a second, which nobody should wait for while a job runs.
        self._idle = QTimer(self)
        self._idle.setSingleShot(True)
        self._idle.timeout.connect(self._prepare)
        self._idle.start(300)

    def clear(self) -> None:
        """Forget all curves and hide."""
        self.points.clear()
        self._curves.clear()
        self._offset = self._last = 0
        if self._plot is not None:
            self._plot.clear()
        self.hide()

    def add(self, figures: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Append figures; a step that starts again at 0 (a new stage) goes on to the right."""
        touched = set()
        for step, metrics in figures:
            at = self._place(step, metrics)
            if at is None:
                continue
            for name, value in metrics.items():
                if name in self.titles:
                    x, y = self.points.setdefault(name, ([], []))
                    x.append(at)
                    y.append(float(value))
                    touched.add(name)
        for name in sorted(touched):
            self._draw(name)
        if touched:
            self._fit()

    def replace(self, name: str, x: Sequence[float], y: Sequence[float]) -> None:
        """Show the whole curve of a figure, as the result has it."""
        pairs = [(a, b) for a, b in zip(x, y, strict=True) if a > 0 or self.along == "step"]
        if pairs:
            self.points[name] = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
            self._draw(name)
            self._fit()

    def _draw(self, name: str) -> None:
        x, y = self.points[name]
        while len(x) > MOST:
            x[:], y[:] = x[::2], y[::2]
        self._curve(name).setData(x, y)

    def _fit(self) -> None:
        self._plot.setYRange(*self._range(), padding=0.1)
        self.show()

    def _place(self, step: int, metrics: Mapping[str, float]) -> float | None:
        """Return where on the horizontal axis a report belongs; None if nowhere."""
        if self.along != "step":
            at = float(metrics.get(self.along, 0))
            return at if at > 0 else None
        if step + self._offset < self._last:
            self._offset = self._last
        self._last = step + self._offset
        return self._last

    def _range(self) -> tuple[float, float]:
        """Return the limits of the last half: the steep start would flatten all that follows."""
        if self.along != "step":  # a logarithmic axis spreads it out
            every = [v for _, y in self.points.values() for v in y if math.isfinite(v)] or [0, 1]
            return min(every), max(every)
        tails = [y[len(y) // 2 :] for _, y in self.points.values()]
        values = [value for tail in tails for value in tail if math.isfinite(value)]
        if not values:
            return 0.0, 1.0
        low, high = min(values), max(values)
        return low, high + (high - low) / 2  # some of the fall before, too

    def _prepare(self) -> None:
        if self._plot is None:
            self._plot = make_plot(self.along)
            self._plot.setLogMode(x=self.along != "step")
            if self.along != "step":  # words at the powers of ten alone, or they overlap
                self._plot.getAxis("bottom").setStyle(maxTextLevel=0)
            self._layout.addWidget(self._plot)

    def _curve(self, name: str) -> Any:
        self._prepare()
        if name not in self._curves:
            colour = COLOURS[list(self.titles).index(name) % len(COLOURS)]
            self._curves[name] = self._plot.plot(pen={"color": colour, "width": 2})
            # Above the plot, where no curve runs through the words.
            titles = [
                f"<span style='color: {curve.opts['pen']['color']}'>{self.titles[shown]}</span>"
                for shown, curve in self._curves.items()
            ]
            self._plot.setTitle(", ".join(titles), size="9pt")
        return self._curves[name]


class Comparison(QWidget):
    """Curves of a micrograph and of a simulation in one picture each.

    Parameters
    ----------
    titles : mapping
        What each curve is called, by its name in the calibration, e.g.
        ``{"spectrum": "power spectrum", "correlation": "two-point correlation"}``.
    """

    def __init__(self, titles: Mapping[str, str]) -> None:
        super().__init__()
        self.titles = dict(titles)
        self.plots: dict[str, Any] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        pair = zip(("micrograph", "simulation"), COLOURS, strict=False)
        words = [f"<span style='color: {colour}'>— {name}</span>" for name, colour in pair]
        layout.addWidget(QLabel(" &nbsp; ".join(words)))
        self._line = QHBoxLayout()
        layout.addLayout(self._line)
        self.setFixedHeight(190)
        self.hide()

    def show_curves(
        self, curves: Mapping[str, Sequence[NDArray[Any]]], words: Mapping[str, str]
    ) -> None:
        """Draw (x, micrograph, simulation) for every title; `words` are below their axes."""
        for name, title in self.titles.items():
            if name not in curves:
                continue
            if name not in self.plots:
                self.plots[name] = make_plot()
                self._line.addWidget(self.plots[name])
            plot = self.plots[name]
            plot.clear()
            plot.setLabel("bottom", words.get(name, ""))
            x, *pair = curves[name]
            for y, colour in zip(pair, COLOURS[:2], strict=True):
                plot.plot(x, y, pen={"color": colour, "width": 2})
            plot.setTitle(title, size="9pt", color=plot.getAxis("bottom").textPen().color())
        self.show()


def make_plot(bottom: str = "step") -> Any:
    """Return an empty plot in the colours of the viewer's theme."""
    import pyqtgraph
    from napari.settings import get_settings
    from napari.utils.theme import get_theme

    theme = get_theme(get_settings().appearance.theme)
    plot = pyqtgraph.PlotWidget(background=theme.background.as_hex())
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.setLabel("bottom", bottom)
    plot.getAxis("bottom").enableAutoSIPrefix(False)
    for side in ("left", "bottom"):
        plot.getAxis(side).setPen(theme.secondary.as_hex())
        plot.getAxis(side).setTextPen(theme.text.as_hex())
    return plot
