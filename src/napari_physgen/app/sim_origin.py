"""What a raw layer knows of its microscope, and where each value is from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_physgen.app.frame_counts import frame_count, guess_layout, layouts
from napari_physgen.app.inputs import acquisition, pixel_size_nm
from napari_physgen.app.sim_words import USUAL
from napari_physgen.errors import UserError
from napari_physgen.sim.settings import LAYOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.layers import Layer

    from napari_physgen.app.form import SettingsForm
    from napari_physgen.io.acquisition import Acquisition

LAYER, FILE = "(from layer)", "(from file)"
READ = ("na", "wavelength_nm", "excitation_nm")
"""Settings that a file may tell; the pixel size is better known to the layer."""


@dataclass(frozen=True)
class Origin:
    """Values for the form and where they stand.

    Parameters
    ----------
    values : mapping
        By the names of the settings.
    remarks : mapping
        What to write beside the titles of those that are read, by name.
    sources : tuple of str
        Where in the file they stand.
    acquisition : Acquisition or None
        All that the file says.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    acquisition: Acquisition | None = None

    @classmethod
    def of(cls, layer: Layer, pattern: str) -> Origin:
        """Read a layer and the header of its file; `pattern` is the kind of light chosen now."""
        known: dict[str, Any] = dict(layer.metadata.get("microscope", {}))
        words: dict[str, str] = dict(layer.metadata.get("microscope_sources", {}))
        told = dict.fromkeys(words, FILE)
        if "angles" in known:
            known.setdefault("pattern", "stripes")
        says = acquisition(layer)
        found = says.found
        for name in (*READ, "angles", "phases"):
            if name in found and name not in known:
                value: Any = found[name].value
                known[name] = int(value) if name in ("angles", "phases") else value
                told[name], words[name] = FILE, found[name].source
        if layout := guess_layout(layer, known.get("pattern", pattern)):
            known.setdefault("angles", layout[0])
            known.setdefault("phases", layout[1])
        try:
            size = pixel_size_nm(layer)
        except UserError:
            size = None
        if size:
            known["pixel_size_nm"], told["pixel_size_nm"] = size, LAYER
        elif "pixel_size_nm" in found:
            known["pixel_size_nm"] = found["pixel_size_nm"].value
            told["pixel_size_nm"] = FILE
            words["pixel_size_nm"] = found["pixel_size_nm"].source
        # The kind of light first: it brings usual numbers of angles and phases.
        ordered = {n: known[n] for n in sorted(known, key=lambda name: name != "pattern")}
        return cls(ordered, told, tuple(dict.fromkeys(words.values())), says)

    def told(self, values: Mapping[str, Any]) -> str:
        """Say what is from the file, and where it contradicts the values of the form."""
        if self.acquisition and (others := self.acquisition.differences(values)):
            return f"The file says otherwise: {'; '.join(others)}."
        if self.sources:
            return f"Read from the file: {', '.join(self.sources)}. Check it."
        return ""

    def show(self, form: SettingsForm) -> None:
        """Put the values into a form, with remarks where they are from."""
        form.put(self.values)
        for name in (*READ, "pixel_size_nm", "angles", "phases"):
            form.remark(name, self.remarks.get(name, ""))


def usual_layout(layer: Layer | None, pattern: str, angles: int, phases: int) -> dict[str, int]:
    """Return angles and phases that a kind of light can have, nothing if the given ones fit."""
    count = frame_count(layer) if layer is not None else 0
    enough = angles >= LAYOUT[pattern][0] and phases >= LAYOUT[pattern][1]
    alone = pattern in ("hexagonal", "given", "speckle")  # no groups of frames: one angle
    if enough and angles * phases == count and not (alone and angles > 1):
        return {}
    fits = [*layouts(count, pattern), USUAL.get(pattern, (1, max(count, 1)))]
    return dict(zip(("angles", "phases"), fits[0], strict=True))
