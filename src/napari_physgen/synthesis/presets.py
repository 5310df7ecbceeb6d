"""Starting points: materials that look like something a microscopist knows."""

from __future__ import annotations

from napari_physgen.synthesis.settings import PhaseFieldSettings as Sample

presets: dict[str, Sample] = {
    "gamma_prime": Sample(fraction=0.6, nuclei=60, elastic_strength=1.5, duration=50),
    "rafted": Sample(fraction=0.6, nuclei=60, elastic_strength=1.5, load=-0.25, duration=60),
    "bimodal": Sample(
        fraction=0.42,
        nuclei=8,
        nucleus_radius=4,
        elastic_strength=0.8,
        second_nuclei=50,
        second_fraction=0.1,
        second_time=0.93,
        duration=60,
    ),
    "ripening": Sample(fraction=0.27, nuclei=25, nucleus_radius=4.5, duration=60),
    "spinodal": Sample(material="spinodal", duration=300),
    "tweed": Sample(material="spinodal", elastic_strength=0.5, orientation_deg=45, duration=120),
    "grains": Sample(material="grains", grains=150, duration=400),
    "dendrite": Sample(
        material="dendrite",
        undercooling=0.4,
        diffusivity=14,
        surface_anisotropy=0.06,
        duration=85,
    ),
}
