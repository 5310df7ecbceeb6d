"""Every material of the gallery, small and short."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from napari_physgen import synthesis
from napari_physgen.backend import run
from napari_physgen.synthesis import Microstructure, PhaseFieldSettings, presets

SHORT = {"spinodal": 60, "tweed": 60, "grains": 40, "dendrite": 25}


@cache
def grown(name: str) -> Microstructure:
    changes = {"size": 64, "duration": SHORT.get(name, 15), "device": "cpu"}
    if presets[name].material == "grains":
        changes["grains"] = 12
    settings = PhaseFieldSettings.parse(presets[name].model_dump() | changes)
    return run(synthesis.simulate(settings))


def test_gallery_has_the_promised_materials() -> None:
    promised = {"spinodal", "gamma_prime", "rafted", "ripening", "grains", "dendrite"}
    assert promised <= set(presets)


@pytest.mark.parametrize("name", presets)
def test_presets_are_valid_settings(name: str) -> None:
    """Parsed again, as a recipe or the command line does, they are the same."""
    assert PhaseFieldSettings.parse(presets[name].model_dump()) == presets[name]


@pytest.mark.parametrize("name", presets)
def test_presets_give_a_field_and_its_masks(name: str) -> None:
    result = grown(name)
    grains = presets[name].material == "grains"
    assert result.field.shape == result.labels.shape == (64, 64)
    assert result.field.dtype == np.float32
    assert result.labels.dtype == (np.uint32 if grains else np.uint8)
    assert np.isfinite(result.field).all()
    assert np.ptp(result.field) > 0.2
    assert len(np.unique(result.labels)) > 1
    assert result.metrics["time"] == result.settings.duration
    assert result.movie is None
    assert "unstable" not in result.summary
    assert (result.boundaries is not None) == grains


# A second generation brings energy in; in a melt that cools, entropy has the say instead.
@pytest.mark.parametrize("name", [n for n in presets if n not in ("bimodal", "dendrite")])
def test_free_energy_of_presets_never_rises(name: str) -> None:
    time, energy = grown(name).energy.T
    assert time[0] == 0
    assert (np.diff(time) >= 0).all()
    assert energy[-1] < energy[0]
    assert np.diff(energy).max() <= 1e-5 * energy[0]


@pytest.mark.parametrize("name", [n for n in presets if presets[n].material != "grains"])
def test_second_phase_is_where_the_field_is_high(name: str) -> None:
    result = grown(name)
    inside, outside = (result.field[result.labels > 0], result.field[result.labels == 0])
    assert inside.mean() - outside.mean() > 0.2
    assert result.metrics["fraction"] == pytest.approx(np.mean(result.labels > 0))


def test_grains_are_lighter_than_their_boundaries() -> None:
    result = grown("grains")
    assert result.boundaries is not None
    assert set(np.unique(result.boundaries)) == {0, 1}
    assert result.field[result.boundaries == 0].mean() > 0.95
    assert 0.05 < result.boundaries.mean() < 0.5
    # Every place where two grain numbers meet is on a boundary.
    meet = result.labels != np.roll(result.labels, -1, 1)
    assert result.boundaries[meet].mean() > 0.95
    assert set(np.unique(result.labels)) == set(range(1, int(result.labels.max()) + 1))
    assert result.metrics["grains"] == result.labels.max()


def test_rafts_lie_along_x_and_cuboids_along_both() -> None:
    def steepness(name: str) -> float:
        field = grown(name).field
        up, right = (np.square(np.diff(field, axis=axis)).mean() for axis in (0, 1))
        return float(up / right)

    assert steepness("rafted") > 1.4
    assert steepness("gamma_prime") == pytest.approx(1, abs=0.3)


def test_bimodal_microstructures_have_two_generations() -> None:
    result = grown("bimodal")
    assert set(np.unique(result.labels)) == {0, 1, 2}
