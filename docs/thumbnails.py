"""Make the pictures of the gallery by running the models themselves.

``python docs/thumbnails.py [PRESET ...]``
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image

from napari_physgen.app.gallery import thumbnail
from napari_physgen.backend import run
from napari_physgen.synthesis import presets, simulate

PIXELS = 96
# As large a sample as shows its structure on a button; cells.
CELLS = {"dendrite": 256, "bimodal": 160, "spinodal": 192}
USUAL = 128


def main(*names: str) -> None:
    """Write a thumbnail for every preset, or for those named."""
    for name in names or tuple(presets):
        preset, cells = presets[name], CELLS.get(name, USUAL)
        grains = max(round(preset.grains * (cells / preset.size) ** 2), 2)
        settings = preset.model_copy(update={"size": cells, "grains": grains, "device": "cpu"})
        result = run(simulate(settings))
        low, high = np.percentile(result.field, (1, 99))
        grey = np.clip((result.field - low) / max(high - low, 1e-9), 0, 1)
        picture = Image.fromarray((255 * grey).astype(np.uint8))
        picture = picture.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
        thumbnail(name).parent.mkdir(exist_ok=True)
        picture.save(thumbnail(name), optimize=True)
        print(f"{name}: {result.summary}")


if __name__ == "__main__":
    main(*sys.argv[1:])
