"""Commands that make microstructures: simulations, data sets, matches, benchmark problems."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Parameter

from napari_physgen.cli.options import Folder, ImageJ, given, partial
from napari_physgen.cli.terminal import drained, make, stem
from napari_physgen.errors import UserError
from napari_physgen.synthesis.calibration_settings import CalibrationSettings
from napari_physgen.synthesis.dataset_settings import DatasetSettings
from napari_physgen.synthesis.presets import presets
from napari_physgen.synthesis.settings import PhaseFieldSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel
    from pydantic import BaseModel as Matching
    from pydantic import BaseModel as Sampling
    from pydantic import BaseModel as Simulation

    from napari_physgen.settings import Settings
else:
    Matching = partial(CalibrationSettings)
    Simulation = partial(PhaseFieldSettings)
    Sampling = partial(DatasetSettings, "simulation", "count", "vary")

Preset = Annotated[
    str | None,
    Parameter(help=f"Settings to start from, which the options change: {', '.join(presets)}."),
]


def simulate(
    *,
    out: Folder,
    preset: Preset = None,
    settings: Annotated[Simulation | None, Parameter(name="*")] = None,
    imagej: ImageJ = False,
) -> None:
    """Simulate one microstructure with its exact masks.

    Saves PRESET_seedN.ome.tif with field and labels and PRESET_seedN.recipe.yaml to run it
    again. Ctrl-C ends early and keeps the material as it is then; a second Ctrl-C gives up.
    """
    chosen = simulation(preset, settings)
    name = f"{preset or chosen.material}_seed{chosen.seed}"
    make_one("simulate", chosen, out, name, imagej)


def dataset(
    *,
    count: Annotated[int, Parameter(help="How many simulations.")],
    out: Folder,
    preset: Preset = None,
    vary: Annotated[
        list[tuple[str, float, float]] | None,
        Parameter(
            negative="",
            help="Name, lowest and highest value of a setting, in place of the spread: "
            "--vary fraction 0.45 0.65. Can be given several times.",
        ),
    ] = None,
    sampling: Annotated[Sampling | None, Parameter(name="*", group="Data set")] = None,
    settings: Annotated[Simulation | None, Parameter(name="*", group="Simulation")] = None,
) -> None:
    """Simulate many microstructures with parameters drawn from ranges.

    Writes samples with their masks, samples.csv with their parameters and dataset.recipe.yaml
    into the folder. Ctrl-C stops; the same command, with as many samples or more, continues.
    """
    ranges = {name.replace("-", "_"): (low, high) for name, low, high in vary or []}
    values = {"simulation": simulation(preset, settings), "count": count, "vary": ranges}
    fill("dataset", DatasetSettings.parse(values | given(sampling)), out)


def calibrate(
    images: Annotated[
        list[Path], Parameter(negative="", help="Micrographs: PNG, JPEG, TIFF, NPY or MRC files.")
    ],
    *,
    out: Folder,
    labels: Annotated[
        list[Path] | None,
        Parameter(negative="", help="Masks or brush strokes, one for each image, in its order."),
    ] = None,
    pixel_size_nm: Annotated[
        float | None, Parameter(help="Pixel size of the images, if they do not say it.")
    ] = None,
    settings: Annotated[Matching | None, Parameter(name="*")] = None,
) -> None:
    """Find the settings whose simulation looks like some micrographs.

    Saves IMAGE_match.recipe.yaml for `run`, and IMAGE_match.ome.tif with the small simulation
    that was the nearest, at the scale of the image. Ctrl-C ends early with the best one so far.
    """
    from napari_physgen.io import Image, read_mask, read_picture, write_ome_tiff
    from napari_physgen.io.recipes import write_recipe
    from napari_physgen.synthesis import calibrate as job

    pictures = [read_picture(path) for path in images]
    sizes = [pixel_size_nm or size for _, size in pictures]
    masks = [read_mask(path) for path in labels] if labels else None
    chosen = CalibrationSettings.parse(given(settings))
    make(out)
    known = None if None in sizes else cast("list[float]", sizes)
    data, name = [picture for picture, _ in pictures], stem(images[0])
    found = drained(job(data, masks, pixel_size_nm=known, settings=chosen), name)
    print(f"{name}: {found.summary}")
    target = out / f"{name}_match"
    write_recipe(f"{target}.recipe.yaml", "simulate", found.settings.model_dump(mode="json"))
    shown = [Image.of(output, sizes[0]) for output in found.outputs()]
    write_ome_tiff(f"{target}.ome.tif", shown)
    print(f"  saved as {target}.recipe.yaml")


def pfhub(
    problem: Annotated[str, Parameter(help="Number of the problem, such as 1a.")],
    *,
    until: Annotated[float | None, Parameter(help="End time, if not that of the problem.")] = None,
    out: Annotated[
        Path | None,
        Parameter(name=["--out", "-o"], help="Folder for the whole curve, made if missing."),
    ] = None,
) -> None:
    """Run a benchmark problem of PFHub and compare its free energy with published values.

    https://pages.nist.gov/pfhub. Saves pfhub_PROBLEM.csv if a folder is given.
    """
    from napari_physgen.synthesis import pfhub as job

    if out:
        make(out)
    result = drained(job(cast("Any", problem), until=until), f"PFHub {problem}")
    print(f"{'time':>8} {'free energy':>12} {'published':>10} {'difference':>11}   {result.source}")
    for time, difference in result.deviations().items():
        figures = f"{result.at(time):12.2f} {result.reference[time]:10.2f}"
        print(f"{time:8g} {figures} {100 * difference:+10.2f} %")
    print(result.summary)
    if out:
        path = out / f"pfhub_{problem}.csv"
        _save_columns(path, ("time", "free_energy"), (result.time, result.energy))
        print(f"  saved as {path}")


def simulation(preset: str | None, options: BaseModel | None) -> PhaseFieldSettings:
    """Return the settings of a preset, or the natural ones, with options on top of them."""
    chosen = given(options)
    if preset is None:
        return PhaseFieldSettings.parse(chosen)
    if preset not in presets:
        raise UserError(f"There is no preset '{preset}' (known: {', '.join(presets)}).")
    base = presets[preset]
    if chosen.get("material", base.material) != base.material:
        raise UserError(f"The preset {preset} is of the material {base.material}: leave out one.")
    return PhaseFieldSettings.parse(base.model_dump() | chosen)


def make_one(tool: str, settings: Settings, out: Path, name: str, imagej: bool = False) -> None:
    """Run a tool that needs no input and save what it makes as NAME.ome.tif."""
    from napari_physgen.io import Image, write_imagej_tiff, write_ome_tiff
    from napari_physgen.recipe import Recipe, start

    make(out)
    finished = drained(start(tool, settings, {}), name)
    size = getattr(settings, "pixel_size_nm", None)
    images = Image.kept(finished.result.outputs(), size, finished.record, plane_nm=size)
    write_ome_tiff(out / f"{name}.ome.tif", images)
    Recipe.of(finished.record).save(out / f"{name}.recipe.yaml")
    if imagej:
        write_imagej_tiff(out / f"{name}_imagej.tif", images[:1])
    print(f"{name}: {finished.result.summary}")
    print(f"  saved as {out / name}.ome.tif")


def fill(tool: str, settings: Settings, out: Path) -> None:
    """Run a tool that writes into a folder; samples that failed are reported."""
    from napari_physgen.recipe import start

    result = drained(start(tool, settings, {}, folder=out), out.name).result
    print(result.summary)
    for index, problem in result.problems.items():
        print(f"sample {index}: {problem}", file=sys.stderr)
    if result.problems:
        raise SystemExit(2)


def _save_columns(path: Path, names: Sequence[str], columns: Sequence[NDArray[np.float64]]) -> None:
    from napari_physgen.io.atomic import replacing

    lines = [",".join(names)]
    lines += [",".join(f"{value:.8g}" for value in row) for row in zip(*columns, strict=True)]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
