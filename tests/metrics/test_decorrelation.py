"""Decorrelation analysis finds cutoffs that are known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_physgen.metrics.decorrelation import decorrelation
from napari_physgen.physics.optics import ideal_otf
from napari_physgen.sim.simulate import filaments, siemens_star

SIZE = 256
K = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE))
OBJECTS = {
    "speckle": lambda: np.random.default_rng(0).random((SIZE, SIZE)),
    "filaments": lambda: filaments((SIZE, SIZE), 3),
    "star": lambda: siemens_star((SIZE, SIZE)),
}


def passed(image: np.ndarray, transfer: np.ndarray, noise: float = 1e-3) -> np.ndarray:
    """Return an image through a transfer function, with white noise in units of its spread."""
    filtered = np.fft.ifft2(np.fft.fft2(image) * transfer).real
    white = np.random.default_rng(1).standard_normal(image.shape)
    return np.asarray(filtered + noise * filtered.std() * white)


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("cutoff", [0.15, 0.25, 0.35, 0.45])
def test_a_sharp_cutoff_is_found_to_two_percent(name: str, cutoff: float) -> None:
    image = passed(OBJECTS[name](), cutoff > K)
    assert 1 / decorrelation(image).resolution == pytest.approx(cutoff, rel=0.02)


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("cutoff", [0.2, 0.4])
def test_a_lens_is_found_below_its_cutoff_where_it_still_passes_something(
    name: str, cutoff: float
) -> None:
    """The OTF of a lens falls to zero: it passes 4-20 % of the contrast at 0.65-0.9 cutoffs."""
    found = 1 / decorrelation(passed(OBJECTS[name](), ideal_otf(K, cutoff))).resolution
    assert 0.65 * cutoff < found < 0.9 * cutoff


def test_more_noise_never_gives_finer_detail() -> None:
    transfer = ideal_otf(K, 0.35)
    found = [
        decorrelation(passed(OBJECTS["filaments"](), transfer, noise)).resolution
        for noise in (0.1, 0.3, 1.0)
    ]
    assert found == sorted(found)
    assert found[-1] > 1.3 * found[0]


def test_the_resolution_has_the_unit_of_the_pixel() -> None:
    image = passed(OBJECTS["speckle"](), K <= 0.25)
    coarse, fine = (decorrelation(image, size) for size in (1.0, 32.5))
    assert fine.resolution == pytest.approx(32.5 * coarse.resolution)
    np.testing.assert_allclose(fine.frequency * 32.5, coarse.frequency)


def test_brightness_and_offset_do_not_matter() -> None:
    image = passed(OBJECTS["filaments"](), K <= 0.3)
    assert decorrelation(50 * image + 1000).resolution == decorrelation(image).resolution


def test_white_noise_has_no_resolution() -> None:
    """Without a cutoff the curve only rises."""
    noise = np.random.default_rng(2).standard_normal((SIZE, SIZE))
    assert decorrelation(noise).resolution == float("inf")
