"""Settings of the fidelity report: how the images are cut into patches that are compared."""

from __future__ import annotations

from napari_physgen.settings import Settings, setting


class FidelitySettings(Settings):
    """How the images are cut into patches that are compared."""

    patch: int = setting(
        128,
        title="Patch",
        description="Edge of the square patches that are compared; every image must be as large.",
        unit="px",
        ge=32,
        le=512,
    )
    patches: int = setting(
        160,
        title="Patches",
        description="Most patches of each set, spread evenly over its images; all sets get the "
        "same number.",
        ge=8,
        le=1000,
    )
    perplexity: float = setting(
        30.0,
        title="Perplexity",
        description="Number of neighbours that the map of the patches (t-SNE) keeps together; "
        "fewer where there are not that many patches.",
        advanced=True,
        ge=2,
        le=100,
    )
    seed: int = setting(0, title="Seed", description="Same seed, same report.", ge=0)
