"""Diffusion and Poisson-flow priors: restoration with uncertainty, and new images.

Imported lazily: nothing here loads torch before it is used.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_physgen.generative.model import GenerativeModel, load
    from napari_physgen.generative.process import pfgmpp, presets
    from napari_physgen.generative.sample import integrate
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
        "model": ["GenerativeModel", "load"],
        "process": ["pfgmpp", "presets"],
        "sample": ["integrate"],
        "settings": [
            "DistillSettings",
            "GenerateSettings",
            "GenerativeSettings",
            "RestoreSettings",
        ],
        "train": ["train"],
    },
)
