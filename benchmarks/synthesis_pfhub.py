"""PFHub problems 1 and 2: free energies and times, beside the reference codes and a NumPy solver.

Writes the tables of docs/benchmarks.md. Problem 3 is in synthesis_dendrite.py.
"""

from __future__ import annotations

import argparse
import time

import _page
import numpy as np
import torch

from napari_physgen.backend import run
from napari_physgen.synthesis.phase_field.pfhub import (
    PROBLEMS,
    REFERENCES,
    Benchmark,
    pfhub,
    spinodal_start,
)

# Times that participants report with their uploads (https://pages.nist.gov/pfhub), s.
PUBLISHED = {
    "1a": "Marlin 30.9 (NVIDIA L4, steady state), FEniCS 388 (24 cores), MOOSE 1244 (8 cores), "
    "MEUMAPPS 2100 (1 core)",
    "1b": "hiperc CUDA 7388 (P100)",
    "1c": "-",
    "2a": "MOOSE 2507 (64 cores), FEniCS 5280 (24 cores), to the end",
}
PEER_UNTIL = 1000.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--write", action="store_true", help="fill in docs/benchmarks.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = {}
    for problem in options.problems:
        began = time.perf_counter()
        result = run(pfhub(problem, device=options.device))
        results[problem] = result, time.perf_counter() - began
        print(energies(result), flush=True)
    text = "\n\n".join(
        [summary(results), *(energies(result) for result, _ in results.values()), peer()]
    )
    print(text)
    if options.write:
        _page.write("pfhub", "PFHub", text)


def summary(results: dict[str, tuple[Benchmark, float]]) -> str:
    """Return one row per problem."""
    lines = [
        "| problem | to t | time steps | s | device | others, s |",
        "|---|---|---|---|---|---|",
    ]
    for problem, (result, seconds) in results.items():
        steps = result.metrics["time_steps"]
        lines.append(
            f"| {problem} {PROBLEMS[problem].title} | {result.time[-1]:g} | {steps:.0f} "
            f"| {seconds:.1f} | {result.device} | {PUBLISHED[problem]} |"
        )
    return "\n".join(lines)


def energies(result: Benchmark) -> str:
    """Return the free energies beside those of the reference."""
    source, reference = REFERENCES[result.problem]
    found = result.deviations()
    times = [t for t in reference if t in found]
    rows = [
        [f"{result.problem}, t =", *(f"{t:g}" for t in times)],
        ["---"] * (len(times) + 1),
        [source, *(f"{reference[t]:g}" for t in times)],
        ["ours", *(f"{result.at(t):.4g}" for t in times)],
        ["difference, %", *(f"{100 * found[t]:+.2f}" for t in times)],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def peer() -> str:
    """Return our time to t = 1000 beside that of a semi-implicit solver in NumPy.

    The peer is what is usually written: stabilised semi-implicit Euler, every step taken whole and
    in two halves for the error, Richardson's combination kept.
    """
    began = time.perf_counter()
    theirs, steps = numpy_solver(PEER_UNTIL)
    numpy_seconds = time.perf_counter() - began
    began = time.perf_counter()
    ours = run(pfhub("1a", until=PEER_UNTIL))
    seconds = time.perf_counter() - began
    reference = REFERENCES["1a"][1][PEER_UNTIL]
    return (
        f"| 1a to t = {PEER_UNTIL:g} | time steps | s | difference from MEUMAPPS, % |\n"
        "|---|---|---|---|\n"
        f"| NumPy, semi-implicit, step doubling | {steps} | {numpy_seconds:.1f} "
        f"| {100 * (theirs / reference - 1):+.2f} |\n"
        f"| ours | {ours.metrics['time_steps']:.0f} | {seconds:.1f} "
        f"({numpy_seconds / seconds:.1f} times faster) "
        f"| {100 * (ours.energy[-1] / reference - 1):+.2f} |"
    )


def numpy_solver(until: float, n: int = 200, tolerance: float = 2e-4) -> tuple[float, int]:
    """Run problem 1a with NumPy; return the free energy and the number of steps."""
    length = 200.0
    x = np.arange(n) * length / n
    k = 2 * np.pi * np.fft.fftfreq(n, length / n)
    half = 2 * np.pi * np.fft.rfftfreq(n, length / n)
    k2 = k[:, None] ** 2 + half**2
    c = spinodal_start(*np.meshgrid(x, x), 0.01).numpy()

    def step(c: np.ndarray, dt: float) -> np.ndarray:
        well = (c - 0.3) * (0.7 - c)
        drive = np.fft.rfft2(10 * well * (1 - 2 * c) - c)
        v = (np.fft.rfft2(c) - dt * 5 * k2 * drive) / (1 + dt * 5 * k2 * (1 + 2 * k2))
        return np.fft.irfft2(v, s=c.shape)

    t, dt, steps = 0.0, 1e-3, 0
    while t < until:
        dt = min(dt, until - t)
        whole, halves = step(c, dt), step(step(c, dt / 2), dt / 2)
        error = np.abs(whole - halves).max()
        if error <= tolerance:
            c, t, steps = 2 * halves - whole, t + dt, steps + 1
        dt *= min(2.0, max(0.2, 0.9 * (tolerance / max(error, 1e-15)) ** 0.5))
    v = np.fft.rfft2(c)
    gradient = sum(np.fft.irfft2(1j * q * v, s=c.shape) ** 2 for q in (k[:, None], half))
    density = 5 * ((c - 0.3) * (0.7 - c)) ** 2 + gradient
    return float(density.sum() * (length / n) ** 2), steps


if __name__ == "__main__":
    main()
