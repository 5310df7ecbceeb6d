"""What a prior learned and what it is good for, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_physgen.generative import GenerativeModel

_LEARNED = {
    "images": "images",
    "pairs": "noisy images with their clean partners",
    "masks": "images with their masks",
    "noisy": "noisy images alone",
}
_ALL = "denoise, deconvolve, super-resolve, inpaint, SIM"


def words(model: GenerativeModel) -> Iterator[tuple[str, str]]:
    """Give name and text of every line."""
    steps = model.metrics.get("steps", model.settings.get("steps"))
    yield "learned from", _LEARNED[model.learned] + (f", {steps:.0f} steps" if steps else "")
    yield "model", _family(model)
    yield "good for", _uses(model)
    low, high = model.scale.grey(np.array([-1, 1], np.float32))
    yield "grey levels", f"{low:.4g} to {high:.4g}, {model.scale.domain}"
    size = model.pixel_size_nm
    yield "pixel", "unknown" if size is None else f"{size:.4g} nm"
    if model.classes:
        yield "masks", f"{model.classes} classes (0 to {model.classes - 1})"
    if model.noise_level:
        y, x = model.noise_correlation
        yield "noise", f"neighbours correlate by {y:.2f} (y) and {x:.2f} (x)"
    weights = sum(parameter.numel() for parameter in model.net.parameters())
    kind = "volumes" if model.design.dimensions == 3 else "planes"
    yield "network", f"{weights:,} weights, for {kind}"
    yield from _origin(model)
    if model.summary:
        yield "training", model.summary


def _family(model: GenerativeModel) -> str:
    noise = model.process.noise
    family = "diffusion" if noise.gaussian else f"Poisson flow with D = {noise.D:g}"
    return f"{model.preset}, {family}" + (", consistency model" if model.consistency else "")


def _uses(model: GenerativeModel) -> str:
    if model.consistency:
        return "generate"
    if model.learned in ("pairs", "noisy"):
        return "restore (denoise)"
    tasks = _ALL if model.scale.domain == "linear" and model.process.noise.gaussian else "denoise"
    following = ", also following masks" if model.classes else ""
    return f"restore ({tasks}), generate{following}"


def _origin(model: GenerativeModel) -> Iterator[tuple[str, str]]:
    record = model.record
    if not record:
        return
    sources = [str(item["source"]) for item in record.get("inputs", []) if item.get("source")]
    if sources:
        yield "files", ", ".join(dict.fromkeys(sources))
    yield "made", f"{str(record['created'])[:10]} with napari-physgen {record['version']}"
