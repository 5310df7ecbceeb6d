"""How long a model takes to label an image, in tiles and whole.

python benchmarks/segmentation_speed.py [--write]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from _page import write

from napari_physgen.backend import describe_device, resolve_device, run
from napari_physgen.segmentation import PredictSettings, predict
from napari_physgen.segmentation.model import Design, SegmentationModel

SIZES = (512, 1024, 2048)


def measured(size: int, flips: bool, tile: int = 16384) -> tuple[float, np.ndarray]:
    """Return the best of three times (s) and the probabilities."""
    image = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    design = Design(3, 16)
    model = SegmentationModel(design.build().eval(), design, ("matrix", "large", "fine"))
    settings = PredictSettings(flips=flips, tile=tile)
    best, found = np.inf, None
    for _ in range(3):
        began = time.perf_counter()
        found = run(predict(model, image, settings)).probabilities
        best = min(best, time.perf_counter() - began)
    assert found is not None
    return best, found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    lines = ["| image | one look | eight orientations | in tiles of 512, one look | difference |"]
    lines.append("|---|---|---|---|---|")
    for size in SIZES:
        one, whole = measured(size, False)
        eight, _ = measured(size, True)
        cut, tiled = measured(size, False, 512)
        difference = float(np.abs(whole - tiled).max())
        lines.append(
            f"| {size} x {size} | {one:.2f} s | {eight:.2f} s | {cut:.2f} s | {difference:.0e} |"
        )
    text = f"{describe_device(resolve_device('auto'))}, torch {torch.__version__}.\n\n"
    text += "\n".join(lines)
    print(text)
    if chosen.write:
        write("segmentation-speed", "Speed of labelling", text)


if __name__ == "__main__":
    main()
