"""Live curves of a running job."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COLOURS = ("#4aa3df", "#f0a030", "#5cc46c", "#d8609a", "#9b7fe0")
MOST = 4000


class LiveCurves(QWidget):
    """Figures against step, one curve per figure.

    Parameters
    ----------
    titles : mapping
        Title of each figure to draw, by its name in ``Progress.metrics``; other
        figures are left out.
    """

    def __init__(self, titles: Mapping[str, str]) -> None:
        super().__init__()
        self.titles = dict(titles)
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
            if step + self._offset < self._last:
                self._offset = self._last
            self._last = step + self._offset
            for name, value in metrics.items():
                if name in self.titles:
                    x, y = self.points.setdefault(name, ([], []))
                    x.append(self._last)
                    y.append(float(value))
                    touched.add(name)
        for name in sorted(touched):
            x, y = self.points[name]
            if len(x) > MOST:
                x[:], y[:] = x[::2], y[::2]
            self._curve(name).setData(x, y)
        if touched:
            self._plot.setYRange(*self._range(), padding=0.1)
            self.show()

    def _range(self) -> tuple[float, float]:
        """Return the limits of the last half: the steep start would flatten all that follows."""
        tails = [y[len(y) // 2 :] for _, y in self.points.values()]
        values = [value for tail in tails for value in tail if math.isfinite(value)]
        if not values:
            return 0.0, 1.0
        low, high = min(values), max(values)
        return low, high + (high - low) / 2  # some of the fall before, too

    def _prepare(self) -> None:
        if self._plot is None:
            self._plot = _make_plot()
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


def _make_plot() -> Any:
    """Return an empty plot in the colours of the viewer's theme."""
    import pyqtgraph
    from napari.settings import get_settings
    from napari.utils.theme import get_theme

    theme = get_theme(get_settings().appearance.theme)
    plot = pyqtgraph.PlotWidget(background=theme.background.as_hex())
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.setLabel("bottom", "step")
    for side in ("left", "bottom"):
        plot.getAxis(side).setPen(theme.secondary.as_hex())
        plot.getAxis(side).setTextPen(theme.text.as_hex())
    return plot
