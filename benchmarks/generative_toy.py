"""Small phase-field images: how well each family of generative models learns them in minutes.

python benchmarks/generative_toy.py                   all rows
python benchmarks/generative_toy.py --rows edm        only rows whose name contains this
python benchmarks/generative_toy.py --minutes 10      core-minutes of training per row
python benchmarks/generative_toy.py --write           put the table into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import _page
import numpy as np
import torch
from _toy_images import COUNT, Images, Toy, sliced_w2, spectrum_distance, toy

from napari_physgen import generative
from napari_physgen.backend import Command, Job, Progress, Stop, run
from napari_physgen.generative import DistillSettings, GenerateSettings, GenerativeSettings
from napari_physgen.generative.distill import distill
from napari_physgen.generative.generate import sample
from napari_physgen.generative.model import GenerativeModel
from napari_physgen.generative.train import train

FOLDER = Path(tempfile.gettempdir())
SHAPE = {"features": 16, "levels": 3, "crop": 32, "batch": 32, "device": "cpu"}
TIMED = 3  # steps, after a first one
ANCESTRAL = 64  # of DDPM's 1000 steps
TEACHER = "EDM"
MANY = 10**6  # steps of a job that only measures how long one takes

COLUMNS = (
    "model",
    "training steps",
    "core-min",
    "evaluations per image",
    "sliced W2",
    "times the floor",
    "spectrum distance, log10",
    "times the floor",
)
NOTE = """\
Spinodal decomposition, 32 x 32 px: {learned} fields of 128 x 128 px to learn from, {count} new
images beside {count} crops of other simulations. The floor is the distance of {count} crops of
the learned fields from the same crops. Sliced W2: over 512 fixed projections, pixels -1 to 1.
Spectrum: Wasserstein-2 distance of the power (log10) of single images, rms over 16 rings of
frequency, with 1 % detector noise. {parameters:.2f} million weights, {batch} crops per step, one
thread. DDPM takes {ancestral} of its 1000 steps. The consistency model goes on from EDM.
"""


@dataclass(frozen=True)
class Row:
    """A model, how it is trained and how many evaluations an image costs."""

    name: str
    preset: str = "edm"
    D: float | None = None
    steps: int | None = None
    evaluations: int = 35


ROWS = (
    Row("DDPM", "ddpm", steps=ANCESTRAL, evaluations=ANCESTRAL),
    Row(TEACHER),
    Row("PFGM++, D = 128", "pfgm++", 128),
    Row("PFGM++, D = 2048", "pfgm++", 2048),
)


def trained(row: Row, images: Toy, minutes: float) -> tuple[GenerativeModel, float]:
    """Return the model of a row after some core-minutes of training, and how many they were."""
    plain = {"preset": row.preset, "poisson_dimensions": row.D, **SHAPE}

    def job(steps: int) -> Job[GenerativeModel]:
        return train(images.fields, GenerativeSettings(steps=steps, **plain))

    return timed(job, minutes)


def quick(images: Toy, minutes: float) -> tuple[GenerativeModel, float]:
    """Return the consistency model of the EDM row."""
    prior = generative.load(stored(TEACHER))

    def job(steps: int) -> Job[GenerativeModel]:
        plain = {"crop": SHAPE["crop"], "batch": SHAPE["batch"], "device": "cpu"}
        return distill(prior, images.fields, DistillSettings(steps=steps, **plain))

    return timed(job, minutes)


def timed(job: object, minutes: float) -> tuple[GenerativeModel, float]:
    """Run ``job(steps)`` with as many steps as fit into the minutes of the processor."""
    marks: list[float] = []

    def clock(progress: Progress) -> Command | None:
        if progress.message == "learning":
            marks.append(time.process_time())
        return Stop() if len(marks) > TIMED + 1 else None

    run(job(MANY), clock)  # type: ignore[operator]
    step = (marks[TIMED + 1] - marks[1]) / TIMED
    began = time.process_time()
    model = run(job(max(round(60 * minutes / step), 10)))  # type: ignore[operator]
    spent = (time.process_time() - began) / 60
    print(f"{model.summary}", file=sys.stderr, flush=True)
    return model, spent


def stored(name: str) -> Path:
    """Return where the model of a row is kept, for the rows that start from it."""
    return FOLDER / f"physgen_toy_{name.split(',')[0].lower().replace('+', 'p')}.safetensors"


def new_images(model: GenerativeModel, steps: int | None, images: Toy) -> Images:
    """Return as many images as are held out, in the units of the toy."""
    made = run(
        sample(model, COUNT, 32, settings=GenerateSettings(steps=steps, device="cpu", seed=1))
    )
    low, high = np.percentile(images.fields, (0.1, 99.9))
    return np.asarray((made.images - low) / (high - low) * 2 - 1, np.float32)


def cells(name: str, steps: str, minutes: str, evaluations: str, new: Images, toy: Toy) -> str:
    """Return the line of a table."""
    found = [distance(new, toy.held_out) for distance in (sliced_w2, spectrum_distance)]
    floor = [distance(toy.learned, toy.held_out) for distance in (sliced_w2, spectrum_distance)]
    figures = [f"{found[0]:.4f}", f"{found[0] / floor[0]:.2f}"]
    figures += [f"{found[1]:.4f}", f"{found[1] / floor[1]:.2f}"]
    return "| " + " | ".join([name, steps, minutes, evaluations, *figures]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="of training per row")
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = toy()
    lines = _page.rows("generative-toy")
    floor = "crops of the learned fields"
    lines[floor] = cells(floor, "-", "-", "-", images.learned, images)
    for row in ROWS:
        if options.rows.lower() in row.name.lower():
            model, spent = trained(row, images, options.minutes)
            model.save(stored(row.name))
            new = new_images(model, row.steps, images)
            told = f"{model.metrics['steps']:.0f}", f"{spent:.1f}", str(row.evaluations)
            lines[row.name] = cells(row.name, *told, new, images)
            print(lines[row.name], file=sys.stderr, flush=True)
    if options.rows.lower() in "consistency model" and stored(TEACHER).exists():
        model, spent = quick(images, options.minutes)
        for steps in (1, 2):
            name = f"consistency model, {steps} step" + "s" * (steps > 1)
            told = f"{model.metrics['steps']:.0f}", f"{spent:.1f}", str(steps)
            lines[name] = cells(name, *told, new_images(model, steps, images), images)
            print(lines[name], file=sys.stderr, flush=True)
    order = [floor, *(row.name for row in ROWS)]
    order += [f"consistency model, {n}" for n in ("1 step", "2 steps")]
    head = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    table = "\n".join([*head, *(lines[name] for name in order if name in lines)])
    net = generative.model.Design(SHAPE["features"], SHAPE["levels"]).build()
    note = NOTE.format(
        learned=len(images.fields),
        count=COUNT,
        parameters=sum(p.numel() for p in net.parameters()) / 1e6,
        batch=SHAPE["batch"],
        ancestral=ANCESTRAL,
    )
    print(f"{note}\n{table}")
    if options.write:
        _page.write("generative-toy", "Small images", f"{note}\n{table}")


if __name__ == "__main__":
    main()
