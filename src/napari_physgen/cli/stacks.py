"""Commands that work on files, each by itself."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from napari_physgen.cli.options import Folder, ImageJ
from napari_physgen.cli.terminal import Interrupts, bar, each, make, stem
from napari_physgen.errors import UserError
from napari_physgen.sim.settings import SimSettings

if TYPE_CHECKING:
    from napari_physgen.io import Image, Stack
    from napari_physgen.recipe import Finished
    from napari_physgen.settings import Settings

Raw = Annotated[list[Path], Parameter(negative="", help="Raw stacks: TIFF, NPY, MRC or DV files.")]


def sim(
    raw: Raw,
    *,
    out: Folder,
    settings: Annotated[SimSettings, Parameter(name="*")],
    imagej: ImageJ = False,
) -> None:
    """Reconstruct raw structured-illumination stacks.

    Saves RAW_sim.ome.tif with all images and RAW_sim.recipe.yaml to run it again.
    Ctrl-C ends early and keeps the best image so far; a second Ctrl-C gives up.
    """
    process("sim", settings, raw, out, imagej)


def process(tool: str, settings: Settings, raw: list[Path], out: Path, imagej: bool) -> None:
    """Run a tool on each file; a file that fails is reported and the others still run."""
    if len({stem(path) for path in raw}) < len(raw):
        raise UserError("Two of the stacks have the same name: save them into different folders.")
    make(out)

    def one(path: Path, interrupts: Interrupts) -> None:
        _process_one(tool, settings, path, out / f"{stem(path)}_{tool}", imagej, interrupts)

    each(raw, one)


def _process_one(
    tool: str, settings: Settings, path: Path, target: Path, imagej: bool, interrupts: Interrupts
) -> None:
    from napari_physgen.backend import run as drain
    from napari_physgen.io import read_stack, write_imagej_tiff, write_ome_tiff
    from napari_physgen.recipe import TOOLS, Recipe, start

    stack = read_stack(path)
    name = TOOLS[tool].inputs[0]
    finished = []
    with bar(path.name, interrupts) as report:
        for frames in stack.blocks():
            job = start(tool, settings, {name: frames}, sources={name: path.name})
            finished.append(drain(job, report))
            if interrupts.count:
                break
    pixel_size = getattr(settings, "pixel_size_nm", stack.pixel_size_nm)
    images = _images(finished, stack, pixel_size)
    write_ome_tiff(Path(f"{target}.ome.tif"), images)
    Recipe.of(finished[0].record).save(Path(f"{target}.recipe.yaml"))
    if imagej:
        write_imagej_tiff(Path(f"{target}_imagej.tif"), images[:1])
    for item in finished:
        print(f"{path.name}: {item.result.summary}")
    print(f"  saved as {target}.ome.tif")


def _images(finished: list[Finished[Any]], stack: Stack, pixel_size: float | None) -> list[Image]:
    """Return what is worth a file; a time-lapse is stacked again along its own axes."""
    import numpy as np

    from napari_physgen.io import Image
    from napari_physgen.provenance import Record

    record = Record.joined([item.record for item in finished])
    images = Image.kept(finished[0].result.outputs(), pixel_size, record)
    if not stack.leading:
        return images
    others = [{output.name: output.data for output in item.result.outputs()} for item in finished]
    shape = stack.leading_shape if len(finished) == prod(stack.leading_shape) else (len(finished),)
    axes = stack.leading if len(shape) == len(stack.leading) else ("frame",)
    stacked = []
    for image in images:
        planes = [outputs[image.name] for outputs in others if image.name in outputs]
        if len(planes) == len(finished):
            data = np.stack(planes).reshape(*shape, *image.data.shape)
            stacked.append(replace(image, data=data, axes=(*axes, *image.axes)))
    return stacked
