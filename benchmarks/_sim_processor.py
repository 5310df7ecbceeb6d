"""Reconstruct a raw SIM stack with napari-sim-processor; run by a Python that has the package.

PYTHON benchmarks/_sim_processor.py STACK.npz OUT.npz

STACK holds `raw` (frame, y, x), angle slowest, and its figures as arrays: `na`, `wavelength_um`,
`pixel_um`, `angles`, `phases`. OUT gets one image per set of parameters: the widget's own first.
"""

import importlib.util
import itertools
import sys
import time
import types

import numpy as np

# The package's own first lines import its widget, which needs napari and Qt.
_package = types.ModuleType("napari_sim_processor")
_package.__path__ = importlib.util.find_spec("napari_sim_processor").submodule_search_locations
sys.modules["napari_sim_processor"] = _package

from napari_sim_processor.processors.convSimProcessor import ConvSimProcessor  # noqa: E402

WIDGET = {"w": 0.2, "alpha": 0.5, "beta": 0.98, "eta": 0.65, "usePhases": True, "a_type": "none"}
GRID = {
    "w": (0.05, 0.1, 0.2, 0.4),
    "alpha": (0.3,),
    "beta": (0.8, 0.98),
    "eta": (0.65, 0.8, 1.0),
    "usePhases": (True, False),
    "a_type": ("exp",),
}


def reconstruct(raw, microscope, parameters):
    """Return the image (2 y, 2 x), its pixels on the corners of the raw grid, and the seconds."""
    began = time.perf_counter()
    processor = ConvSimProcessor(microscope["angles"], microscope["phases"])
    processor.debug = False
    processor.magnification = 1
    processor.pixelsize = microscope["pixel_um"]
    processor.NA = microscope["na"]
    processor.wavelength = microscope["wavelength_um"]
    for name, value in parameters.items():
        setattr(processor, name, value)
    processor.calibrate(raw)
    image = np.array(processor.reconstruct_rfftw(raw))
    return image, time.perf_counter() - began


def main():
    given, out = sys.argv[1:]
    with np.load(given) as arrays:
        raw = np.asarray(arrays["raw"], np.float32)
        microscope = {name: arrays[name].item() for name in arrays.files if name != "raw"}
    choices = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    images, names = [], []
    for parameters in [WIDGET, *choices]:
        image, seconds = reconstruct(raw, microscope, parameters)
        if not images:
            first = seconds
        images.append(image.astype(np.float32))
        names.append(", ".join(f"{name} {value}" for name, value in parameters.items()))
    np.savez(out, images=images, names=names, seconds=first)


if __name__ == "__main__":
    main()
