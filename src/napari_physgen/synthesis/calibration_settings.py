"""Settings of the calibration: what is known about the image and how much to try."""

from __future__ import annotations

from typing import Literal

from napari_physgen.settings import Settings, setting

Look = Literal["auto", "rounded", "bimodal", "cuboids", "rafts", "spinodal", "lamellae"]


class CalibrationSettings(Settings):
    """What is known about the image and how much to try."""

    look: Look = setting(
        "auto",
        title="Look",
        description="Family of structures to search; auto: those that the image's directions, "
        "sizes and fraction allow.",
    )
    particles: Literal["auto", "dark", "bright"] = setting(
        "auto",
        title="Particles",
        description="Grey level of the second phase where no labels are given; auto: the phase "
        "that hangs together less.",
    )
    labels_are: Literal["auto", "mask", "strokes"] = setting(
        "auto",
        title="Labels",
        description="mask: 0 matrix, all else particles; strokes: 0 unlabelled, 1 matrix, 2 "
        "particles; auto: strokes if all three values occur, else a mask.",
        advanced=True,
    )
    size: int = setting(
        160,
        title="Size",
        description="Cells along y and x of the simulations.",
        unit="cells",
        advanced=True,
        ge=96,
        le=1024,
    )
    trials: int = setting(
        12,
        title="Trials",
        description="Simulations that the search may run; each takes a few seconds.",
        ge=1,
        le=200,
    )
    seed: int = setting(0, title="Seed", description="Same seed, same result.", ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto", title="Device", description="Where to compute.", advanced=True
    )
