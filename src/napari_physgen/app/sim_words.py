"""What the SIM panel says: the words of its choices and its longer tooltips."""

from __future__ import annotations

CHOICES: dict[str, dict[str, str]] = {
    "pattern": {
        "stripes": "Stripes",
        "three-beam": "Stripes of three beams (two orders)",
        "hexagonal": "Hexagonal lattice",
        "saturated": "Saturated stripes (nonlinear)",
        "given": "Known light (a layer or a file)",
        "speckle": "Unknown speckle (experimental)",
    },
    "order": {
        "auto": "find out",
        "angle-phase": "angle slowest",
        "phase-angle": "phase slowest",
        "angle-z-phase": "angle, z, phase (OMX)",
        "phase-z-angle": "phase, z, angle",
        "angle-phase-z": "angle, phase, z",
        "phase-angle-z": "phase, angle, z (Elyra)",
        "widefield-angle-phase": "widefield first, angle slowest",
        "widefield-phase-angle": "widefield first, phase slowest",
        "angle-phase-widefield": "widefield last, angle slowest",
        "phase-angle-widefield": "widefield last, phase slowest",
        "montage-angle-phase": "side by side, a row per angle",
        "montage-phase-angle": "side by side, a row per phase",
    },
    "method": {
        "pinn": "Variational + network",
        "variational": "Variational, without network",
        "trained": "Trained (best in low light)",
        "wiener": "Wiener (instant)",
        "paper": "Network of Burns & Liu 2023",
    },
    "start": {
        "model": "the network above",
        "simulated": "simulated stacks",
        "nothing": "nothing",
    },
}

USUAL = {
    "stripes": (3, 3),
    "three-beam": (3, 5),
    "hexagonal": (1, 7),
    "saturated": (5, 5),
}
"""Angles and phases of each kind of light where the layer does not tell."""

PEAKS = (
    "<p>Peaks: how far the pattern of each angle stands out from the background in the "
    "spectrum. From 5 on it is safe.</p>"
)
MISFIT = (
    "<p>How far the image is from explaining camera pixels that it was not fitted to, "
    "in units of their noise: 1 is as good as it gets.</p>"
)
OUTDATED = "input or settings changed since: Estimate again, or Run will do it"
NOTHING = {
    "given": "known light: there is nothing to estimate",
    "speckle": "unknown speckle is found together with the image: press Run",
}
"""What Estimate says of light that is not estimated."""
