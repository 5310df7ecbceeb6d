"""Commands that work on files, each by itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from napari_physgen.batch import Done, process_files, stacks_in
from napari_physgen.cli.options import Folder, ImageJ
from napari_physgen.cli.terminal import Interrupts, bar, make
from napari_physgen.errors import UserError
from napari_physgen.sim.settings import SimSettings

if TYPE_CHECKING:
    from napari_physgen.settings import Settings

Raw = Annotated[
    list[Path],
    Parameter(
        negative="", help="Raw stacks: TIFF, NPY, MRC or DV files, or folders with such files."
    ),
]
Named = Annotated[
    str, Parameter(help="What the names of a folder's files look like, with * and ?.")
]


def sim(
    raw: Raw,
    *,
    out: Folder,
    settings: Annotated[SimSettings, Parameter(name="*")],
    imagej: ImageJ = False,
    files: Named = "*",
) -> None:
    """Reconstruct raw structured-illumination stacks, time-lapses and folders.

    Saves RAW_sim.ome.tif with all images and RAW_sim.recipe.yaml to run it again. The images of a
    time-lapse are written as they come, into RAW_sim.unfinished.ome.tif.
    Ctrl-C ends early and keeps the best image so far; a second Ctrl-C gives up.
    """
    process("sim", settings, raw, out, imagej, files)


def process(
    tool: str, settings: Settings, raw: list[Path], out: Path, imagej: bool, files: str = "*"
) -> None:
    """Run a tool on each file; a file that fails is reported and the others still run."""
    from napari_physgen.backend import run as drain

    paths = stacks_in(raw, tool, files)
    for path in paths:
        _compare(path, settings)
    job = process_files(tool, settings, paths, out, imagej, _report)
    with Interrupts() as interrupts:
        make(out)
        with bar(tool, interrupts) as report:
            batch = drain(job, report)
    if batch.failed:
        raise SystemExit(2)


def _compare(path: Path, settings: Settings) -> None:
    """Say in one line what a file says of the microscope that the settings do not."""
    from napari_physgen.io.acquisition import read_acquisition

    try:
        differences = read_acquisition(path).differences(settings.model_dump())
    except UserError:
        return  # reading the frames will say it
    if differences:
        print(f"{path.name} says otherwise: {'; '.join(differences)}.")


def _report(done: Done) -> None:
    """Say what became of a file."""
    if done.saved is None:
        print(f"{done.path.name}: {done.words[0]}", file=sys.stderr)
        return
    for words in done.words:
        print(f"{done.path.name}: {words}")
    print(f"  saved as {done.saved}")
