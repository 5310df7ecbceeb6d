"""The OTF that beads were simulated with comes back, as a file too."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_physgen.cli import main
from napari_physgen.errors import UserError
from napari_physgen.physics.optics import Otf, frequencies, ideal_otf
from napari_physgen.sim import SimSettings
from napari_physgen.sim.beads import BeadOtf, BeadSettings, otf_from_beads
from napari_physgen.sim.detection import detection_otf

SETTINGS = BeadSettings(na=1.4, wavelength_nm=525, pixel_size_nm=65, bead_diameter_nm=100)
CUTOFF = SETTINGS.cutoff
DAMPED = Otf.ideal(1.4, 525, 0.4)
K = np.linspace(0.05, 0.8, 16) * CUTOFF


def aberrated() -> Otf:
    """Half the contrast at half the cutoff, as in fairSIM's 'spherical' estimate."""
    ratio = np.linspace(0, 1, 400)
    table = ideal_otf(ratio, 1) * (1 - 0.5 * (1 - 4 * (ratio - 0.5) ** 2))
    return Otf(CUTOFF, table=table, step=CUTOFF / 399)


def sphere(k: np.ndarray, diameter: float, slices: int = 400) -> np.ndarray:
    """Transform of a bright sphere, from the chords through it: sum of cos over its slices."""
    x = (np.arange(slices) + 0.5) / slices - 0.5
    area = 0.25 - x**2
    return np.cos(2 * np.pi * k[..., None] * x * diameter) @ area / area.sum()


@cache
def image(otf: str = "damped", beads: int = 36, peak: float = 3000) -> np.ndarray:
    """Grey levels of single beads, a few pairs, and one that the border cuts."""
    rng = np.random.default_rng(0)
    n, pixel = 320, 0.065
    k_y, k_x = frequencies((n, n), pixel)
    radius = np.hypot(k_y, k_x)
    lens = {"damped": DAMPED, "aberrated": aberrated()}[otf](k_y, k_x)
    grid = np.linspace(0, radius.max(), 200)
    lens = lens * np.interp(radius, grid, sphere(grid, 0.1))
    spectrum = np.zeros((n, n), complex)
    rows = np.stack(np.mgrid[27:n:53, 27:n:53], -1).reshape(-1, 2)
    places = (rows + rng.uniform(-8, 8, rows.shape))[:beads]
    for y, x in [*places, *(places[:4] + 9), (3, 160)]:
        spectrum += rng.uniform(0.7, 1.3) * np.exp(-2j * np.pi * pixel * (k_y * y + k_x * x))
    light = np.maximum(np.fft.ifft2(spectrum * lens).real, 0)
    electrons = rng.poisson(light * peak / np.percentile(light, 99.95) + 50)
    grey = 100 + 2 * electrons + 1.5 * rng.standard_normal(electrons.shape)
    return np.clip(np.rint(grey), 0, 65535).astype(np.uint16)


@cache
def measured(otf: str = "damped") -> BeadOtf:
    return otf_from_beads(image(otf), SETTINGS)


@pytest.mark.parametrize(("name", "percent"), [("damped", 2), ("aberrated", 5)])
def test_the_otf_comes_back_up_to_four_fifths_of_the_cutoff(name: str, percent: float) -> None:
    """The continuation to zero frequency assumes a damped ideal OTF, and costs others a little."""
    truth = {"damped": DAMPED, "aberrated": aberrated()}[name](0, K)
    assert measured(name).otf(0, K) == pytest.approx(truth, rel=percent / 100, abs=0.002)


def test_the_standard_error_says_how_far_off_it_is() -> None:
    found = measured()
    k = np.arange(found.profile.size) * found.step
    inside = (k > 0.15 * CUTOFF) & (k < 0.8 * CUTOFF)
    off = np.abs(found.profile - DAMPED(0, k))[inside]
    assert off.max() < 5 * found.error[inside].max() + 0.002


def test_the_size_of_the_beads_is_undone() -> None:
    without = otf_from_beads(image(), SETTINGS.model_copy(update={"bead_diameter_nm": 0}))
    high = K[-4:]
    assert (without.otf(0, high) < 0.93 * measured().otf(0, high)).all()


def test_beads_that_overlap_or_touch_the_border_are_left_out() -> None:
    found = measured()
    assert found.left_out["too close"] == 8
    assert found.left_out["at the border"] == 1
    assert len(found.positions) == 32
    apart = np.abs(found.positions[:, None] - found.positions).max(-1)
    assert apart[apart > 0].min() > 24
    assert "left out" in found.summary


def test_saturated_beads_are_left_out() -> None:
    grey = image()
    limit = int(0.85 * grey.max())
    found = otf_from_beads(np.minimum(grey, limit), SETTINGS)
    assert found.left_out["saturated"] > 0
    assert found.otf(0, K) == pytest.approx(DAMPED(0, K), rel=0.05, abs=0.005)


def test_too_few_beads_are_refused_in_words() -> None:
    with pytest.raises(UserError, match="single beads were found, but 5 are needed"):
        otf_from_beads(image(beads=3), SETTINGS)
    noise = np.random.default_rng(0).poisson(100, (128, 128)).astype(np.uint16)
    with pytest.raises(UserError, match="Only 0 single beads"):
        otf_from_beads(noise, SETTINGS)


def test_coarse_pixels_and_large_beads_are_refused_in_words() -> None:
    with pytest.raises(UserError, match="too coarse"):
        otf_from_beads(image(), SETTINGS.model_copy(update={"pixel_size_nm": 130}))
    with pytest.raises(UserError, match="too large"):
        otf_from_beads(image(), SETTINGS.model_copy(update={"bead_diameter_nm": 300}))


def test_the_file_of_the_command_is_read_by_the_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beads, out = tmp_path / "beads.tif", tmp_path / "otf.tif"
    tifffile.imwrite(
        beads,
        image(),
        imagej=True,
        resolution=(1 / 0.065, 1 / 0.065),
        metadata={"unit": "um", "Info": "LensNA = 1.4\n"},
    )
    main(["sim-otf", str(beads), "-o", str(out), "--wavelength-nm", "525"])
    told = capsys.readouterr().out
    assert "na = 1.4 (from file: ImageJ Info)" in told
    assert "pixel_size_nm = 65 nm (from file: ImageJ resolution)" in told
    settings = SimSettings(na=1.4, wavelength_nm=525, pixel_size_nm=80, otf=out)
    otf = detection_otf(settings, (64, 64))
    assert otf is not None
    assert otf(0, K) == pytest.approx(measured().otf(0, K), abs=1e-5)
    main(["sim-otf", str(beads), "-o", str(out), "--wavelength-nm", "525", "--na", "1.45"])
    assert "says otherwise: NA 1.4 (ImageJ Info), settings 1.45" in capsys.readouterr().out
