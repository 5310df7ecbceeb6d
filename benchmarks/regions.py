"""How close region maps are to the truth, beside what others find on the same scans.

python benchmarks/regions.py [--peers] [--pyroved PYTHON] [--ours] [--sets ferro ...] [--seeds 5]
                             [--methods fast vae] [--write]

Without --peers, --pyroved or --ours nothing is measured: the table is made of what was measured
before (benchmarks/regions/*.json). PYTHON is one that has pyroVED; it is run apart, since pyroVED
has requirements of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from _page import write
from _region_peers import PEERS, UNCOUPLED, Grid, fitting, pyroved
from _region_sets import FILES, SIMULATED, Case, fresh, stored, varied

from napari_physgen.backend import run
from napari_physgen.metrics.partition import mean_pairwise_rand
from napari_physgen.physics.wall_edges import label_length
from napari_physgen.regions.evaluate import evaluate

CACHE = Path(__file__).parent / "regions"
SETS = tuple(dict.fromkeys(FILES + SIMULATED))
NETWORKS = {
    "two-phase": ("vae", "rvae", "shvae", "shvae-wide", "phyvae"),
    "grains": ("vae", "rvae"),
    "ferro": ("vae", "rvae", "shvae"),
    "pfm": ("vae",),
    "spectral": ("vae",),
}
Record = dict[str, float]


def scored(case: Case, grid: Grid) -> Record:
    """Return the scores on the grid and, from the nearest nodes, at every pixel."""
    return figures(case, grid) | pixels(case, grid.full(case))


def figures(case: Case, grid: Grid) -> Record:
    scores = evaluate(grid.labels, grid.truth(case), pixel=grid.step, unlabelled=case.unlabelled)
    partial_truth = case.unlabelled is not None
    return {
        "ari": scores.adjusted_rand,
        "nmi": scores.mutual_information,
        "miou": scores.mean_iou,
        "bf1": np.nan if partial_truth else scores.boundary_f1,
        "wall": label_length(grid.labels) if partial_truth else scores.wall_ratio,
        "largest": scores.largest_share,
    }


def pixels(case: Case, labels: np.ndarray) -> Record:
    scores = evaluate(labels, case.truth, unlabelled=case.unlabelled)
    return {
        "ari_px": scores.adjusted_rand,
        "bf1_4px": np.nan if case.unlabelled is not None else scores.boundary_f1_4px,
        "wall_px": scores.wall_ratio,
    }


def ours(case: Case, seed: int, method: str, count: int | str) -> tuple[Record, np.ndarray]:
    """Map the regions with our own method, scored before and after walls are refined."""
    from napari_physgen.regions import RegionSettings, map_regions

    settings = RegionSettings.parse(
        {
            "kind": case.kind,
            "channels": case.channels,
            "regions": count,
            "method": method,
            "ignore_rotation": case.ignore_rotation,
            "seed": seed,
            "device": "cpu",
        }
    )
    found = run(map_regions(case.data, settings))
    grid = Grid(found.grid, found.start[0], found.step[0])
    chosen = {"regions": float(found.choices.regions), "wall_cost": found.choices.wall_cost}
    return figures(case, grid) | pixels(case, found.labels) | chosen, found.labels


def peer(case: Case, seed: int, name: str) -> tuple[Record, np.ndarray]:
    """Map the regions as others do."""
    grid = (PEERS | UNCOUPLED)[name](case, seed)
    return scored(case, grid), grid.labels


def network(case: Case, seed: int, python: Path, model: str) -> tuple[Record, np.ndarray]:
    """Map the regions with a VAE of pyroVED."""
    grid = pyroved(case, seed, python, model)
    assert grid.seconds is not None
    return scored(case, grid) | {"seconds": grid.seconds}, grid.labels


Method = Callable[[Case, int], tuple[Record, np.ndarray]]


Found = dict[str, list[Record] | float]


def measured(method: Method, name: str, seeds: int, simulated: bool = True) -> Found:
    """Measure a method on the stored scan with several seeds and on as many simulated ones.

    Returns
    -------
    dict
        "stored", "fresh" and "varied": one record per seed, with CPU seconds and the most memory
        that this process held so far, MB; "stability": mean pairwise adjusted Rand index of the
        maps of the stored scan.
    """
    found: Found = {}
    case = stored(name) if name in FILES else None
    if case is not None:
        rows = [timed(method, case, seed) for seed in range(seeds)]
        found["stored"] = [row for row, _ in rows]
        found["stability"] = mean_pairwise_rand([labels for _, labels in rows])
    if name in SIMULATED and simulated:
        for kind, make in (("fresh", fresh), ("varied", varied)):
            found[kind] = [timed(method, make(name, seed), seed)[0] for seed in range(seeds)]
    return found


def timed(method: Method, case: Case, seed: int) -> tuple[Record, np.ndarray]:
    began = time.process_time()
    record, labels = method(case, seed)
    used = {"seconds": time.process_time() - began, "memory": memory()}
    return used | record, labels


def memory() -> float:
    """Return the most memory that this process or one that it started has held so far, MB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024


def apart(method: Method, name: str, seeds: int, simulated: bool = True) -> Found:
    """Do `measured` in a process of its own, so that the memory is that of this method alone."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(measured, method, name, seeds, simulated).result()


def planned(chosen: argparse.Namespace, name: str) -> Iterable[tuple[str, str, Method, int]]:
    """Return file, row, method and seeds of all that was asked for."""
    case = stored(name) if name in FILES else fresh(name, 0)
    if case is None:
        return
    if chosen.peers:
        for row in fitting(case):
            yield "peers", row, partial(peer, name=row), chosen.seeds
    if chosen.pyroved:
        models = NETWORKS.get(name, ())
        for model in (m for m in models if m in (chosen.networks or models)):
            method = partial(network, python=chosen.pyroved, model=model)
            yield "pyroved", f"pyroVED {model} + GMM", method, 1
    if chosen.ours:
        if case.kind == "lattice" and case.regions > 1:
            for row in UNCOUPLED:
                yield "ours", row, partial(peer, name=row), chosen.seeds
        for method in chosen.methods:
            count = "auto" if name == "single" else case.regions
            yield "ours", f"**{method}**", partial(ours, method=method, count=count), chosen.seeds
            if chosen.automatic and name != "single":
                automatic = partial(ours, method=method, count="auto")
                yield "ours", f"**{method}**, regions auto", automatic, chosen.seeds


def load(file: str) -> dict[str, dict[str, Found]]:
    path = CACHE / f"{file}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def keep(file: str, name: str, row: str, found: Found) -> None:
    content = load(file)
    content.setdefault(name, {})[row] = found
    CACHE.mkdir(exist_ok=True)
    (CACHE / f"{file}.json").write_text(written(content), "utf-8")


def written(content: dict[str, dict[str, Found]]) -> str:
    """Return JSON with one line per row of the table."""
    sets = []
    for name, rows in content.items():
        lines = [f"{json.dumps(row)}: {json.dumps(short(found))}" for row, found in rows.items()]
        sets.append(f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(sets) + "\n}\n"


def short(content: object) -> object:
    """Return the same with figures of four digits."""
    if isinstance(content, dict):
        return {key: short(value) for key, value in content.items()}
    if isinstance(content, list):
        return [short(value) for value in content]
    return float(f"{content:.4g}")


HEAD = (
    "set",
    "method",
    "ARI (worst)",
    "boundary F1",
    "wall ratio",
    "mean IoU",
    "stability",
    "ARI, every pixel",
    "F1 within 4 px",
    "fresh scans: ARI (worst)",
    "F1",
    "wall ratio",
    "varied scans: ARI (worst)",
    "s",
    "MB",
)


def table() -> str:
    """Return the table of all that was measured so far."""
    files = [load(file) for file in ("peers", "pyroved", "ours")]
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for name in SETS:
        for file in files:
            lines += [line(name, row, found) for row, found in file.get(name, {}).items()]
    return "\n".join(lines)


def line(name: str, row: str, found: Found) -> str:
    known, new = found.get("stored", []), found.get("fresh", [])
    stability = found.get("stability", float("nan"))
    either = known or new
    # A single phase has neither walls nor anything to agree with but its share.
    share = f"largest region {median(new, 'largest', '.3f')}" if name == "single" else None
    cells = [
        name,
        row,
        with_worst(known),
        *(median(known, key) for key in ("bf1", "wall", "miou")),
        "-" if np.isnan(stability) else f"{stability:.3f}",
        median(known, "ari_px", ".3f"),
        median(known, "bf1_4px"),
        share or with_worst(new),
        *(median(new, key) for key in ("bf1", "wall")),
        with_worst(found.get("varied", [])) if share is None else "-",
        median(either, "seconds", ".1f"),
        f"{max(r['memory'] for r in either):.0f}" if either else "-",
    ]
    return "| " + " | ".join(cells) + " |"


def median(records: list[Record], key: str, form: str = ".2f") -> str:
    values = [r[key] for r in records if key in r and np.isfinite(r[key])]
    return number(np.median(values), form) if values else "-"


def number(value: float, form: str) -> str:
    """Return a figure without the minus of a rounded zero."""
    text = format(float(value), form)
    return text.removeprefix("-") if float(text) == 0 else text


def with_worst(records: list[Record]) -> str:
    if not records:
        return "-"
    worst = min(r["ari"] for r in records)
    return median(records, "ari", ".3f") + (
        f" ({number(worst, '.3f')})" if len(records) > 1 else ""
    )


EXPLAINED = """\
Median of the seeds, worst in brackets, with the true number of regions given unless the row says
*regions auto*. ARI, boundary F1 (within 1.5 grid steps), ratio of the wall length to the true one
and mean IoU are those at the nodes of the grid; *every pixel*: at all pixels, for others those of
the nearest node. Ours have their walls refined before either. Stored scans: the synthetic suite
and a TEM image of a relaxor (scored inside of the polygons that its authors marked; length of all
walls in grid steps in place of the ratio); one map per seed. Fresh scans: simulated like them,
another one for every seed.
Varied scans: the same with a dose from a quarter to four times the usual one, drift, jittering
rows, more mistilt, not square. Seconds of one CPU thread; MB: the whole process at its peak,
libraries and scan included. *our descriptors*: without wall lengths, point by point. *oracle
spectra* knows the true mean spectra and looks at one pixel at a time. pyroVED: latent dimension 2,
25 epochs, windows (of the first channel) sampled at 12 x 12, one seed; *shvae-wide*: shift prior
0.5 in place of 0.1; *phyvae* has the loss released with phyVAE, its undefined w2 taken as 0.
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--pyroved", type=Path, metavar="PYTHON")
    parser.add_argument("--networks", nargs="+", help="only these of pyroVED")
    parser.add_argument("--ours", action="store_true")
    parser.add_argument("--methods", nargs="+", default=("fast", "vae"))
    parser.add_argument("--automatic", action="store_true", help="ours also with regions auto")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    for name in chosen.sets:
        for file, row, method, seeds in planned(chosen, name):
            # A network takes minutes per scan: one is enough to see what it finds.
            found = apart(method, name, seeds, simulated=file != "pyroved")
            keep(file, name, row, found)
            print(line(name, row, found), flush=True)
    text = f"{EXPLAINED}\n{table()}"
    print(text)
    if chosen.write:
        write("regions", "Region maps", text)


if __name__ == "__main__":
    main()
