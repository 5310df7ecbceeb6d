"""Patterns of measured and published stacks, against what is known about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_physgen.backend import run
from napari_physgen.sim import Patterns, SimSettings, estimate_patterns

BIOSR = SimSettings(na=1.41, wavelength_nm=525, pixel_size_nm=62.6)


def found(path: Path, settings: SimSettings) -> Patterns:
    return run(estimate_patterns(tifffile.imread(path), settings))


def degrees_apart(a: np.ndarray, b: list[float]) -> np.ndarray:
    """Return differences between undirected directions."""
    return np.abs((a - np.array(b) + 90) % 180 - 90)


def test_real_tirf_has_its_known_periods_angles_and_unequal_steps(data: Path) -> None:
    """Cao et al., Biomed. Opt. Express 9, 5037 (2018)."""
    path = data / "sim/tirf_rzcao_microtubules/rzcao_TIRF_MT_raw9_APyx.tif"
    settings = SimSettings(na=1.49, wavelength_nm=660, pixel_size_nm=86.67)
    patterns = found(path, settings)
    assert not patterns.verdict.startswith("failed")
    assert patterns.order == "angle-phase"
    assert patterns.period_nm == pytest.approx([232.2, 231.3, 230.8], abs=1)
    assert patterns.angles_deg == pytest.approx([-88.8, -29.0, 32.0], abs=0.2)
    steps = np.degrees(patterns.phases - patterns.phases[:, :1])
    wrong = (steps - [0, 134, -87] + 180) % 360 - 180
    assert patterns.phase_error is not None
    assert np.abs(wrong).max() < 3 * np.degrees(patterns.phase_error.max())


def test_real_high_dose_stack_has_its_known_patterns(data: Path) -> None:
    """BioSR microtubules, 237 electrons per pixel."""
    path = data / "sim/biosr_mt_levels/BioSR_MT_cell001_level09_crop007_raw9.tif"
    patterns = found(path, BIOSR)
    assert not patterns.verdict.startswith("failed")
    assert patterns.period_nm == pytest.approx([180.2, 180.5, 180.1], abs=0.5)
    assert degrees_apart(patterns.angles_deg, [-84.85, -144.95, 155.02]).max() < 0.5


def test_real_lowest_dose_has_its_known_directions_but_is_not_called_found(data: Path) -> None:
    """BioSR microtubules, 6 electrons per pixel: one angle follows from the others."""
    path = data / "sim/biosr_mt_levels/BioSR_MT_cell001_level01_crop007_raw9.tif"
    optics = {"excitation_na": 1.35, "excitation_nm": 488}
    patterns = found(path, SimSettings.parse(BIOSR.model_dump() | optics))
    assert degrees_apart(patterns.angles_deg, [-84.85, -144.95, 155.02]).max() < 0.5
    assert patterns.verdict.startswith("failed")
    assert found(path, BIOSR).verdict.startswith("failed")


def test_real_noisy_tirf_has_its_known_patterns(data: Path) -> None:
    """rDL-SIM microtubules (Nat. Biotech. 2022)."""
    path = data / "sim/tirf_rdl_microtubules/rDL_TIRF_MT_raw9_APyx.tif"
    patterns = found(path, BIOSR)
    assert not patterns.verdict.startswith("failed")
    assert patterns.period_nm == pytest.approx([180.0] * 3, abs=0.5)
    assert degrees_apart(patterns.angles_deg, [85.0, 144.9, -155.0]).max() < 0.5


def test_published_simulations_are_recovered_to_a_fiftieth_of_a_dft_pixel(data: Path) -> None:
    """Burns & Liu, Opt. Express 31, 8714 (2023): period 3 camera pixels, angles 0, 60, 120."""
    folder = data / "sim/burns_pinn_simulated/SIM/microtubules/input_frames"
    # Their PSF is Airy-like with its cutoff at about 0.36 cycles per pixel.
    settings = SimSettings(na=1.5, wavelength_nm=525, pixel_size_nm=0.36 * 525 / 3)
    directions = np.radians([0, 60, 120])
    truth = 40 * np.stack([np.sin(directions), np.cos(directions)], -1)
    errors = []
    for path in sorted(folder.glob("*.tif")):
        patterns = found(path, settings)
        assert not patterns.verdict.startswith("failed")
        k = patterns.wavevectors * 120 * settings.pixel_size_nm / 1000
        errors.append(np.linalg.norm(k - np.sign(np.sum(k * truth, 1))[:, None] * truth, axis=1))
        assert degrees_apart(patterns.angles_deg, [0, 60, 120]).max() < 0.1
        assert patterns.modulation == pytest.approx([1.0] * 3, abs=0.07)
    assert len(errors) == 8
    assert np.max(errors) < 0.025
    assert np.sqrt(np.mean(np.square(errors))) < 0.015
