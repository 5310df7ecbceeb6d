"""Settings of the renderer: what a scanning electron microscope adds to the measured look."""

from __future__ import annotations

from napari_physgen.settings import Settings, setting


class RenderSettings(Settings):
    """How far rendered images may stray from the measured look; 0 switches an effect off."""

    contrast: float = setting(
        0.4,
        title="Contrast",
        description="Contrast between the phases: factor between 1 / (1 + this) and 1 + this.",
        ge=0,
        le=4,
    )
    edge_brightness: float = setting(
        0.3,
        title="Edge brightness",
        description="Bright or dark rim along boundaries, added or taken away, up to this share "
        "of the contrast (secondary electrons leave edges more easily).",
        ge=0,
        le=3,
    )
    texture: float = setting(
        0.4,
        title="Texture",
        description="Strength of both phases' texture: factor between 1 / (1 + this) and 1 + this.",
        ge=0,
        le=4,
    )
    variation: float = setting(
        0.05,
        title="Particle variation",
        description="Grey level of single particles, standard deviation beyond the measured one, "
        "as a share of the contrast.",
        ge=0,
        le=2,
    )
    shading: float = setting(
        0.1,
        title="Shading",
        description="Slow change of brightness over the image, standard deviation up to this "
        "share of the grey range.",
        ge=0,
        le=1,
    )
    charging: float = setting(
        0.02,
        title="Charging",
        description="Brightness that differs from scan line to scan line and trails behind "
        "particles, up to this share of the grey range.",
        ge=0,
        le=1,
    )
    curtaining: float = setting(
        0.0,
        title="Curtaining",
        description="Vertical stripes of ion milling, up to this share of the grey range.",
        ge=0,
        le=1,
    )
    blur: float = setting(
        0.8, title="Blur", description="Largest sigma of the beam.", unit="px", ge=0, le=10
    )
    noise: float = setting(
        0.06,
        title="Noise",
        description="Shot noise of a medium grey, up to this share of the grey range.",
        ge=0,
        le=1,
    )
