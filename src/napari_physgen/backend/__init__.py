"""Running things: jobs, devices, the fit loop, files of weights.

Imported lazily: nothing here loads torch before it is used. The fit loop is
`napari_physgen.backend.fit.fit`.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_physgen.backend.checkpoint import load_model as load_model
    from napari_physgen.backend.checkpoint import save_model as save_model
    from napari_physgen.backend.device import describe_device as describe_device
    from napari_physgen.backend.device import generator as generator
    from napari_physgen.backend.device import resolve_device as resolve_device
    from napari_physgen.backend.device import resolve_precision as resolve_precision
    from napari_physgen.backend.device import system_info as system_info
    from napari_physgen.backend.job import Command as Command
    from napari_physgen.backend.job import Job as Job
    from napari_physgen.backend.job import Progress as Progress
    from napari_physgen.backend.job import Stop as Stop
    from napari_physgen.backend.job import Tune as Tune
    from napari_physgen.backend.job import run as run
    from napari_physgen.backend.memory import with_memory_fallback as with_memory_fallback

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoint": ["load_model", "save_model"],
        "device": [
            "describe_device",
            "generator",
            "resolve_device",
            "resolve_precision",
            "system_info",
        ],
        "job": ["Command", "Job", "Progress", "Stop", "Tune", "run"],
        "memory": ["with_memory_fallback"],
    },
)
