"""Starting points: materials that look like something a microscopist knows."""

from __future__ import annotations

from napari_physgen.synthesis.settings import PhaseFieldSettings as Sample

presets: dict[str, Sample] = {
    "gamma_prime": Sample(fraction=0.6, nuclei=60, elastic_strength=3.0, duration=300),
    "rafted": Sample(fraction=0.6, nuclei=60, elastic_strength=3.0, load=0.25, duration=500),
    "bimodal": Sample(
        fraction=0.45, nuclei=15, elastic_strength=2.0, second_nuclei=100, duration=300
    ),
    "ripening": Sample(fraction=0.2, nuclei=30, nucleus_radius=6, duration=500),
    "spinodal": Sample(material="spinodal", duration=300),
    "tweed": Sample(material="spinodal", elastic_strength=3.0, duration=300),
    "grains": Sample(material="grains", duration=200),
    "dendrite": Sample(material="dendrite", duration=100),
}
