"""Noise removed from real and simulated micrographs, beside what others do.

    python benchmarks/restoration.py [SET ...] [--rows ROW ...] [--bm3d PYTHON] [--write]

Real confocal pairs (left half to learn, right half to test) and simulated micrographs of six kinds
(48 to learn, 6 others to test) at 1, 5 and 30 photons per pixel. Each run leaves its figures in
benchmarks/restoration/SET_ROW.json; --write makes the table of docs/benchmarks.md from them.
Parameters of peers are chosen by the truth of images to learn; nothing is chosen by test images.
Training is timed as processor time on one thread; Noise2Void gets that of our self-supervision.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from _page import write
from _restoration_peers import available, noise2void, score, tuned
from _restoration_sets import (
    CROP,
    DOSES,
    READ_NOISE,
    Image,
    Photograph,
    photographed,
    real_pairs,
    simulated_micrographs,
)

from napari_physgen.backend import run
from napari_physgen.generative import (
    GenerativeModel,
    GenerativeSettings,
    RestoreSettings,
    load,
    restore,
    train,
)
from napari_physgen.metrics.image import fit_intensity

LOGS = Path(__file__).parent / "restoration"
CACHE = Path("/tmp/physgen_restoration")
STEPS = {"self": 800, "unpaired": 1500, "paired": 1500, "paired-long": 4000}
SETS = ["mito-confocal", "nucleus", *(f"simulated {dose:g}" for dose in DOSES)]
ROWS = {
    "noisy": "noisy",
    "TV": "TV",
    "NLM": "NLM",
    "BM3D": "BM3D",
    "N2V": "Noise2Void",
    "self": "learned from the noisy images",
    "unpaired": "prior of clean images",
    "paired": "learned from pairs",
    "paired-long": "learned from pairs, 4000 steps",
}


def photographs(name: str) -> tuple[list[Photograph], list[Photograph]]:
    """Return what to learn from and what to test on."""
    for pair in real_pairs():
        if pair.name == name:
            return [pair.train], [pair.test]
    dose = float(name.split()[1])
    return _taken(11, 48, dose), _taken(2, 6, dose)


def _taken(seed: int, count: int, dose: float) -> list[Photograph]:
    return [
        photographed(clean, dose, READ_NOISE, 100 * seed + index)
        for index, clean in enumerate(_micrographs(seed, count))
    ]


@cache
def _micrographs(seed: int, count: int) -> list[Image]:
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"micrographs_{seed}_{count}.npy"
    if not path.exists():
        np.save(path, np.stack(simulated_micrographs(count, CROP, seed)))
    return list(np.load(path))


def learned(name: str, row: str) -> tuple[GenerativeModel, float]:
    """Return a prior and the processor time of its training."""
    train_set, test_set = photographs(name)
    clean = [one.clean for one in train_set]
    plain = {"steps": STEPS[row], "domain": "square root"}
    if row == "self":
        noise = test_set[0].noise.camera
        settings = GenerativeSettings(conditional="noisy", **plain)
        if name.startswith("simulated"):  # a known camera, as for the peers
            known = {"camera_offset": noise.offset, "camera_gain": noise.gain}
            settings = settings.model_copy(update=known | {"read_noise": noise.read_noise})
        job = train([one.noisy for one in test_set], settings)
    elif row.startswith("paired"):
        settings = GenerativeSettings(conditional="pairs", **plain)
        job = train(clean, settings, pairs=[one.noisy for one in train_set])
    else:
        # One prior for every dose: grey levels relative to those of the image itself.
        scaled = [part / part.mean() for part in clean]
        path = CACHE / f"prior_{'simulated' if 'simulated' in name else name}.safetensors"
        if path.exists():
            return load(path), float("nan")
        job = train(scaled, GenerativeSettings(**plain))
    began = time.process_time()
    model = run(job, lambda p: p.step % 100 == 0 and print(f"{row} {p.step}/{p.total}", flush=True))
    seconds = time.process_time() - began
    print(f" {seconds:.0f} s: {model.summary}")
    if row == "unpaired":
        model.save(path)
    return model, seconds


def ours(name: str, row: str) -> dict[str, object]:
    """Learn, restore the test images, score."""
    model, seconds = learned(name, row)
    model.save(CACHE / f"{name}_{row}.safetensors")
    restored, covered, took = [], [], []
    for one in photographs(name)[1]:
        settings = RestoreSettings(brightness="fit" if row == "unpaired" else "as learned")
        began = time.process_time()
        result = run(restore(one.noisy, model, settings, noise=one.noise.camera))
        took.append(time.process_time() - began)
        restored.append(score(result.mean, one))
        fitted = fit_intensity(result.mean, one.clean)
        slope = np.std(fitted) / np.std(result.mean)
        covered.append(float(np.mean(np.abs(fitted - one.clean) < 1.96 * slope * result.std)))
        np.save(CACHE / f"{name}_{row}_last.npy", np.stack([one.noisy, result.mean, one.clean]))
    return {
        "psnr": restored,
        "coverage": covered,
        "training_s": seconds,
        "image_s": float(np.mean(took)),
    }


def peer(name: str, row: str, python: Path | None) -> dict[str, object]:
    """Choose the peer's parameters and score it."""
    train_set, test_set = photographs(name)
    if row == "noisy":
        return {"psnr": [score(one.noisy, one) for one in test_set]}
    if row == "N2V":
        return _noise2void(name, test_set)
    method, grid = available(python)[row]
    few = [one.brightest(CROP) for one in train_set[:6]]
    began = time.perf_counter()
    best = tuned(method, grid, few)
    chosen = time.perf_counter()
    found = [score(best(one), one) for one in test_set]
    return {
        "psnr": found,
        "parameters": dict(best.parameters),
        "training_s": chosen - began,
        "image_s": (time.perf_counter() - chosen) / len(test_set),
    }


def _noise2void(name: str, test_set: Sequence[Photograph]) -> dict[str, object]:
    log = _log(name, "self")
    budget = json.loads(log.read_text())["training_s"] if log.exists() else 300.0
    correlated = any(one.noise.correlation[1] for one in test_set)
    best: dict[str, object] = {"psnr": [-np.inf]}
    for along_x in (0, 1) if correlated else (0,):  # the better one of both, to its advantage
        images = noise2void([one.noisy for one in test_set], budget, along_x=along_x)
        found = [score(image, one) for image, one in zip(images, test_set, strict=True)]
        if np.mean(found) > np.mean(best["psnr"]):  # type: ignore[arg-type]
            best = {"psnr": found, "training_s": budget, "parameters": {"along_x": along_x}}
    return best


def table(names: Sequence[str]) -> str:
    """Return the table of what is there."""
    kinds = [
        f"{name.replace('simulated', 'simulated,')} photons" if "simulated" in name else name
        for name in names
    ]
    lines = ["| | " + " | ".join(kinds) + " |", "|---|" + "---|" * len(names)]
    for row, title in ROWS.items():
        lines.append(f"| {title} | " + " | ".join(_cell(_log(name, row)) for name in names) + " |")
    return "\n".join(lines)


def _log(name: str, row: str) -> Path:
    return LOGS / f"{name.replace(' ', '_')}_{row}.json"


def _cell(log: Path) -> str:
    if not log.exists():
        return "-"
    run_ = json.loads(log.read_text())
    words = f"{np.mean(run_['psnr']):.2f}"
    if "coverage" in run_:
        words += f" ({np.mean(run_['coverage']):.2f})"
    seconds = [run_.get(key) for key in ("training_s", "image_s")]
    told = [f"{s:.3g} s" if s is not None and np.isfinite(s) else "-" for s in seconds]
    return words if told == ["-", "-"] else f"{words}; {' + '.join(told)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--bm3d", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--again", action="store_true", help="also what is there already")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    LOGS.mkdir(exist_ok=True)
    CACHE.mkdir(exist_ok=True)
    for name in chosen.sets:
        for row in chosen.rows:
            log = _log(name, row)
            missing = row == "BM3D" and chosen.bm3d is None
            if missing or (log.exists() and not chosen.again) or chosen.write:
                continue
            found = ours(name, row) if row in STEPS else peer(name, row, chosen.bm3d)
            log.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{name} | {row} | {_cell(log)}", flush=True)
    if chosen.write:
        write("restoration", "Restoration", HEAD + table(SETS))


HEAD = """`python benchmarks/restoration.py`: PSNR in dB after an affine fit of the grey levels
(mean of the test images), in brackets the share of pixels whose truth lies within 1.96 standard
deviations; then the processor time, on one thread, of learning (or of choosing parameters, by the
clock) and of one image.

"""


if __name__ == "__main__":
    main()
