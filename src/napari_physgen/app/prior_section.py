"""Which prior: learned from layers, from the noisy image itself, from a file, or a shipped one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_physgen.app.boxes import CalmComboBox
from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.current_model import CurrentModel
from napari_physgen.app.form import SettingsForm
from napari_physgen.app.image_list import ImageList
from napari_physgen.app.inputs import is_grey
from napari_physgen.app.model_bar import MODEL
from napari_physgen.app.preferences import output_folder
from napari_physgen.app.prior_source import (
    FILE,
    IMAGES,
    MASKS,
    NOISY,
    PAIRS,
    Lessons,
    read_prior,
    shipped,
    words,
)
from napari_physgen.app.result_bar import file_stem
from napari_physgen.app.results import KEY
from napari_physgen.app.words import Words
from napari_physgen.errors import UserError
from napari_physgen.generative.settings import GenerativeSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.layers import Layer

    from napari_physgen.app.prior_panel import PriorPanel
    from napari_physgen.generative import GenerativeModel

UNSAVED = "not saved"
NONE_YET = "There is no prior yet: press Learn, or choose another one."
CHOICES = {
    "domain": {"linear": "linear: for every task", "square root": "square root: photon noise only"},
    "preset": {"edm": "diffusion (EDM)", "pfgm++": "Poisson flow (PFGM++)"},
}


class PriorSection(QWidget):
    """The choice, what it needs, and what the prior is in words.

    Parameters
    ----------
    panel : PriorPanel
    title : str
    kinds : mapping
        Words for the ways to come by a prior: "noisy", "images", "pairs", "masks", "file".
    """

    changed = Signal()

    def __init__(self, panel: PriorPanel, title: str, kinds: Mapping[str, str]) -> None:
        super().__init__()
        self.panel = panel
        self._kinds = dict(kinds)
        self._files = {f"file {path}": path for path in shipped()}
        self._offered: list[str] = []
        self._priors: dict[str, CurrentModel[GenerativeModel]] = {}
        self._build(title)
        self.offer(list(kinds))
        self.choice.currentIndexChanged.connect(lambda _: self.refresh())

    # ---- the choice ---------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """What is chosen."""
        return self._offered[self.choice.currentIndex()]

    @property
    def shipped(self) -> bool:
        """Whether a prior that comes with the package is chosen."""
        return self.kind in self._files

    def choose(self, kind: str) -> None:
        """Choose a way."""
        if kind in self._offered:
            self.choice.setCurrentIndex(self._offered.index(kind))

    def offer(self, kinds: list[str]) -> None:
        """Offer some ways to come by a prior; shipped priors follow."""
        kept = self.kind if self._offered else ""
        self._offered = [*kinds, *self._files]
        with QSignalBlocker(self.choice):
            self.choice.clear()
            self.choice.addItems([self._kinds[kind] for kind in kinds])
            self.choice.addItems([path.stem.replace("_", " ") for path in self._files.values()])
        self.choose(kept)
        self.refresh()

    @property
    def current(self) -> CurrentModel[GenerativeModel]:
        """The prior of the chosen way; there may be none yet."""
        kind = self.kind
        if kind not in self._priors:
            self._priors[kind] = CurrentModel(read_prior, NONE_YET)
            if kind in self._files:
                self._priors[kind].set(None, self._files[kind])
        return self._priors[kind]

    def use(self, model: GenerativeModel | None, path: Path | None = None) -> None:
        """Work with a prior that has just been learned or read."""
        self.current.set(model, path)
        self.refresh()

    def take(self, name: str) -> None:
        """Choose the prior that a recipe names; raises UserError if its file is not there."""
        known = next((kind for kind, path in self._files.items() if str(path) == name), "")
        if not name and NOISY in self._offered:
            self.choose(NOISY)
        elif known:
            self.choose(known)
        elif name == UNSAVED:
            if not self.current.there:
                raise UserError("The prior of this result was not saved: choose or learn another.")
        elif name:
            self.choose(FILE)
            self.load(Path(name))

    @property
    def file(self) -> str:
        """What a recipe says about the prior in use: its file; "" for learning from the image."""
        if self.kind == NOISY and self.current.path is None:
            return ""
        return str(self.current.path) if self.current.path else UNSAVED

    @property
    def name(self) -> str:
        """What the images are called that the prior knows."""
        if self.current.path is not None:
            return self.current.path.stem.removesuffix(" prior").replace("_", " ")
        layers = self.images.layers if self.kind == IMAGES else [self.sharp.layer]
        if self.kind == NOISY:
            layers = [self.panel.chooser.layer]
        return next((layer.name for layer in layers if layer is not None), "images")

    # ---- learning and files -------------------------------------------------------------

    def lessons(self) -> Lessons:
        """Return what to learn from; raises UserError."""
        kind = self.kind
        settings = GenerativeSettings.parse(self.form.values() | {"conditional": kind})
        if kind == IMAGES:
            return Lessons.of(settings, self.images.layers)
        sharp, partner = self.sharp.layer, self.noisy.layer if kind == PAIRS else self.masks.layer
        if sharp is None or partner is None:
            what = "noisy and the sharp images" if kind == PAIRS else "images and their masks"
            raise UserError(f"Open the {what} as two layers of the same size and choose them.")
        return Lessons.of(settings, [sharp], [partner])

    def load(self, path: Path) -> None:
        """Use the prior in a file."""
        self.panel.read(path)

    def save(self, path: Path) -> None:
        """Save the prior."""
        target = path if path.suffix == ".safetensors" else Path(f"{path}.safetensors")
        prior = self.current

        def work() -> None:
            model = prior.get()
            model.save(target)
            prior.set(model, target)

        self.panel.do("saving the prior", work, f"Saved {target}")

    def _ask_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load prior", str(output_folder()), MODEL)
        if name:
            self.load(Path(name))

    def _ask_save(self) -> None:
        start = str(output_folder() / f"{file_stem(self.name)} prior.safetensors")
        path, _ = QFileDialog.getSaveFileName(self, "Save prior", start, MODEL)
        if path:
            self.save(Path(path))

    # ---- the frame ----------------------------------------------------------------------

    def _build(self, title: str) -> None:
        viewer = self.panel.viewer
        head = QLabel(f"<b>{title}</b>")
        head.setToolTip("<p>What is known beforehand about images of this kind.</p>")
        self.choice = CalmComboBox()
        self.choice.setMinimumContentsLength(12)
        self.choice.setSizeAdjustPolicy(
            CalmComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.images = ImageList(viewer, self._teaches, lambda layer: layer.visible)
        self.images.setToolTip(
            "<p>Tick images with little noise that look like those to come: same kind of sample, "
            "same pixel size, recorded alike. The planes of a stack count as images.</p>"
        )
        self.sharp, self.noisy = LayerChooser(viewer, _picture), LayerChooser(viewer, _picture)
        self.masks = LayerChooser(viewer, _mask)
        self.lines = QWidget()
        table = QFormLayout(self.lines)
        table.setContentsMargins(0, 0, 0, 0)
        self._titles = {}
        for name, box in (("Noisy", self.noisy), ("Sharp", self.sharp), ("Masks", self.masks)):
            self._titles[box] = QLabel(name)
            table.addRow(self._titles[box], box)
        hidden = ("conditional", "pixel_size_nm", "camera_gain", "read_noise")
        self.form = SettingsForm(GenerativeSettings, (), hidden, CHOICES, tucked=("domain",))
        self.learn_button = self.panel.starter(
            "Learn", self.panel.learn, "Teach a network what such images look like."
        )
        self.load_button = self.panel.starter(
            "Load...", self._ask_load, "Use a prior that was saved before."
        )
        self.save_button = self.panel.starter(
            "Save...", self._ask_save, "Save the prior, to use it again for such images."
        )
        self.words = Words()
        first, last = QHBoxLayout(), QHBoxLayout()
        first.addWidget(head)
        first.addWidget(self.choice, 1)
        for button in (self.learn_button, self.load_button, self.save_button):
            last.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(first)
        for part in (self.images, self.lines, self.form):
            layout.addWidget(part)
        layout.addLayout(last)
        layout.addWidget(self.words)

    def _teaches(self, layer: Layer) -> bool:
        """Whether a layer is offered to learn from: grey images, but not the one to restore."""
        ours = layer.metadata.get(KEY, {}).get("tool") in ("restore", "generate")
        subject = self.panel.input_title and layer is self.panel.chooser.layer
        return _picture(layer) and not ours and not subject

    def refresh(self) -> None:
        """Show what the choice needs and what there is."""
        kind, prior = self.kind, self.current
        learns = kind in (IMAGES, PAIRS, MASKS)
        self.images.setVisible(kind == IMAGES)
        self.lines.setVisible(kind in (PAIRS, MASKS))
        for box, shown in ((self.noisy, PAIRS), (self.masks, MASKS)):
            box.setVisible(kind == shown)
            self._titles[box].setVisible(kind == shown)
        self._titles[self.sharp].setText("Sharp" if kind == PAIRS else "Images")
        self.form.setVisible(learns)
        self.learn_button.setVisible(learns)
        self.load_button.setVisible(kind == FILE)
        self.save_button.setVisible(kind not in self._files and prior.model is not None)
        self.words.setText(self._said())
        self.changed.emit()

    def _said(self) -> str:
        prior = self.current
        if prior.model is not None:
            self.words.setToolTip(f"<p>{prior.model.summary}</p>")
            kept = "" if prior.path or self.kind == NOISY else " Not saved yet."
            return words(prior.model) + kept
        if prior.path is not None:
            return f"{prior.path.name}, read when it is needed."
        return self.panel.no_prior(self.kind)

    def lock(self, running: bool) -> None:
        """Leave the choice open while nothing runs."""
        for part in (self.choice, self.images, self.lines, self.form):
            part.setEnabled(not running)


def _picture(layer: Layer) -> bool:
    from napari.layers import Image

    return isinstance(layer, Image) and is_grey(layer) and not layer.name.endswith(" (live)")


def _mask(layer: Layer) -> bool:
    from napari.layers import Labels

    return isinstance(layer, Labels)
