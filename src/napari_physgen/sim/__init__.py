"""Super-resolution from raw structured-illumination stacks.

Imported lazily: nothing here loads torch before a job starts.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_physgen.sim.patterns import estimate_patterns
    from napari_physgen.sim.reconstruct import reconstruct
    from napari_physgen.sim.report import QualityReport, check
    from napari_physgen.sim.results import Patterns, Reconstruction
    from napari_physgen.sim.settings import SimSettings
    from napari_physgen.sim.simulate import simulate

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "patterns": ["estimate_patterns"],
        "reconstruct": ["reconstruct"],
        "report": ["QualityReport", "check"],
        "results": ["Patterns", "Reconstruction"],
        "settings": ["SimSettings"],
        "simulate": ["simulate"],
    },
)
