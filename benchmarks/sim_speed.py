"""How long SIM takes and how much memory it needs, from small frames to those of a whole camera.

    python benchmarks/sim_speed.py --write
    python benchmarks/sim_speed.py --sizes 2048 --tile 256

Every figure is that of a process of its own on one thread; the time is that of its processor, so
that other jobs on the computer do not matter. The variational image is timed over few iterations
with the smoothness given, and scaled up to the 310 that it takes by default.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _page
import numpy as np
import torch

from napari_physgen.backend import run
from napari_physgen.sim import SimSettings, estimate_patterns, reconstruct
from napari_physgen.sim.simulate import default_patterns, filaments, simulate

SETTINGS = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80, device="cpu")
STAGES = ("patterns", "wiener", "variational")
ITERATIONS = 10
SEED = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[128, 256, 512, 1024, 2048])
    parser.add_argument("--stages", nargs="*", choices=STAGES, default=list(STAGES))
    parser.add_argument("--tile", type=int)
    parser.add_argument("--write", action="store_true", help="fill in docs/benchmarks.md")
    parser.add_argument("--one", nargs=2, metavar=("STAGE", "STACK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        print(json.dumps(measured(*options.one, options.tile)))
        return
    lines = [
        "| 9 frames, zoom 2, one thread | patterns | Wiener image | variational image | tiles |",
        "|---|---|---|---|---|",
    ]
    old = _page.rows("sim-speed")
    for size in options.sizes:
        name = f"{size} x {size}"
        cells = old[name].strip("| ").split(" | ")[1:] if name in old else ["-"] * 4
        with tempfile.TemporaryDirectory() as folder:
            stack = Path(folder) / "raw.npy"
            np.save(stack, recorded(size))
            for stage in options.stages:
                command = [sys.executable, __file__, "--one", stage, str(stack)]
                command += ["--tile", str(options.tile)] if options.tile else []
                answer = subprocess.run(command, check=True, capture_output=True, text=True)
                found = json.loads(answer.stdout.splitlines()[-1])
                place = STAGES.index(stage)
                cells[place] = f"{found['seconds']:.1f} s, {found['memory_gb']:.2f} GB"
                if stage == "variational":
                    cells[3] = found["tiles"]
                print(name, stage, found, file=sys.stderr, flush=True)
        old[name] = f"| {name} | " + " | ".join(cells) + " |"
    sizes = sorted((line for line in old.values() if " x " in line.split("|")[1]), key=_size)
    text = "\n".join([*lines, *sizes])
    print(text)
    if options.write:
        _page.write("sim-speed", "SIM speed and memory", text)


def _size(line: str) -> int:
    return int(line.split("|")[1].split("x")[0])


def recorded(size: int) -> np.ndarray:
    """Return a raw stack of filaments; large fields repeat one of 512 px."""
    part = min(size, 512)
    field = np.tile(filaments((2 * part, 2 * part), seed=SEED), (size // part, size // part))
    return simulate(field, SETTINGS, 60, SEED)


def measured(stage: str, stack: str, tile: int | None) -> dict[str, float | str]:
    """Run one stage; return its time and the largest memory of this process."""
    raw = np.load(stack)
    patterns = default_patterns(SETTINGS, SEED)
    changes = {"method": stage, "iterations": ITERATIONS, "regularisation": 0.08, "tile": tile}
    began = time.process_time()
    tiles, seconds = "1", 0.0
    if stage == "patterns":
        run(estimate_patterns(raw, SETTINGS))
        seconds = time.process_time() - began
    else:
        spent = 0.0
        marks: list[float] = []
        settings = SETTINGS.model_copy(update=changes)
        result = run(
            reconstruct(raw, settings, patterns),
            lambda progress: (
                marks.append(time.process_time()) if "variational" in progress.message else None
            ),
        )
        seconds = time.process_time() - began
        if stage == "variational":
            words = result.summary.partition(" tiles")
            tiles = words[0].split()[-1] if words[1] else "1"
            # the rest, from reading to the first iteration, does not grow with their number
            spent = float(np.diff(marks).clip(max=np.median(np.diff(marks)) * 1.5).sum())
            seconds += spent * (SimSettings.model_fields["iterations"].default / ITERATIONS - 1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "memory_gb": memory, "tiles": tiles}


if __name__ == "__main__":
    main()
