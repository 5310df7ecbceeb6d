"""Maps of physically separate regions.

Imported lazily: nothing here loads torch before a job starts.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_physgen.regions.evaluate import RegionScores, evaluate
    from napari_physgen.regions.map import map_regions
    from napari_physgen.regions.report import write_report
    from napari_physgen.regions.results import RegionMap
    from napari_physgen.regions.settings import RegionSettings
    from napari_physgen.regions.simulate import simulate_scan

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "evaluate": ["RegionScores", "evaluate"],
        "map": ["map_regions"],
        "report": ["write_report"],
        "results": ["RegionMap"],
        "settings": ["RegionSettings"],
        "simulate": ["simulate_scan"],
    },
)
