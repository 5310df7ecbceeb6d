"""The tools without a window: the same jobs, settings and files as in napari."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import pydantic
from cyclopts import App, CycloptsError, Parameter

from napari_physgen import __version__
from napari_physgen.errors import UserError
from napari_physgen.settings import explain
from napari_physgen.sim.settings import SimSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_physgen.backend.job import Command, Progress
    from napari_physgen.io import Image, Stack
    from napari_physgen.recipe import Finished
    from napari_physgen.settings import Settings

app = App(
    name="napari-physgen",
    help="Physics-informed generative microscopy, without a window.",
    version=__version__,
    result_action="return_value",
)

Raw = Annotated[list[Path], Parameter(negative="", help="Raw stacks: TIFF, NPY, MRC or DV files.")]
Folder = Annotated[
    Path, Parameter(name=["--out", "-o"], help="Folder for the results, made if missing.")
]
ImageJ = Annotated[
    bool, Parameter(negative="", help="Also save the main image as a TIFF for ImageJ and Fiji.")
]


@app.command
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
    _process("sim", settings, raw, out, imagej)


@app.command
def run(recipe: Path, raw: Raw, *, out: Folder, imagej: ImageJ = False) -> None:
    """Run a recipe on stacks, with the same pixels as in napari.

    Parameters
    ----------
    recipe
        Recipe (YAML), record (JSON), or a TIFF exported by napari-physgen.
    """
    from napari_physgen.recipe import Recipe

    loaded = Recipe.load(recipe)
    _process(loaded.tool, loaded.parse(), raw, out, imagej)


@app.command
def info() -> None:
    """Show versions, devices and free memory."""
    from napari_physgen.backend import system_info

    for name, value in system_info().items():
        print(f"{name:18} {value}")


@app.command
def demo() -> None:
    """Open napari, reconstruct a simulated stack and save the result in demo/."""
    from importlib import import_module

    # By name, so that the command line does not depend on the window.
    import_module("napari_physgen.app.demo").main()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; wrong input gives one line on stderr and exit code 2."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except UserError as error:
        _fail(str(error))
    except CycloptsError as error:
        _fail(_sentence(error))
    except KeyboardInterrupt:
        print("Given up: what was running is not saved.", file=sys.stderr)
        raise SystemExit(130) from None


def _fail(sentence: str) -> None:
    print(sentence, file=sys.stderr)
    raise SystemExit(2)


def _sentence(error: CycloptsError) -> str:
    cause, argument = error.__cause__, error.argument
    if isinstance(cause, pydantic.ValidationError) and argument is not None:
        return explain(argument.hint, cause)
    return " ".join(str(error).split())


def _process(tool: str, settings: Settings, raw: list[Path], out: Path, imagej: bool) -> None:
    """Run a tool on each file; a file that fails is reported and the others still run."""
    targets = [out / f"{_stem(path)}_{tool}" for path in raw]
    if len(set(targets)) < len(targets):
        raise UserError("Two of the stacks have the same name: save them into different folders.")
    _make(out)
    failed = False
    with _Interrupts() as interrupts:
        for path, target in zip(raw, targets, strict=True):
            if interrupts.count:
                print(f"{path.name}: left out after Ctrl-C", file=sys.stderr)
                failed = True
                continue
            try:
                _process_one(tool, settings, path, target, imagej, interrupts)
            except UserError as error:
                print(f"{path.name}: {error}", file=sys.stderr)
                failed = True
    if failed:
        raise SystemExit(2)


def _process_one(
    tool: str, settings: Settings, path: Path, target: Path, imagej: bool, interrupts: _Interrupts
) -> None:
    from napari_physgen.backend import run as drain
    from napari_physgen.io import read_stack, write_imagej_tiff, write_ome_tiff
    from napari_physgen.recipe import TOOLS, Recipe, start

    stack = read_stack(path)
    name = TOOLS[tool].inputs[0]
    finished = []
    with _bar(path.name, interrupts) as report:
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
    images = [
        Image.of(output, pixel_size, record)
        for output in finished[0].result.outputs()
        if output.export and output.kind != "shapes"
    ]
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


@contextmanager
def _bar(name: str, interrupts: _Interrupts) -> Iterator[Callable[[Progress], Command | None]]:
    """Show a job as a progress bar on stderr; give the callback that feeds it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from napari_physgen.backend import Stop

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        stage: str | None = None
        stopped = False

        def report(progress: Progress) -> Command | None:
            nonlocal stage, stopped
            if progress.message != stage:
                stage = progress.message
                bar.reset(task, total=progress.total, description=f"{name}: {stage}")
            bar.update(task, completed=progress.step, total=progress.total)
            if interrupts.count and not stopped:
                stopped = True
                bar.update(task, description=f"{name}: stopping, Ctrl-C again gives up")
                return Stop()
            return None

        yield report


class _Interrupts:
    """Counts Ctrl-C; the second one ends the program."""

    count = 0

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._count)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _count(self, *_: object) -> None:
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise UserError(f"The folder {folder} cannot be made: choose another one.") from None


def _stem(path: Path) -> str:
    return path.name.removesuffix(path.suffix).removesuffix(".ome")
