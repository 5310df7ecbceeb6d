"""Artefacts in the image: stripes of the pattern, negative halos, and noise by its own account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from napari_physgen.sim._report_check import Check, Scale, advised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.sim._report_check import Verdict
    from napari_physgen.sim.results import Patterns

    Real = NDArray[np.float64]
    Frames = NDArray[np.float32]

STRIPES = Scale(3, 6)
"""0.1 to 2.4 on right reconstructions of simulated samples with and without haze; 5 to 50 with
flicker of 3 % that is not in the patterns, and with phases 10 or more degrees off."""

EXTREMES = Scale(6, 3)
"""SIMcheck: below 3 inadequate, 3-6 low, 6-12 good, above 12 excellent."""

SPREAD = Scale(20, 50, "%")

DISC, RING = 1.6, (2.5, 6.0)
"""Radii of a spot and of its surroundings, DFT px."""

TAIL = 1e-4
"""Share of the brightest and darkest pixels that count as extremes (SIMcheck)."""


def spots(image: Frames, wavevectors: Real, pixel_um: float) -> Real:
    """Return the power in a spot at each wavevector over that around it (wave,).

    Compared is with the immediate surroundings, which have the same mean power whatever the
    directions of the sample's structure; a lattice in the sample counts only if it has exactly a
    pattern's period and direction.
    """
    window = np.outer(*(np.hanning(n) for n in image.shape))
    power = np.abs(scipy.fft.fft2((image - image.mean()) * window)) ** 2
    step = [1 / (n * pixel_um) for n in image.shape]
    k_y, k_x = (np.fft.fftfreq(n, pixel_um) for n in image.shape)
    found = []
    for q in wavevectors:
        distance = np.hypot((k_y[:, None] - q[0]) / step[0], (k_x - q[1]) / step[1])
        around = power[(distance > RING[0]) & (distance < RING[1])].mean()
        found.append(power[distance <= DISC].mean() / max(float(around), 1e-300))
    return np.array(found)


def stripes(image: Frames, patterns: Patterns, pixel_um: float, limit: float) -> Check:
    """Judge the energy at the patterns' wavevectors and at twice these, up to `limit` (1/um)."""
    first = patterns.waves.wavevectors.reshape(-1, 2)
    every = np.concatenate([first, 2 * first])
    inside = np.hypot(*every.T) < min(limit, 0.45 / pixel_um)
    ratios = np.where(inside, spots(image, every, pixel_um), 0.0)
    worst = int(ratios.argmax())
    value = float(ratios[worst])
    verdict = STRIPES.verdict(value)
    period = 1000 / float(np.hypot(*every[worst]))
    direction = float(np.degrees(np.arctan2(*every[worst])))
    where = "the pattern" if worst < len(first) else "half the pattern"
    words = f"At the frequencies of the patterns the image has {value:.1f} times the power around."
    if verdict != "good":
        words = (
            f"{words} There are stripes with the period of {where} ({period:.0f} nm, "
            f"{direction:.0f} degrees); from all angles together they look like a honeycomb."
        )
    return Check(
        "stripes",
        value,
        "",
        verdict,
        words,
        advised(
            verdict,
            "Stripes of the pattern come from a wrong brightness of frames, those of half the "
            "pattern from wrong phases: estimate the patterns again, and check flicker and "
            "saturation. Do not interpret detail of this period.",
        ),
        STRIPES.words,
        after=True,
    )


def extremes(image: Frames) -> Check:
    """Judge bright against negative values of the Wiener image (SIMcheck).

    Needs some background, whose most frequent value is the zero of the scale.
    """
    counts, edges = np.histogram(image, 256)
    mode = float(edges[counts.argmax()] + edges[counts.argmax() + 1]) / 2
    tail = max(1, round(TAIL * image.size))
    ordered = np.sort(image, axis=None)
    bright, dark = ordered[-tail:].mean() - mode, mode - ordered[:tail].mean()
    value = float(bright / max(float(dark), 1e-12))
    # Their scale is for 3-D stacks with much background and for their Wiener constant. It gives 2.4
    # for published simulated frames (Burns & Liu 2023) whose image is right: by itself it condemns
    # nothing.
    verdict: Verdict = "good" if EXTREMES.verdict(value) == "good" else "fair"
    return Check(
        "bright against negative",
        value,
        "",
        verdict,
        f"The brightest pixels of the Wiener image lie {value:.1f} times as far above the "
        "background as the darkest lie below.",
        advised(
            verdict,
            "Negative halos and noise are strong compared with the sample: more light, or a "
            "sparser sample; without empty background this figure says nothing.",
        ),
        "good from 6, else fair",
        after=True,
    )


def spread(image: Frames, std: Frames, sample: NDArray[np.bool_]) -> Check:
    """Judge the standard deviation image where the sample is."""
    value = 100 * float(np.median(std[sample] / np.maximum(image[sample], 1e-12)))
    verdict = SPREAD.verdict(value)
    return Check(
        "standard deviation",
        value,
        "%",
        verdict,
        f"In the sample the brightness of a pixel is uncertain by {value:.0f} % (median).",
        advised(
            verdict,
            "Do not compare single pixels; average over structures, or record more light.",
        ),
        SPREAD.words,
        after=True,
    )
