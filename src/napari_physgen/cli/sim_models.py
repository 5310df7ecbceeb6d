"""The command that teaches a network to reconstruct raw structured-illumination stacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from napari_physgen.cli.terminal import Interrupts, bar, model_file, saved
from napari_physgen.sim.training_settings import SimTrainingSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_physgen.recipe import Finished
    from napari_physgen.sim.model import SimModel

Raw = Annotated[
    list[Path],
    Parameter(negative="", help="Raw stacks or time-lapses: TIFF, NPY, MRC or DV files."),
]
Target = Annotated[
    Path, Parameter(name=["--out", "-o"], help="The model to write: MODEL.safetensors.")
]


def sim_train(
    raw: Raw,
    *,
    out: Target,
    settings: Annotated[SimTrainingSettings, Parameter(name="*")],
) -> None:
    """Teach one network to reconstruct many raw stacks, without ground truth.

    Saves MODEL.safetensors, for `sim --method trained --model MODEL.safetensors`, and
    MODEL.recipe.yaml. Ctrl-C ends early and keeps the best network so far; a second Ctrl-C gives
    up.
    """
    learn(settings, raw, out)


def learn(settings: SimTrainingSettings, raw: Sequence[Path], out: Path) -> None:
    """Train a model and save it with its recipe."""
    from napari_physgen.backend import run
    from napari_physgen.io import read_stack
    from napari_physgen.recipe import Recipe, start
    from napari_physgen.sim.single import single_stacks

    stacks, plain = [], settings
    sources = {"raw": ", ".join(path.name for path in raw)}
    target = model_file(out)
    with Interrupts() as interrupts, bar(target.name, interrupts) as report:
        for path in raw:
            frames, axes = read_stack(path).series()
            blocks, ordered = run(single_stacks(frames, settings, axes), report)
            stacks += blocks
            if settings.order != "auto":  # else each file may have an order of its own
                plain = settings.model_copy(update={"order": ordered.order})
        made: Finished[SimModel] = run(
            start("sim-train", plain, {"raw": stacks}, sources=sources), report
        )
    # The files are in the order that was given, and are when they are learned from again.
    record = replace(made.record, settings={**made.record.settings, "order": settings.order})
    replace(made.result, record=record.to_dict()).save(target)
    Recipe.of(record).save(target.with_suffix(".recipe.yaml"))
    saved(made.result.summary, target)
