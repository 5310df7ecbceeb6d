"""The command that maps the regions of scans."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from napari_physgen.cli.pictures import by_name, read
from napari_physgen.cli.terminal import Interrupts, bar, each, make, stem
from napari_physgen.errors import UserError
from napari_physgen.regions.settings import RegionSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_physgen.io.scans import ScanFile
    from napari_physgen.recipe import Finished
    from napari_physgen.regions import RegionMap
    from napari_physgen.regions.results import Choices

_PICTURES = (".tif", ".tiff", ".btf", ".tf8", ".png", ".jpg", ".jpeg", ".bmp", ".gif")
_SQUARE = 0.005  # share of the pixel size: what differs by less is a matter of rounding
_OTHER = 0.01  # share of the pixel size from which on it is worth a word


def regions(
    scans: Annotated[
        list[Path],
        Parameter(
            negative="",
            help="Images, channels, spectrum images or 4D-STEM scans: TIFF, PNG, NPY, NPZ, HDF5, "
            "EMD, DM3, DM4, HSPY, BCF, IBW, SXM, MRC and others.",
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        Parameter(name=["--out", "-o"], help="Folder for the results, made if missing."),
    ] = None,
    dataset: Annotated[
        str | None,
        Parameter(help="Name or number of the data set in the files, as --list shows them."),
    ] = None,
    list_: Annotated[
        bool,
        Parameter(name="--list", negative="", help="Only show what the files hold."),
    ] = False,
    mask: Annotated[
        Path | None,
        Parameter(help="Mask (TIFF, PNG or NPY): only where it is not 0 there shall be a map."),
    ] = None,
    settings: Annotated[RegionSettings | None, Parameter(name="*")] = None,
) -> None:
    """Map the regions of scans: lattice images, channels, spectra, diffraction patterns.

    Saves NAME_regions.ome.tif, tables of regions, interfaces and walls (CSV), NAME_report.json and
    NAME_regions.recipe.yaml to run it again. The pixel size is that of the file if it is not
    given. Ctrl-C ends early and keeps the map so far; a second Ctrl-C gives up.
    """
    if list_:
        each(scans, lambda path, _: _list(path))
    elif out is None:
        raise UserError("Name a folder for the results (-o OUT/), or look what is there (--list).")
    else:
        process(settings or RegionSettings(), scans, out, dataset=dataset, mask=mask)


def process(
    settings: RegionSettings,
    paths: Sequence[Path],
    out: Path,
    *,
    dataset: str | None = None,
    mask: Path | None = None,
) -> None:
    """Map each file; a file that fails is reported and the others still run."""
    by_name(paths)
    make(out)

    def one(path: Path, interrupts: Interrupts) -> None:
        scan = _chosen(_read(path), dataset)
        chosen = _completed(settings, scan, path)
        finished = _mapped(chosen, scan, path, mask, interrupts)
        _save(finished, out, stem(path))
        print(f"{path.name}: {finished.result.summary}")
        for line in _words(finished.result.choices):
            print(f"  {line}")
        print(f"  saved as {out / stem(path)}_regions.ome.tif")

    each(paths, one)


def _read(path: Path) -> list[ScanFile]:
    """Return what a file holds, the most useful first."""
    from napari_physgen.io.scans import ScanFile, read_scans

    if path.suffix.lower() not in _PICTURES:
        return read_scans(path)
    stack = read(path, None)
    size = stack.pixel_size_nm
    step = {} if size is None else {"y": (size, "nanometer"), "x": (size, "nanometer")}
    return [ScanFile(stem(path), stack.data, stack.axes, step)]


def _list(path: Path) -> None:
    print(path.name)
    for number, scan in enumerate(_read(path), 1):
        shape = " x ".join(
            f"{size} {axis}" for size, axis in zip(scan.shape, scan.axes, strict=True)
        )
        pixel = (
            "" if scan.pixel_nm is None else ", pixels of {:.4g} x {:.4g} nm".format(*scan.pixel_nm)
        )
        kind = f", {scan.modality}" if scan.modality else ""
        print(f"  {number}  {scan.name}: {shape}{kind}{pixel}")


def _chosen(scans: Sequence[ScanFile], dataset: str | None) -> ScanFile:
    """Return the data set of a name or number, the first one if neither is given."""
    named = [scan for scan in scans if scan.name == dataset]
    if dataset is not None and dataset.isdecimal() and 0 < int(dataset) <= len(scans):
        named = named or [scans[int(dataset) - 1]]
    if dataset is None:
        named = list(scans)
    if not named:
        known = ", ".join(f"'{scan.name}'" for scan in scans)
        raise UserError(f"There is no data set '{dataset}' (known: {known}).")
    return named[0]


def _completed(settings: RegionSettings, scan: ScanFile, path: Path) -> RegionSettings:
    """Return the settings with what the file says: pixel size, and where its signal axis is."""
    update: dict[str, object] = {}
    if scan.data.ndim == 1:
        raise UserError(f"'{scan.name}' is a single spectrum: a map needs one at every point.")
    if scan.data.ndim == 4 and scan.axes[:2] != ("y", "x") and settings.kind != "diffraction":
        axes = ", ".join(scan.axes)
        raise UserError(
            f"'{scan.name}' has the axes {axes}: a map needs an image, one signal axis, or "
            "diffraction patterns (y, x, ky, kx)."
        )
    # Readers put y and x last; only plain TIFF stacks may be in any order.
    known = scan.axes[0] != "frame" and scan.data.ndim == 3
    if known and settings.signal_axis == "auto":
        update["signal_axis"] = "first"
    if scan.pixel_nm is not None:
        height, width = (float(f"{size:.10g}") for size in scan.pixel_nm)
        if settings.pixel_size_nm is None:
            update["pixel_size_nm"] = width
            if settings.pixel_height_nm is None and abs(height - width) > _SQUARE * width:
                update["pixel_height_nm"] = height
        elif abs(settings.pixel_size_nm - width) > _OTHER * width:
            given = settings.pixel_size_nm
            print(f"{path.name}: pixels of {given:g} nm as given, not {width:g} nm as in the file")
    return settings.model_copy(update=update)


def _mapped(
    settings: RegionSettings,
    scan: ScanFile,
    path: Path,
    mask: Path | None,
    interrupts: Interrupts,
) -> Finished[RegionMap]:
    """Run the job with a progress bar."""
    from napari_physgen.backend import run
    from napari_physgen.io import read_mask
    from napari_physgen.recipe import start

    inputs, sources = {"data": scan.data}, {"data": f"{path.name}: {scan.name}"}
    if mask is not None:
        inputs["mask"], sources["mask"] = read_mask(mask), mask.name
    job = start("regions", settings, inputs, sources=sources)
    with bar(path.name, interrupts) as report:
        finished: Finished[RegionMap] = run(job, report)
    return finished


def _save(finished: Finished[RegionMap], out: Path, name: str) -> None:
    """Save images, tables and the recipe."""
    from napari_physgen.io import Image, write_ome_tiff
    from napari_physgen.recipe import Recipe
    from napari_physgen.regions import write_report

    result = finished.result
    width = result.settings.pixel_size_nm
    pixel = None if width is None else (result.settings.pixel_height_nm or width, width)
    images = Image.kept(result.outputs(), pixel, finished.record)
    write_ome_tiff(out / f"{name}_regions.ome.tif", images)
    write_report(result, out, name)
    Recipe.of(finished.record).save(out / f"{name}_regions.recipe.yaml")


def _words(choices: Choices) -> Iterable[str]:
    """Give what was chosen, line by line, with tables of what was tried."""
    period = "" if choices.period is None else f", lattice period {choices.period:.4g} px"
    window = "" if choices.window == 1 else f", window {choices.window} px"
    grid = f", grid step {choices.stride} px, wall cost {choices.wall_cost:g}"
    yield f"kind {choices.kind}{period}{window}{grid}"
    if choices.counts:
        yield "  regions       ICL, nat  stability"
    for one in choices.counts:
        mark = "*" if one.regions == choices.regions else " "
        yield f"{mark} {one.regions:7d} {one.icl:14.1f} {_stability(one.stability):>10}"
    if choices.walls:
        yield "  wall cost  misfit, nat/node  length, grid steps  stability"
    for wall in choices.walls:
        mark = "*" if wall.wall_cost == choices.wall_cost else " "
        figures = f"{wall.misfit:17.4f} {wall.length:19.1f} {_stability(wall.stability):>10}"
        yield f"{mark} {wall.wall_cost:9g} {figures}"


def _stability(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
