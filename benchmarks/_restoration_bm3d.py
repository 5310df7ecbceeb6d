"""Denoise images with BM3D; run by a Python that has the package bm3d.

PYTHON benchmarks/_restoration_bm3d.py IMAGES.npz OUT.npz

IMAGES holds arrays (y, x) of which the noise has the standard deviation `sigma`, an array too.
"""

import sys
import time

import numpy as np
from bm3d import bm3d


def main():
    given, out = sys.argv[1:]
    with np.load(given) as arrays:
        image, sigma = arrays["image"], float(arrays["sigma"])
    began = time.perf_counter()
    low, span = image.min(), np.ptp(image)
    found = low + span * bm3d((image - low) / span, sigma / span)
    np.savez(out, image=found, seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()
