"""Synthetic microstructures with perfect masks: phase-field simulation, matched to micrographs.

Imported lazily: nothing here loads torch before a job starts.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_physgen.synthesis.calibrate import calibrate
    from napari_physgen.synthesis.dataset import Dataset, make_dataset
    from napari_physgen.synthesis.dataset_files import open_dataset
    from napari_physgen.synthesis.dataset_settings import DatasetSettings
    from napari_physgen.synthesis.fidelity import fidelity
    from napari_physgen.synthesis.fidelity_settings import FidelitySettings
    from napari_physgen.synthesis.phase_field.pfhub import pfhub
    from napari_physgen.synthesis.presets import presets
    from napari_physgen.synthesis.render_settings import RenderSettings
    from napari_physgen.synthesis.results import Microstructure
    from napari_physgen.synthesis.settings import PhaseFieldSettings
    from napari_physgen.synthesis.simulate import simulate
    from napari_physgen.synthesis.translation import (
        TranslationModel,
        load_translation,
        train_translation,
    )
    from napari_physgen.synthesis.translation_settings import (
        TranslationSettings,
        translation_presets,
    )

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "calibrate": ["calibrate"],
        "dataset": ["Dataset", "make_dataset"],
        "dataset_files": ["open_dataset"],
        "dataset_settings": ["DatasetSettings"],
        "fidelity": ["fidelity"],
        "fidelity_settings": ["FidelitySettings"],
        "phase_field.pfhub": ["pfhub"],
        "presets": ["presets"],
        "render_settings": ["RenderSettings"],
        "results": ["Microstructure"],
        "settings": ["PhaseFieldSettings"],
        "simulate": ["simulate"],
        "translation": ["TranslationModel", "load_translation", "train_translation"],
        "translation_settings": ["TranslationSettings", "translation_presets"],
    },
)
