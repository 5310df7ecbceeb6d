"""Labels on micrographs, from networks that never saw a label made by hand.

Imported lazily: nothing here loads torch before a job starts.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_physgen.segmentation.adapt import adapt
    from napari_physgen.segmentation.apply import segment
    from napari_physgen.segmentation.bioimageio import export_bioimageio
    from napari_physgen.segmentation.evaluate import Evaluation, evaluate
    from napari_physgen.segmentation.labour_free import labour_free
    from napari_physgen.segmentation.look_alike import LookAlike, look_alike
    from napari_physgen.segmentation.model import SegmentationModel, load
    from napari_physgen.segmentation.particles import particles
    from napari_physgen.segmentation.predict import Prediction, predict
    from napari_physgen.segmentation.prepare import prepare
    from napari_physgen.segmentation.settings import (
        LabourFreeSettings,
        PredictSettings,
        SegmentationSettings,
        labour_free_presets,
    )
    from napari_physgen.segmentation.train import train

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "adapt": ["adapt"],
        "apply": ["segment"],
        "bioimageio": ["export_bioimageio"],
        "evaluate": ["Evaluation", "evaluate"],
        "labour_free": ["labour_free"],
        "look_alike": ["LookAlike", "look_alike"],
        "model": ["SegmentationModel", "load"],
        "particles": ["particles"],
        "predict": ["Prediction", "predict"],
        "prepare": ["prepare"],
        "settings": [
            "LabourFreeSettings",
            "PredictSettings",
            "SegmentationSettings",
            "labour_free_presets",
        ],
        "train": ["train"],
    },
)
