"""A measured OTF is understood in every form that people keep it in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_physgen.errors import UserError
from napari_physgen.physics.optics import Otf, frequencies, ideal_otf
from napari_physgen.sim import SimSettings
from napari_physgen.sim.detection import detection_otf

SETTINGS = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80)
SHAPE = (64, 64)
TRUE = Otf.ideal(1.4, 525, 0.4)


def plane(zoom: int = 1) -> np.ndarray:
    """The true OTF with zero frequency in the corner, for the raw grid or the result's."""
    return TRUE.on_grid((64 * zoom, 64 * zoom), 0.08 / zoom)


def psf(size: int) -> np.ndarray:
    """The true PSF in pixels of the result, its peak in the middle."""
    spectrum = TRUE.on_grid((256, 256), 0.04)
    image = np.fft.fftshift(np.fft.ifft2(spectrum).real)
    low = 128 - size // 2
    return image[low : low + size, low : low + size]


def error(otf: Otf | None) -> float:
    """Largest difference to the true OTF below its cutoff."""
    assert otf is not None
    k_y, k_x = frequencies((48, 48), 0.085)
    return float(np.abs(otf(k_y, k_x) - TRUE(k_y, k_x)).max())


def test_nothing_given_leaves_the_otf_to_be_fitted() -> None:
    assert detection_otf(SETTINGS, SHAPE) is None


def test_damping_of_the_settings_gives_the_damped_ideal_otf() -> None:
    settings = SETTINGS.model_copy(update={"otf_damping": 0.4})
    assert error(detection_otf(settings, SHAPE)) < 1e-12


def test_an_otf_is_taken_as_it_is() -> None:
    assert detection_otf(SETTINGS, SHAPE, TRUE) is TRUE


@pytest.mark.parametrize("zoom", [1, 2])
@pytest.mark.parametrize("place", ["corner", "middle"])
def test_a_plane_may_have_zero_frequency_in_the_corner_or_the_middle(zoom: int, place: str) -> None:
    values = plane(zoom)
    values = values if place == "corner" else np.fft.fftshift(values)
    assert error(detection_otf(SETTINGS, SHAPE, 7 * values)) < 0.03


@pytest.mark.parametrize(("size", "tails"), [(41, 0.08), (100, 0.04)])
def test_an_image_of_another_size_is_a_psf(size: int, tails: float) -> None:
    """Up to the tails that the image cuts off."""
    assert error(detection_otf(SETTINGS, SHAPE, psf(size))) < tails


def test_the_brightness_of_a_psf_does_not_matter() -> None:
    first, second = (detection_otf(SETTINGS, SHAPE, f * psf(41)) for f in (1, 1000))
    assert first is not None
    assert second is not None
    np.testing.assert_allclose(first(0.5, 1.5), second(0.5, 1.5))


def test_a_file_named_in_the_settings_is_read(tmp_path: Path) -> None:
    path = tmp_path / "psf.tif"
    tifffile.imwrite(path, psf(41).astype(np.float32))
    settings = SETTINGS.model_copy(update={"otf": path})
    assert error(detection_otf(settings, SHAPE)) < 0.08
    other = np.fft.fftshift(Otf.ideal(1.4, 525).on_grid(SHAPE, 0.08))
    assert error(detection_otf(settings, SHAPE, other)) > 0.1, "the argument goes first"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.ones(40), "frequency step"),
        (np.ones((3, 5, 5)), "2-D plane"),
        (np.full((21, 21), np.nan), "finite numbers"),
        (np.zeros((21, 21)), "not all 0"),
        (np.array([["a", "b"]]), "numbers"),
        (np.ones((21, 21), bool), "numbers"),
        (np.random.default_rng(0).random((64, 64)), "largest at zero frequency"),
    ],
    ids=["radial", "3-D", "NaN", "zeros", "text", "mask", "noise"],
)
def test_what_is_no_otf_is_refused_in_words(values: np.ndarray, says: str) -> None:
    with pytest.raises(UserError, match=says):
        detection_otf(SETTINGS, SHAPE, values)


def test_a_plane_for_frames_that_are_not_square_is_refused_in_words() -> None:
    with pytest.raises(UserError, match="square"):
        detection_otf(SETTINGS, (64, 80), np.ones((64, 80)))


def test_a_missing_file_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        detection_otf(SETTINGS, SHAPE, tmp_path / "absent.tif")


@pytest.mark.data
def test_a_measured_radial_otf_is_read_with_its_step(data: Path) -> None:
    """257 samples of 0.0312 1/um; a real OTF lies below the ideal one."""
    path = data / "sim/tirf_rdl_microtubules/TIRF488_cam1_0_z30_OTF2d.mrc"
    settings = SimSettings(na=1.41, wavelength_nm=525, pixel_size_nm=62.6)
    otf = detection_otf(settings, (128, 128), path)
    assert otf is not None
    assert otf.step == pytest.approx(0.0312, rel=0.01)
    k = np.linspace(0.5, 4.5, 30)
    assert otf(0, 0) == pytest.approx(1)
    assert (otf(0, k) < ideal_otf(k, settings.cutoff) + 0.02).all()
    assert otf(0, 2.0) > 0.1
    assert otf(0, settings.cutoff + 0.01) == 0
