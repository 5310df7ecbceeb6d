"""Train the network that comes with the SIM tool, on simulated stacks alone.

    python benchmarks/train_sim_model.py                    1000 stacks, 12000 steps (an hour)
    python benchmarks/train_sim_model.py --show objects.png only a picture of the objects

Writes src/napari_physgen/sim/models/simulated.safetensors and prints how it does on simulated
stacks that it has not seen, beside the best linear image.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from napari_physgen.backend import run
from napari_physgen.metrics.residual import coverage
from napari_physgen.sim import SimSettings
from napari_physgen.sim.amortised import fold_views, new_network, whole_view
from napari_physgen.sim.curriculum import exercise, random_object
from napari_physgen.sim.infer import deviation, turned
from napari_physgen.sim.linear import linear_images
from napari_physgen.sim.model import SHIPPED, SimModel
from napari_physgen.sim.pretrain import calibrate, learn_sheets, simulate_sheets

CPU = torch.device("cpu")
FRESH = 1_000_000
"""Seed of the first stack that judges; training begins at 0."""


def figures(model: SimModel, stacks: int = 24) -> str:
    """Return errors on new simulated stacks by dose, as a table."""
    rows: dict[str, list[tuple[float, ...]]] = {"below 15": [], "15 to 75": [], "above 75": []}
    for number in range(stacks):
        task = exercise(FRESH + number)
        view = whole_view(task.case, CPU)
        canvas = view.operator.canvas
        with torch.no_grad():
            rho = turned(model.net, view)
            std = model.std_scale * deviation(
                model.net, task.case, view, fold_views(task.case, view), rho
            )
        linear = view.brightness * linear_images(
            view.operator, view.measurement, view.brightness, range(1, 21)
        )
        truth, image, error = (
            canvas.crop(part, canvas.zoom).numpy() for part in (task.truth, rho, std)
        )
        power = float(np.mean(truth**2))
        best = min(
            float(((canvas.crop(x, canvas.zoom).numpy() - truth) ** 2).mean()) for x in linear
        )
        photons = model.seen.of(task.case).photons[0]
        key = "below 15" if photons < 15 else "15 to 75" if photons < 75 else "above 75"
        rows[key].append(
            (
                10 * np.log10(power / best),
                10 * np.log10(power / float(((image - truth) ** 2).mean())),
                coverage(image, error, truth),
            )
        )
    lines = [
        "| photons | stacks | best linear image, dB | network, dB | 95 % coverage |",
        "|---|---|---|---|---|",
    ]
    for name, values in rows.items():
        linear, network, share = np.mean(values, axis=0)
        lines.append(f"| {name} | {len(values)} | {linear:.2f} | {network:.2f} | {share:.3f} |")
    return "\n".join(lines)


def picture(path: Path) -> None:
    """Write some of the objects to a file."""
    from skimage.io import imsave

    objects = [random_object(np.random.default_rng(seed), 192) for seed in range(24)]
    sheet = np.array(objects).reshape(4, 6, 192, 192).transpose(0, 2, 1, 3).reshape(768, 1152)
    imsave(path, np.asarray(255 * np.clip(sheet, 0, 1), np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stacks", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--show", type=Path, help="only write a picture of the objects")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    if options.show:
        picture(options.show)
        return
    torch.set_num_threads(1)
    begin = time.perf_counter()
    made = run(simulate_sheets(0, options.stacks, CPU))
    assert made is not None
    sheets, seen = made
    net = new_network(0)
    settings = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=65)  # only seed and precision
    fit = run(learn_sheets(net, sheets, settings, options.steps))
    model = finished(net, seen, fit.history, f"{options.stacks} simulated stacks")
    print(f"{time.perf_counter() - begin:.0f} s, relative error {fit.best_score:.4f}")
    model.save(options.out)
    print(f"{options.out.stat().st_size / 1e6:.2f} MB")
    print(figures(model))


def finished(net: torch.nn.Module, seen: object, history: dict, words: str) -> SimModel:
    """Return the model with the factor of its standard deviation."""
    scale = run(calibrate(net, FRESH // 2, CPU))
    return SimModel(net.eval(), seen, scale, history=history, summary=f"Learned from {words}.")


if __name__ == "__main__":
    main()
