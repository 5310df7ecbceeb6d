"""The OTF against closed forms, and measured OTFs against what they were measured from."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from napari_physgen.errors import UserError
from napari_physgen.physics.optics import Otf, frequencies, ideal_otf


def test_ideal_otf_is_the_autocorrelation_of_a_round_pupil() -> None:
    """Goodman, Introduction to Fourier Optics, section 6.3."""
    size, radius = 512, 100
    y, x = np.mgrid[:size, :size] - size // 2
    pupil = (np.hypot(y, x) <= radius).astype(float)
    overlap = scipy.fft.ifft2(np.abs(scipy.fft.fft2(pupil)) ** 2).real
    lags = np.arange(0, 2 * radius, 10)
    expected = overlap[0, lags] / overlap[0, 0]
    assert ideal_otf(lags, 2 * radius) == pytest.approx(expected, abs=4e-3)


def test_ideal_otf_takes_its_known_values() -> None:
    """1 at zero frequency, 0.391 at half the cutoff, 0 from the cutoff on."""
    values = ideal_otf([0, 0.5, 1, 1.7], 1.0)
    assert values == pytest.approx([1, 2 / 3 - np.sqrt(3) / (2 * np.pi), 0, 0], abs=1e-12)


def test_cutoff_is_two_na_over_wavelength() -> None:
    otf = Otf.ideal(na=1.4, wavelength_nm=560)
    assert otf.cutoff == pytest.approx(5.0)
    assert otf(4.99, 0) > 0
    assert otf(3.0, 4.01) == 0


def test_damping_is_the_ratio_to_the_ideal_at_the_cutoff() -> None:
    ideal, damped = Otf(5.0), Otf(5.0, damping=0.25)
    k = np.array([0, 2.5, 4.999])
    assert damped(k, 0) / ideal(k, 0) == pytest.approx([1, 0.5, 0.25], rel=1e-3)


def test_real_fft_grid_is_half_of_the_full_grid() -> None:
    otf = Otf(5.0, 0.3)
    full = otf.on_grid((64, 96), 0.065)
    assert np.array_equal(otf.on_grid((64, 96), 0.065, real=True), full[:, : 96 // 2 + 1])
    assert full[0, 0] == 1


def test_measured_profile_and_plane_reproduce_the_otf_they_sample() -> None:
    truth = Otf(5.0, 0.3)
    step = 0.05
    radial = Otf.measured(7 * truth(np.arange(120) * step, 0), step, 5.0)
    axis = (np.arange(240) - 120) * step
    plane = Otf.measured(3j * truth(axis[:, None], axis), step, 5.0)
    k_y, k_x = frequencies((40, 50), 0.09)
    expected = truth(k_y, k_x)
    assert radial(k_y, k_x) == pytest.approx(expected, abs=2e-3)
    assert plane(k_y, k_x) == pytest.approx(expected, abs=2e-3)


def test_otf_of_a_shifted_psf_is_that_of_the_lens() -> None:
    truth = Otf(5.0, 0.5)
    psf = scipy.fft.ifft2(truth.on_grid((128, 128), 0.05)).real
    shifted = np.roll(psf, (60, 63), (0, 1))
    otf = Otf.from_psf(shifted, 0.05, 5.0)
    k = np.linspace(0, 4.9, 30)
    assert otf(k, 0) == pytest.approx(truth(k, 0), abs=0.02)
    assert otf(0, k) == pytest.approx(truth(0, k), abs=0.02)


@pytest.mark.parametrize(
    "values",
    [np.ones((3, 4, 5)), np.array([0.1, 1.0, 2.0, 0.0]), np.array([1.0, np.nan, 0.5, 0.0])],
    ids=["3-D", "not largest at zero", "NaN"],
)
def test_what_is_no_otf_is_refused_in_one_sentence(values: np.ndarray) -> None:
    with pytest.raises(UserError, match="OTF must"):
        Otf.measured(values, 0.03, 5.0)
