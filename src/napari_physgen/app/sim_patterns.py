"""Step 1 of the SIM panel: estimate the patterns, remember them while they hold, show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_physgen.app.job_panel import Task
from napari_physgen.app.results import KEY
from napari_physgen.app.side_view import SideView
from napari_physgen.app.sim_words import NOTHING, OUTDATED, PEAKS
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_physgen.app.widgets.sim import ReconstructSim
    from napari_physgen.backend import Job
    from napari_physgen.provenance import Record
    from napari_physgen.sim.results import Patterns

    Key = tuple[Any, ...]

# What the patterns depend on; a change of anything else keeps an estimate valid.
OPTICS = (
    "na",
    "wavelength_nm",
    "pixel_size_nm",
    "pattern",
    "angles",
    "phases",
    "order",
    "excitation_nm",
    "excitation_na",
    "otf",
    "otf_damping",
    "camera_offset",
    "camera_gain",
)


class PatternStep:
    """The last estimate, what it belongs to, and its spectrum beside the source."""

    def __init__(self, panel: ReconstructSim) -> None:
        self.panel = panel
        self.patterns: Patterns | None = None
        self.side = SideView(panel.viewer)
        self._key: Key = ()
        self._data: Any = None  # the array itself, so that no other takes its id
        self._doubts: tuple[Key, str] = ((), "")

    def estimate(self) -> None:
        """Estimate the patterns of the whole image."""
        panel = self.panel
        layer, frames, settings, _ = panel.read()
        if settings.pattern in NOTHING:
            panel.verdict.setText(NOTHING[settings.pattern])
            return
        key = self.key(layer)

        def job() -> Job[tuple[Patterns, str]]:
            from napari_physgen.sim import estimate_patterns
            from napari_physgen.sim.optics_check import doubts

            patterns = yield from estimate_patterns(frames, settings)
            optics = settings.na, settings.wavelength_nm, settings.pixel_size_nm
            return patterns, " ".join(doubts(frames, *optics))

        def done(found: tuple[Patterns, str], record: Record | None) -> str:
            patterns, doubtful = found
            self._doubts = key, doubtful
            self.take(key, patterns, layer)
            panel.show_results(task, patterns.outputs(), None, renewed=names_of(patterns))
            self._look(layer)
            return ""

        task = Task(job, layer, settings, done)
        panel.launch(task)

    def take(self, key: Key, patterns: Patterns, layer: Layer) -> None:
        """Remember an estimate."""
        self._key, self.patterns, self._data = key, patterns, layer.data
        self.panel.verdict.setToolTip(PEAKS)
        self.panel.describe()

    def known(self, layer: Layer) -> Patterns | None:
        """Return the estimate if it is one of what is on view."""
        return self.patterns if self._key == self.key(layer) else None

    def key(self, layer: Layer) -> Key:
        """Return what an estimate belongs to: these pixels seen through this microscope."""
        values = self.panel.form.values()
        try:
            layout = self.panel.layout_of(layer)
            place = f"{layout.index} {layout.shown}"
        except UserError:
            place = ""
        return (id(layer.data), place, *(values[name] for name in OPTICS))

    def describe(self, layer: Layer) -> None:
        """Say whether the estimate still holds."""
        if self.patterns is None:
            return
        words = [self.patterns.summary]
        if self._doubts[0] == self._key and self._doubts[1]:
            words.append(self._doubts[1])
        current = self._key == self.key(layer)
        self.panel.verdict.setText("\n".join(words) if current else OUTDATED)

    def back(self, source: Layer) -> None:
        """Hide the spectrum and return to the source, where the image will be."""
        for layer in self._beside(source):
            layer.visible = False
        self.side.back()

    def _look(self, source: Layer) -> None:
        """Bring the spectrum into view."""
        pictures = self._beside(source)
        for layer in pictures:
            layer.visible = True
        if pictures:
            self.panel.viewer.layers.selection.active = source
            self.side.look([source, *pictures])

    def _beside(self, source: Layer) -> list[Layer]:
        """Return the spectrum and its circles, which lie beside the source."""
        if self.patterns is None:
            return []
        names = {
            f"{source.name} {output.name}"
            for output in self.patterns.outputs()
            if output.offset is not None
        }
        return [x for x in self.panel.viewer.layers if x.name in names and KEY in x.metadata]


def names_of(patterns: Patterns) -> set[str]:
    """Return the names of what is shown of an estimate."""
    return {output.name for output in patterns.outputs()}
