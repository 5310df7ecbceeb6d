"""Settings for training a network on many stacks."""

from __future__ import annotations

from typing import Literal

from napari_physgen.settings import setting
from napari_physgen.sim.settings import SimSettings


class SimTrainingSettings(SimSettings):
    """Microscope and stack layout, and how a network learns from the stacks."""

    start: Literal["model", "simulated", "nothing"] = setting(
        "model",
        title="Start from",
        description="model: a trained network, by default the one that comes with the program; "
        "simulated: learn first from simulated stacks; nothing: only from these stacks.",
    )
    learning_steps: int = setting(
        400,
        title="Steps",
        description="Training steps on these stacks.",
        ge=1,
        le=100_000,
    )
    simulations: int = setting(
        300,
        title="Simulated stacks",
        description="Simulated stacks to learn from first.",
        advanced=True,
        only={"start": ("simulated",)},
        ge=4,
        le=100_000,
    )
    simulation_steps: int = setting(
        3000,
        title="Steps on them",
        description="Training steps on simulated stacks.",
        advanced=True,
        only={"start": ("simulated",)},
        ge=1,
        le=1_000_000,
    )
