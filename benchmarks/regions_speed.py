"""Seconds and memory of region maps, from the array to walls and prototypes.

python benchmarks/regions_speed.py [--cube] [--write]

Every row is a process of its own. --cube also maps 1024 x 1024 spectra of 2048 channels (2 GB as
bytes) from a file that is made for it and removed again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from _page import write

SPECTRA = 512
CUBE = (1024, 1024, 2048)


def lattice() -> tuple[np.ndarray, np.ndarray]:
    """Return a lattice image of 512 x 512 pixels with four kinds of region, and the truth."""
    from napari_physgen.regions.simulate import SimulatedScanSettings, simulate_scan

    scan = simulate_scan(SimulatedScanSettings(sample="grains", height=512, seed=5))
    return scan.data, scan.labels


def spectra(side: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean spectra of four compounds (region, channel) and the true regions."""
    from napari_physgen.regions.simulate import SimulatedScanSettings, simulate_scan

    scan = simulate_scan(SimulatedScanSettings(sample="spectral", height=128, seed=5))
    means = np.stack([scan.data[scan.labels == k].mean(0) for k in range(1, scan.regions + 1)])
    finer = np.linspace(0, means.shape[1] - 1, channels)
    means = np.stack([np.interp(finer, np.arange(means.shape[1]), one) for one in means])
    labels = scan.labels.repeat(side // 128, 0).repeat(side // 128, 1)
    return means * (120 / means.sum(1).mean()), labels


def cube() -> tuple[np.ndarray, np.ndarray]:
    means, labels = spectra(128, SPECTRA)
    return np.random.default_rng(0).poisson(means[labels - 1]).astype(np.uint16), labels


def filed(path: Path) -> None:
    """Write the large cube."""
    means, labels = spectra(CUBE[0], CUBE[2])
    rng = np.random.default_rng(0)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=CUBE)
    for y in range(CUBE[0]):
        array[y] = rng.poisson(means[labels[y] - 1])
    array.flush()


def own_memory() -> float:
    """Return the memory of this process without the pages of files, GB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1e6


def measured(what: str, method: str) -> tuple[float, float, float]:
    """Return seconds, most memory (GB) seen at reports, and the adjusted Rand index."""
    from napari_physgen.backend import run
    from napari_physgen.regions import RegionSettings, evaluate, map_regions

    if what.endswith(".npy"):
        data, truth = np.load(what, mmap_mode="r"), spectra(*CUBE[1:])[1]
    else:
        data, truth = {"lattice": lattice, "spectra": cube}[what]()
    settings = RegionSettings(regions=4, method=method, signal_axis="auto", device="cpu")
    run(map_regions(lattice()[0][:96, :96], RegionSettings(regions=2, method="fast")))  # imports
    most = [own_memory()]
    start = time.perf_counter()
    found = run(map_regions(data, settings), lambda _: most.append(own_memory()))
    seconds = time.perf_counter() - start
    return seconds, max(most), evaluate(found.labels, truth).adjusted_rand


def row(name: str, what: str, method: str) -> str:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        seconds, memory, score = pool.submit(measured, what, method).result()
    line = f"| {name} | {method} | {seconds:.1f} | {memory:.2f} | {score:.3f} |"
    print(line, flush=True)
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cube", action="store_true")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    lines = ["| scan | method | s | GB, without pages of files | ARI |", "|---|---|---|---|---|"]
    for method in ("fast", "vae"):
        lines.append(row("lattice, 512 x 512 px, grid step 4 px", "lattice", method))
        lines.append(row(f"spectra, 128 x 128 x {SPECTRA}", "spectra", method))
    if chosen.cube:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cube.npy"
            filed(path)
            name = "spectra, {} x {} x {}, mapped from a file".format(*CUBE)
            lines.append(row(name, str(path), "fast"))
    if chosen.write:
        write("regions-speed", "Region maps", "\n".join(lines))


if __name__ == "__main__":
    main()
