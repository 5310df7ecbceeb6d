"""Parameters that make no sense, and equations that break down, are explained."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_physgen.backend import run
from napari_physgen.errors import UserError
from napari_physgen.synthesis import Microstructure, PhaseFieldSettings, simulate
from napari_physgen.synthesis.phase_field.batches import Batch, Box
from napari_physgen.synthesis.phase_field.materials import MATERIALS
from napari_physgen.synthesis.phase_field.models import GradientFlow
from napari_physgen.synthesis.phase_field.stepper import Model


def grown(material: str = "spinodal", **changes: object) -> Microstructure:
    values = {"material": material, "size": 48, "device": "cpu"}
    return run(simulate(PhaseFieldSettings.parse(values | changes)))


def test_equations_that_break_down_keep_the_last_good_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here they have no meaning once the contrast exceeds 0.1."""

    class Breaking(GradientFlow):
        def rate(self, spectrum: torch.Tensor) -> torch.Tensor:
            u = self.grid.inverse(spectrum)
            far = u.amax((1, 2, 3), keepdim=True) - u.amin((1, 2, 3), keepdim=True) > 0.1
            return torch.where(far, math.nan, super().rate(spectrum))

    sound = MATERIALS["spinodal"]

    def model(box: Box, batch: Batch, cooled: bool) -> Model:
        flow = sound.model(box, batch, cooled)
        assert isinstance(flow, GradientFlow)
        return Breaking(flow.grid, flow.bulk, flow.conserved, flow.mobility, flow.gradient_energy)

    monkeypatch.setitem(MATERIALS, "spinodal", replace(sound, model=model))
    result = grown(duration=100)
    assert "unstable" in result.summary
    assert "last good state was kept" in result.summary
    assert 0 < result.metrics["time"] < 100
    assert np.ptp(result.field) == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize(
    "changes",
    [
        {"mobility": 1000.0},
        {"elastic_strength": 50.0, "elastic_anisotropy": 10.0, "load": 1.0},
        {"gradient_energy": 1000.0},
        {"noise": 0.2, "tolerance": 0.1},
    ],
)
def test_extreme_parameters_give_finite_fields(changes: dict[str, object]) -> None:
    for material in ("spinodal", "precipitates"):
        result = grown(material, duration=1, **changes)
        assert np.isfinite(result.field).all()
        assert np.isfinite(result.energy).all()
        assert result.field.min() > -0.2
        assert result.field.max() < 1.3


def test_a_dissolved_microstructure_says_so() -> None:
    tiny = grown("precipitates", fraction=0.02, nuclei=8, nucleus_radius=1.0, duration=60)
    assert tiny.metrics["fraction"] == 0
    assert "All of it dissolved: raise the first radius or the fraction." in tiny.summary
    thin = grown(fraction=0.05, duration=60)
    assert thin.metrics["fraction"] == 0
    assert "Nothing separated" in thin.summary


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fraction": 0.0}, "Fraction (fraction): input should be greater than 0, got 0.0."),
        ({"fraction": 1.0}, "Fraction (fraction): input should be less than 1, got 1.0."),
        ({"fraction": 1.2}, "Fraction (fraction): input should be less than 1, got 1.2."),
        (
            {"gradient_energy": 0.5},
            "interface is only 2.2 cells wide, too coarse a grid: raise the gradient energy",
        ),
        (
            {"material": "precipitates", "fraction": 0.1, "nuclei": 60, "nucleus_radius": 4},
            "the particles at the start would fill 30 %",
        ),
        (
            {
                "material": "precipitates",
                "fraction": 0.9,
                "second_nuclei": 9.0,
                "second_fraction": 0.2,
            },
            "fraction and fine fraction together must stay below 1",
        ),
        ({"material": "dendrite", "depth": 8}, "dendrites grow in two dimensions only"),
        ({"temperature": 1.0}, "less than 1"),
        ({"mobility": -1.0}, "greater than 0"),
        ({"size": 8}, "greater than or equal to 32"),
    ],
)
def test_unphysical_settings_are_explained_in_one_sentence(
    values: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError) as error:
        PhaseFieldSettings.parse({"material": "spinodal"} | values)
    text = str(error.value)
    assert words.lower() in text.lower()
    assert "\n" not in text
    assert text.endswith(".")
    assert text[0].isupper()
