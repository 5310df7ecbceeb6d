"""The quality report as one HTML page or one picture, made without a window system."""

from __future__ import annotations

import html
import io
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen import __version__
from napari_physgen.sim._report_results import Curve, Picture

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_physgen.sim._report_check import Check
    from napari_physgen.sim._report_results import QualityReport

COLOURS = {"good": "#2e7d32", "fair": "#b26a00", "poor": "#b3261e", "unknown": "#6b7a86"}
_STYLE = """
body { font-family: system-ui, sans-serif; max-width: 74rem; margin: 2rem auto; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .4rem .7rem; border-bottom: 1px solid #ddd; text-align: left;
  vertical-align: top; }
td.value { text-align: right; white-space: nowrap; }
td.verdict { font-weight: 600; }
td small { color: #666; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top; }
figcaption { max-width: 22rem; color: #555; font-size: .9rem; }
"""


def page(report: QualityReport) -> str:
    """Return the page as HTML."""
    facts = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(words)}</td></tr>"
        for name, words in report.facts.items()
    )
    before = [check for check in report.checks if not check.after]
    after = [check for check in report.checks if check.after]
    body = [
        "<h1>Quality of a SIM stack</h1>",
        f'<p style="color:{COLOURS[report.verdict]}"><b>{html.escape(report.summary)}</b></p>',
        f"<table>{facts}</table>",
        "<h2>Raw frames</h2>",
        _table(before),
        "<h2>Reconstruction</h2>" if after else "",
        _table(after) if after else "<p>Checks of the reconstruction need one.</p>",
        "<h2>Pictures</h2>",
        *(_figure(picture, _show) for picture in report.pictures),
        "<h2>Curves</h2>",
        *(_figure(curve, _plot) for curve in report.curves),
        f"<p><small>napari-physgen {__version__}</small></p>",
    ]
    head = f'<meta charset="utf-8"><title>SIM quality report</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>' + "\n".join(
        [*body, "</body></html>\n"]
    )


def poster(report: QualityReport) -> bytes:
    """Return the page as a PNG picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    words = _wrapped(report)
    panels: list[Picture | Curve] = [*report.pictures, *report.curves]
    columns = 4
    rows = -(-len(panels) // columns)
    text = 0.2 * (len(words) + 2)
    figure = Figure(figsize=(15, text + 3.5 * rows), dpi=100)
    top = 1 - text / (text + 3.5 * rows)
    line = 0.2 / (text + 3.5 * rows)
    for number, (sentence, colour, bold) in enumerate(words):
        figure.text(
            0.02,
            1 - (number + 1.5) * line,
            sentence,
            color=colour,
            weight="bold" if bold else "normal",
            size=10,
            parse_math=False,
        )
    grid = figure.add_gridspec(
        rows, columns, left=0.05, right=0.97, bottom=0.04, top=top - line, wspace=0.3, hspace=0.35
    )
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(grid[divmod(number, columns)])
        axes.set_title(panel.title, size=10)
        _show(axes, panel) if isinstance(panel, Picture) else _plot(axes, panel)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _wrapped(report: QualityReport) -> list[tuple[str, str, bool]]:
    """Return the lines of the poster with colour and whether they are bold."""
    lines = [(report.summary, COLOURS[report.verdict], True), ("", "black", False)]
    lines += [(f"{name}: {words}", "#444444", False) for name, words in report.facts.items()]
    lines.append(("", "black", False))
    for check in report.checks:
        said = f"{check.verdict.upper():8} {check.name}: {check.words} {check.advice}"
        first, *more = textwrap.wrap(said, 180, subsequent_indent=" " * 12)
        lines.append((first, COLOURS[check.verdict], False))
        lines += [(line, "#444444", False) for line in more]
    return lines


def _table(checks: list[Check]) -> str:
    rows = ["<tr><th>check</th><th>measured</th><th>verdict</th><th>what it means</th></tr>"]
    for check in checks:
        measured = "" if np.isnan(check.value) else f"{_number(check.value)} {check.unit}"
        advice = f"<br><i>{html.escape(check.advice)}</i>" if check.advice else ""
        rows.append(
            f"<tr><td>{html.escape(check.name)}</td>"
            f'<td class="value">{html.escape(measured)}</td>'
            f'<td class="verdict" style="color:{COLOURS[check.verdict]}">{check.verdict}</td>'
            f"<td>{html.escape(check.words)}{advice}<br><small>{html.escape(check.limits)}</small>"
            "</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _figure(panel: Picture | Curve, draw: Callable[[Axes, Picture | Curve], None]) -> str:
    """Return a panel as SVG inside of the page; no window system and no global state."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure: Figure = Figure(figsize=(3.6, 3.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(panel.title, size=10)
    draw(axes, panel)
    buffer = io.StringIO()
    # The salt makes the names inside of the file the same every time.
    with mpl.rc_context({"svg.hashsalt": panel.title}):
        FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
            buffer, metadata={"Date": None}
        )
    svg = buffer.getvalue()
    caption = html.escape(panel.caption)
    return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{caption}</figcaption></figure>"


def _show(axes: Axes, panel: Picture | Curve) -> None:
    assert isinstance(panel, Picture)
    low, high = panel.limits or tuple(float(v) for v in np.percentile(panel.data, (0.5, 99.7)))
    if panel.data.ndim == 3:
        axes.imshow(np.clip(panel.data, 0, 1), interpolation="nearest")
    else:
        shown = axes.imshow(
            panel.data, cmap=panel.colormap, vmin=low, vmax=high, interpolation="nearest"
        )
        if panel.bar:
            axes.figure.colorbar(shown, ax=axes, shrink=0.8)
    axes.set(xticks=[], yticks=[])


def _plot(axes: Axes, panel: Picture | Curve) -> None:
    assert isinstance(panel, Curve)
    for number, (name, (x, y)) in enumerate(panel.lines.items()):
        axes.plot(x, y, "o-" if panel.dots else "-", ms=4, lw=1.2, label=name, color=f"C{number}")
    for number, (name, place) in enumerate(panel.marks.items()):
        if np.isfinite(place):
            axes.axvline(place, color="0.4", lw=0.9, ls=("-", "--", ":")[number % 3], label=name)
    if panel.level is not None:
        axes.axhline(panel.level, color="0.6", lw=0.8)
    if panel.dots:
        axes.set_ylim(0, 1.1 * max(float(y.max()) for _, y in panel.lines.values()))
    axes.set(xlabel=panel.x, ylabel=panel.y)
    axes.tick_params(labelsize=8)
    axes.legend(frameon=False, fontsize=7)
