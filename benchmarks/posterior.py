"""How right posterior samples are where the posterior is known exactly.

python benchmarks/posterior.py [--rows mmps dps ...] [--problems 3] [--samples 1000] [--write]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from _page import write

from napari_physgen.errors import UserError
from napari_physgen.generative._posterior_exact import Calibration, Problem, ring_problems
from napari_physgen.generative.posterior import METHODS, levels, posterior
from napari_physgen.generative.samplers import integrate
from napari_physgen.generative.schedule import karras


@dataclass(frozen=True)
class Row:
    """A method with a sampler.

    `steps` from sigma 80 to 0.002, or from around the data on (`near`); eta > 0 takes ancestral
    steps in place of Heun's, a method's own rule takes precedence.
    """

    method: str
    steps: int
    eta: float = 0.0
    near: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        values = ", ".join(f"{key} = {value:g}" for key, value in self.options.items())
        return METHODS[self.method].title + (f", {values}" if values else "")

    @property
    def sampler(self) -> str:
        if self.method in ("dps", "mcg", "diffpir", "ddnm", "ddrm", "repaint"):
            return f"its own, {self.steps}"
        kind = f"ancestral, {self.steps}" if self.eta else f"Heun, {self.steps}"
        return kind + (" near the data" if self.near else "")


ROWS = (
    Row("mmps", 32),
    Row("mmps", 18),
    Row("mmps", 18, near=True),
    Row("mmps", 12, near=True),
    Row("mmps", 12, near=True, options={"tolerance": 0.03}),
    Row("mmps", 32, options={"iterations": 3}),
    Row("mmps", 100, eta=1.0),
    Row("direct", 32),
    Row("direct", 12, near=True),
    Row("pigdm", 100, eta=1.0),
    Row("pigdm", 100, eta=1.0, options={"spread": 1.0}),
    Row("pigdm", 32),
    Row("diffpir", 100),
    Row("diffpir", 100, options={"balance": 7.0}),
    Row("ddrm", 100),
    Row("ddnm", 100),
    Row("dps", 500, options={"zeta": 0.3}),
    Row("dps", 500, options={"zeta": 1.0}),
    Row("mcg", 500),
    Row("ald", 100, eta=1.0),
    Row("repaint", 100, options={"repeats": 1}),
    Row("repaint", 100),
)


@dataclass(frozen=True)
class Figures:
    """One run: calibration, evaluations of the denoiser, derivatives per evaluation."""

    calibration: Calibration
    evaluations: int
    derivatives: float


def measure(row: Row, problem: Problem, samples: int, seed: int) -> Figures:
    evaluations, solutions = [], []

    class Counted:
        noise = problem.prior.noise

        def __call__(self, x, sigma, cond=None):
            evaluations.append(sigma)
            return problem.prior(x, sigma, cond)

    options = dict(row.options)
    if row.method == "mmps":
        options["watch"] = lambda sigma, solution: solutions.append(solution.iterations)
    found = posterior(
        Counted(), problem.operator, problem.y, problem.variance, row.method, **options
    )
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(samples, 1, 64, generator=generator).double()
    sigmas = levels(row.steps, problem.noise) if row.near else karras(row.steps, 0.002, 80)
    x = found.start(noise, float(sigmas[0])) if row.near else float(sigmas[0]) * noise
    x = integrate(found.denoiser, x, sigmas, eta=row.eta, generator=generator, rule=found.rule)
    return Figures(
        Calibration.of(x, problem),
        len(evaluations),
        float(np.mean(solutions)) if solutions else float(METHODS[row.method].derivatives),
    )


def line(row: Row, problems: Iterable[dict[str, Problem]], samples: int) -> str:
    """Return the row of the table, figures averaged over the problems."""
    cells, work = [], []
    for name in ring_problems():
        try:
            found = [measure(row, p[name], samples, seed) for seed, p in enumerate(problems)]
        except UserError:
            cells.append("-")
            continue
        work += found
        figures = [(f.calibration.mean_error, f.calibration.std_ratio) for f in found]
        coverage = np.mean([f.calibration.coverage for f in found])
        error, ratio = np.mean(figures, axis=0)
        cells.append(f"{short(error)} / {short(ratio)} / {coverage:.2f}")
    cost = f"{work[0].evaluations} + {np.mean([f.evaluations * f.derivatives for f in work]):.0f}"
    title = f"**{row.title}**" if METHODS[row.method].calibrated else row.title
    return "| " + " | ".join((title, row.sampler, cost, *cells)) + " |"


def short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


HEAD = (
    "| method | sampler, levels | evaluations + derivatives | noise only | blur | 40 % missing "
    "| pixels x 4 |\n|---|---|---|---|---|---|---|"
)

EXPLAINED = """\
Samples from posteriors that are known exactly: a Gaussian prior on a ring of 64 pixels (standard
deviation 0.5, correlation length 4 px); data with noise alone (0.3), or with noise of 0.05 behind
a blur of 2 px, with 40 % of the pixels missing, or with pixels four times as large. In each cell:

- error of the samples' mean, rms in standard deviations of the posterior (0.02-0.04 is what
  the number of samples leaves),
- standard deviation of the samples over the exact one,
- how much of the posterior lies within mean +- 1.96 standard deviations (right: 0.95).

**Bold** methods are calibrated: only their spread is called uncertainty; that of the others is
what samples happen to differ by. A dash: the method cannot do this. Levels go from sigma 80 to
0.002 or, *near the data*, from 2.5 to a fifth of the noise and start around the first estimate.
Derivatives are those of the denoiser, each about as dear as one to two evaluations. Steps have an
error of their own: 18 levels from 80 widen samples by 7-10 %, 100 ancestral ones narrow them by as
much, with any method.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=METHODS, default=tuple(METHODS))
    parser.add_argument("--problems", type=int, default=3)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    problems = [ring_problems(seed) for seed in range(chosen.problems)]
    lines = [HEAD]
    print(HEAD)
    for row in ROWS:
        if row.method in chosen.rows:
            began = time.process_time()
            lines.append(line(row, problems, chosen.samples))
            print(lines[-1], f"{time.process_time() - began:.0f} s", flush=True)
    if chosen.write:
        write("posterior", "Posterior sampling", EXPLAINED + "\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
