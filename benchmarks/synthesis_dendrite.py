"""Dendrites against PFHub benchmark 3 and the sharp-interface theory.

    python benchmarks/synthesis_dendrite.py                    everything (half an hour)
    python benchmarks/synthesis_dendrite.py --until 200        the first times only (two minutes)
    python benchmarks/synthesis_dendrite.py --curve bm3.csv    and benchmark 3 as a curve

Prints two tables and puts them into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import _page
import numpy as np
import torch
from torch import Tensor

from napari_physgen.synthesis.phase_field.dendrite import A1, A2, Dendrite
from napari_physgen.synthesis.phase_field.solidification import (
    Crystal,
    quarter_seed,
    solidification,
    tip_position,
)
from napari_physgen.synthesis.phase_field.spectral import NoFlux
from napari_physgen.synthesis.phase_field.stepper import Evolution

DATA = Path(__file__).parents[2] / "shared/data/pfhub"
TIMES = (100, 200, 500, 1000, 1500)
GREEN = 0.0170  # V d0 / D at undercooling 0.55, eps 0.05: Karma and Rappel 1998, table II
NOTE = """\
Tip position / solid fraction (1e-3) / free energy (1e6) at a time. AMPE is the usual reference, but
its published input (LLNL/AMPE, benchmarks/PFHub3) starts from a seed of 16 cells, 10.67 instead of
8, and gives phi one mobility for all directions instead of 1 / a^2: our second row does the same,
our third also has its cells of 2/3 and its second-order stencils, and so agrees with it to 2 %.
The second table holds the solver to the sharp-interface theory and to itself.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--until", type=float, default=TIMES[-1])
    parser.add_argument("--curve", type=Path, help="file for time, tip, fraction, energy")
    parser.add_argument("--page", type=Path, default=_page.PAGE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    times = [t for t in TIMES if t <= options.until]
    text = "\n".join([*benchmark_3(times, options.curve), "", *checks()])
    print(text)
    _page.write("synthesis-dendrite", "Dendrites", f"{NOTE}\n{text}", options.page)


def benchmark_3(times: list[int], curve: Path | None) -> Iterator[str]:
    yield f"| benchmark 3 | {' | '.join(f't = {t}' for t in times)} | minutes |"
    yield "|---" * (len(times) + 2) + "|"
    yield row("as stated", solidification(times), curve)
    ampe = {"radius": 32 / 3, "even": True}
    yield row("with AMPE's seed and mobility", solidification(times, **ampe))
    stencils = solidification(times, **ampe, spacing=2 / 3, kind=FiniteVolume)
    yield row("and AMPE's grid and stencils", stencils)
    for code in ("ampe", "memphis") if DATA.is_dir() else ():
        yield published(code, times)


class FiniteVolume(Dendrite):
    """The model by fluxes through cell faces, of second order, as AMPE has it; eps cos(4 theta)."""

    def rate(self, spectrum: Tensor) -> Tensor:
        phi, heat = self.grid.inverse(spectrum).unbind(1)
        wide = mirrored(phi)
        div = self.outflow(wide) + self.outflow(wide.mT).mT
        melt = 1 - phi.square()
        drive = (phi - self.coupling * (heat - self.undercooling) * melt) * melt
        wide = mirrored(heat)
        around = wide[:, 2:, 1:-1] + wide[:, :-2, 1:-1] + wide[:, 1:-1, 2:] + wide[:, 1:-1, :-2]
        flow = self.diffusivity * (around - 4 * heat) / self.grid.spacing**2
        dv = self.grid.forward(drive + div)
        return torch.stack([dv, dv / 2 + self.grid.forward(flow)], 1)

    def outflow(self, phi: Tensor) -> Tensor:
        """Return dj/dx; swapping the axes mirrors theta, which changes nothing."""
        along = (phi[:, 1:-1, 1:] - phi[:, 1:-1, :-1]) / self.grid.spacing
        across = (phi[:, 2:] - phi[:, :-2]) / (2 * self.grid.spacing)
        across = (across[..., 1:] + across[..., :-1]) / 2
        angle = 4 * torch.atan2(across, along)
        a = 1 + self.anisotropy * torch.cos(angle)
        j = a.square() * along + 4 * self.anisotropy * torch.sin(angle) * a * across
        return (j[..., 1:] - j[..., :-1]) / self.grid.spacing


def mirrored(u: Tensor) -> Tensor:
    """Return u (1, y, x) with one more cell around it, the same as the cell next to it."""
    return torch.nn.functional.pad(u[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]


def row(name: str, crystals: Iterator[Crystal], curve: Path | None = None) -> str:
    begin, cells = time.perf_counter(), []
    for crystal in crystals:
        minutes = (time.perf_counter() - begin) / 60
        cells.append(cell(crystal.tip, crystal.fraction, crystal.energy))
        print(f"{name}: t = {crystal.time}: {cells[-1]} ({minutes:.1f} min)", flush=True)
        if curve is not None:
            figures = (crystal.time, crystal.tip, crystal.fraction, crystal.energy)
            with curve.open("a") as file:
                file.write(",".join(f"{figure:.8g}" for figure in figures) + "\n")
    return f"| {name} | {' | '.join(cells)} | {minutes:.1f} |"


def published(code: str, times: list[int]) -> str:
    """Return the row of another code, interpolated in time."""
    dash = "_" if code == "ampe" else "-"
    curves = []
    for quantity in ("tip_position", "solid_fraction", "free_energy"):
        file = DATA / f"3a_{code}_{quantity.replace('_', dash)}.csv"
        curves.append(np.loadtxt(file, delimiter=",", skiprows=1).T)
    cells = [cell(*(float(np.interp(t, *curve)) for curve in curves)) for t in times]
    return f"| {code} (published) | {' | '.join(cells)} | - |"


def cell(tip: float, fraction: float, energy: float) -> str:
    return f"{tip:.2f} / {1e3 * fraction:.3f} / {1e-6 * energy:.4f}"


def checks() -> Iterator[str]:
    yield "| check | figure | expected |"
    yield "|---|---|---|"
    speed = steady_speed()
    yield f"| tip speed V d0 / D at undercooling 0.55, D = 2 | {speed:.4f} | {GREEN:.4f} |"
    base = tip_at(200)
    for name, options in (
        ("cells of 1.0", {"spacing": 1.0}),
        ("cells of 0.64", {"spacing": 0.64}),
        ("cells of 0.4", {"spacing": 0.4}),
        ("half the tolerance", {"tolerance": 5e-5}),
        ("a tenth of the tolerance", {"tolerance": 1e-5}),
    ):
        change = tip_at(200, **options) / base - 1
        yield f"| benchmark 3, tip at t = 200 with {name} | {100 * change:+.2f} % | 0 |"


def tip_at(moment: float, **options: float) -> float:
    (crystal,) = solidification([moment], **options)
    return crystal.tip


def steady_speed() -> float:
    """Return V d0 / D once the tip has become steady and before it sees the far edge."""
    grid, diffusivity = NoFlux((320, 320), 0.8), 2.0
    model = Dendrite(grid, 0.55, diffusivity, 0.05)
    evolution = Evolution(model, quarter_seed(grid, 8.0), 1e-4)
    tips = []
    for moment in (1050.0, 1200.0):
        while float(evolution.time) < moment:
            evolution.advance(20, moment)
        tips.append(tip_position(evolution.fields[0, 0], grid.spacing))
    d0 = A1 * A2 / diffusivity
    return (tips[1] - tips[0]) / 150.0 * d0 / diffusivity


if __name__ == "__main__":
    main()
