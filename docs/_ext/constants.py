"""Numbers that the method pages quote, read from the modules that use them."""

from __future__ import annotations

from importlib import import_module

NAMES = {
    "approach": "sim.variational:APPROACH",
    "certain": "sim._joint:CERTAIN",
    "channels": "sim.pinn:CHANNELS",
    "fewest_speckle": "sim.illumination:FEWEST",
    "folds": "sim.pinn:FOLDS",
    "gn_direct": "generative.lessons:DIRECT",
    "gn_dropped": "generative.lessons:DROPPED",
    "gn_epsilon": "generative.consistency:EPSILON",
    "gn_first": "generative.solve:_FIRST",
    "gn_held": "generative.images:HELD_OUT",
    "gn_largest": "generative.noise:LARGEST",
    "gn_levels": "generative.anomalies:LEVELS",
    "gn_pixel": "generative._restore_checks:PIXEL",
    "gn_reach": "generative.conditions:REACH",
    "gn_samples": "generative.restore:_SAMPLES",
    "gn_strengths": "generative.lessons:STRENGTHS",
    "gn_weight": "generative.losses:VARIANCE",
    "guard": "physics.noise:GUARD",
    "harmonics": "sim.saturation:HARMONICS",
    "held_out": "sim.measurement:HELD_OUT",
    "helped": "sim._joint:HELPED",
    "knots": "sim.forward:KNOT_SPACING",
    "learn_crop": "sim.train_model:CROP",
    "linear_after": "sim.amortised:AFTER",
    "lf_greys": "synthesis._fidelity_features:GREYS",
    "lf_inverted": "synthesis._translate_checks:INVERTED",
    "lf_isolated": "synthesis.morphology:_ISOLATED",
    "lf_places": "synthesis._translate_games:_PLACES",
    "lf_restarts": "synthesis.translation:RESTARTS",
    "lf_spread": "segmentation.look_alike:_SPREAD",
    "lf_temperature": "synthesis._translate_losses:TEMPERATURE",
    "lf_tile": "segmentation.labour_free:_TILE",
    "lf_worst": "segmentation.labour_free:_WORST",
    "margin": "sim.case:MARGIN",
    "notch": "sim._bands:NOTCH",
    "notch_strength": "sim.wiener:NOTCH_STRENGTH",
    "paper_channels": "sim.paper:CHANNELS",
    "paper_steps": "sim.paper:STEPS",
    "pf_barrier": "synthesis.settings:SPINODAL_BARRIER",
    "pf_boundary": "synthesis.phase_field.polycrystals:BOUNDARY",
    "pf_c12": "synthesis.phase_field.elasticity:C12",
    "pf_cell": "synthesis.phase_field.dendrite:CELL",
    "pf_disorder": "synthesis.phase_field.dendrite:DISORDER",
    "pf_disorder_length": "synthesis.phase_field.dendrite:DISORDER_LENGTH",
    "pf_drive": "synthesis.phase_field.mixtures:DRIVE",
    "pf_fewest": "synthesis.settings:FEWEST_CELLS",
    "pf_high": "synthesis.phase_field.mixtures:HIGH",
    "pf_low": "synthesis.phase_field.mixtures:LOW",
    "pf_relaxation": "synthesis.phase_field.mixtures:RELAXATION",
    "pf_repulsion": "synthesis.phase_field.mixtures:REPULSION",
    "pf_soft": "synthesis.phase_field.initial:SOFT",
    "pf_w": "synthesis.settings:PRECIPITATE_BARRIER",
    "pf_zener": "synthesis.phase_field.elasticity:USUAL_ZENER",
    "polish": "sim.variational:POLISH",
    "probe": "sim.variational:PROBE",
    "refine": "sim.variational:REFINE",
    "refit": "sim.pinn:REFIT",
    "rg_alike": "regions.choose:_LEAST_JUMP",
    "rg_band": "regions.refine:_BAND",
    "rg_bispectra": "regions.lattice:_TRIADS",
    "rg_classic_crop": "regions._classic_training:_CROP",
    "rg_coarse": "regions._coarse:_COARSE_NODES",
    "rg_components": "regions.describe:_COMPONENTS",
    "rg_costs": "regions.choose:WALL_COSTS",
    "rg_crop": "regions._vae_training:_CROP",
    "rg_deep": "regions._interfaces:_DEEP",
    "rg_dilations": "networks.dense_vae:DILATIONS",
    "rg_explained": "regions.refine:_EXPLAINED",
    "rg_far": "regions._interfaces:_FAR",
    "rg_flat": "regions.lattice:_FLAT",
    "rg_floor": "regions._vae_judge:_FLOOR",
    "rg_hann": "regions._fourier:HANN",
    "rg_independent": "regions.lattice:_INDEPENDENT",
    "rg_joined": "regions.describe:_CHANNELS",
    "rg_junction": "regions.boundaries:SAME_JUNCTION",
    "rg_kept": "regions.lattice:_KEPT",
    "rg_margin": "regions.choose:_MARGIN",
    "rg_mixed": "regions.refine:_MIXED",
    "rg_more": "regions.mixture:_MORE",
    "rg_near": "regions._interfaces:_NEAR",
    "rg_noise": "regions._perturb:_NOISE",
    "rg_pattern": "regions.describe:_PATTERN",
    "rg_per_pixel": "regions.refine:_PER_PIXEL",
    "rg_prior": "regions._likelihood:_PRIOR_NODES",
    "rg_radius": "regions._patterns:_RADIUS",
    "rg_repeats": "regions.choose:_REPEATS",
    "rg_shallow": "regions._interfaces:_SHALLOW",
    "rg_single": "regions.describe:_SINGLE",
    "rg_smoothing": "regions.boundaries:SMOOTHING",
    "rg_spectrum": "regions.scan:_SPECTRUM",
    "rg_spots": "regions.lattice:_SPOTS",
    "rg_ratio": "regions.choose:_LEAST_RATIO",
    "rg_steps": "regions.choose:_LEAST_STEPS",
    "rg_thinned": "regions._perturb:_KEPT",
    "rg_turned": "regions.lattice:_TURNED",
    "rg_usual": "regions.choose:USUAL",
    "rg_whole": "regions._vae_training:_WHOLE",
    "rg_window": "regions.lattice:WINDOW",
    "rg_windows": "regions.choose:_LEAST_WINDOWS",
    "seg_average": "segmentation.learning:_EMA",
    "seg_boundary": "segmentation.pairs:_BOUNDARY",
    "seg_bright": "segmentation.prepare:BRIGHT",
    "seg_confident": "segmentation.adapt:_CONFIDENT",
    "seg_dark": "segmentation.prepare:DARK",
    "seg_levels": "segmentation.model:LEVELS",
    "seg_smoothing": "segmentation.learning:_SMOOTHING",
    "seg_teacher": "segmentation.adapt:_TEACHER",
    "seg_tolerance": "metrics.segmentation:TOLERANCE_SHARE",
    "smoother": "sim.variational:SMOOTHER",
    "steps": "sim.pinn:STEPS",
    "typical": "sim.variational:TYPICAL",
}


def constants() -> dict[str, str]:
    """Return them as text, by the name that stands in double braces on the page."""
    from napari_physgen.sim.settings import SimSettings

    values = {name: _read(place) for name, place in NAMES.items()}
    values["held_out"] = f"{float(values['held_out']):.0%}"
    values["pf_gap"] = f"{2 * float(values.pop('pf_soft')):g}"
    return values | {"members": str(SimSettings.model_fields["members"].default)}


def _read(place: str) -> str:
    # import_module, not attributes: sim.reconstruct is also the name of the job.
    module, _, name = place.partition(":")
    value = getattr(import_module(f"napari_physgen.{module}"), name)
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return f"{value:g}"
