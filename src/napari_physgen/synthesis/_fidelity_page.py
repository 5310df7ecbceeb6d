"""The fidelity report as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen import __version__
from napari_physgen.errors import UserError
from napari_physgen.io.atomic import in_words, replacing
from napari_physgen.synthesis.fidelity_results import FIGURES, REAL, SIMULATED, SYNTHETIC

if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from napari_physgen.synthesis.fidelity_results import Comparison, Fidelity

NAME = "fidelity.html"
COLOURS = {REAL: "#1b6ca8", SYNTHETIC: "#d9822b", SIMULATED: "#6b7a86"}
_STYLE = """
body { font-family: system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .3rem .7rem; border-bottom: 1px solid #ccc; text-align: right; }
td:first-child, th:first-child { text-align: left; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top; }
figcaption { max-width: 29rem; color: #555; font-size: .9rem; }
img.patches { image-rendering: pixelated; max-width: 100%; }
dt { font-weight: 600; }
"""


def save_page(report: Fidelity, path: str | os.PathLike[str]) -> Path:
    """Write the page as `path` if it ends in ".html", else into the folder `path`."""
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        try:
            target.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(str(in_words(error, target / NAME))) from error
        target = target / NAME
    text = page(report)
    with replacing(target) as part:
        part.write_text(text, encoding="utf-8")
    return target


def page(report: Fidelity) -> str:
    """Return the page as HTML."""
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in report.notes)
    figures = [
        _figure(
            _histograms,
            report,
            "Entropy of the grey values of each patch: how many greys it has and how evenly it "
            "uses them. The curves should lie on each other.",
        ),
        _figure(
            _map,
            report,
            "Every point is a patch; patches with similar texture lie close to each other "
            "(t-SNE). Good synthetic images mix with the real ones.",
        ),
        _figure(
            _spectra,
            report,
            "Mean power of coarse (left) to fine (right) detail: sharpness and noise.",
        ),
        _figure(
            _correlations,
            report,
            "How alike the grey values of two pixels are that lie a distance apart: sizes and "
            "spacings.",
        ),
    ]
    body = [
        "<h1>Are the synthetic images like the real ones?</h1>",
        f"<p>{html.escape(_without(report.summary, report.notes))}</p>",
        f"<ul>{notes}</ul>" if notes else "",
        "<h2>Patches</h2>",
        *(_strip(name, patches) for name, patches in report.examples.items()),
        "<h2>Figures</h2>",
        _table(report),
        _meanings(),
        *figures,
        "<h2>What differs most</h2>",
        *(_differences(part) for part in report.comparisons if part.differences),
        f"<p><small>napari-physgen {__version__}; patches of {report.settings.patch} px, seed "
        f"{report.settings.seed}.</small></p>",
    ]
    head = f'<meta charset="utf-8"><title>Fidelity report</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>' + "\n".join(
        [*body, "</body></html>\n"]
    )


def _table(report: Fidelity) -> str:
    head = "".join(
        f"<th>{figure.title}{f', {figure.unit}' if figure.unit else ''}</th>"
        for figure in FIGURES.values()
    )
    perfect = "".join(f"<td>{figure.perfect}</td>" for figure in FIGURES.values())
    rows = [f"<tr><th>set</th>{head}</tr>", f"<tr><td><i>perfect</i></td>{perfect}</tr>"]
    for row in report.rows():
        cells = "".join(f"<td>{_number(row, name)}</td>" for name in FIGURES)
        rows.append(f"<tr><td>{html.escape(row['set'])}</td>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _number(row: dict[str, Any], name: str) -> str:
    error = row.get(f"{name}_error")
    value = f"{row[name]:.3g}" if abs(row[name]) >= 1 else f"{row[name]:.3f}"
    return value if error is None else f"{value} ± {error:.2g}"


def _meanings() -> str:
    items = (f"<dt>{figure.title}</dt><dd>{figure.text}</dd>" for figure in FIGURES.values())
    return f"<details><summary>What they mean</summary><dl>{''.join(items)}</dl></details>"


def _differences(part: Comparison) -> str:
    items = "".join(f"<li>{name}: {size:+.2f} SD</li>" for name, size in part.differences)
    return f"<p>{html.escape(part.name.capitalize())} minus real:</p><ol>{items}</ol>"


def _without(summary: str, notes: tuple[str, ...]) -> str:
    for note in notes:
        summary = summary.replace(note, "").strip()
    return summary


def _strip(name: str, patches: NDArray[np.float32]) -> str:
    from PIL import Image

    row = np.concatenate([np.pad(patch, 2, constant_values=1) for patch in patches], axis=1)
    buffer = io.BytesIO()
    Image.fromarray(np.rint(255 * row).astype(np.uint8)).save(buffer, "png")
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<p><b>{name}</b><br><img class="patches" alt="{name} patches" '
        f'src="data:image/png;base64,{data}"></p>'
    )


def _figure(draw: Any, report: Fidelity, caption: str) -> str:
    """Return a plot as SVG inside of the page; no window system and no global state."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 3.2), layout="constrained")
    draw(figure.add_subplot(), report)
    buffer = io.StringIO()
    # The salt makes the names inside of the file the same every time.
    with mpl.rc_context({"svg.hashsalt": draw.__name__}):
        FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
            buffer, metadata={"Date": None}
        )
    svg = buffer.getvalue()
    return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{caption}</figcaption></figure>"


def _histograms(axes: Axes, report: Fidelity) -> None:
    pooled = np.concatenate(list(report.entropy.values()))
    bins = np.histogram_bin_edges(pooled, 24).tolist()
    for name, values in report.entropy.items():
        style: dict[str, Any] = {"color": COLOURS[name], "label": name}
        axes.hist(values, bins, histtype="stepfilled", alpha=0.35, **style)
        axes.axvline(float(values.mean()), color=COLOURS[name], linewidth=1)
    axes.set(xlabel="entropy, bit", ylabel="patches")
    axes.legend(frameon=False)


def _map(axes: Axes, report: Fidelity) -> None:
    for name in report.entropy:
        x, y = report.embedding[report.groups == name].T
        axes.scatter(x, y, s=9, color=COLOURS[name], alpha=0.7, linewidths=0, label=name)
    axes.set(xticks=[], yticks=[])
    axes.legend(frameon=False)


def _spectra(axes: Axes, report: Fidelity) -> None:
    for name, (frequency, power) in report.spectra.items():
        axes.semilogx(frequency, 10 * power, color=COLOURS[name], label=name)
    axes.set(xlabel="spatial frequency, 1/px", ylabel="power, dB")
    axes.legend(frameon=False)


def _correlations(axes: Axes, report: Fidelity) -> None:
    for name, (lag, value) in report.correlations.items():
        axes.plot(lag, value, color=COLOURS[name], label=name)
    axes.axhline(0, color="0.8", linewidth=0.8)
    axes.set(xlabel="distance, px", ylabel="autocorrelation")
    axes.legend(frameon=False)
