"""The standard deviation: what goes into it, and how often it covers the true error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sim_sample import CAMERA, PATTERNS, SETTINGS, SIZE, expected, recorded, truth

from napari_physgen.backend import run
from napari_physgen.sim import Reconstruction, reconstruct
from napari_physgen.sim.uncertainty import BIAS, element, standard_deviation


def judged(photons: float, **changes: object) -> Reconstruction:
    settings = SETTINGS.model_copy(update={"uncertainty": True, **changes})
    raw = recorded(expected(photons)).reshape(9, SIZE, SIZE)
    return run(reconstruct(raw, settings, PATTERNS))


@pytest.fixture(scope="module")
def dim() -> Reconstruction:
    return judged(40)


def test_noise_of_leave_one_out_means_is_the_variance_of_the_mean() -> None:
    """Efron & Stein 1981: equal to s^2 / n for a mean of n independent values."""
    values = torch.randn(5, 6, 7, generator=torch.Generator().manual_seed(0))
    left_out = (values.sum(0) - values) / 4
    one, nothing = values.mean(0)[None], torch.zeros(6, 7)
    found = standard_deviation(one, left_out, nothing, blur=0)
    torch.testing.assert_close(found, (values.var(0) / 5).sqrt())
    members = torch.stack([values[0], values[1]])
    both = standard_deviation(members, left_out, nothing, blur=0)
    torch.testing.assert_close(both**2, found**2 + members.var(0) / 2)


def test_what_the_solve_takes_from_its_own_image_adds_to_the_noise() -> None:
    same = torch.ones(4, 9, 9)
    bias = torch.zeros(9, 9)
    bias[4, 4] = 2.0
    sharp = standard_deviation(same[:1], same, bias, blur=0)
    assert float(sharp[4, 4]) == pytest.approx(2 * BIAS)
    assert float(sharp.sum()) == pytest.approx(2 * BIAS)
    wide = standard_deviation(same[:1], same, bias, blur=1)
    assert float(wide.square().sum()) == pytest.approx(4 * BIAS**2, rel=0.01)


def test_a_resolution_element_is_half_the_finest_widefield_period() -> None:
    half = 0.25 * SETTINGS.wavelength_nm / SETTINGS.na
    assert element(SETTINGS) == pytest.approx(half / 2.355 / (SETTINGS.pixel_size_nm / 2))


def test_intervals_cover_the_truth_about_as_often_as_they_say(dim: Reconstruction) -> None:
    """95 % of the pixels of a filament sample within 1.96 standard deviations, +- 5 %."""
    assert dim.std is not None
    assert dim.stage == "variational"
    light = expected(40)
    scale = CAMERA.gain * float(light.mean()) / _mean_of_frames()
    inside = np.abs(dim.image - scale * truth()) < 1.96 * dim.std
    assert 0.88 < inside.mean() <= 1.0


def _mean_of_frames() -> float:
    """Return the mean of the frames that the truth gives per unit of light."""
    from sim_sample import physics

    microscope = physics(margin=24)
    with torch.no_grad():
        canvas = microscope.canvas
        return float(microscope(canvas.pad(torch.from_numpy(truth()), 2)).mean())


def test_without_being_asked_the_variational_image_has_no_standard_deviation() -> None:
    assert judged(40, uncertainty=False, iterations=10).std is None
