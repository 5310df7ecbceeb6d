"""Files through a tool: one, several, or all of a folder, as a job for window and command line.

``NAME_TOOL.ome.tif`` has the images with the record, ``NAME_TOOL.recipe.yaml`` runs it again. The
images of a series are written while they are computed (`io.growing`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari_physgen.backend.job import Stop, placed, relayed
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_physgen.backend import Command, Job
    from napari_physgen.io import Image, Stack
    from napari_physgen.recipe import Finished
    from napari_physgen.settings import Settings


R = TypeVar("R")


@dataclass(frozen=True)
class Done:
    """What became of one file.

    Parameters
    ----------
    path : pathlib.Path
        The raw file.
    saved : pathlib.Path or None
        The file with the images; None if it failed.
    words : tuple of str
        The summaries of its stacks, or why it failed.
    """

    path: Path
    saved: Path | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """What became of several files; a `Result` without images."""

    files: tuple[Done, ...]

    @property
    def failed(self) -> tuple[Done, ...]:
        """Those without a result."""
        return tuple(done for done in self.files if done.saved is None)

    @property
    def metrics(self) -> Mapping[str, float]:
        """How many files there were and how many failed."""
        return {"files": len(self.files), "failed": len(self.failed)}

    @property
    def summary(self) -> str:
        """How many files were reconstructed and what is wrong with the others."""
        words = [f"{len(self.files) - len(self.failed)} of {len(self.files)} files are done."]
        words += [f"{done.path.name}: {done.words[0]}" for done in self.failed]
        return " ".join(words)

    def outputs(self) -> list[Any]:
        """Return nothing: the images are in the files."""
        return []


def stem(path: Path) -> str:
    """Return the name of a file without what says its kind."""
    return re.sub(r"\.(ome|recipe)$", "", path.stem, flags=re.IGNORECASE)


def stacks_in(paths: Iterable[Path], tool: str, pattern: str = "*") -> list[Path]:
    """Return the files, and instead of a folder the raw stacks in it.

    Parameters
    ----------
    paths : iterable of pathlib.Path
    tool : str
        Results of this tool are no raw stacks.
    pattern : str
        What the names of a folder's files look like, with * and ?.

    Raises
    ------
    UserError
        If a folder has no such file.
    """
    from napari_physgen.io.readers import SUFFIXES

    made = (f"_{tool}.ome.tif", f"_{tool}.unfinished.ome.tif", f"_{tool}_imagej.tif")
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        files = sorted(
            file
            for file in path.glob(pattern)
            if file.suffix.lower() in SUFFIXES and not file.name.endswith(made)
        )
        if not files:
            raise UserError(
                f"The folder {path} has no raw stack named {pattern} ({', '.join(SUFFIXES)})."
            )
        found += files
    return found


def process_files(
    tool: str,
    settings: Settings,
    paths: Sequence[Path],
    out: Path,
    imagej: bool = False,
    told: Callable[[Done], None] | None = None,
) -> Job[Batch]:
    """Run a tool on each file (a job); those that fail are reported and the others still run.

    A stop ends the file that is running early, keeps it, and leaves out the others.

    Parameters
    ----------
    tool : str
        A name in `recipe.TOOLS`.
    settings : Settings
    paths : sequence of pathlib.Path
        Raw stacks; see `stacks_in` for folders.
    out : pathlib.Path
        Folder for the results.
    imagej : bool
        Whether to save the main image for ImageJ too.
    told : callable, optional
        Hears of each file as it is done.

    Raises
    ------
    UserError
        If two files have the same name.
    """
    if len({stem(path) for path in paths}) < len(paths):
        raise UserError("Two of the stacks have the same name: save them into different folders.")
    files: list[Done] = []
    heard: list[Command] = []
    for number, path in enumerate(paths, 1):
        if Stop() in heard:
            done = Done(path, None, ("left out after the stop",))
        else:
            where = f"{path.name}: "
            if len(paths) > 1:
                where = f"file {number} of {len(paths)}, {where}"
            try:
                job = process_file(tool, settings, path, out / f"{stem(path)}_{tool}", imagej)
                done = yield from relayed(placed(job, where), hear=heard.append)
            except UserError as error:
                done = Done(path, None, (str(error),))
        files.append(done)
        if told is not None:
            told(done)
    return Batch(tuple(files))


def process_file(
    tool: str, settings: Settings, path: Path, target: Path, imagej: bool = False
) -> Job[Done]:
    """Run a tool on one file and save what it makes as `target` with endings (a job)."""
    from napari_physgen.io import Image, read_stack, write_imagej_tiff, write_ome_tiff
    from napari_physgen.io.growing import GrowingTiff
    from napari_physgen.recipe import TOOLS, Recipe, start

    stack = read_stack(path)
    name, final = TOOLS[tool].inputs[0], Path(f"{target}.ome.tif")
    pixel_size = getattr(settings, "pixel_size_nm", stack.pixel_size_nm)
    if TOOLS[tool].series:
        raw, axes = stack.series()
        growing = GrowingTiff(final, pixel_size)
        inputs, sources = {name: raw}, {name: path.name}
        whole = yield from start(tool, settings, inputs, sources=sources, axes=axes, sink=growing)
        finished = [whole]
        images = Image.kept(whole.result.outputs(), pixel_size, whole.record)
        growing.finish(images)
    else:
        finished = yield from _one_by_one(tool, settings, stack, path.name)
        images = _images(finished, stack, pixel_size)
        write_ome_tiff(final, images)
    Recipe.of(finished[0].record).save(Path(f"{target}.recipe.yaml"))
    if imagej:
        write_imagej_tiff(Path(f"{target}_imagej.tif"), images[:1])
    return Done(path, final, tuple(item.result.summary for item in finished))


def _heard(job: Job[R]) -> Job[tuple[R, bool]]:
    """Run a job; return its result and whether it was stopped."""
    heard: list[Command] = []
    result = yield from relayed(job, hear=heard.append)
    return result, Stop() in heard


def _one_by_one(
    tool: str, settings: Settings, stack: Stack, source: str
) -> Job[list[Finished[Any]]]:
    """Run a tool that knows single stacks only on one after the other."""
    from napari_physgen.recipe import TOOLS, start

    name = TOOLS[tool].inputs[0]
    finished: list[Finished[Any]] = []
    for frames in stack.blocks():
        job = start(tool, settings, {name: frames}, sources={name: source})
        item, stopped = yield from _heard(job)
        finished.append(item)
        if stopped:
            break
    return finished


def _images(finished: list[Finished[Any]], stack: Stack, pixel_size: float | None) -> list[Image]:
    """Return what is worth a file; a time-lapse is stacked again along its own axes."""
    from napari_physgen.io import Image
    from napari_physgen.provenance import Record

    record = Record.joined([item.record for item in finished])
    images = Image.kept(finished[0].result.outputs(), pixel_size, record)
    if not stack.leading:
        return images
    blocks = [{output.name: output.data for output in item.result.outputs()} for item in finished]
    return stacked(images, blocks, stack.leading, stack.leading_shape)


def stacked(
    images: Sequence[Image],
    blocks: Sequence[Mapping[str, NDArray[Any]]],
    axes: tuple[str, ...],
    shape: tuple[int, ...],
) -> list[Image]:
    """Return the images of several blocks of a file as stacks.

    Parameters
    ----------
    images : sequence of Image
        Those of the first block.
    blocks : sequence of mapping
        Pixels by the name of the image; images that a block lacks are left out.
    axes, shape
        What the blocks run over; "frame" if not all of several axes are there.
    """
    import numpy as np

    if len(blocks) != prod(shape):
        axes, shape = axes if len(axes) == 1 else ("frame",), (len(blocks),)
    found = []
    for image in images:
        planes = [block[image.name] for block in blocks if image.name in block]
        if len(planes) == len(blocks):
            data = np.stack(planes).reshape(*shape, *image.data.shape)
            found.append(replace(image, data=data, axes=(*axes, *image.axes)))
    return found
