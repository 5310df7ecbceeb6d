"""The command that writes quality reports of raw SIM stacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from napari_physgen.batch import stacks_in
from napari_physgen.cli.options import Folder
from napari_physgen.cli.stacks import Named, Raw
from napari_physgen.cli.terminal import Interrupts, bar, each, make, stem
from napari_physgen.errors import UserError
from napari_physgen.sim.settings import SimSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from napari_physgen.backend.job import Command, Progress
    from napari_physgen.sim.report import QualityReport

TOOL = "sim-check"
KINDS = ("html", "png", "json")


def sim_check(
    raw: Raw,
    *,
    out: Folder,
    settings: Annotated[SimSettings, Parameter(name="*")],
    reconstruct: Annotated[
        bool, Parameter(negative="", help="Reconstruct too, and check the result.")
    ] = False,
    files: Named = "*",
) -> None:
    """Write quality reports of raw structured-illumination stacks.

    Saves RAW_check.html (a page for the browser), RAW_check.png (the same as a picture) and
    RAW_check.json (the figures); of each stack of a time-lapse, numbered.
    """
    process(settings, raw, out, reconstruct, files)


def process(
    settings: SimSettings, raw: list[Path], out: Path, reconstruct: bool = False, files: str = "*"
) -> None:
    """Check each file; a file that fails is reported and the others still run."""
    from napari_physgen.backend import run
    from napari_physgen.io import read_stack
    from napari_physgen.sim.single import single_stacks

    paths = stacks_in(raw, "sim", files)
    if len({stem(path) for path in paths}) < len(paths):
        raise UserError("Two of the stacks have the same name: save them into different folders.")
    make(out)

    def one(path: Path, interrupts: Interrupts) -> None:
        raw, axes = read_stack(path).series()
        with bar(path.name, interrupts) as shown:
            blocks, ordered = run(single_stacks(raw, settings, axes), shown)
        for number, frames in enumerate(blocks, 1):
            part = f"_{number}" if len(blocks) > 1 else ""
            with bar(path.name, interrupts) as shown:
                report = _checked(frames, path.name, ordered, reconstruct, shown)
            target = out / f"{stem(path)}_check{part}"
            for kind in KINDS:
                report.write(Path(f"{target}.{kind}"))
            print(f"{path.name}{part}: {report.summary}")
            if interrupts.count:
                break
        print(f"  saved as {target}.html")

    each(paths, one)


def _checked(
    frames: np.ndarray,
    name: str,
    settings: SimSettings,
    reconstruct: bool,
    shown: Callable[[Progress], Command | None],
) -> QualityReport:
    from napari_physgen.backend import run
    from napari_physgen.recipe import start

    inputs, sources = {"raw": frames}, {"raw": name}
    result = None
    if reconstruct:
        result = run(start("sim", settings, inputs, sources=sources), shown).result
    report: QualityReport = run(
        start(TOOL, settings, inputs, sources=sources, result=result), shown
    ).result
    return report
