"""Step 1: simulate what the micrographs show and render it as they show it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.backend import Command, Progress, Stop
from napari_physgen.errors import UserError
from napari_physgen.io.atomic import replacing
from napari_physgen.metrics.microstructure import characteristic_length
from napari_physgen.outputs import Output
from napari_physgen.segmentation.prepare import normalised
from napari_physgen.segmentation.settings import CLASS_NAMES, Classes, LabourFreeSettings
from napari_physgen.synthesis import DatasetSettings, calibrate
from napari_physgen.synthesis.appearance import measure
from napari_physgen.synthesis.calibration_settings import CalibrationSettings
from napari_physgen.synthesis.morphology import Structures
from napari_physgen.synthesis.population import distinct, populate, split_sizes
from napari_physgen.synthesis.render import render
from napari_physgen.synthesis.render_settings import RenderSettings
from napari_physgen.synthesis.settings import PhaseFieldSettings
from napari_physgen.synthesis.simulate import simulate_batch

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_physgen.backend import Job

    Real = NDArray[np.float32]
    Labels = NDArray[np.uint8]

_SPREAD = 0.25  # of the parameters of the simulations
_SIDE = 384  # px of a rendered picture, or the image's shorter side if that is smaller
_BATCH = 6  # simulations side by side


@dataclass(frozen=True)
class LookAlike:
    """Rendered simulations with their exact masks.

    Parameters
    ----------
    pictures : tuple of numpy.ndarray
        (y, x) float32, normalised.
    masks : tuple of numpy.ndarray
        (y, x) uint8: 0 matrix, 1 particles, 2 fine particles.
    phases : tuple of numpy.ndarray
        (y, x) uint8 of the real images: the rough phases that everything was measured with.
    simulation : PhaseFieldSettings
        In the middle of those simulated.
    length : float
        Mean characteristic length of the real images, px.
    summary : str
    metrics : mapping
    device : str
    """

    pictures: tuple[Real, ...]
    masks: tuple[Labels, ...]
    phases: tuple[Labels, ...]
    simulation: PhaseFieldSettings
    length: float
    summary: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    device: str = ""

    def outputs(self) -> list[Output]:
        """Return some of the pictures with their masks, and the rough phases of the first image."""
        side = min(min(picture.shape) for picture in self.pictures)
        shown = slice(16), slice(side), slice(side)
        axes = ("sample", "y", "x")
        pictures = np.stack([p[shown[1:]] for p in self.pictures[:16]])
        masks = np.stack([m[shown[1:]] for m in self.masks[:16]])
        return [
            Output("look-alikes", pictures, axes=axes, export=False),
            Output(
                "look-alike masks",
                masks,
                kind="labels",
                axes=axes,
                display={"opacity": 0.4},
                export=False,
            ),
        ]

    def save(self, path: Path) -> None:
        """Write it as NPZ; raises UserError where that cannot be done."""
        words = {
            "simulation": self.simulation.model_dump(mode="json"),
            "length": self.length,
            "summary": self.summary,
            "metrics": dict(self.metrics),
            "device": self.device,
        }
        arrays: dict[str, Any] = {"words": np.array(json.dumps(words))}
        for name in ("pictures", "masks", "phases"):
            arrays |= {f"{name}_{i}": array for i, array in enumerate(getattr(self, name))}
        with replacing(path) as part, part.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> LookAlike:
        """Read what `save` wrote; raises UserError if it is damaged."""
        try:
            with np.load(path) as arrays:
                words = json.loads(str(arrays["words"]))
                groups = {
                    name: tuple(
                        arrays[f"{name}_{i}"]
                        for i in range(sum(key.startswith(f"{name}_") for key in arrays.files))
                    )
                    for name in ("pictures", "masks", "phases")
                }
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{path.name} is damaged: delete it and run the step again.") from error
        simulation = PhaseFieldSettings.parse(words.pop("simulation"))
        return cls(
            groups["pictures"], groups["masks"], groups["phases"], simulation=simulation, **words
        )


def look_alike(
    images: Sequence[Real],
    settings: LabourFreeSettings | None = None,
    *,
    rendering: RenderSettings | None = None,
) -> Job[LookAlike]:
    """Simulate and render look-alikes of micrographs.

    The phases are found by their edges (`synthesis.calibrate`), which is enough to measure
    spacing, sizes, grey levels and textures; nothing is taken over pixel by pixel.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        (y, x) each, of one pixel size, without bars (`prepare`).
    settings : LabourFreeSettings, optional
    rendering : RenderSettings, optional
        How far the pictures stray from the measured look.

    Returns
    -------
    generator
        A job. Its preview is the simulation, later the last picture. `Stop` before the first
        picture raises `UserError`; later it keeps those that are there.

    Raises
    ------
    UserError
        As `synthesis.calibrate`; or at `Stop` before there is anything to keep.
    """
    settings = settings or LabourFreeSettings()
    own = [normalised(image) for image in images]
    how = CalibrationSettings(
        look=settings.look,
        particles=settings.particles,
        trials=settings.trials,
        seed=settings.seed,
        device=settings.device,
    )
    found = yield from calibrate(own, settings=how)
    structures = yield from _simulated(found.settings, settings)
    rough = [
        rough_labels(image, phase > 0, settings.classes)
        for image, phase in zip(own, found.phases, strict=True)
    ]
    pictures, masks = yield from _rendered(
        own, rough, structures, settings, rendering or RenderSettings()
    )
    lengths = [characteristic_length(phase > 0) for phase in found.phases]
    return LookAlike(
        pictures=tuple(pictures),
        masks=tuple(masks),
        phases=tuple(rough),
        simulation=found.settings,
        length=float(np.mean(lengths)),
        summary=f"{len(pictures)} look-alikes. {found.summary}",
        metrics=dict(found.metrics),
        device=found.device,
    )


def rough_labels(image: Real, phase: NDArray[np.bool_], classes: Classes) -> Labels:
    """Return labels good enough to measure with: the sizes apart, or what is clearly a particle."""
    if len(CLASS_NAMES[classes]) > 2:
        return split_sizes(phase)
    return distinct(image, phase).astype(np.uint8)


def _simulated(
    middle: PhaseFieldSettings, settings: LabourFreeSettings
) -> Generator[Progress, Command | None, Structures]:
    """Simulate samples around `middle`."""
    plan = DatasetSettings(simulation=middle, count=settings.simulations, spread=_SPREAD)
    fields, labels = [], []
    for first in range(0, settings.simulations, _BATCH):
        batch = [plan.sample(i) for i in range(first, min(first + _BATCH, settings.simulations))]
        job = simulate_batch(batch)
        try:
            while True:
                inner = next(job)
                share = inner.step / max(inner.total, 1)
                command = yield Progress(
                    int(100 * (first + len(batch) * share) / settings.simulations),
                    100,
                    "simulating look-alikes",
                    preview=inner.preview,
                )
                if isinstance(command, Stop):
                    raise UserError("Stopped before the first look-alike; nothing was changed.")
        except StopIteration as end:
            samples = [s for s in end.value if 0 < (s.labels > 0).mean() < 1]
        finally:
            job.close()
        fields += [sample.field for sample in samples]
        labels += [sample.labels for sample in samples]
    if not fields:
        raise UserError("No simulation showed two phases: choose another look.")
    lengths = [characteristic_length(mask > 0, periodic=True) for mask in labels]
    return Structures.of(fields, labels, float(np.mean(lengths)))


def _rendered(
    own: Sequence[Real],
    rough: Sequence[Labels],
    structures: Structures,
    settings: LabourFreeSettings,
    rendering: RenderSettings,
) -> Generator[Progress, Command | None, tuple[list[Real], list[Labels]]]:
    """Render pictures as the images show their phases, each in its turn."""
    looks = [measure(image, labels) for image, labels in zip(own, rough, strict=True)]
    groups = [populate(labels, look.length) for labels, look in zip(rough, looks, strict=True)]
    random = np.random.default_rng([settings.seed, 2])
    pictures: list[Real] = []
    masks: list[Labels] = []
    for number in range(settings.pictures):
        which = number % len(own)
        side = min(_SIDE, *own[which].shape)
        mask = structures.cut((side, side), groups[which], random)
        masks.append(mask)
        pictures.append(normalised(render(mask, looks[which], rendering, random)))
        command = yield Progress(
            number + 1, settings.pictures, "rendering", preview=lambda: _strip(own, pictures)
        )
        if isinstance(command, Stop):
            break
    return pictures, masks


def _strip(own: Sequence[Real], pictures: Sequence[Real]) -> list[Output]:
    return [Output("simulated", pictures[-1]), Output("real", own[0])]
