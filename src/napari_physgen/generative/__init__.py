"""Diffusion and Poisson-flow priors: restoration with uncertainty, and new images.

Imported lazily: nothing here loads torch before it is used.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_physgen.generative.distill import distill
    from napari_physgen.generative.generate import sample
    from napari_physgen.generative.model import GenerativeModel, load
    from napari_physgen.generative.process import pfgmpp, presets
    from napari_physgen.generative.restore import restore
    from napari_physgen.generative.results import Generated, Restoration
    from napari_physgen.generative.samplers import integrate
    from napari_physgen.generative.settings import (
        DistillSettings,
        GenerateSettings,
        GenerativeSettings,
        RestoreSettings,
    )
    from napari_physgen.generative.train import train

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "distill": ["distill"],
        "generate": ["sample"],
        "model": ["GenerativeModel", "load"],
        "process": ["pfgmpp", "presets"],
        "restore": ["restore"],
        "results": ["Generated", "Restoration"],
        "samplers": ["integrate"],
        "settings": [
            "DistillSettings",
            "GenerateSettings",
            "GenerativeSettings",
            "RestoreSettings",
        ],
        "train": ["train"],
    },
)
