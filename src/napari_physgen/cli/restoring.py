"""The command that restores images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from napari_physgen.cli.options import Folder, given, partial
from napari_physgen.cli.partners import masks_of
from napari_physgen.cli.pictures import Pictures, by_name, files, read
from napari_physgen.cli.terminal import Interrupts, bar, each, make, stem
from napari_physgen.generative.settings import RestoreSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel as Restoring

    from napari_physgen.generative.results import Restoration
    from napari_physgen.io import Image, Stack
    from napari_physgen.outputs import Output
    from napari_physgen.recipe import Finished
else:
    Restoring = partial(RestoreSettings, "model")


def restore(
    images: Pictures,
    *,
    out: Folder,
    prior: Annotated[
        Path | None,
        Parameter(
            help="A prior (.safetensors) made by `prior train`; without one, noise is removed by "
            "what the noisy image itself teaches."
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        Parameter(help="Gaps to fill (--task inpaint): TIFF, PNG or NPY, not 0 there."),
    ] = None,
    settings: Annotated[Restoring | None, Parameter(name="*")] = None,
) -> None:
    """Restore images, with the uncertainty of every pixel.

    Saves IMAGE_restored.ome.tif with the restored image, its uncertainty, the residual and where
    it is not sure, and IMAGE_restored.recipe.yaml to run it again. Time points and planes are
    restored one by one, channels each by themselves. Ctrl-C ends early and keeps what is there; a
    second Ctrl-C gives up.
    """
    model = {} if prior is None else {"model": str(prior.resolve())}
    process(RestoreSettings.parse(given(settings) | model), images, out, mask=mask)


def process(
    settings: RestoreSettings, paths: Sequence[Path], out: Path, *, mask: Path | None = None
) -> None:
    """Restore each file; a file that fails is reported and the others still run."""
    from napari_physgen.generative import load

    found = files(paths)
    by_name(found)
    extras: dict[str, Any] = {"model": load(settings.model)} if settings.model else {}
    gaps: dict[str, Any] = {} if mask is None else {"mask": masks_of(mask)}
    sources = {} if mask is None else {"mask": mask.name}
    make(out)

    def one(path: Path, interrupts: Interrupts) -> None:
        from napari_physgen.backend import run
        from napari_physgen.recipe import start

        stack = read(path, settings.pixel_size_nm)
        chosen = settings.model_copy(update={"pixel_size_nm": _rounded(stack.pixel_size_nm)})
        parts = _parts(stack, settings.task)
        finished: list[Finished[Restoration]] = []
        with bar(path.name, interrupts) as report:
            for block in parts.blocks:
                told = sources | {"image": path.name}
                job = start("restore", chosen, {"image": block} | gaps, sources=told, **extras)
                finished.append(run(job, report))
                if interrupts.count:
                    break
        _save(finished, parts, stack.pixel_size_nm, out, path)

    each(found, one)


@dataclass(frozen=True)
class _Parts:
    """What of a file is restored at once: one channel, or the raw frames of one SIM image.

    Parameters
    ----------
    blocks : list of numpy.ndarray
    leading : tuple of str
        Axes over which there is one block each, of the lengths `shape`.
    axes : tuple of str
        Of a block; none for raw frames, of which one image is made.
    """

    blocks: list[NDArray[np.generic]]
    leading: tuple[str, ...]
    shape: tuple[int, ...]
    axes: tuple[str, ...]


def _parts(stack: Stack, task: str) -> _Parts:
    import numpy as np

    if task == "sim":
        return _Parts(list(stack.blocks()), stack.leading, stack.leading_shape, ())
    if "c" not in stack.axes:
        return _Parts([stack.data], (), (), stack.axes)
    blocks = list(np.moveaxis(stack.data, stack.axes.index("c"), 0))
    return _Parts(blocks, ("c",), (len(blocks),), tuple(a for a in stack.axes if a != "c"))


def _save(
    finished: list[Finished[Restoration]],
    parts: _Parts,
    pixel_size_nm: float | None,
    out: Path,
    path: Path,
) -> None:
    """Write everything into one file, say how it went."""
    from napari_physgen.io import write_ome_tiff
    from napari_physgen.recipe import Recipe

    target = out / f"{stem(path)}_restored"
    write_ome_tiff(Path(f"{target}.ome.tif"), _images(finished, parts, pixel_size_nm))
    Recipe.of(finished[0].record).save(Path(f"{target}.recipe.yaml"))
    for number, item in enumerate(finished, 1):
        which = f" {parts.leading[-1]} {number}" if len(parts.blocks) > 1 else ""
        print(f"{path.name}{which}: {item.result.summary}")
        camera = item.result.noise
        print(
            f"  noise: {camera.gain:.3g} grey levels per photon above {camera.offset:.4g}, "
            f"read noise {camera.read_noise:.3g}"
        )
    print(f"  saved as {target}.ome.tif")


def _images(
    finished: list[Finished[Restoration]], parts: _Parts, pixel_size_nm: float | None
) -> list[Image]:
    """Return what is worth a file, blocks stacked again along their own axes."""
    from napari_physgen.batch import stacked
    from napari_physgen.io import Image
    from napari_physgen.provenance import Record

    record = Record.joined([item.record for item in finished])
    outputs = [_named(output, parts.axes) for output in finished[0].result.outputs()]
    images = Image.kept(outputs, pixel_size_nm, record)
    if not parts.leading:
        return images
    others = [{output.name: output.data for output in item.result.outputs()} for item in finished]
    # A block that was stopped half-way has fewer planes than the others.
    alike = [own for own in others if own["restored"].shape == others[0]["restored"].shape]
    return stacked(images, alike, parts.leading, parts.shape)


def _named(output: Output, axes: tuple[str, ...]) -> Output:
    """Return an output with the names of the file's axes in place of numbers."""
    numbered = [name for name in output.axes if name.startswith("axis ")]
    if not numbered:
        return output
    first = output.axes.index(numbered[0])
    tail = output.axes[first + len(numbered) :]
    complete = len(numbered) + len(tail) == len(axes)
    names = axes[: len(numbered)] if complete else ("frame",)
    return replace(output, axes=(*output.axes[:first], *names, *tail))


def _rounded(size: float | None) -> float | None:
    """Return a pixel size without the noise of its unit's conversion."""
    return None if size is None else float(f"{size:.10g}")
