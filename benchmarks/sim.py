"""SIM reconstruction against the truth and against what others reach.

    python benchmarks/sim.py                 all rows (an hour on two cores)
    python benchmarks/sim.py --rows biosr    rows whose name contains "biosr"
    python benchmarks/sim.py --stages wiener variational
    python benchmarks/sim.py --stages --peers richardson-lucy processor published --steps 300

Prints one table and puts its rows into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom as spline_zoom

sys.path.insert(0, str(Path(__file__).parent))

import _page
import _sim_peers
from _data import (
    SIM,
    Case,
    biosr,
    published,
    published_nonlinear,
    published_plasmonic,
    simulated,
    tirf,
)

from napari_physgen.backend import run
from napari_physgen.metrics.image import compare, match_blur
from napari_physgen.physics.optics import Otf
from napari_physgen.sim import Patterns, Reconstruction, estimate_patterns
from napari_physgen.sim.wiener import wiener

CONSTANTS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
OURS = ("widefield", "wiener", "best", "variational", "pinn", "trained")
PEERS = ("richardson-lucy", "processor", "processor, best", "published")
COLUMNS = (
    "data",
    "widefield",
    "Wiener",
    "Wiener, best constant",
    "variational",
    "with network",
    "trained network",
    "Richardson-Lucy, best",
    "napari-sim-processor",
    "its best",
    "network of Burns & Liu",
    "chi2",
    "patterns / Wiener / variational / network / trained, s",
    "others",
)
NOTE = """\
PSNR in dB / SSIM after an affine intensity fit, 8 px border cut. BioSR: at matched blur, since the
reference is itself a filtered image. "Wiener" has nothing to tune; "best constant" is the constant
chosen with the truth at hand. chi2: mean squared weighted residual on held-out camera pixels,
variational / network / trained; 1 is noise. Trained network: the one that comes with the program,
on simulated objects alone; it is refused at zoom 4. e-: electrons per pixel and frame. Peers:
Richardson-Lucy with our patterns and OTF, iterations chosen with the truth; napari-sim-processor
0.1.1 with the settings its widget starts from, and with the best of 48 others, chosen with the
truth; it estimates the patterns itself, with the theoretical OTF. The network as published, with
the steps given in brackets (published: 1000), and our patterns.
"""


@dataclass(frozen=True)
class Row:
    """A line of the table: its stacks and what others reach on them."""

    name: str
    cases: Callable[[], Iterator[Case]]
    others: str = ""


ROWS = (
    Row(
        "Burns & Liu 2023, 8 stacks, patterns given",
        lambda: published(given=True),
        "their network 21.8 / 0.75 (one crop, 700 steps)",
    ),
    Row("Burns & Liu 2023, 8 stacks, patterns estimated", lambda: published(given=False)),
    Row(
        "Burns & Liu 2023, nonlinear, ER, 3 stacks, frames given",
        lambda: published_nonlinear("er"),
    ),
    Row(
        "Burns & Liu 2023, nonlinear, F-actin, 3 stacks, frames given",
        lambda: published_nonlinear("factin"),
    ),
    Row(
        "Burns & Liu 2023, plasmonic, 3 stacks, frames given",
        lambda: published_plasmonic(),
    ),
    Row("BioSR microtubules, 237 e-", lambda: biosr(), "DFCAN (trained) 29.79 / 0.878"),
    Row("BioSR thinned, 59 e-", lambda: biosr(59)),
    Row("BioSR thinned, 24 e-, 3 draws", lambda: biosr(24, seeds=3)),
    Row("BioSR thinned, 9 e-, 3 draws", lambda: biosr(9, seeds=3)),
    Row("BioSR level 01, 6 e-", lambda: biosr(level="01"), "DFCAN (trained) 22.99 / 0.551"),
    Row("TIRF, Cao et al. 2018", lambda: tirf()),
    Row("simulated filaments, 9 x 256 x 256", lambda: simulated()),
)


class Tally:
    """What was measured on the stacks of one row, by column."""

    def __init__(self) -> None:
        self.scores: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.chi2: dict[str, list[float]] = defaultdict(list)
        self.remarks: dict[str, str] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[stage].append(time.perf_counter() - begin)

    def line(self, row: Row) -> str:
        images = (*OURS, *PEERS)
        stages = ("patterns", "wiener", "variational", "pinn", "trained")
        cells = [
            row.name,
            *(mean_scores(self.scores[name]) + self.remarks.get(name, "") for name in images),
            " / ".join(mean(self.chi2[name], 3) for name in stages[2:]),
            " / ".join(mean(self.seconds[name]) for name in stages),
            row.others or "-",
        ]
        return "| " + " | ".join(cells) + " |"


def measure(row: Row, stages: list[str], peers: list[str], steps: int) -> str:
    """Return the row as a line of the table."""
    tally = Tally()
    for number, case in enumerate(row.cases(), start=1):
        patterns = known_or_found(case, tally)
        verdicts = [patterns.verdict if patterns else "known frames"]
        classical(case, patterns, tally)
        if case.truth is not None and patterns is not None:
            others(case, patterns, peers, steps, tally)
        for stage in stages:
            if stage == "trained" and case.settings.zoom > 2:
                continue
            with tally.timed(stage):
                result = reconstructed(case, stage)
            tally.scores[stage].append(scores(result.image, case))
            tally.chi2[stage].append(result.chi2)
            verdicts.append(f"{result.summary} chi2 {result.chi2:.3f} {tally.scores[stage][-1]}")
        print(f"{row.name}, {number}: " + "\n    ".join(verdicts), file=sys.stderr, flush=True)
    return tally.line(row)


def known_or_found(case: Case, tally: Tally) -> Patterns | None:
    """Return the patterns, or None where the light is known as frames that are no stripes."""
    if case.given is not None or case.frames is not None:
        return case.given
    with tally.timed("patterns"):
        return run(estimate_patterns(case.raw, case.settings, case.otf))


def reconstructed(case: Case, method: str) -> Reconstruction:
    """Return the job's result, with the illumination frames where they are known."""
    from napari_physgen.sim import reconstruct

    settings = case.settings.model_copy(update={"method": method})
    return run(reconstruct(case.raw, settings, patterns=case.frames, otf=case.otf))


def classical(case: Case, patterns: Patterns | None, tally: Tally) -> None:
    """Score the widefield image and, of stripes, the Wiener images."""
    settings = case.settings
    shape = (settings.angles, settings.phases, *case.raw.shape[1:])
    frames = (case.raw.astype(np.float32) - case.offset).reshape(shape)
    widefield = frames.mean((0, 1))
    enlarged = spline_zoom(widefield, settings.zoom, order=3, mode="nearest", grid_mode=True)
    tally.scores["widefield"].append(scores(enlarged, case))
    if patterns is None:
        return
    # Without a measured OTF the damping that the patterns were fitted with.
    otf = case.otf or Otf.ideal(settings.na, settings.wavelength_nm, patterns.otf_damping or 1)
    with tally.timed("wiener"):
        image = wiener(frames, patterns, otf, settings)
    tally.scores["wiener"].append(scores(image, case))
    if case.truth is not None:
        tuned = [settings.model_copy(update={"wiener": w}) for w in CONSTANTS]
        best = max(scores(wiener(frames, patterns, otf, s), case) for s in tuned)
        tally.scores["best"].append(best)


def others(case: Case, patterns: Patterns, peers: list[str], steps: int, tally: Tally) -> None:
    """Score what others make of a stack."""
    if "richardson-lucy" in peers:
        found = [scores(image, case) for image in _sim_peers.richardson_lucy(case, patterns)]
        tally.scores["richardson-lucy"].append(max(found))
        print("Richardson-Lucy", dict(zip(_sim_peers.ITERATIONS, found, strict=True)))
    if "processor" in peers and case.given is None:
        images, names, seconds = _sim_peers.sim_processor(case)
        found = [scores(image, case) for image in images]
        tally.scores["processor"].append(found[0])
        tally.scores["processor, best"].append(max(found[1:]))
        print("napari-sim-processor", seconds, "s", names[found.index(max(found))])
    if "published" in peers:
        tally.scores["published"].append(scores(_sim_peers.published_network(case, steps), case))
        tally.remarks["published"] = f" ({steps})"


def scores(image: NDArray[np.float32], case: Case) -> tuple[float, ...]:
    if case.truth is None:
        return (float("nan"), float("nan"))
    if case.matched:
        return match_blur(image, case.truth)[1:]
    return tuple(compare(image, case.truth))


def mean(values: list[float], digits: int = 2) -> str:
    return f"{np.mean(values):.{digits}f}" if values else "-"


def mean_scores(values: list[tuple[float, ...]]) -> str:
    if not values or np.isnan(values).any():
        return "-"
    psnr, ssim = np.mean(values, axis=0)
    return f"{psnr:.2f} / {ssim:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--stages", nargs="*", default=["variational", "pinn", "trained"])
    parser.add_argument("--peers", nargs="*", default=["richardson-lucy", "processor"])
    parser.add_argument("--steps", type=int, default=1000, help="of the published network")
    options = parser.parse_args()
    if not SIM.is_dir():
        print(f"skipped: the data are not in {SIM}")
        return
    stages = [stage for stage in options.stages if stage != "wiener"]
    chosen = [row for row in ROWS if options.rows.lower() in row.name.lower()]
    lines = {row.name: measure(row, stages, options.peers, options.steps) for row in chosen}
    table = merged(lines)
    print(table)
    _page.write("sim", "SIM", f"{NOTE}\n{table}")


def merged(lines: dict[str, str]) -> str:
    """Return the table with new figures in place of those measured before."""
    old = _page.rows("sim")
    rows = [
        updated(lines.get(row.name), old.get(row.name))
        for row in ROWS
        if row.name in lines or row.name in old
    ]
    head = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    return "\n".join([*head, *rows])


def updated(new: str | None, old: str | None) -> str:
    """Return a new line with the figures that it lacks ("-") taken from the old one."""
    if new is None or old is None or new.count("|") != old.count("|"):
        return new or old or ""
    cells = []
    for fresh, kept in zip(new.split("|"), old.split("|"), strict=True):
        parts, before = fresh.strip().split(" / "), kept.strip().split(" / ")
        if fresh.strip() == "-":
            parts = before
        elif len(parts) == len(before):
            parts = [b if part == "-" else part for part, b in zip(parts, before, strict=True)]
        cells.append(" / ".join(parts))
    return " | ".join(cells).strip()


if __name__ == "__main__":
    main()
