"""Find the frame order for the SIM panel, and show how well each one fits."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.frames import find_frames
from napari_physgen.app.inputs import pixels, shown_position
from napari_physgen.app.job_panel import Task
from napari_physgen.app.sim_words import CHOICES
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_physgen.app.widgets.sim import ReconstructSim
    from napari_physgen.backend import Job
    from napari_physgen.provenance import Record
    from napari_physgen.sim.frame_order import FrameOrder

TIP = "Try all orders in which microscopes write frames, and say how well each one fits."


class OrderFinder:
    """What the button does: tries all orders, sets the best one if it is clear, shows them all."""

    def __init__(self, panel: ReconstructSim) -> None:
        self.panel = panel

    def find(self) -> None:
        """Find the order of the chosen layer."""
        panel = self.panel
        layer = panel.source()
        settings: Any = panel.settings()
        if settings.angles == 1 or settings.pattern in ("given", "speckle"):
            raise UserError("With one angle, or with known light, there is no order to find.")
        raw = recorded(layer, settings.angles, settings.phases, panel.viewer.dims.point)

        def job() -> Job[FrameOrder]:
            from napari_physgen.sim.frame_order import find_order

            return find_order(raw, settings)

        def done(found: FrameOrder, record: Record | None) -> str:
            self.tell(found)
            return ""

        panel.launch(Task(job, layer, settings, done, tunable=False))

    def tell(self, found: FrameOrder) -> None:
        """Set the order if it was found, and say how sure that is."""
        words, panel = CHOICES["order"], self.panel
        best = words[found.order]
        sure = not found.confidence.startswith("not clear")
        if sure:
            panel.form.put({"order": found.order})
            panel.form.remark("order", "(found)")
        others = [f"{words[entry.order]} {entry.score.total:.0f}" for entry in found.table[1:3]]
        scores = f"score {found.table[0].score.total:.0f}"
        if others:
            scores += f"; next {', '.join(others)}"
        panel.verdict.setText(f"Frame order: {best} ({found.confidence}; {scores})")
        rows = "".join(
            f"<tr><td>{html.escape(words[entry.order])}</td>"
            f"<td align='right'>&nbsp;{entry.score.total:.0f}</td></tr>"
            for entry in found.table
        )
        panel.verdict.setToolTip(f"<table><tr><td>order</td><td>score</td></tr>{rows}</table>")


def recorded(layer: Layer, angles: int, phases: int, point: Any) -> Any:
    """Return the frames as they were recorded (frame, y, x), or the one picture (y, x)."""
    data = pixels(layer)
    try:
        index = find_frames(layer, angles, phases, "auto", point).index
    except UserError:
        index = tuple(shown_position(layer, data.shape, point)[:-3])
    block = np.asarray(data[index])
    return block if block.ndim == 2 else block.reshape(-1, *block.shape[-2:])
