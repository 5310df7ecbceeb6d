"""Numbers that the method pages quote, read from the modules that use them."""

from __future__ import annotations

from importlib import import_module

NAMES = {
    "approach": "sim.variational:APPROACH",
    "certain": "sim._joint:CERTAIN",
    "channels": "sim.pinn:CHANNELS",
    "folds": "sim.pinn:FOLDS",
    "guard": "physics.noise:GUARD",
    "held_out": "sim.measurement:HELD_OUT",
    "helped": "sim._joint:HELPED",
    "knots": "sim.forward:KNOT_SPACING",
    "lf_greys": "synthesis._fidelity_features:GREYS",
    "lf_inverted": "synthesis._translate_checks:INVERTED",
    "lf_isolated": "synthesis.morphology:_ISOLATED",
    "lf_places": "synthesis._translate_games:_PLACES",
    "lf_restarts": "synthesis.translation:RESTARTS",
    "lf_spread": "segmentation.look_alike:_SPREAD",
    "lf_temperature": "synthesis._translate_losses:TEMPERATURE",
    "lf_tile": "segmentation.labour_free:_TILE",
    "lf_worst": "segmentation.labour_free:_WORST",
    "margin": "sim.reconstruct:MARGIN",
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
