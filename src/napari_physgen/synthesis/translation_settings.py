"""Settings of the translation from simulated to realistic micrographs."""

from __future__ import annotations

from typing import Literal

from napari_physgen.settings import Settings, setting

Method = Literal["cyclegan", "cut", "fastcut"]

_CYCLE = {"method": ("cyclegan",)}
_CONTRASTIVE = {"method": ("cut", "fastcut")}


class TranslationSettings(Settings):
    """How simulated images learn to look like the real ones."""

    method: Method = setting(
        "cyclegan",
        title="Method",
        description="cyclegan: forth and back, safest; cut, fastcut: one direction, faster.",
    )
    steps: int = setting(
        1500,
        title="Steps",
        description="Training steps; the learning rate falls over the second half.",
        ge=1,
        le=200_000,
    )
    crop: int = setting(
        96,
        title="Crop",
        description="Side of the squares cut from the images; a few particles should fit in.",
        unit="px",
        ge=32,
        le=1024,
        multiple_of=4,
    )
    batch: int = setting(
        4, title="Batch", description="Squares of each kind per step.", advanced=True, ge=1, le=256
    )
    features: int = setting(
        16,
        title="Features",
        description="Width of the translating network; more draws finer texture, slower.",
        advanced=True,
        ge=4,
        le=256,
    )
    blocks: int = setting(
        5,
        title="Blocks",
        description="Depth of the translating network.",
        advanced=True,
        ge=1,
        le=16,
    )
    norm: Literal["pixel", "batch", "instance"] = setting(
        "pixel",
        title="Normalisation",
        description="pixel: large images can be translated in tiles; instance: as published, "
        "whole images only.",
        advanced=True,
    )
    skip: bool = setting(
        True,
        title="Correct the image",
        description="Start from the simulated image and correct it, instead of drawing anew.",
        advanced=True,
    )
    use_masks: bool = setting(
        True,
        title="Show the masks",
        description="Whether the network sees the mask beside the simulated image.",
        advanced=True,
    )
    noise: float = setting(
        1.0,
        title="Noise",
        description="Random input, so that one mask gives many images; 0: always the same one.",
        advanced=True,
        ge=0,
        le=10,
    )
    learning_rate: float = setting(
        2e-4, title="Learning rate", description="Of Adam.", advanced=True, gt=0, le=0.1
    )
    cycle: float = setting(
        1.0,
        title="Cycle",
        description="Weight of coming back to the same image after forth and back.",
        advanced=True,
        only=_CYCLE,
        ge=0,
    )
    identity: float = setting(
        0.5,
        title="Identity",
        description="Weight of leaving real images as they are.",
        advanced=True,
        only=_CYCLE,
        ge=0,
    )
    contrast: float = setting(
        0.2,
        title="Correspondence",
        description="Weight of patches that must stay recognisable.",
        advanced=True,
        only=_CONTRASTIVE,
        ge=0,
    )
    consistency: float = setting(
        1.0,
        title="Keep the masks",
        description="Weight of getting the mask back from the translated image.",
        advanced=True,
        ge=0,
    )
    warm_up: float = setting(
        0.3,
        title="Warm-up",
        description="Share of the steps over which the weights of what holds the images back grow; "
        "without, they may not change at all.",
        advanced=True,
        ge=0,
        le=1,
    )
    pool: int = setting(
        50,
        title="Image pool",
        description="Earlier translations that the judging network is reminded of; 0: none.",
        advanced=True,
        ge=0,
        le=10_000,
    )
    patch: Literal["16", "34", "70"] = setting(
        "70",
        title="Patch",
        description="What the judging network sees at once, px.",
        unit="px",
        advanced=True,
    )
    judge_features: int = setting(
        32,
        title="Features of the judge",
        description="Width of the judging network.",
        advanced=True,
        ge=4,
        le=256,
    )
    average: float = setting(
        0.99,
        title="Averaging",
        description="Decay of the running average of the weights; 0: the last weights.",
        advanced=True,
        ge=0,
        lt=1,
    )
    seed: int = setting(0, title="Seed", description="Same seed, same result.", ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = setting(
        "auto", title="Device", description="Where to compute.", advanced=True
    )
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = setting(
        "auto", title="Precision", description="Number format of the networks.", advanced=True
    )


_PUBLISHED = {
    "norm": "instance",
    "skip": False,
    "use_masks": False,
    "noise": 0.0,
    "consistency": 0.0,
    "judge_features": 64,
    "average": 0.0,
    "warm_up": 0.0,
    "cycle": 10.0,
    "identity": 5.0,
    "batch": 1,
    "features": 64,
    "blocks": 9,
    "crop": 256,
    "steps": 20_000,
    "precision": "32-true",
}

translation_presets: dict[str, TranslationSettings] = {
    "cpu": TranslationSettings(),
    "gpu": TranslationSettings(features=64, blocks=9, crop=256, judge_features=64, steps=10_000),
    "fastcut": TranslationSettings(method="fastcut", pool=0),
    "cut": TranslationSettings(method="cut", pool=0),
    "paper": TranslationSettings.parse(dict(_PUBLISHED)),
}
"""Starting points; "paper" is the published CycleGAN (Zhu et al., ICCV 2017)."""
