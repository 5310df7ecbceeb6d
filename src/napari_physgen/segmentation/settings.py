"""Settings of the segmentation network and of the whole labour-free workflow."""

from __future__ import annotations

from typing import Literal

from napari_physgen.settings import Settings, setting
from napari_physgen.synthesis.calibration_settings import Look

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
Classes = Literal["particles", "large and fine"]
Translation = Literal["none", "cyclegan", "fastcut"]

CLASS_NAMES: dict[Classes, tuple[str, ...]] = {
    "particles": ("matrix", "particles"),
    "large and fine": ("matrix", "large particles", "fine particles"),
}


class SegmentationSettings(Settings):
    """How the network is trained."""

    features: int = setting(
        16,
        title="Features",
        description="Features of the finest level; each coarser level has twice as many, up to "
        "eight times.",
        advanced=True,
        ge=4,
        le=128,
    )
    steps: int = setting(
        1500,
        title="Training steps",
        description="Batches of synthetic crops.",
        ge=1,
        le=100_000,
    )
    crop: int = setting(
        160,
        title="Crop",
        description="Size of the training crops.",
        unit="px",
        advanced=True,
        ge=32,
        le=1024,
    )
    batch: int = setting(
        8, title="Batch", description="Crops per step.", advanced=True, ge=1, le=256
    )
    learning_rate: float = setting(
        3e-3,
        title="Learning rate",
        description="Largest step of the optimiser (one cycle).",
        advanced=True,
        gt=0,
        le=0.1,
    )
    boundary_weight: float = setting(
        2.0,
        title="Boundary weight",
        description="How much more pixels at boundaries count.",
        advanced=True,
        ge=0,
        le=20,
    )
    augmentation: float = setting(
        1.0,
        title="Augmentation",
        description="Strength of the random changes of brightness, contrast, blur and noise.",
        advanced=True,
        ge=0,
        le=3,
    )
    self_training: int = setting(
        0,
        title="Self-training steps",
        description="Further steps on the user's own images without labels: a slowly following "
        "copy of the network labels them (mean teacher); 0: none.",
        ge=0,
        le=100_000,
    )
    volumes: bool = setting(
        False,
        title="Volumes",
        description="Work on volumes (z, y, x) instead of planes.",
        advanced=True,
    )
    seed: int = setting(0, title="Seed", description="Same seed, same result.", ge=0)
    device: Device = setting("auto", title="Device", description="Where to compute.", advanced=True)
    precision: Precision = setting(
        "auto", title="Precision", description="Number format of the network.", advanced=True
    )


class LabourFreeSettings(Settings):
    """From unlabelled micrographs to a model that labels them."""

    classes: Classes = setting(
        "particles",
        title="Find",
        description="particles: one class; large and fine: fine particles between large ones are "
        "a class of their own.",
    )
    particles: Literal["auto", "dark", "bright"] = setting(
        "auto",
        title="Particles are",
        description="Grey level of the particles; auto: the phase that hangs together less.",
    )
    look: Look = setting(
        "auto",
        title="Look",
        description="Family of structures to simulate; auto: what the images allow.",
    )
    translation: Translation = setting(
        "none",
        title="Translation",
        description="What makes rendered look-alikes look even more real: a CycleGAN, the faster "
        "one-sided FastCUT, or none (minutes instead of an hour).",
    )
    simulations: int = setting(
        12,
        title="Simulations",
        description="Phase-field simulations to cut masks from.",
        ge=2,
        le=1000,
    )
    trials: int = setting(
        12,
        title="Trials",
        description="Simulations that the match to the images may try.",
        advanced=True,
        ge=1,
        le=200,
    )
    pictures: int = setting(
        48,
        title="Pictures",
        description="Rendered look-alikes to train on.",
        advanced=True,
        ge=4,
        le=5000,
    )
    translation_steps: int = setting(
        800,
        title="Translation steps",
        description="Training steps of the translation.",
        ge=1,
        le=200_000,
    )
    training_steps: int = setting(
        1500,
        title="Training steps",
        description="Training steps of the segmentation.",
        ge=1,
        le=100_000,
    )
    self_training: int = setting(
        200,
        title="Self-training steps",
        description="Further steps on your own images without labels; 0: none.",
        ge=0,
        le=100_000,
    )
    seed: int = setting(0, title="Seed", description="Same seed, same result.", ge=0)
    device: Device = setting("auto", title="Device", description="Where to compute.", advanced=True)
    precision: Precision = setting(
        "auto", title="Precision", description="Number format of the networks.", advanced=True
    )


labour_free_presets: dict[str, LabourFreeSettings] = {
    "quick": LabourFreeSettings(training_steps=500),
    "standard": LabourFreeSettings(),
    "translated": LabourFreeSettings(translation="cyclegan"),
}


class PredictSettings(Settings):
    """How a model is applied."""

    model: str = setting(
        "", title="Model", description="File of the model (.safetensors).", advanced=True
    )
    flips: bool = setting(
        True,
        title="Average over flips",
        description="Look at the image in eight orientations: better, eight times slower, and "
        "their disagreement is the uncertainty.",
    )
    particles: bool = setting(
        False,
        title="Separate particles",
        description="Number the particles one by one and measure them.",
    )
    smallest: int = setting(
        0,
        title="Smallest particle",
        description="Smaller ones become matrix.",
        unit="px",
        advanced=True,
        ge=0,
        le=1_000_000,
    )
    tile: int = setting(
        1024,
        title="Tile",
        description="Largest piece that is worked on at once; the result is the same.",
        unit="px",
        advanced=True,
        ge=256,
        le=16384,
    )
    device: Device = setting("auto", title="Device", description="Where to compute.", advanced=True)
    precision: Precision = setting(
        "32-true",
        title="Precision",
        description="Number format of the network; auto is faster on some computers, and rounds: "
        "probabilities in tiles then differ from those of the whole by up to 0.01.",
        advanced=True,
    )
