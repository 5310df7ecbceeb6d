"""Where a prior comes from: layers to learn from, files, and those that come with the package."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_physgen.app.inputs import pixel_size_nm, pixels
from napari_physgen.backend.job import Progress
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_physgen.backend import Job
    from napari_physgen.generative import GenerativeModel, GenerativeSettings
    from napari_physgen.recipe import Finished

NOISY, IMAGES, PAIRS, MASKS, FILE = "noisy", "images", "pairs", "masks", "file"
MOST = 100  # planes of one stack: more teach little and cost memory
CLASSES = 8  # a mask with more labels than that counts particles
SAME = 0.01  # share by which pixel sizes may differ

_LEARNED = {
    NOISY: "this noisy image alone",
    IMAGES: "images",
    PAIRS: "pairs of noisy and sharp images",
    MASKS: "images with their masks",
}


def shipped() -> list[Path]:
    """Return the priors that come with the package."""
    import napari_physgen

    folder = Path(napari_physgen.__file__).parent / "generative" / "models"
    return sorted(folder.glob("*.safetensors"))


def read_prior(path: Path) -> GenerativeModel:
    """Read a prior from its file; for the worker."""
    from napari_physgen.generative import load

    return load(path)


def words(model: GenerativeModel) -> str:
    """Say what a prior knows."""
    low, high = np.round(model.scale.grey(np.array([-1, 1], np.float32)), 4) + 0.0
    steps = model.metrics.get("steps", model.settings.get("steps"))
    parts = [f"grey levels {low:.4g} to {high:.4g}"]
    if model.pixel_size_nm is not None:
        parts.append(f"pixels of {model.pixel_size_nm:.4g} nm")
    if model.classes:
        parts.append(f"{model.classes} classes in the masks")
    if model.design.dimensions == 3:
        parts.append("volumes")
    after = f" in {steps:.0f} steps" if steps else ""
    return f"Learned from {_LEARNED[model.learned]}{after}: {', '.join(parts)}."


@dataclass(frozen=True)
class Lessons:
    """Layers to learn from.

    Parameters
    ----------
    settings : GenerativeSettings
    images : tuple of napari.layers.Layer
        Sharp images.
    partners : tuple of napari.layers.Layer
        Noisy partners, or masks, as `settings.conditional` says.
    """

    settings: GenerativeSettings
    images: tuple[Layer, ...]
    partners: tuple[Layer, ...] = field(default=())

    @classmethod
    def of(
        cls, settings: GenerativeSettings, images: Sequence[Layer], partners: Sequence[Layer] = ()
    ) -> Lessons:
        """Return lessons with the pixel size of their layers; raises UserError."""
        if not images:
            raise UserError(
                "There are no images to learn from: open sharp images of the kind and tick them."
            )
        size = agreed(images)
        return cls(
            settings.model_copy(update={"pixel_size_nm": size}), tuple(images), tuple(partners)
        )

    def job(self) -> Job[Finished[GenerativeModel]]:
        """Read the layers and train (a job)."""
        from napari_physgen import recipe

        yield Progress(0, 1, "reading the images")
        volumes = self.settings.volumes
        inputs: dict[str, list[NDArray[Any]]] = {
            "images": [part for layer in self.images for part in parts(layer, volumes)]
        }
        sources = {"images": ", ".join(layer.name for layer in self.images)}
        told = [part for layer in self.partners for part in parts(layer, volumes)]
        if self.partners:
            kind = "masks" if self.settings.conditional == MASKS else "pairs"
            inputs[kind] = as_classes(told) if kind == "masks" else told
            sources[kind] = ", ".join(layer.name for layer in self.partners)
        finished = yield from recipe.start("prior", self.settings, inputs, sources=sources)
        model = replace(finished.result, record=finished.record.to_dict())
        return recipe.Finished(model, finished.record)


def parts(layer: Layer, volumes: bool) -> list[NDArray[Any]]:
    """Return the planes of a layer, evenly spaced ones of a long stack, or its volumes."""
    data = pixels(layer)
    if not volumes:
        indices = list(np.ndindex(*data.shape[:-2]))
        count = min(len(indices), MOST)
        chosen = np.linspace(0, len(indices) - 1, count).round().astype(int)
        return [np.asarray(data[indices[i]]) for i in chosen]
    if data.ndim < 3:
        raise UserError(
            f"'{layer.name}' is a single plane: untick Volumes under Training, or choose stacks."
        )
    return list(np.asarray(data).reshape(-1, *data.shape[-3:]))


def as_classes(masks: Sequence[NDArray[Any]], classes: int = CLASSES) -> list[NDArray[Any]]:
    """Return masks of classes: numbered particles become one class, 1.

    Parameters
    ----------
    masks : sequence of array
    classes : int
        Classes that the prior knows; masks with more labels count particles.
    """
    if classes not in (2, CLASSES) or max(mask.max(initial=0) for mask in masks) < classes:
        return list(masks)
    return [(mask > 0).astype(np.uint8) for mask in masks]


def agreed(layers: Sequence[Layer]) -> float | None:
    """Return the pixel size that all layers have, if they say one; raises UserError."""
    sizes = sorted(size for layer in layers if (size := pixel_size_nm(layer)) is not None)
    if not sizes:
        return None
    if sizes[-1] > (1 + SAME) * sizes[0]:
        raise UserError(
            f"The images have pixels of {sizes[0]:.4g} to {sizes[-1]:.4g} nm, but a prior learns "
            "one size: tick images of one magnification."
        )
    return sizes[0]
